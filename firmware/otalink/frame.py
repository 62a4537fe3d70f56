"""The frames of note 70, for both ends of a link. Pure; docs/frame-protocol.md is its specification.

    STX "@" | LENGTH, 5 decimal digits | CRC32, 8 hexadecimal digits | DATA | ETX ";"

All of a frame is text, in the profile "utf-16-le" as note 70 has it, or in "utf-8". LENGTH counts the code units of
DATA (2 bytes each, or 1), CRC32 is over DATA's bytes. The decoder goes by LENGTH: DATA may hold "@" and ";".

It keeps these rules, wherever the stream is cut: a frame that is whole comes out, once, unless it lies in another that
is whole; after anything else it looks for the next frame from the very next byte; it never raises for what it is fed.
"""

try:
    from binascii import crc32
except ImportError:
    from otalink.crc32 import crc32  # type: ignore[assignment]

from otalink.utf16 import decode_utf16, encode_utf16

# What becomes of a frame, as note 70 numbers it.
SUCCESS = 0
LENGTH_ERROR = 1  # LENGTH is not that of DATA, or above the limit
CRC_ERROR = 2
ERROR = 3  # no frame, or the beginning of one that did not go on; or its DATA is no text

LENGTH_MAX = 99999
# Characters of a frame beside DATA, and of its header alone.
OVERHEAD = 15
_HEADER = 14
_HEX = b"0123456789ABCDEFabcdef"

# Bytes of a code unit.
PROFILES = {"utf-16-le": 2, "utf-8": 1}


def encode_text(text: str, profile: str = "utf-16-le") -> bytes:
    """`text` as DATA. Raises ValueError when it is no text, see utf16.py."""
    return encode_utf16(text) if PROFILES[profile] == 2 else text.encode()


def decode_text(data: "bytes | memoryview", profile: str = "utf-16-le") -> str:
    """DATA as text. Raises ValueError when it is none."""
    return decode_utf16(data) if PROFILES[profile] == 2 else bytes(data).decode()


def encode_frame(data: "str | bytes | memoryview", profile: str = "utf-16-le", strict: bool = False) -> bytes:
    """The bytes of the frame whose DATA is `data`: text, or bytes that are whole code units of the profile.

    `strict` refuses "@" and ";" in it, which note 70's own receiver takes for a frame's begin and end.
    Raises ValueError for what no frame can carry.
    """
    unit = PROFILES[profile]
    if isinstance(data, str):
        data = encode_text(data, profile)
    if strict:
        text = decode_text(data, profile)
        if "@" in text or ";" in text:
            raise ValueError("the payload holds @ or ;, which a receiver of note 70 takes for a frame's begin and end")
    length, rest = divmod(len(data), unit)
    if rest:
        raise ValueError("a payload of bytes must be whole UTF-16 code units: an even number")
    if length > LENGTH_MAX:
        raise ValueError(f"the payload has {length} characters, a frame carries at most {LENGTH_MAX}: send it in parts")
    header = b"@%05d%08X" % (length, crc32(data))
    if unit == 2:
        return b"".join((encode_utf16(header.decode()), data, b";\0"))
    return b"".join((header, data, b";"))


