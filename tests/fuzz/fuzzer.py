"""Runs a fuzz target, with a corpus to begin with."""

import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
PROJECT = HERE.parents[1]
FIRMWARE = PROJECT / "firmware"
HOST = PROJECT / "host"
VECTORS = PROJECT / "docs" / "frame-vectors.json"


class Target(NamedTuple):
    """A file here, the folder with the code that it takes by default, and who makes its corpus in a folder."""

    script: str
    code: Path
    make_corpus: Callable[[Path], None]


def frame_corpus(folder: Path) -> None:
    """An input for each stream of the vectors that is not long."""
    profiles = ["utf-16-le", "utf-8"]
    for number, vector in enumerate(json.loads(VECTORS.read_text(encoding="utf-8"))["streams"]):
        stream = bytes.fromhex(vector["stream"])
        if len(stream) < 300:
            recipe = b"".join(bytes((len(part),)) + part for part in _parts(stream))
            flags = profiles.index(vector["profile"]) | vector["short_crc"] << 1
            (folder / f"vector-{number}").write_bytes(bytes((flags,)) + recipe)
    # A frame, one whose DATA is another, and the begin of one ahead of another.
    frame = bytes((0x80 | 10,)) + b"A\0B\0C\0D\0E\0"
    for flags in range(8):
        (folder / f"frames-{flags}").write_bytes(bytes((flags,)) + frame + bytes((0xC0 | 40,)) + bytes(40) + frame * 2)


def ftp_corpus(folder: Path) -> None:
    """Sessions of some length: a fuzzer that begins with nothing takes long to get to one."""
    chance = random.Random(959)
    for number in range(60):
        (folder / f"session-{number}").write_bytes(chance.randbytes(chance.choice((20, 60, 150, 300))))


TARGETS = {
    "frame": Target("frame_target.py", FIRMWARE, frame_corpus),
    "ftp": Target("ftp_target.py", HOST, ftp_corpus),
}


def _parts(stream: bytes) -> list[bytes]:
    return [stream[at : at + 63] for at in range(0, len(stream), 63)]


def fuzz(
    name: str, folder: Path, *options: str, code: Path | None = None, timeout: float | None = None
) -> tuple[int, str]:
    """The exit status of a run of the target, 0 where nothing was found, and what it printed.

    What it found is put into `folder`. `code` is where the code lies that is fuzzed.
    """
    target = TARGETS[name]
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    target.make_corpus(corpus)
    completed = subprocess.run(
        [
            sys.executable,
            HERE / target.script,
            code or target.code,
            f"-artifact_prefix={folder}/",
            "-max_len=400",
            *options,
            corpus,
        ],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        encoding="utf-8",
        errors="replace",
        timeout=timeout,
        check=False,
    )
    return completed.returncode, completed.stdout
