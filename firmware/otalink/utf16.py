"""Text to UTF-16LE or UTF-8 and back, at C speed as far as MicroPython allows. Pure.

MicroPython has no UTF-16, and its UTF-8 takes more than is valid. Here both runtimes agree on what is text: no half of
a surrogate pair, nothing beyond U+10FFFF, each character in its shortest form.
"""

import sys
from array import array

IS_MICROPYTHON = sys.implementation.name == "micropython"
if not IS_MICROPYTHON:
    from codecs import utf_16_le_decode, utf_16_le_encode  # only on CPython

# What may follow a first byte of UTF-8, where that is not any byte from 0x80 to 0xBF: shorter forms, surrogates and
# what is beyond U+10FFFF are left out.
_SECOND_BYTES = ((b"\xe0", 0xA0, 0xBF), (b"\xed", 0x80, 0x9F), (b"\xf0", 0x90, 0xBF), (b"\xf4", 0x80, 0x8F))


def encode_utf16(text: str) -> bytes:
    """`text` as UTF-16LE. Raises ValueError when it holds half of a surrogate pair, which is no text."""
    if not IS_MICROPYTHON:
        return utf_16_le_encode(text)[0]
    raw = text.encode()
    if len(raw) == len(text):
        # All of it is ASCII: each byte becomes a unit. Every port of MicroPython is little-endian.
        return bytes(array("H", memoryview(raw)))
    if not _is_valid(raw):
        raise ValueError("the text holds half of a surrogate pair")
    if not _has_pairs(raw):
        return bytes(array("H", map(ord, text)))
    units = array("H")
    for character in text:
        code = ord(character)
        if code > 0xFFFF:
            code -= 0x10000
            units.append(0xD800 | code >> 10)
            code = 0xDC00 | code & 0x3FF
        units.append(code)
    return bytes(units)


def decode_utf16(data: "bytes | memoryview") -> str:
    """The text in `data`, UTF-16LE. Raises ValueError when it is none: an odd length, half of a surrogate pair."""
    if not IS_MICROPYTHON:
        return utf_16_le_decode(data, "strict", True)[0]
    raw = bytes(data)
    if len(raw) & 1:
        raise ValueError("UTF-16 has an even number of bytes")
    units = array("H", raw)
    try:
        # Refused from U+0100 on; and what is ASCII has as many characters as bytes.
        text = bytes(iter(units)).decode()
        if len(text) == len(units):
            return text
    except ValueError:
        pass
    text = "".join(map(chr, units))
    return text if _is_valid(text.encode()) else _join_pairs(units)


def narrow(data: memoryview) -> bytes:
    """The ASCII characters in `data`, UTF-16LE, a byte each. Raises ValueError when there are other ones."""
    if not IS_MICROPYTHON:
        return utf_16_le_decode(data, "strict", True)[0].encode("ascii")
    raw = bytes(data)
    text = raw.replace(b"\0", b"")
    # Half of the bytes are NUL, none of them the first, and no two of them stand together: every other one is.
    if len(text) * 2 != len(raw) or not raw[0] or b"\0\0" in raw:
        raise ValueError("not all of it is ASCII")
    return text


def encode_utf8(text: str) -> bytes:
    """`text` as UTF-8. Raises ValueError when it holds half of a surrogate pair, which is no text."""
    raw = text.encode()
    if IS_MICROPYTHON and len(raw) != len(text) and not _is_valid(raw):
        raise ValueError("the text holds half of a surrogate pair")
    return raw


def decode_utf8(data: "bytes | memoryview") -> str:
    """The text in `data`, UTF-8. Raises ValueError when it is none."""
    if not IS_MICROPYTHON:
        return str(data, "utf-8")
    raw = bytes(data)
    text = raw.decode()
    if len(raw) != len(text) and not _is_valid(raw):
        raise ValueError("no valid UTF-8")
    return text


def _is_valid(raw: bytes) -> bool:
    # Whether what MicroPython takes for UTF-8 is.
    for first in (b"\xc0", b"\xc1", b"\xf5", b"\xf6", b"\xf7"):
        if first in raw:
            return False
    for first, low, high in _SECOND_BYTES:
        at = raw.find(first)
        while at >= 0:
            if not low <= raw[at + 1] <= high:
                return False
            at = raw.find(first, at + 1)
    return True


def _has_pairs(raw: bytes) -> bool:
    # Whether there is a character in this UTF-8 that takes two units of UTF-16.
    return b"\xf0" in raw or b"\xf1" in raw or b"\xf2" in raw or b"\xf3" in raw or b"\xf4" in raw


def _join_pairs(units: "array[int]") -> str:
    characters = []
    high = 0
    for unit in units:
        if bool(high) != (unit & 0xFC00 == 0xDC00):
            raise ValueError("half of a surrogate pair")
        if high:
            characters.append(chr(0x10000 + ((high & 0x3FF) << 10 | unit & 0x3FF)))
            high = 0
        elif unit & 0xFC00 == 0xD800:
            high = unit
        else:
            characters.append(chr(unit))
    if high:
        raise ValueError("half of a surrogate pair")
    return "".join(characters)
