"""The frames of note 70, for both ends of a link. Pure; docs/frame-protocol.md is its specification.

    STX "@" | LENGTH, 5 decimal digits | CRC32, 8 hexadecimal digits | DATA | ETX ";"

All of a frame is text, in the profile "utf-16-le" as note 70 has it, or in "utf-8". LENGTH counts the code units of
DATA (2 bytes each, or 1), CRC32 is over DATA's bytes. The decoder goes by LENGTH: DATA may hold "@" and ";".

It keeps these rules, wherever the stream is cut: a frame that is whole comes out, once, unless it lies in another that
is whole; after anything else it looks for the next frame from the very next byte; it never raises for what it is fed.
"""

from array import array

try:
    from binascii import crc32
except ImportError:
    from otalink.crc32 import crc32  # type: ignore[assignment]

from otalink.utf16 import IS_MICROPYTHON, decode_utf8, decode_utf16, encode_utf8, encode_utf16, narrow

# What becomes of a frame, as note 70 numbers it.
SUCCESS = 0
LENGTH_ERROR = 1  # LENGTH is not that of DATA, or above the limit
CRC_ERROR = 2
ERROR = 3  # no frame, or the beginning of one that did not go on; or its DATA is no text

LENGTH_MAX = 99999
# Characters of a frame beside DATA, of its header alone, and of that before the CRC.
OVERHEAD = 15
_HEADER = 14
_STX = 64
_ETX = 59
_BEFORE_CRC = 6
_DIGITS = b"0123456789"
_HEX = _DIGITS + b"ABCDEFabcdef"

# Bytes of a code unit.
PROFILES = {"utf-16-le": 2, "utf-8": 1}

# Up to so many bytes of DATA are gone through for a CRC, whatever came before; of more only such as were not yet for
# what turned out to be no frame, see crc_spans.py.
_SHORT = 4096


def encode_text(text: str, profile: str = "utf-16-le") -> bytes:
    """`text` as DATA. Raises ValueError when it is no text, see utf16.py."""
    return encode_utf16(text) if PROFILES[profile] == 2 else encode_utf8(text)


def decode_text(data: "bytes | memoryview", profile: str = "utf-16-le") -> str:
    """DATA as text. Raises ValueError when it is none."""
    return decode_utf16(data) if PROFILES[profile] == 2 else decode_utf8(data)


def encode_frame(data: "str | bytes | memoryview", profile: str = "utf-16-le", strict: bool = False) -> bytes:
    """The bytes of the frame whose DATA is `data`: text, or bytes that are whole code units of the profile.

    `strict` refuses "@" and ";" in it, which note 70's own receiver takes for a frame's begin and end.
    Raises ValueError for what no frame can carry.
    """
    is_wide = PROFILES[profile] == 2
    encode = encode_utf16 if is_wide else encode_utf8
    if strict:
        text = data if isinstance(data, str) else decode_text(data, profile)
        if "@" in text or ";" in text:
            raise ValueError("the payload holds @ or ;, which a receiver of note 70 takes for a frame's begin and end")
    if isinstance(data, str):
        if is_wide and IS_MICROPYTHON:
            raw = data.encode()
            if len(raw) == len(data) <= LENGTH_MAX:
                return _encode_ascii(raw)
        data = encode(data)
    elif not isinstance(data, bytes):
        # MicroPython joins nothing else.
        data = bytes(data)
    length = len(data)
    if is_wide:
        if length & 1:
            raise ValueError("a payload of bytes must be whole UTF-16 code units: an even number")
        length >>= 1
    if length > LENGTH_MAX:
        raise ValueError(f"the payload has {length} characters, a frame carries at most {LENGTH_MAX}: send it in parts")
    header = "@%05d%08X" % (length, crc32(data))  # noqa: UP031  # an f-string takes longer
    return b"".join((encode(header), data, b";\0" if is_wide else b";"))


def _encode_ascii(raw: bytes) -> bytes:
    # In UTF-16LE, of which a copy less is made on MicroPython than when DATA is converted by itself.
    length = len(raw)
    whole = bytearray(length + OVERHEAD)
    whole[_HEADER:-1] = raw
    whole[-1] = _ETX
    units = array("H", memoryview(whole))
    crc = crc32(memoryview(units)[_HEADER : _HEADER + length])
    units[:_HEADER] = array("H", memoryview(b"@%05d%08X" % (length, crc)))
    return bytes(units)


