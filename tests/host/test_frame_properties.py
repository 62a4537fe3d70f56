"""The decoder against whatever a stream may bring, cut wherever the network cuts it: beside a scanner of ten lines."""

import re
from binascii import crc32
from collections.abc import Iterator
from typing import NamedTuple
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otalink import crc_spans, frame
from otalink.frame import OVERHEAD, PROFILES, SUCCESS, FrameDecoder, decode_text, encode_frame, encode_text

LIMIT = 40

# A busy machine is no fault.
unhurried = settings(deadline=None)


def scan(stream: bytes, profile: str, short_crc: bool) -> Iterator[bytes]:
    """The DATA of each frame in a stream that has ended: what is whole and right, and what begins first."""
    unit, at = PROFILES[profile], 0
    while at < len(stream):
        for data in [at + (6 + digits) * unit for digits in (range(1, 9) if short_crc else (8,))]:
            header = re.fullmatch("@([0-9]{5})([0-9A-Fa-f]+)", stream[at:data].decode(profile, "replace"))
            etx = data + int(header[1]) * unit if header and int(header[1]) <= LIMIT else len(stream)
            is_whole = header and data <= etx and stream[etx : etx + unit] == encode_text(";", profile)
            if header and is_whole and int(header[2], 16) == crc32(stream[data:etx]):
                yield stream[data:etx]
                at = etx + unit - 1
                break
        at += 1


class Found(NamedTuple):
    payloads: list[bytes]
    counts: list[int]
    dropped: int


def decode(stream: bytes, sizes: list[int], slack: int, profile: str, short_crc: bool, limit: int = LIMIT) -> Found:
    """What the decoder makes of a stream that comes in pieces of `sizes`, and ends."""
    decoder = FrameDecoder((limit + OVERHEAD) * PROFILES[profile] + slack, profile, limit, short_crc)
    payloads = []

    def take() -> None:
        while (payload := decoder.next_frame()) is not None:
            payloads.append(bytes(payload))

    for size in [*sizes, len(stream)]:
        piece, stream = stream[:size], stream[size:]
        while piece:
            space = decoder.space()
            assert space, "no space although nothing is left to be taken"
            count = min(len(space), len(piece))
            space[:count] = piece[:count]
            decoder.received(count)
            piece = piece[count:]
            take()
    decoder.end()
    take()
    assert not decoder.is_waiting()
    return Found(payloads, decoder.counts, decoder.dropped)


