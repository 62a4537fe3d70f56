"""What is text, in UTF-16LE and UTF-8: both runtimes agree."""

from support import raised

from otalink.utf16 import decode_utf8, decode_utf16, encode_utf8, encode_utf16

# A text, its UTF-16LE and its UTF-8.
TEXTS = (
    ("", b"", b""),
    ("ABC", b"A\0B\0C\0", b"ABC"),
    ("a\0b", b"a\0\0\0b\0", b"a\0b"),
    ("\0", b"\0\0", b"\0"),
    ("\x7f\x80\xff", b"\x7f\0\x80\0\xff\0", b"\x7f\xc2\x80\xc3\xbf"),
    # Their UTF-16LE without NUL bytes is valid UTF-8, and something else.
    ("\xc3\xa9", b"\xc3\0\xa9\0", b"\xc3\x83\xc2\xa9"),
    ("\u0100", b"\0\x01", b"\xc4\x80"),
    ("\u0100\u0101", b"\0\x01\x01\x01", b"\xc4\x80\xc4\x81"),
    ("a\u0100", b"a\0\0\x01", b"a\xc4\x80"),
    ("\u4100", b"\0A", b"\xe4\x84\x80"),
    ("\u0800", b"\0\x08", b"\xe0\xa0\x80"),
    ("온도 21°", b"\x28\xc6\xc4\xb3 \x002\x001\0\xb0\0", b"\xec\x98\xa8\xeb\x8f\x84 21\xc2\xb0"),
    ("\ud7ff\ue000\uffff", b"\xff\xd7\0\xe0\xff\xff", b"\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf"),
    ("\U00010000", b"\0\xd8\0\xdc", b"\xf0\x90\x80\x80"),
    ("\U0010ffff", b"\xff\xdb\xff\xdf", b"\xf4\x8f\xbf\xbf"),
    ("a😀é😀", b"a\0=\xd8\0\xde\xe9\0=\xd8\0\xde", b"a\xf0\x9f\x98\x80\xc3\xa9\xf0\x9f\x98\x80"),
)

NO_UTF16 = (
    b"A",
    b"A\0B",
    b"\0\xd8",
    b"\0\xdc",
    b"\0\xd8A\0",
    b"A\0\0\xd8",
    b"\0\xdc\0\xd8",
    b"\0\xd8\0\xd8\0\xdc",
    b"\0\xd8\0\xdc\0\xdc",
    b"\x28\xc6\xff\xdf",
)

NO_UTF8 = (
    b"\x80",
    b"\xff",
    b"\xc3",
    b"\xc3A",
    b"\xe2\x82",
    b"\xf0\x9f\x98",
    # In a longer form than the shortest.
    b"\xc0\x80",
    b"\xc1\xbf",
    b"\xe0\x80\x80",
    b"\xe0\x9f\xbf",
    b"\xf0\x80\x80\x80",
    b"\xf0\x8f\xbf\xbf",
    # Surrogates, alone and as a pair.
    b"\xed\xa0\x80",
    b"\xed\xbf\xbf",
    b"\xed\xa0\xbd\xed\xb8\x80",
    b"\xed\x9f\xbf\xed\xa0\x80",
    # Beyond U+10FFFF.
    b"\xf4\x90\x80\x80",
    b"\xf5\x80\x80\x80",
    b"\xf7\xbf\xbf\xbf",
    b"\xf8\x88\x80\x80\x80",
)


def test_text_becomes_bytes_and_text_again():
    for text, utf16, utf8 in TEXTS:
        assert encode_utf16(text) == utf16, text
        assert encode_utf8(text) == utf8, text
        for data in (utf16, memoryview(utf16), memoryview(bytearray(utf16))):
            assert decode_utf16(data) == text, utf16
        for data in (utf8, memoryview(utf8), memoryview(bytearray(utf8))):
            assert decode_utf8(data) == text, utf8


def test_every_unit_of_utf16_is_a_character_or_half_of_a_pair():
    for code in range(0, 0x10000, 0x40):
        for unit in (code, code + 0x3F):
            data = bytes((unit & 255, unit >> 8))
            if 0xD800 <= unit < 0xE000:
                raised(ValueError, decode_utf16, data)
            else:
                assert decode_utf16(data) == chr(unit)
                assert encode_utf16(chr(unit)) == data


def test_what_is_no_utf16_is_refused():
    for data in NO_UTF16:
        raised(ValueError, decode_utf16, data)
        raised(ValueError, decode_utf16, memoryview(data))


def test_what_is_no_utf8_is_refused():
    for data in NO_UTF8:
        for around in (data, b"abc" + data, data + b"abc", "é가😀".encode() + data):
            raised(ValueError, decode_utf8, around)


def test_half_of_a_pair_is_no_text_to_send():
    for text in (chr(0xD800), chr(0xDFFF), "a" + chr(0xDBFF) + "b", "가" + chr(0xDC00), "😀" + chr(0xD83D)):
        raised(ValueError, encode_utf16, text)
        raised(ValueError, encode_utf8, text)
