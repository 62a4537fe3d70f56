"""Starts cuts.py on MicroPython and reads what it found."""

import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

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
    guard: Path | None = None,
    file_system: str = "VfsLfs2",
) -> Counts:
    """Cuts in every `stride`th operation of `scenario`, and in every `stride`th of the boots after it."""
    arguments = [scenario, "doubles" if doubles else "singles", part, parts, stride, file_system]
    completed = subprocess.run(
        [
            find_micropython(),
            "-X",
            "heapsize=16m",
            HERE / "cuts.py",
            FIRMWARE,
            guard or FIRMWARE / "guard",
            *map(str, arguments),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        encoding="utf-8",
        check=False,
    )
    lines = completed.stdout.splitlines()
    found = re.fullmatch(r"(\d+) cuts, (\d+) double cuts, (\d+) bad", lines[-1] if lines else "")
    # The exit status alone proves nothing: MicroPython gives 0 for a script that it never ran.
    if completed.returncode != 0 or found is None:
        raise RuntimeError(f"{scenario}: the run did not come to its end:\n" + "\n".join(lines[-30:]))
    return Counts(*map(int, found.groups()), lines=[line for line in lines if line.startswith("BAD ")])