TEXTS = st.one_of(
    st.text(st.sampled_from("@;0123456789ABCDEFabcdef\0"), max_size=LIMIT),
    st.text(max_size=LIMIT // 2),
    st.sampled_from(["", "가나다", "😀", "ABCDEFGHIJ", "@00010A80D6516ABCDEFGHIJ;", "@00000" + "0" * 8 + ";"]),
)


@st.composite
def frames(draw: st.DrawFn, profile: str, payload: bytes | None = None) -> bytes:
    """A frame: right, or with one thing wrong."""
    data = encode_text(draw(TEXTS), profile) if payload is None else payload
    unit = PROFILES[profile]
    whole = encode_frame(data, profile)
    kind = draw(st.sampled_from(["whole", "whole", "whole", "short", "lower", "length", "byte", "cut", "longer"]))
    if kind == "short":
        # As the sample of note 70 writes it; DATA may go on with what looks like more of the CRC.
        return encode_text(f"@{len(data) // unit:05}{crc32(data):X}", profile) + data + encode_text(";", profile)
    if kind == "lower":
        return encode_text(decode_text(whole[: 14 * unit], profile).lower(), profile) + whole[14 * unit :]
    if kind == "length":
        length = draw(st.integers(0, LIMIT + 2) | st.just(99999))
        return encode_text(f"@{length:05}", profile) + whole[6 * unit :]
    if kind == "byte":
        at = draw(st.integers(0, len(whole) - 1))
        return whole[:at] + bytes((draw(st.sampled_from([0, 48, 59, 64, 255])),)) + whole[at + 1 :]
    if kind == "cut":
        return whole[: draw(st.integers(0, len(whole)))]
    if kind == "longer":
        at = draw(st.integers(0, len(whole)))
        return whole[:at] + draw(st.sampled_from([b"@", b"0", b"\0", b";", b"@\0", b";\0"])) + whole[at:]
    return whole


@st.composite
def streams(draw: st.DrawFn, profile: str) -> bytes:
    """Frames, and what is none, in each other's middle too."""
    garbage = st.one_of(
        st.binary(max_size=6),
        st.sampled_from([b"@", b"@@@@", b";", b"\0", b"@\0", b"@\0@\0", b"@\x000\0", b"@0001", b"\0@", b"\xd8"]),
        st.integers(0, LIMIT).map(lambda length: encode_text(f"@{length:05}", profile)),
        st.integers(0, LIMIT).map(lambda length: encode_text(f"@{length:05}{0:08}", profile)),
    )
    parts = draw(st.lists(frames(profile) | garbage, max_size=8))
    if draw(st.booleans()):
        inner = b"".join(parts)[: LIMIT * PROFILES[profile]]
        inner = inner[: len(inner) - len(inner) % PROFILES[profile]]
        parts = [draw(garbage), draw(frames(profile, inner)), *parts]
    return b"".join(parts)


SIZES = st.lists(st.integers(1, 40), max_size=60) | st.just([1] * 1000)


@pytest.fixture(params=[False, True], ids=["", "spans"], autouse=True)
def spans(request: pytest.FixtureRequest) -> Iterator[None]:
    """Everything once more with what is meant for long frames alone, made for short ones."""
    if not request.param:
        yield
        return
    with patch.object(frame, "_SHORT", 8), patch.object(crc_spans, "BLOCK", 8):
        yield


everywhere = pytest.mark.parametrize("profile", PROFILES)
either = pytest.mark.parametrize("short_crc", [False, True], ids=["", "short CRC"])


@either
@everywhere
def test_it_gives_what_the_scanner_gives(profile: str, short_crc: bool) -> None:
    @unhurried
    @given(streams(profile), SIZES, st.integers(0, 70))
    def check(stream: bytes, sizes: list[int], slack: int) -> None:
        found = decode(stream, sizes, slack, profile, short_crc)
        assert found.payloads == list(scan(stream, profile, short_crc))
        assert found.counts[SUCCESS] == len(found.payloads)

    check()


@either
@everywhere
def test_cuts_and_the_buffer_change_neither_counts_nor_what_is_dropped(profile: str, short_crc: bool) -> None:
    @unhurried
    @given(streams(profile), SIZES, st.integers(0, 70))
    def check(stream: bytes, sizes: list[int], slack: int) -> None:
        whole = decode(stream, [], len(stream), profile, short_crc)
        assert decode(stream, sizes, slack, profile, short_crc) == whole
        bytes_of_frames = whole.dropped
        for payload in whole.payloads:
            bytes_of_frames += len(encode_frame(payload, profile))
        # A short CRC takes fewer.
        assert bytes_of_frames == len(stream) or (short_crc and bytes_of_frames > len(stream))

    check()


@everywhere
def test_every_frame_comes_out_once_between_what_is_none(profile: str) -> None:
    noise = st.binary(max_size=20).map(lambda data: data.replace(b"@", b"\0"))
    payload = TEXTS.map(lambda text: encode_text(text, profile)).filter(
        lambda data: len(data) <= LIMIT * PROFILES[profile]
    )

    @unhurried
    @given(st.lists(st.tuples(noise, payload), max_size=10), SIZES)
    def check(parts: list[tuple[bytes, bytes]], sizes: list[int]) -> None:
        stream = b"".join(garbage + encode_frame(data, profile) for garbage, data in parts)
        found = decode(stream, sizes, 0, profile, False)
        assert found.payloads == [data for _, data in parts]
        assert found.counts == [len(parts), 0, 0, sum(garbage != b"" for garbage, _ in parts)]
        assert found.dropped == sum(len(garbage) for garbage, _ in parts)

    check()


@everywhere
def test_text_that_went_in_comes_out(profile: str) -> None:
    @unhurried
    @given(st.lists(st.text(max_size=200)))
    def check(texts: list[str]) -> None:
        decoder = FrameDecoder(1 << 16, profile)
        for text in texts:
            sent = encode_frame(text, profile)
            decoder.space()[: len(sent)] = sent
            decoder.received(len(sent))
            assert decoder.next_text() == text
            assert decoder.next_text() is None

    check()


@everywhere
def test_any_bytes_are_text_or_an_error(profile: str) -> None:
    @unhurried
    @given(st.binary(max_size=60).filter(lambda data: len(data) % PROFILES[profile] == 0))
    def check(data: bytes) -> None:
        decoder = FrameDecoder(200, profile)
        sent = encode_frame(data, profile)
        decoder.space()[: len(sent)] = sent
        decoder.received(len(sent))
        text = decoder.next_text()
        assert decoder.counts == ([0, 0, 0, 1] if text is None else [1, 0, 0, 0])
        assert text is None or text.encode(profile) == data

    check()