class FrameDecoder:
    """Takes a stream of bytes in pieces, and hands out the frames in it.

        count = socket.readinto(decoder.space())
        decoder.received(count)
        while (payload := decoder.next_frame()) is not None:
            ...  # a memoryview, valid until `space` is called again

    `size` is that of its buffer, in bytes; `limit` the largest LENGTH that it takes, at most what fits the buffer (the
    default): a frame that promises more is refused at its header. `short_crc` also takes frames whose CRC lacks its
    leading zeros, as the sample of note 70 writes them.
    `fault(result, view)` is called for each fault; `view` is what looked like a frame, as far as it is there, or the
    begin of what looks like none.

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
        self._decode = decode_utf16 if unit == 2 else decode_utf8
        self._narrow = narrow if unit == 2 else bytes
        self._stx = b"@\0" if unit == 2 else b"@"
        # Bytes of a header; of the shortest, whose CRC has one digit, where it may be short.
        self._header = (_BEFORE_CRC + 1 if short_crc else _HEADER) * unit
        # Bytes: what is moved in the buffer is moved by a multiple of them.
        self._step = 1
        self._spans = None
        if self.limit * unit > _SHORT:
            from otalink.crc_spans import BLOCK, CrcSpans

            self._step = BLOCK
            size += BLOCK
        self._buffer = bytearray(size)
        self._view = memoryview(self._buffer)
        if self._step > 1:
            self._spans = CrcSpans(self._view)
        # What was received and not handed out yet.
        self._start = 0
        self._end = 0
        # Of the frame that begins at _start: LENGTH, -1 while its header is not read; where its DATA begins; the CRC
        # that it claims; what is wrong with it, unless it turns out to be one.
        self._length = -1
        self._data = 0
        self._crc = 0
        self._wrong = LENGTH_ERROR
        # Up to here bytes were gone through for the CRC of what was no frame.
        self._checked = 0
        # No more belongs to what was received.
        self._is_ended = False
        # What is dropped is a part of a fault that was counted.
        self._is_lost = False

    def space(self) -> memoryview:
        """Where the next bytes go: read into it, then say `received`. What `next_frame` gave before is not valid then.

        It is empty only while the buffer is full of frames that are whole and were not taken out.
        """
        start, end = self._start, self._end
        if start == end:
            if end:
                self._empty()
            return self._view
        # Only where that makes as much room again: so much was received since the last time.
        if len(self._buffer) - end < start:
            start -= start % self._step
            self._view[: end - start] = self._view[start:end]
            self._start -= start
            self._end -= start
            self._data -= start
            self._checked = max(self._checked - start, 0)
            if self._spans is not None:
                self._spans.moved(start)
        return self._view[self._end :]

    def received(self, count: int) -> None:
        """Says that `count` bytes were put where `space` was."""
        self._end += count
        self._is_ended = False

    def end(self) -> None:
        """Says that nothing belongs any more to what was received: the stream ended, or paused for too long.

        `next_frame` gives the frames that are whole in it, and drops the rest: call it until it gives None, before more
        is received. The stream may go on afterwards.
        """
        self._is_ended = True

    def is_waiting(self) -> bool:
        """True when what may be a part of a frame waits for the rest (and `next_frame` has given None)."""
        return self._start < self._end

    def next_text(self) -> "str | None":
        """The next frame's DATA as text; None when there is no whole frame yet. DATA that is no text is an ERROR."""
        while True:
            payload = self.next_frame()
            if payload is None:
                return None
            try:
                return self._decode(payload)
            except ValueError:
                self.counts[SUCCESS] -= 1
                self._count(ERROR, payload)

    def next_frame(self) -> "memoryview | None":
        """The next frame's DATA, valid until `space` is called; None when there is no whole frame yet."""
        # Mostly a frame is whole when its turn comes, and its header the one that it must have: no more need be known.
        unit, start = self._unit, self._start
        data = start + _HEADER * unit
        if self._length < 0 and start >= self._checked and data < self._end and not self._short_crc:
            try:
                header = self._narrow(self._view[start:data])
                # Without a slice. What is no digit gives some other length, whose header is another.
                length = header[1] * 10000 + header[2] * 1000 + header[3] * 100 + header[4] * 10 + header[5] - 533328
            except ValueError:
                length = -1
            etx = data + length * unit
            end = etx + unit
            if 0 <= length <= self.limit and end <= self._end and self._buffer[etx] == _ETX:
                payload = self._view[data:etx]
                if header == b"@%05d%08X" % (length, crc32(payload)) and (unit == 1 or self._buffer[etx + 1] == 0):
                    self.counts[SUCCESS] += 1
                    self._is_lost = False
                    self._start = end
                    return payload
                self._checked = etx
        elif start == self._end and not self._is_ended:
            return None
        return self._next_frame()

    def _next_frame(self) -> "memoryview | None":
        while self._length >= 0 or self._find():
            data = self._data
            etx = data + self._length * self._unit
            end = etx + self._unit
            if end > self._end:
                if not self._is_ended:
                    return None
            elif self._is_etx(etx):
                payload = self._view[data:etx]
                if self._spans is None or data >= self._checked or etx - data <= _SHORT:
                    crc = crc32(payload)
                else:
                    crc = self._spans.crc(data, etx)
                if crc == self._crc:
                    self.counts[SUCCESS] += 1
                    self._is_lost = False
                    self._length = -1
                    self._start = end
                    return payload
                self._wrong = CRC_ERROR
                self._checked = max(self._checked, etx)
            if end > self._end or not self._take_digit():
                self._drop(1, self._wrong, min(end, self._end))
        return None

    def _is_etx(self, at: int) -> bool:
        return self._buffer[at] == _ETX and (self._unit == 1 or self._buffer[at + 1] == 0)

    def _find(self) -> bool:
        # Looks for a header from _start on, and reads it. False: there is none yet.
        buffer, unit, end = self._buffer, self._unit, self._end
        at = self._start
        while True:
            at = buffer.find(self._stx, at, end)
            if at < 0:
                # The last byte may be the first half of an STX.
                at = end - (unit == 2 and self._start < end and buffer[end - 1] == _STX and not self._is_ended)
                break
            data = at + self._header
            if data > end:
                if not self._is_ended:
                    break
            # Most of what looks like an STX and is none is known by this alone.
            elif 48 <= buffer[at + unit] <= 57:
                try:
                    header = self._narrow(self._view[at:data])
                except ValueError:
                    header = b""
                length, crc = header[1:_BEFORE_CRC], header[_BEFORE_CRC:]
                if crc and not length.strip(_DIGITS) and not crc.strip(_HEX):
                    if at > self._start:
                        self._drop(at - self._start, ERROR, at)
                    self._length = int(length)
                    if self._length <= self.limit:
                        self._data = data
                        self._crc = int(crc, 16)
                        self._wrong = LENGTH_ERROR
                        return True
                    self._drop(1, LENGTH_ERROR, data)
            at += 1
        if at > self._start:
            self._drop(at - self._start, ERROR, at)
        if at == end:
            self._empty()
            if self._is_ended:
                # Whatever comes now is a matter of its own.
                self._is_ended = self._is_lost = False
        return False

    def _take_digit(self) -> bool:
        # Whether the CRC may have one digit more: the shortest that makes it a frame counts, which is whole first.
        unit, data = self._unit, self._data
        if not self._short_crc or data - self._start >= _HEADER * unit:
            return False
        digit = self._buffer[data]
        if digit not in _HEX or (unit == 2 and self._buffer[data + 1]):
            return False
        self._crc = self._crc << 4 | int(chr(digit), 16)
        self._data = data + unit
        return True

    def _empty(self) -> None:
        self._start = self._end = self._checked = 0
        if self._spans is not None:
            self._spans.forget()

    def _drop(self, count: int, result: int, seen: int) -> None:
        # `count` bytes belong to no frame; what stands before `seen` says why. What follows a fault up to the next
        # frame is a part of it, unless it looks like a frame itself.
        start = self._start
        is_new = result != ERROR or not self._is_lost
        self.dropped += count
        self._is_lost = True
        self._length = -1
        self._start = start + count
        if is_new:
            self._count(result, self._view[start:seen])

    def _count(self, result: int, view: memoryview) -> None:
        self.counts[result] += 1
        if self._fault is not None:
            self._fault(result, view)  # type: ignore[operator]  # a board has no name for what can be called
