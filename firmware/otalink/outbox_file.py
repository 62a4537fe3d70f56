"""Kept texts in a file, so that a restart or a power cut loses none. The file is lines of text:

    CRC otalink-outbox 1 SEQUENCE ACKNOWLEDGED          the numbering, and the highest id that was acknowledged by then
    CRC ID ACKNOWLEDGED "TEXT AS JSON"                  one for each text, in their order

CRC is the CRC-32 of what follows the blank behind it, as 8 hexadecimal digits.

Rules that it keeps (docs/update.md has what littlefs does in a power cut):
- A text is in the closed file before it can be sent: an id that a host has seen is never given to another text.
- Nothing is overwritten in place: a line is appended, or a new file is written and renamed over the old.
- An acknowledgement alone writes nothing. The next line has it; until then a restart may send again what the host has,
  which it then acknowledges only.
- What is not whole at the end is no text that `append` has ever taken, and is dropped.

Wear: a text is one append, for which littlefs copies the file's last block and writes its directory's log. Measured, in
blocks of 4096 bytes that are erased: 1.0 to 1.1 for a text of up to 100 characters, 1.2 for 500, 1.7 for 1,500. With
256 free blocks of 100,000 erasures that is some 23 million short texts: 44 years of one a minute, nine months of one
a second. It includes that a file which is full, or has grown over 4096 bytes and is all acknowledged, is written anew
with the next text.
"""

import json
import os

from micropython import const

from otalink.errors import InstallError
from otalink.frame import crc32
from otalink.outbox import make_sequence

_NEW = "-new"
_FORMAT = b"otalink-outbox 1 "
_BEGIN = const(26)  # bytes of it and the CRC
# Above so many bytes a file whose texts are all acknowledged is begun anew.
_TIDY = const(4096)
# Bytes of the first line, at most.
_HEAD = const(64)
# How much of a file is copied at a time.
_PIECE = const(256)


