"""Feeds the frame decoder what a fuzzer makes up, guided by which of its branches were taken.

    python frame_target.py FIRMWARE [libFuzzer's options] [CORPUS]

What is made up is a recipe for a stream, so that there are frames in it whose CRC is right, which no fuzzer would hit
on. What the decoder makes of the stream must be what the scanner of the property tests finds, whatever the cuts.
"""

import sys
from pathlib import Path

import atheris

sys.path[:0] = [sys.argv.pop(1), str(Path(__file__).parents[1] / "host")]

with atheris.instrument_imports(include=["otalink"]):
    from otalink import crc_spans, frame

from test_frame_properties import LIMIT, decode, scan  # noqa: E402  # it must not be the first to import otalink

SIZES = ([], [1] * 2000, [2, 3, 5, 7] * 200, [40] * 30)


def stream_of(recipe: bytes, profile: str) -> bytes:
    """A stream: of each byte of the recipe the two highest bits say what it is, the others how long."""
    unit = frame.PROFILES[profile]
    stream, at = b"", 0
    while at < len(recipe):
        kind, length = divmod(recipe[at], 64)
        data = recipe[at + 1 : at + 1 + length]
        at += 1 + length
        if kind == 0:
            stream += data
            continue
        if kind == 1:
            # In text as it stands in a stream: "@" and digits are nearer to hand.
            stream += frame.encode_text(data.decode("latin-1"), profile)
            continue
        data = data[: len(data) - len(data) % unit]
        whole = frame.encode_frame(data, profile)
        if kind == 2:
            stream += whole
        else:
            # The begin of a frame: its DATA is what comes next.
            stream += frame.encode_text(f"@{length:05}", profile) + whole[6 * unit : 14 * unit]
    return stream


def one_input(made_up: bytes) -> None:
    flags, recipe = made_up[:1] or b"\0", made_up[1:]
    profile = list(frame.PROFILES)[flags[0] & 1]
    short_crc, long_ones = bool(flags[0] & 2), flags[0] & 4
    frame._SHORT, crc_spans.BLOCK = (8, 8) if long_ones else (4096, 512)
    stream = stream_of(recipe, profile)
    whole = decode(stream, [], len(stream), profile, short_crc)
    cut = decode(stream, SIZES[flags[0] >> 3 & 3], flags[0] >> 5, profile, short_crc)
    assert cut == whole, (cut, whole)
    expected = list(scan(stream, profile, short_crc))
    assert whole.payloads == expected, (whole, expected)
    assert max((len(payload) // frame.PROFILES[profile] for payload in expected), default=0) <= LIMIT


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
