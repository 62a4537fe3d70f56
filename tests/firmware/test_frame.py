"""The frames of note 70: docs/frame-vectors.json, and what a decoder promises beside them."""

import binascii
import gc
import json
from binascii import unhexlify

from support import raised

import otalink.crc_spans
import otalink.frame
from otalink.frame import (
    CRC_ERROR,
    ERROR,
    LENGTH_ERROR,
    LENGTH_MAX,
    OVERHEAD,
    PROFILES,
    SUCCESS,
    FrameDecoder,
    decode_text,
    encode_frame,
    encode_text,
)

GOLDEN = "@00010A80D6516ABCDEFGHIJ;"


def vectors(kind):
    with open("../../docs/frame-vectors.json") as file:
        return json.load(file)[kind]


def feed(decoder, data, size=0, take=None):
    """What the decoder gives while `data` comes in pieces of `size` bytes."""
    found = []
    take = take or decoder.next_text
    at = 0
    while at < len(data):
        space = decoder.space()
        count = min(len(space), len(data) - at, size or len(data))
        assert count, "no space"
        space[:count] = data[at : at + count]
        decoder.received(count)
        at += count
        one = take()
        while one is not None:
            found.append(one)
            one = take()
    return found


def end(decoder, take=None):
    decoder.end()
    found = []
    one = (take or decoder.next_text)()
    while one is not None:
        found.append(one)
        one = (take or decoder.next_text)()
    assert not decoder.is_waiting()
    return found


def test_the_example_of_note_70_is_what_it_is_byte_for_byte():
    wire = b"".join(bytes((ord(character), 0)) for character in GOLDEN)
    assert encode_frame("ABCDEFGHIJ") == wire
    assert feed(FrameDecoder(len(wire)), wire) == ["ABCDEFGHIJ"]
    assert encode_frame("ABCDEFGHIJ", "utf-8")[:6] == b"@00010"


def test_every_frame_of_the_vectors_is_made_and_understood():
    for vector in vectors("frames"):
        for profile, unit in PROFILES.items():
            wire = unhexlify(vector[profile])
            data = encode_text(vector["text"], profile)
            assert encode_frame(vector["text"], profile) == wire, vector
            assert encode_frame(data, profile) == encode_frame(memoryview(data), profile) == wire, vector
            assert decode_text(data, profile) == vector["text"]
            assert len(wire) == len(data) + OVERHEAD * unit
            assert feed(FrameDecoder(1000, profile), wire) == [vector["text"]]


def test_every_stream_of_the_vectors_gives_its_frames_and_counts_whatever_the_cuts():
    for vector in vectors("streams"):
        unit = PROFILES[vector["profile"]]
        for size in (1, 2, 3, 7, 64, 0):
            for slack in (0, 1, 500):
                room = (vector["limit"] + OVERHEAD) * unit + slack
                decoder = FrameDecoder(room, vector["profile"], vector["limit"], vector["short_crc"])
                found = feed(decoder, unhexlify(vector["stream"]), size) + end(decoder)
                what = (vector["name"], vector["profile"], size, slack, found, decoder.counts, decoder.dropped)
                assert found == vector["frames"], what
                assert decoder.counts == vector["counts"], what
                assert decoder.dropped == vector["dropped"], what


def test_an_oversize_frame_is_refused_at_its_header():
    for profile, unit in PROFILES.items():
        decoder = FrameDecoder(1000, profile, 20)
        header = encode_text("@0002112345678", profile)
        assert feed(decoder, header[:-1], 0) == []
        assert decoder.counts == [0, 0, 0, 0]
        feed(decoder, header[-1:])
        assert decoder.counts == [0, 1, 0, 0]
        assert decoder.dropped == 14 * unit
        assert not decoder.is_waiting()


def test_the_limit_is_what_fits_the_buffer_or_lower():
    assert FrameDecoder(230).limit == 100
    assert FrameDecoder(231).limit == 100
    assert FrameDecoder(115, "utf-8").limit == 100
    assert FrameDecoder(500000).limit == LENGTH_MAX
    assert FrameDecoder(230, limit=0).limit == 0
    assert "at most 100 characters" in str(raised(ValueError, FrameDecoder, 230, limit=101))
    raised(ValueError, FrameDecoder, 230, limit=-1)
    raised(ValueError, FrameDecoder, 29)


def test_the_largest_frame_of_all_comes_through():
    for profile, unit in PROFILES.items():
        decoder = FrameDecoder((LENGTH_MAX + OVERHEAD) * unit, profile)
        sent = encode_frame("0123456789;" * 9090 + "@" * 9, profile)
        text = feed(decoder, b"@" + sent, 50000)[0]
        assert len(text) == LENGTH_MAX
        assert text[-11:] == "9;@@@@@@@@@"