class OutboxFile:
    """As MemoryStore, in the file `path`, which takes at most `size` bytes; while it is written anew, twice as many.

    Raises InstallError where the flash fails, but not when it is made. ValueError: the text alone is too large for the
    file.
    """

    def __init__(self, path, size):
        self._path = path
        self._size = size
        self.damage = None
        self.acknowledged = self.last = 0
        # Bytes: what is whole of the file, where the first text that is not acknowledged begins (as far as is known),
        # and where the text behind `sent` begins.
        self._length = self._safe = self._cursor = 0
        # What stands behind _length is no text.
        self._is_torn = False
        # (id, where it ends) of the texts that were sent on this connection and are not acknowledged.
        self._marks = []
        # The highest acknowledged id that the file has.
        self._recorded = 0
        self.sequence = None
        try:  # also the mutating call that begins every recovery
            os.remove(path + _NEW)
        except OSError:
            pass
        try:
            with open(path, "rb") as file:
                self._load(file)
        except OSError:  # it was never there
            pass
        if self.sequence is None:
            self.sequence = make_sequence()
        elif self.damage is not None:
            try:
                self._write_anew(b"")
            except OSError:  # the next text that is taken, or the link's end, does it
                self._is_torn = True
                self.damage += ", and it cannot be written anew: is the flash full?"
        # Any of them may have been sent before the restart.
        self.known = self.last
        self.sent = self._recorded = self.acknowledged

    def append(self, text):
        line = _seal(b"%d %d %s" % (self.last + 1, self.acknowledged, json.dumps(text).encode()))
        is_done = self.acknowledged == self.last
        if len(line) + _HEAD > self._size:
            raise ValueError(f"the text takes {len(line)} bytes, and {self._path} only {self._size} (file_size)")
        is_anew = not self._length or self._is_torn or (is_done and self._length > _TIDY)
        if self._length + len(line) > self._size:
            left = 0 if is_done else self._length - self._safe
            # Only when half of it can go: else each text would have the whole file written.
            if left + len(line) + _HEAD > self._size or (left and self._safe * 2 < self._size):
                return False
            is_anew = True
        try:
            if is_anew:
                self._write_anew(line)
            else:
                with open(self._path, "ab") as file:
                    _write(file, line)
                self._length += len(line)
        except OSError as error:
            self._is_torn = True
            raise InstallError(f"{self._path} cannot be written: is the flash full?", error.errno)
        self.last += 1
        self._recorded = self.acknowledged
        return True

    def next(self):
        """As MemoryStore.next; None when the file is damaged. `damage` says so, and what is lost is given up."""
        try:
            with open(self._path, "rb") as file:
                file.seek(self._cursor)
                while True:
                    line = file.readline()
                    rest = _unseal(line)
                    if rest is None:
                        break
                    self._cursor += len(line)
                    identity, _, content = rest.split(b" ", 2)
                    identity = int(identity)
                    if identity > self.sent:
                        self.sent = identity
                        self._marks.append((identity, self._cursor))
                        return json.loads(content)
                    if identity <= self.acknowledged:
                        self._safe = self._cursor
        except (OSError, ValueError):
            pass
        self.damage = f"{self._path} is damaged: {self.last - self.sent} texts that were kept are lost"
        self.acknowledged = self.sent = self.last
        self._marks.clear()
        self._length = self._safe = self._cursor = 0
        return None

    def rewind(self):
        self.sent = self.acknowledged
        self._cursor = self._safe
        self._marks.clear()

    def acknowledge(self, identity):
        self.acknowledged = identity
        self.sent = max(self.sent, identity)
        marks = self._marks
        while marks and marks[0][0] <= identity:
            self._safe = marks.pop(0)[1]
        self._cursor = max(self._cursor, self._safe)

    def tidy(self):
        """The link closes: what was acknowledged is not sent again after a restart. Raises InstallError."""
        if self.acknowledged > self._recorded:
            try:
                self._write_anew(b"")
            except OSError as error:
                raise InstallError(f"{self._path} cannot be written: is the flash full?", error.errno)
            self._recorded = self.acknowledged

    def _load(self, file):
        begin = file.read(_BEGIN)
        # Anything else may have lines that no memory can take.
        line = begin + file.readline() if begin[9:] == _FORMAT else b""
        head = _unseal(line)
        words = () if head is None else head[len(_FORMAT) :].split()
        if len(words) != 2:
            self.damage = f"{self._path} is no outbox: it is begun anew"
            return
        self.sequence = words[0].decode()
        self.acknowledged = self.last = int(words[1])
        is_first = True
        while line:
            self._length += len(line)
            if is_first:
                self._safe = self._cursor = self._length
            line = file.readline()
            rest = _unseal(line)
            if rest is None:
                break
            identity, acknowledged, _ = rest.split(b" ", 2)
            identity = int(identity)
            if identity != self.last + 1 and not (is_first and identity <= self.last):
                break
            is_first = False
            self.last = identity
            self.acknowledged = max(self.acknowledged, int(acknowledged))
        self.last = max(self.last, self.acknowledged)
        self._is_torn = bool(line)
        while line:
            line = file.readline()
            if _unseal(line) is not None:
                # No power cut does that. Their ids may be known to the host: they must not be used again.
                self.damage = f"{self._path} is damaged: texts that were kept are lost"
                self.sequence = make_sequence()
                return

    def _write_anew(self, line):
        # The file without what is acknowledged, and with `line`.
        safe = self._length if self.acknowledged == self.last else self._safe
        head = _seal(_FORMAT + b"%s %d" % (self.sequence.encode(), self.acknowledged))
        new = self._path + _NEW
        with open(new, "wb") as target:
            _write(target, head)
            left = self._length - safe
            if left:
                piece = bytearray(_PIECE)
                view = memoryview(piece)
                with open(self._path, "rb") as source:
                    source.seek(safe)
                    while left:
                        count = source.readinto(view[: min(left, _PIECE)])
                        if not count:
                            break
                        _write(target, view[:count])
                        left -= count
            _write(target, line)
        os.rename(new, self._path)
        shift = len(head) - safe
        self._length += shift + len(line)
        self._safe = len(head)
        self._cursor = max(self._cursor + shift, len(head))
        self._marks = [(identity, end + shift) for identity, end in self._marks]
        self._is_torn = False


def _seal(rest):
    return b"%08x %s\n" % (crc32(rest), rest)


def _unseal(line):
    # What a line holds; None when it is not whole.
    if line[-1:] != b"\n" or len(line) < 10:
        return None
    rest = line[9:-1]
    return rest if line[:9] == b"%08x " % crc32(rest) else None


def _write(file, data):
    # A file system that is full may take a part and say so.
    if file.write(data) != len(data):
        raise OSError(28)
