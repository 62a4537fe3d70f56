"""Text to UTF-16LE and back, at C speed as far as MicroPython allows, which has no such codec. Pure."""

import sys
from array import array

_IS_CPYTHON = sys.implementation.name == "cpython"


def encode_utf16(text: str) -> bytes:
    """`text` as UTF-16LE. Raises ValueError when it holds half of a surrogate pair, which is no text."""
    if _IS_CPYTHON:
        return text.encode("utf-16-le")
    raw = text.encode()
    if len(raw) == len(text):
        # All of it is ASCII: each byte becomes a unit. Every port of MicroPython is little-endian.
        return bytes(array("H", memoryview(raw)))
    units = array("H")
    for character in text:
        code = ord(character)
        if code > 0xFFFF:
            code -= 0x10000
            units.append(0xD800 | code >> 10)
            code = 0xDC00 | code & 0x3FF
        elif 0xD800 <= code < 0xE000:
            raise ValueError("the text holds half of a surrogate pair")
        units.append(code)
    return bytes(units)


def decode_utf16(data: "bytes | memoryview") -> str:
    """The text in `data`, UTF-16LE. Raises ValueError when it is none: an odd length, half of a surrogate pair."""
    raw = bytes(data)
    if _IS_CPYTHON:
        return raw.decode("utf-16-le")
    if raw and raw[0] and raw.count(b"\0") * 2 == len(raw) and b"\0\0" not in raw:
        # Every other byte, and no other, is NUL: all characters are below U+0100; ASCII is UTF-8 too.
        text = raw.replace(b"\0", b"")
        try:
            ascii_text = text.decode()
            if len(ascii_text) == len(text):
                return ascii_text
        except UnicodeError:
            pass
    if len(raw) & 1:
        raise ValueError("UTF-16 has an even number of bytes")
    characters = []
    high = 0
    for unit in array("H", raw):
        if high:
            if unit & 0xFC00 != 0xDC00:
                raise ValueError("half of a surrogate pair")
            characters.append(chr(0x10000 + ((high & 0x3FF) << 10 | unit & 0x3FF)))
            high = 0
            continue
        if unit & 0xFC00 == 0xD800:
            high = unit
            continue
        if unit & 0xFC00 == 0xDC00:
            raise ValueError("half of a surrogate pair")
        characters.append(chr(unit))
    if high:
        raise ValueError("half of a surrogate pair")
    return "".join(characters)
