"""Runs the fuzz target, with a corpus to begin with."""

import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
PROJECT = HERE.parents[1]
FIRMWARE = PROJECT / "firmware"
VECTORS = PROJECT / "docs" / "frame-vectors.json"


def corpus(folder: Path) -> Path:
    """Makes `folder`, with an input for each stream of the vectors that is not long."""
    folder.mkdir(parents=True, exist_ok=True)
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
    return folder


def _parts(stream: bytes) -> list[bytes]:
    return [stream[at : at + 63] for at in range(0, len(stream), 63)]


def fuzz(folder: Path, *options: str, firmware: Path = FIRMWARE, timeout: float | None = None) -> tuple[int, str]:
    """The exit status of a run, 0 where nothing was found, and what it printed. What it found is put into `folder`."""
    completed = subprocess.run(
        [
            sys.executable,
            HERE / "frame_target.py",
            firmware,
            f"-artifact_prefix={folder}/",
            "-max_len=400",
            *options,
            corpus(folder / "corpus"),
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
