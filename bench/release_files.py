"""Signed release files, as the host's tools build them, and what the ones that are measured hold."""

import json
import random
from collections.abc import Mapping
from pathlib import Path

from bench.board import publish
from bench.heap import NAME
from otalink_host.build import Built, build
from otalink_host.keys import create, for_boards, load_signer

# What the files of a mix have one after the other, in bytes; on average 8,000.
_SIZES = (1000, 3000, 5000, 6000, 25_000)
_FUNCTION = """
def read_{0}(sensor, limit={1}):
    value = sensor.read_{2}({3}) * {4} // {5}
    return "too high" if value > limit else value
"""
# What such a function is as bytecode, in bytes.
_COMPILED = 74


class Publisher:
    """Builds release files, signed by a key of its own, and puts each into `served` in the place of all that was there.

    `keys` are for the board's settings.
    """

    def __init__(self, work: Path, served: Path) -> None:
        self._source = work / "source"
        self._served = served
        create(work / "keys", "bench")
        self._signer = load_signer(work / "keys", "bench", lambda path: b"")
        self.keys = for_boards([self._signer.key])

    def publish(self, version: str, files: Mapping[str, bytes], compiled: bool = True) -> Built:
        """Builds and publishes the release of `files`, content by path; `compiled` makes .mpy files of the modules."""
        publish(self._source, files, sums=False)
        publish(self._served, {}, sums=False)
        return build(
            self._source, signer=self._signer, name=NAME, version=version, compiled=compiled, output=self._served
        )


def digests(built: Built) -> dict[str, str]:
    """The SHA-256 of each file of a release, by its path on the board."""
    return {file.path: file.digest for file in built.files}


def mix(count: int, seed: int) -> dict[str, bytes]:
    """As many files as an application may have: of five, two modules, a text, a page and an image. The last one alone
    cannot be compressed."""
    found = {}
    for number in range(count):
        rng = random.Random(1000 * seed + number)
        # All kinds come in all sizes.
        size = _SIZES[(number + number // 5) % 5]
        kind = number % 5
        if kind < 2:
            name = f"{NAME}.py" if number == 0 else f"parts/module_{number}.py"
            content = _module(rng, size)
        elif kind < 4:
            name = f"data/text_{number}.json"
            content = _text(rng, size)
        else:
            name = f"data/image_{number}.bin"
            content = rng.randbytes(size)
        found[name] = content
    return found


def small(count: int, seed: int) -> dict[str, bytes]:
    """Files of 100 bytes, fifty in a folder."""
    return {f"part_{n // 50}/file_{n}.bin": random.Random(10_000 * seed + n).randbytes(100) for n in range(count)}


def _module(rng: random.Random, size: int) -> bytes:
    return "".join(
        _FUNCTION.format(*(rng.randrange(10_000) for _ in range(6))) for _ in range(size // _COMPILED)
    ).encode()


def _text(rng: random.Random, size: int) -> bytes:
    lines = []
    while size > 0:
        lines.append(json.dumps({"sensor": rng.randrange(100), "celsius": rng.randrange(5000) / 100}) + "\n")
        size -= len(lines[-1])
    return "".join(lines).encode()
