"""Starts cuts.py on MicroPython and reads what it found."""

import json
import re
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from otalink_host import keys
from otalink_host.build import build
from otalink_host.micropython import find_micropython

HERE = Path(__file__).parent
FIRMWARE = HERE.parents[1] / "firmware"
SCENARIOS = (
    "update",
    "guard",
    "failing-guard",
    "broken-guard",
    "failing-swap",
    "full",
    "resumed",
    "again",
    "rollback",
    "guard-rollback",
    "unconfirmed",
    "older-plan",
    "file",
    "file-resumed",
    "file-resumed-at-chunk",
    "file-after-another",
    "file-guard",
    "file-full",
)


@dataclass
class Counts:
    """How many cuts were made and how many were bad; `lines` has one for each bad one, which says how to repeat it."""

    cuts: int = 0
    doubles: int = 0
    bad: int = 0
    lines: list[str] = field(default_factory=list)

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.cuts + other.cuts, self.doubles + other.doubles, self.bad + other.bad, self.lines + other.lines
        )

    def __str__(self) -> str:
        return f"{self.cuts} cuts, {self.doubles} double cuts, {self.bad} bad"


def cut(
    scenario: str,
    *,
    doubles: bool,
    part: int = 0,
    parts: int = 1,
    stride: int = 1,
    firmware: Path = FIRMWARE,
    file_system: str = "VfsLfs2",
) -> Counts:
    """Cuts in every `stride`th operation of `scenario`, and in every `stride`th of the boots after it."""
    with TemporaryDirectory() as name:
        releases = Path(name)
        (releases / "served").mkdir()
        _build(scenario, releases)
        depth = "doubles" if doubles else "singles"
        output = _run(firmware, releases / "served", scenario, depth, part, parts, stride, file_system)
    lines = output.splitlines()
    found = re.fullmatch(r"(\d+) cuts, (\d+) double cuts, (\d+) bad", lines[-1] if lines else "")
    if found is None:
        raise RuntimeError(f"{scenario}: the run did not come to its end:\n" + "\n".join(lines[-30:]))
    return Counts(*map(int, found.groups()), lines=[line for line in lines if line.startswith("BAD ")])


def _build(scenario: str, folder: Path) -> None:
    """Puts the release files that the scenario needs, and the key that signed them, into `folder`/served."""
    served = folder / "served"
    _run(FIRMWARE, folder, scenario, "sources", 0, 1, 1, "VfsLfs2")
    signer = _signer()
    (served / "keys.json").write_text(json.dumps(keys.for_boards([signer.key])))
    for source in sorted(folder.glob("[0-9]*")):
        build(source, signer=signer, name="app", version=source.name, compiled=False, output=served)


_lock = threading.Lock()
_signers: list[keys.Signer] = []


def _signer() -> keys.Signer:
    # One key for all of a process: making it takes longer than cutting.
    with _lock, TemporaryDirectory() as name:
        if not _signers:
            keys.create(Path(name), "test")
            _signers.append(keys.load_signer(Path(name), "test", lambda path: b""))
    return _signers[0]


def _run(firmware: Path, releases: Path, scenario: str, *arguments: object) -> str:
    completed = subprocess.run(
        [
            find_micropython(),
            "-X",
            "heapsize=16m",
            HERE / "cuts.py",
            firmware,
            firmware / "guard",
            releases,
            scenario,
            *map(str, arguments),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        encoding="utf-8",
        check=False,
    )
    if completed.returncode != 0:
        raise RuntimeError(f"{scenario}: the run failed:\n{completed.stdout[-3000:]}")
    return completed.stdout
