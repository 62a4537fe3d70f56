"""Brings the files of a release file that differ from the server to the flash, staged, as one stream with gaps.

A gap is what the flash has already: a short one is read and dropped, a long one is jumped over, by a new transfer. A
download that was cut off, by a lost connection or a power cut, goes on inside the file where it was, compressed ones at
a chunk. docs/release-format.md has the form.
"""

import asyncio
import gc
import hashlib
from time import ticks_diff, ticks_ms

import deflate
from micropython import const

from otalink.chunks import CHUNK, WINDOW_BITS, chunk, chunk_count
from otalink.errors import ReleaseError
from otalink.files import kind_of, recorded, size_of
from otalink.flash import on_flash
from otalink.ftp_session import FtpSession
from otalink.layout import INCOMING, NEW_SUFFIX
from otalink.staging import StagedFile, report

# Another transfer takes several round trips: so many bytes come in less time.
_GAP_MAX = const(16384)
_PIECE = const(512)
# Where a transfer that is to begin within a file begins so, the server has begun with the header.
_MAGIC = b"otalink 1 "
# Reading files back must let the application run: at the least this often.
_YIELD_MS = const(10)


async def download(job):
    """Stages the files that `differ.compare` has marked, from number `job.at` of the header on, by the session in
    `job.link`.

    After a TransferError it can be called again; what is whole, and what is there of the next file, stays. Raises
    ReleaseError for content that is not what the header promises.
    """
    job.most = job.most or 0
    unpacker = _Unpacker(job)
    try:
        async with FtpSession(*job.config.server) as client:
            client.resume(job.link)
            try:
                while True:
                    start = await unpacker.resume()
                    if start is None:
                        job.most = None
                        return
                    # Without REST each transfer begins with the first byte: then one must do.
                    unpacker.gap_max = _GAP_MAX if client._has_rest else job.release.size
                    unpacker.position = start
                    unpacker.is_first = client._has_rest
                    await client.retrieve(job.release.versioned, job.buffer, unpacker.take, start, job.release.size)
                    if unpacker.is_first is None:
                        # It says yes to REST and does not heed it: from now on it is done without.
                        client._has_rest = False
            finally:
                client.suspend(job.link)
    finally:
        unpacker.close()