def test_what_no_frame_can_carry_is_refused_with_the_reason():
    assert "99999" in str(raised(ValueError, encode_frame, "x" * (LENGTH_MAX + 1)))
    assert "99999" in str(raised(ValueError, encode_frame, "é" * (LENGTH_MAX // 2 + 1), "utf-8"))
    assert "even" in str(raised(ValueError, encode_frame, b"abc"))
    raised(ValueError, encode_frame, chr(0xD800))
    raised(ValueError, encode_frame, chr(0xD800), "utf-8")
    assert len(encode_frame("x" * LENGTH_MAX)) == 2 * (LENGTH_MAX + OVERHEAD)


def test_strict_refuses_what_the_sample_of_note_70_does_not_understand():
    for profile in PROFILES:
        for text in ("@", ";", "a;b", "a@b", "가@"):
            assert "note 70" in str(raised(ValueError, encode_frame, text, profile, True))
            raised(ValueError, encode_frame, encode_text(text, profile), profile, True)
        # U+3B40 and U+403B have the bytes of both.
        for text in ("", "ABC", "\u3b40\u403b"):
            assert encode_frame(text, profile, True) == encode_frame(text, profile)


def test_a_view_is_the_data_and_no_copy():
    decoder = FrameDecoder(200, "utf-8")
    sent = encode_frame("abc", "utf-8")
    decoder.space()[: len(sent)] = sent
    decoder.received(len(sent))
    view = decoder.next_frame()
    assert bytes(view) == b"abc"
    decoder.space()[14:15] = b"x"
    assert bytes(view) == b"xbc"


def test_it_waits_only_for_what_may_be_a_frame():
    decoder = FrameDecoder(200)
    assert not decoder.is_waiting()
    sent = encode_frame("abc")
    for count in range(1, len(sent)):
        feed(decoder, sent[count - 1 : count])
        assert decoder.is_waiting(), count
    assert feed(decoder, sent[-1:]) == ["abc"]
    assert not decoder.is_waiting()
    feed(decoder, b"abc")
    assert not decoder.is_waiting()


def test_after_a_pause_the_frames_in_what_did_not_go_on_come_out():
    for profile in PROFILES:
        decoder = FrameDecoder(2000, profile)
        good = encode_frame("abc", profile)
        assert feed(decoder, encode_text("@0050012345678", profile) + good + good[:-1]) == []
        assert decoder.is_waiting()
        assert end(decoder) == ["abc"]
        assert decoder.counts == [1, 2, 0, 0]
        # The stream goes on, and its rest is garbage of its own.
        assert feed(decoder, good[-1:] + good) == ["abc"]
        assert decoder.counts == [2, 2, 0, 1]
        assert decoder.dropped == 14 * PROFILES[profile] + len(good)


def test_a_pause_where_nothing_waits_is_no_fault():
    decoder = FrameDecoder(200)
    for _ in range(3):
        assert end(decoder) == []
        assert feed(decoder, encode_frame("abc")) == ["abc"]
    assert decoder.counts == [3, 0, 0, 0]


def test_faults_are_reported_with_what_they_are_about():
    reported = []
    decoder = FrameDecoder(230, fault=lambda result, view: reported.append((result, bytes(view))))
    wrong = encode_frame("abc").replace(b"c", b"d")
    oversize = encode_text("@9999900000000")
    no_text = encode_frame(b"\0\xd8")
    feed(decoder, b"xyz" + encode_frame("a") + wrong + oversize + no_text + encode_text("@0000200000000abc;"))
    assert reported == [
        (ERROR, b"xyz"),
        (CRC_ERROR, wrong),
        (LENGTH_ERROR, oversize),
        (ERROR, b"\0\xd8"),
        (LENGTH_ERROR, encode_text("@0000200000000abc")),
    ]
    assert decoder.counts == [1, 2, 1, 2]


def test_a_report_that_fails_changes_nothing():
    def fail(result, view):
        raise KeyError

    decoder = FrameDecoder(230, fault=fail)
    sent = b"xyz" + encode_frame("abc")
    decoder.space()[: len(sent)] = sent
    decoder.received(len(sent))
    raised(KeyError, decoder.next_text)
    assert decoder.next_text() == "abc"
    assert decoder.counts == [1, 0, 0, 1]


def test_bytes_that_are_no_text_are_a_frame_all_the_same():
    decoder = FrameDecoder(230)
    take = decoder.next_frame
    sent = encode_frame(b"\0\xd8")
    decoder.space()[: len(sent)] = sent
    decoder.received(len(sent))
    assert bytes(take()) == b"\0\xd8"
    assert decoder.counts[SUCCESS] == 1


def test_a_crc_may_lack_its_zeros_only_on_request():
    short = [text for text in (f"frame {number}" for number in range(200)) if encode_frame(text)[12:13] == b"0"]
    assert len(short) > 5
    wire = b"".join(encode_text(f"@{len(text):05}{binascii.crc32(encode_text(text)):X}{text};") for text in short)
    assert feed(FrameDecoder(230), wire) == []
    assert feed(FrameDecoder(230, short_crc=True), wire) == short
    assert feed(FrameDecoder(230, short_crc=True), wire, 1) == short
    whole = b"".join(encode_frame(text) for text in short)
    assert feed(FrameDecoder(230, short_crc=True), whole) == short


class Work:
    """Counts the bytes that go into a CRC, and what is moved, while it is entered."""

    def __init__(self):
        self.bytes = 0

    def crc32(self, data, value=0):
        self.bytes += len(data)
        return binascii.crc32(data, value)

    def __enter__(self):
        otalink.frame.crc32 = otalink.crc_spans.crc32 = self.crc32
        return self

    def __exit__(self, *_):
        otalink.frame.crc32 = otalink.crc_spans.crc32 = binascii.crc32


def hostile(profile, length, count, short_crc=False):
    """`count` headers that each promise `length` characters, which end with an ETX, so that only the CRC is wrong."""
    tail = ";" * 8 if short_crc else ";"
    part = encode_text(f"@{length - length % (14 + len(tail)):05}12345678{tail}", profile)
    return part * count, len(part)


def test_headers_that_promise_the_limit_cost_no_more_crc_than_a_few_blocks_each():
    for profile, unit in PROFILES.items():
        for short_crc in (False, True):
            limit = 20000
            size = (limit + OVERHEAD) * unit
            # All at once, and at the end of the stream; or in small pieces, in a buffer of which each fills the whole.
            for room, piece in ((3 * size, 0), (size, 333)):
                decoder = FrameDecoder(room, profile, limit, short_crc)
                stream, part = hostile(profile, limit - 100, 2 * size // (15 * unit), short_crc)
                with Work() as work:
                    assert feed(decoder, stream, piece) + end(decoder) == []
                headers = len(stream) // part
                assert decoder.counts[CRC_ERROR] > headers // 3
                assert sum(decoder.counts) == headers + 0
                tried = 8 if short_crc else 1
                assert work.bytes < 4 * len(stream) + headers * tried * 4 * 512, (profile, short_crc, room, work.bytes)


def test_headers_that_promise_little_cost_little():
    for short_crc in (False, True):
        decoder = FrameDecoder(5000, "utf-8", 1500, short_crc)
        stream, part = hostile("utf-8", 1500, 1000, short_crc)
        with Work() as work:
            assert feed(decoder, stream, 100) + end(decoder) == []
        assert work.bytes < (len(stream) // part) * (8 if short_crc else 1) * 1500 + 1500


def test_each_stx_is_looked_at_once_whatever_the_pieces():
    for profile in PROFILES:
        for part, looked in (("@", 0), ("@0", 1), ("@000", 1), ("@0000000000000", 1), ("@9999900000000", 1)):
            for size in (1, 100, 0):
                decoder = FrameDecoder(20000, profile, 1000)
                narrow, calls = decoder._narrow, [0]

                def counting(view, narrow=narrow, calls=calls):
                    calls[0] += 1
                    return narrow(view)

                decoder._narrow = counting
                stream = encode_text(part * 1000, profile)
                assert feed(decoder, stream, size) + end(decoder) == []
                assert decoder.dropped == len(stream)
                # And once more where it is the first of a piece.
                firsts = min(len(stream) // (size or len(stream)) + 2, 1002)
                assert calls[0] <= 1000 * looked + firsts, (profile, part, size, calls)


def test_good_frames_cost_their_own_crc_and_no_more():
    for limit in (1500, 20000):
        for size in (1, 100, 1000, 0):
            decoder = FrameDecoder((limit + OVERHEAD) * 2, limit=limit)
            sent = encode_frame("x" * 1000)
            with Work() as work:
                assert len(feed(decoder, sent * 3, size)) == 3
            assert work.bytes == 3 * 2000, (limit, size, work.bytes)


def test_good_frames_come_out_amid_headers_that_promise_the_limit():
    for profile, unit in PROFILES.items():
        limit = 6000
        decoder = FrameDecoder((limit + OVERHEAD) * unit, profile, limit)
        part, _ = hostile(profile, limit, 7)
        sent = ["abc", "x" * limit, "", "가" * (limit // 4)]
        stream = b"".join(part + encode_frame(text, profile) for text in sent * 2)
        assert feed(decoder, stream, 1000) + end(decoder) == sent * 2
        assert decoder.counts[SUCCESS] == 8


def test_what_is_moved_is_bounded_by_what_comes():
    class Counted(FrameDecoder):
        moved = 0

        def space(self):
            before = self._start
            view = super().space()
            if self._start != before and self._end:
                self.moved += self._end - self._start
            return view

    limit = 2000
    decoder = Counted(2 * (limit + OVERHEAD), "utf-8", limit)
    stream, _ = hostile("utf-8", limit, 2000)
    feed(decoder, stream, 15)
    assert decoder.moved < 3 * len(stream), decoder.moved


def test_a_frame_received_as_a_view_allocates_little():
    if not hasattr(gc, "mem_alloc"):
        return
    for profile in PROFILES:
        sent = encode_frame("x" * 1500, profile)
        decoder = FrameDecoder(len(sent), profile)
        used = []
        for _ in range(5):
            gc.collect()
            before = gc.mem_alloc()
            decoder.space()[:] = sent
            decoder.received(len(sent))
            payload = decoder.next_frame()
            used.append(gc.mem_alloc() - before)
            assert len(payload) == len(sent) - OVERHEAD * PROFILES[profile]
        assert min(used) < 400, used
