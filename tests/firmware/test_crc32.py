"""The CRC-32 of otalink's own, and that of any span of a buffer."""

import binascii

import otalink.crc_spans
from otalink.crc32 import crc32
from otalink.crc_spans import BLOCK, CrcSpans

DATA = bytes((number * number + number // 7) & 255 for number in range(6 * BLOCK + 100))


def test_it_is_the_crc_of_binascii():
    for data in (b"", b"123456789", b"\0", bytes(range(256)), DATA[:1000]):
        assert crc32(data) == binascii.crc32(data), data
        assert crc32(memoryview(data)) == binascii.crc32(data), data
    assert crc32(b"123456789") == 0xCBF43926


def test_it_goes_on_behind_what_was_before():
    assert crc32(DATA[400:900], crc32(DATA[:400])) == binascii.crc32(DATA[:900])


def some_spans(length):
    ends = (0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 3 * BLOCK + 7, length - 1, length)
    return [(start, end) for start in ends for end in ends if start <= end]


def test_any_span_has_the_crc_of_its_bytes():
    spans = CrcSpans(memoryview(DATA))
    for start, end in some_spans(len(DATA)):
        assert spans.crc(start, end) == binascii.crc32(DATA[start:end]), (start, end)


def test_spans_know_what_they_saw_where_it_moved_to():
    for known in (0, 100, len(DATA)):
        buffer = bytearray(DATA)
        spans = CrcSpans(memoryview(buffer))
        spans.crc(0, known)
        buffer[: -2 * BLOCK] = DATA[2 * BLOCK :]
        spans.moved(2 * BLOCK)
        for start, end in some_spans(len(DATA) - 2 * BLOCK):
            assert spans.crc(start, end) == binascii.crc32(buffer[start:end]), (known, start, end)


def test_spans_forget():
    buffer = bytearray(DATA)
    spans = CrcSpans(memoryview(buffer))
    spans.crc(0, len(DATA))
    buffer[:] = bytes(len(DATA))
    spans.forget()
    assert spans.crc(3, len(DATA)) == binascii.crc32(buffer[3:])


def test_a_span_costs_four_blocks_whatever_its_length():
    counted = [0]

    def counting(data, value=0):
        counted[0] += len(data)
        return binascii.crc32(data, value)

    spans = CrcSpans(memoryview(DATA))
    spans.crc(0, len(DATA))
    otalink.crc_spans.crc32 = counting
    for start, end in some_spans(len(DATA)):
        counted[0] = 0
        spans.crc(start, end)
        assert counted[0] <= 4 * BLOCK, (start, end, counted)
