"""Frames beside the receiver and the sender of note 70's sample, made here from what the note says of them."""

import codecs
import json
from binascii import crc32
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otalink.frame import CRC_ERROR, ERROR, LENGTH_ERROR, SUCCESS, FrameDecoder, encode_frame

VECTORS = json.loads((Path(__file__).parents[2] / "docs" / "frame-vectors.json").read_text(encoding="utf-8"))
WITH_SAMPLE = [vector for vector in VECTORS["streams"] if "sample" in vector]

# A busy machine is no fault.
unhurried = settings(deadline=None)


class SampleReceiver:
    """The receiver of note 70's sample, weaknesses included.

    It keeps a string, takes what lies from the first "@" to the first ";" for a frame, wherever they come from, and
    looks at it; a ";" ahead of the "@" throws, and as nothing is taken out then, so does all that comes after.
    """

    def __init__(self) -> None:
        # A piece may end inside a character. What is none becomes U+FFFD.
        self._decoder = codecs.getincrementaldecoder("utf-16-le")("replace")
        self.text = ""
        self.frames: list[str] = []
        self.counts = [0, 0, 0, 0]

    def receive(self, piece: bytes) -> None:
        self.text += self._decoder.decode(piece)
        while "@" in self.text and ";" in self.text:
            begin, end = self.text.index("@"), self.text.index(";")
            if end < begin:
                self.counts[ERROR] += 1
                return
            frame = self.text[begin : end + 1]
            self.text = self.text[:begin] + self.text[end + 1 :]
            result = self._verify(frame)
            self.counts[result] += 1
            if result == SUCCESS:
                self.frames.append(frame[14:-1])

    @staticmethod
    def _verify(frame: str) -> int:
        try:
            if int(frame[1:6]) != _units(frame) - 15:
                return LENGTH_ERROR
            if int(frame[6:14], 16) != crc32(frame[14:-1].encode("utf-16-le")):
                return CRC_ERROR
        except ValueError:
            return ERROR
        return SUCCESS


def sample_sends(text: str) -> bytes:
    """The frame as note 70's sample makes it: ToString("X") writes no leading zeros."""
    return f"@{_units(text):05}{crc32(text.encode('utf-16-le')):X}{text};".encode("utf-16-le")


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def pieces(stream: bytes, sizes: list[int]) -> list[bytes]:
    found = []
    for size in sizes:
        found.append(stream[:size])
        stream = stream[size:]
    return [*found, stream]


def otalink_receives(stream: list[bytes], short_crc: bool = False, size: int = 500_000) -> tuple[list[str], list[int]]:
    decoder = FrameDecoder(size, short_crc=short_crc)
    texts = []
    for piece in stream:
        decoder.space()[: len(piece)] = piece
        decoder.received(len(piece))
        while (text := decoder.next_text()) is not None:
            texts.append(text)
    return texts, decoder.counts


TEXTS = st.text(st.characters(exclude_characters="@;", exclude_categories=["Cs"]), max_size=60)
SIZES = st.lists(st.integers(1, 50), max_size=40)


@unhurried
@given(st.lists(TEXTS, max_size=8), SIZES)
def test_the_sample_takes_every_frame_of_otalink_that_holds_neither_delimiter(
    texts: list[str], sizes: list[int]
) -> None:
    sample = SampleReceiver()
    for piece in pieces(b"".join(encode_frame(text, strict=True) for text in texts), sizes):
        sample.receive(piece)
    assert sample.frames == texts
    assert sample.counts == [len(texts), 0, 0, 0]
    assert sample.text == ""


@unhurried
@given(st.lists(TEXTS, max_size=8), SIZES)
def test_otalink_takes_every_frame_of_the_sample_on_request(texts: list[str], sizes: list[int]) -> None:
    stream = b"".join(map(sample_sends, texts))
    assert otalink_receives(pieces(stream, sizes), short_crc=True) == (texts, [len(texts), 0, 0, 0])


@unhurried
@given(st.lists(TEXTS, max_size=8), SIZES)
def test_without_request_it_takes_those_whose_crc_has_all_digits(texts: list[str], sizes: list[int]) -> None:
    stream = b"".join(map(sample_sends, texts))
    whole = [text for text in texts if crc32(text.encode("utf-16-le")) > 0xFFFFFFF]
    received, counts = otalink_receives(pieces(stream, sizes))
    assert received == whole
    assert counts[SUCCESS] == len(whole)


@unhurried
@given(TEXTS)
def test_both_make_the_same_frame_where_the_crc_has_all_digits(text: str) -> None:
    ours, theirs = encode_frame(text), sample_sends(text)
    assert (ours == theirs) == (crc32(text.encode("utf-16-le")) > 0xFFFFFFF)


@unhurried
@given(st.text(st.sampled_from("@;ab가"), max_size=6))
def test_strict_refuses_what_the_sample_would_not_take_and_what_the_note_forbids(text: str) -> None:
    sample = SampleReceiver()
    sample.receive(encode_frame(text))
    is_taken = (sample.frames, sample.text) == ([text], "")
    # An "@" alone passes the sample, and breaks the note's own count of them.
    assert is_taken == (";" not in text)
    if "@" in text or ";" in text:
        with pytest.raises(ValueError, match="note 70"):
            encode_frame(text, strict=True)
    else:
        assert encode_frame(text, strict=True) == encode_frame(text)


@pytest.mark.parametrize("vector", WITH_SAMPLE, ids=lambda vector: vector["name"])
def test_the_sample_does_with_a_stream_what_the_vectors_say(vector: dict[str, object]) -> None:
    sample = SampleReceiver()
    sample.receive(bytes.fromhex(str(vector["stream"])))
    assert {"frames": sample.frames, "counts": sample.counts, "left": _units(sample.text)} == vector["sample"]


def test_the_sample_understands_itself_in_fifteen_of_sixteen_frames() -> None:
    sample = SampleReceiver()
    texts = [f"frame {number}" for number in range(1600)]
    for text in texts:
        sample.receive(sample_sends(text))
    assert 1400 < len(sample.frames) < 1560
    assert otalink_receives([sample_sends(text) for text in texts], short_crc=True)[0] == texts


@pytest.mark.parametrize("size", [1, 1460, 65536])
def test_note_70s_acceptance_a_thousand_frames_of_1500_characters(size: int) -> None:
    """As many @ as ; as frames in what was received, in both directions."""
    number, text = 1000, "".join(chr(0xAC00 + index) for index in range(1500))
    stream = encode_frame(text, strict=True) * number
    if size == 1:
        stream, number = encode_frame(text, strict=True) * 10, 10
    sample = SampleReceiver()
    for at in range(0, len(stream), size):
        sample.receive(stream[at : at + size])
    assert sample.counts == [number, 0, 0, 0]
    sent = "".join(sample_sends(text).decode("utf-16-le") for _ in range(number))
    assert sent.count("@") == sent.count(";") == number
    cut = [sent.encode("utf-16-le")[at : at + size] for at in range(0, len(stream), size)]
    assert otalink_receives(cut, short_crc=True) == ([text] * number, [number, 0, 0, 0])