class _Unpacker:
    # Takes the stream apart. `position` is that of the next byte in the release file, `goal` that of the next one that
    # is wanted; `is_first` is True ahead of a transfer's first bytes, and None when they were those of the header.

    def __init__(self, job):
        self.job = job
        self.root = root = job.root + "/"
        self.target = self.file = None
        self.files = recorded(root, INCOMING, True)
        # Where the stored bytes of the next file begin: the record is the header.
        self.next = size_of(root, INCOMING)
        self.before = 0
        for _ in range(job.at):
            self.pass_by(next(self.files))
        self.position = self.goal = 0
        self.gap_max = _GAP_MAX
        self.is_first = False

    def close(self):
        self.files.close()
        if self.target is not None:
            self.target.close()

    async def resume(self):
        # The position from which the next transfer has to go on; None when all is here.
        while self.file is not None or self.advance():
            if self.target is None:
                await self.read()
            if not self.is_whole():
                report(self.job, self.before + max(0, self.goal - self.start) - self.job.done)
                return self.goal
            self.finish()
        report(self.job, self.before - self.job.done)
        return None

    def take(self, view):
        # A sink for FtpSession.retrieve: True when the transfer is of no use any more.
        job = self.job
        view = memoryview(view)  # a slice of the buffer itself would be a copy
        if self.is_first:
            self.is_first = None if bytes(view[: len(_MAGIC)]) == _MAGIC else False
            if self.is_first is None:
                return True
        size = len(view)
        job.received += size
        start = 0
        while start < size:
            gap = self.goal - self.position
            if gap > self.gap_max:
                return True
            if gap > 0:
                taken = min(gap, size - start)
            else:
                taken = self.feed(view[start:])
                report(job, taken)
            start += taken
            self.position += taken
            while self.is_whole():
                if not (self.finish() and self.advance() and self.open()):
                    # The rest belongs to nobody; at the end of the file there is none.
                    return self.position < job.release.size
        return False

    # One file after the other

    def pass_by(self, found):
        self.next += found[3]
        wanted = kind_of(self.root, found[0] + NEW_SUFFIX) is not None
        if wanted:
            self.before += found[3]
        return wanted

    def advance(self):
        # Takes the next file that differs; False when there is none.
        for found in self.files:
            self.start = self.next
            before = self.before
            if self.pass_by(found):
                self.before = before
                self.file = found
                return True
            self.job.at += 1
        return False

    def open(self, sha256=None, written=0):
        # Begins the file, or goes on behind what is there. Without a hash only an empty one: False where it is not.
        path, _, _, _, encoding = self.file
        if sha256 is None and (size_of(self.root, path + NEW_SUFFIX) or 0) > written:
            return False
        self.is_resumed = written > 0
        self.target = StagedFile(path, f"{self.root}{path}{NEW_SUFFIX}", sha256, written)
        self.table = None
        self.goal = self.start + written
        if encoding == "deflate":
            self.table = bytearray()
            self.goal = self.start
            self.index = written // CHUNK
            self.buffer = memoryview(bytearray(_PIECE))
        return True

    async def read(self):
        # Goes on with the file behind what is here of it.
        path, _, size, _, encoding = self.file
        written = size_of(self.root, path + NEW_SUFFIX) or 0
        sha256 = hashlib.sha256()
        if written > size or (encoding == "deflate" and written % CHUNK and written < size):
            written = 0
        if written:
            # Nothing says that it is what was meant to be there: its hash does, once the rest has come.
            buffer = self.job.buffer
            view = memoryview(buffer)
            yielded = ticks_ms()
            with on_flash(path, "read", open, self.root + path + NEW_SUFFIX, "rb") as file:
                while True:
                    n = on_flash(path, "read", file.readinto, buffer)
                    if not n:
                        break
                    sha256.update(view[:n])
                    if ticks_diff(ticks_ms(), yielded) >= _YIELD_MS:
                        await asyncio.sleep_ms(0)
                        yielded = ticks_ms()
        self.open(sha256, written)

    def is_whole(self):
        return self.target is not None and self.target.written == self.file[2]

    def finish(self):
        # The file has all its bytes. False when they are not the right ones, and it begins anew.
        path, digest, size, stored, _ = self.file
        target, self.target = self.target, None
        try:
            target.finish(size, digest)
        except ReleaseError:
            if not self.is_resumed:
                raise
            self.job.say(f"{path}: what was here of it is of no use: fetching it anew")
            self.open(hashlib.sha256())
            return False
        self.file = None
        self.before += stored
        self.job.at += 1
        return True

    # What is in it

    def feed(self, view):
        # Takes what of `view` belongs to one part of the file (content, table, chunk), and gives the bytes taken.
        size, stored = self.file[2:4]
        if self.table is None:
            taken = min(len(view), stored - (self.position - self.start))
            self.target.write(view[:taken])
            self.target.keep()
            return taken
        missing = 2 * chunk_count(size) - len(self.table)
        if missing:
            taken = min(len(view), missing)
            self.table.extend(view[:taken])
            if taken == missing:
                self.go_to_chunk()
            return taken
        taken = min(len(view), self.missing)
        self.job.source.write(view[:taken])
        self.missing -= taken
        if not self.missing:
            self.inflate()
        return taken

    def go_to_chunk(self):
        # The table is whole: it says where the first chunk is that is not here.
        path, _, size, stored, _ = self.file
        place = self.start + len(self.table)
        for index in range(chunk_count(size)):
            if index == self.index:
                self.goal = place
            place += chunk(self.table, index, size)[0]
        if place != self.start + stored:
            raise ReleaseError(f"{path}: its table does not fit its size")
        self.begin_chunk()

    def begin_chunk(self):
        self.missing = chunk(self.table, self.index, self.file[2])[0]
        self.job.source.seek(0)

    def inflate(self):
        path, _, size, _, _ = self.file
        source, piece = self.job.source, self.buffer
        _, left, is_compressed = chunk(self.table, self.index, size)
        source.seek(0)
        # A window and its tables are taken anew for each chunk: those before it are to make room, all in one piece.
        gc.collect()
        # Output is bounded by what the header says, whatever is in the stream.
        stream = deflate.DeflateIO(source, deflate.RAW, WINDOW_BITS) if is_compressed else source
        over = False
        while left:
            try:
                n = stream.readinto(piece if left >= _PIECE else piece[:left])
                left -= n
                if not left and is_compressed:
                    over = stream.read(1)
            except (OSError, EOFError):
                n = 0
            if not n:
                raise ReleaseError(f"{path}: chunk {self.index} is not what was compressed")
            if over:
                raise ReleaseError(f"{path}: chunk {self.index} holds too much")
            self.target.write(piece[:n])
        self.target.keep()
        self.index += 1
        if self.index < chunk_count(size):
            self.begin_chunk()