class FrameDecoder:
    """Takes a stream of bytes in pieces, and hands out the frames in it.

        count = socket.readinto(decoder.space())
        decoder.received(count)
        while (payload := decoder.next_frame()) is not None:
            ...  # a memoryview, valid until `space` is called again

    `size` is that of its buffer, in bytes; `limit` the largest LENGTH that it takes, at most what fits the buffer (the
    default): a frame that promises more is refused at its header. `short_crc` also takes frames whose CRC lacks its
    leading zeros, as the sample of note 70 writes them.
    `fault(result, view)` is called for each fault, `view` being what is dropped, as far as it is known by then.

    `counts` has how many frames, and faults, there were of each result; `dropped` the bytes that belong to no frame.
    """

    def __init__(
        self,
        size: int,
        profile: str = "utf-16-le",
        limit: "int | None" = None,
        short_crc: bool = False,
        fault: object = None,
    ) -> None:
        self.profile = profile
        self._unit = unit = PROFILES[profile]
        fits = min(size // unit - OVERHEAD, LENGTH_MAX)
        self.limit = fits if limit is None else limit
        if not 0 <= self.limit <= fits:
            raise ValueError(f"a buffer of {size} bytes takes frames of at most {fits} characters, not {self.limit}")
        self.counts = [0, 0, 0, 0]
        self.dropped = 0
        self._fault = fault
        self._short_crc = short_crc
        self._stx = b"@\0" if unit == 2 else b"@"
        self._etx = b";\0" if unit == 2 else b";"
        self._buffer = bytearray(size)
        self._view = memoryview(self._buffer)
        # What was received and not handed out yet.
        self._start = 0
        self._end = 0
        # LENGTH of the frame that begins at _start; -1: its header is not read yet.
        self._length = -1
        # No more belongs to what was received.
        self._is_ended = False
        # What is dropped is a part of a fault that was counted.
        self._is_lost = False

    def space(self) -> memoryview:
        """Where the next bytes go: read into it, then say `received`. What `next_frame` gave before is not valid then.

        It is empty only while the buffer is full of frames that are whole and were not taken out.
        """
        start, end = self._start, self._end
        if start and len(self._buffer) - end <= end:
            self._view[: end - start] = self._view[start:end]
            self._start, self._end = 0, end - start
        return self._view[self._end :]

    def received(self, count: int) -> None:
        """Says that `count` bytes were put where `space` was."""
        self._end += count
        self._is_ended = False

    def end(self) -> None:
        """Says that nothing belongs any more to what was received: the stream ended, or paused for too long.

        `next_frame` gives the frames that are whole in it, and drops the rest. The stream may go on afterwards.
        """
        self._is_ended = True

    def is_waiting(self) -> bool:
        """True when what may be a part of a frame waits for the rest (and `next_frame` has given None)."""
        return self._start < self._end

    def next_text(self) -> "str | None":
        """The next frame's DATA as text; None when there is no whole frame yet. DATA that is no text is an ERROR."""
        while True:
            view = self.next_frame()
            if view is None:
                return None
            try:
                return decode_text(view, self.profile)
            except ValueError:
                self.counts[SUCCESS] -= 1
                self._count(ERROR, view)

    def next_frame(self) -> "memoryview | None":
        """The next frame's DATA, valid until `space` is called; None when there is no whole frame yet."""
        while self._length >= 0 or self._find():
            result = LENGTH_ERROR
            # A CRC that may lack digits is tried with as few as it may have, whose frame is whole first.
            for missing in (7, 6, 5, 4, 3, 2, 1, 0) if self._short_crc else (0,):
                data = self._start + (_HEADER - missing) * self._unit
                etx = data + self._length * self._unit
                end = etx + self._unit
                if end > self._end:
                    if self._is_ended:
                        continue
                    return None
                if self._buffer[etx:end] != self._etx:
                    continue
                payload = self._view[data:etx]
                if self._characters(self._start + 6 * self._unit, 8 - missing).upper() == b"%0*X" % (
                    8 - missing,
                    crc32(payload),
                ):
                    self.counts[SUCCESS] += 1
                    self._is_lost = False
                    self._length = -1
                    self._start = end
                    return payload
                result = CRC_ERROR
            self._drop(self._start + 1, result)
        return None

    def _find(self) -> bool:
        # Looks for a header from _start on, and reads it. False: there is none yet.
        unit = self._unit
        characters = 6 if self._short_crc else _HEADER
        while self._start < self._end:
            at = self._buffer.find(self._stx, self._start, self._end)
            if at < 0:
                # The last byte may be the first half of an STX.
                at = self._end - (unit == 2 and self._buffer[self._end - 1] == 64 and not self._is_ended)
            if at > self._start:
                self._drop(at, ERROR)
                continue
            if self._end - at < characters * unit:
                if not self._is_ended:
                    return False
                self._drop(at + 1, ERROR)
                continue
            header = self._characters(at, characters)
            if not header[1:6].isdigit() or header[6:].strip(_HEX):
                self._drop(at + 1, ERROR)
                continue
            length = int(header[1:6])
            if length > self.limit:
                self._drop(at + 1, LENGTH_ERROR)
                continue
            self._length = length
            return True
        self._start = self._end = 0
        if self._is_ended:
            # Whatever comes now is a matter of its own.
            self._is_ended = self._is_lost = False
        return False

    def _characters(self, start: int, count: int) -> bytes:
        # `count` characters of the buffer as ASCII; empty when they are something else.
        raw = bytes(self._view[start : start + count * self._unit])
        if self._unit == 1:
            return raw
        text = raw.replace(b"\0", b"")
        # Half of the bytes are NUL, none of them the first, and no two of them stand together: every other one is.
        return text if len(text) == count and raw[0] and b"\0\0" not in raw else b""

    def _drop(self, end: int, result: int) -> None:
        # What stands before `end` belongs to no frame. What follows a fault up to the next frame is a part of it.
        if result != ERROR or not self._is_lost:
            self._count(result, self._view[self._start : end])
        self.dropped += end - self._start
        self._is_lost = True
        self._length = -1
        self._start = end

    def _count(self, result: int, view: memoryview) -> None:
        self.counts[result] += 1
        if self._fault is not None:
            self._fault(result, view)  # type: ignore[operator]  # a board has no name for what can be called
