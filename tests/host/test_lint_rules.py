"""`make lint` refuses what no board has, where boards run it, and only there."""

import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]


def ruff(path: str, source: str) -> str:
    completed = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--quiet", "--stdin-filename", path, "-"],
        cwd=PROJECT,
        input=source,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    return completed.stdout


@pytest.mark.parametrize(
    "line",
    [
        "from typing import Any",
        "import dataclasses",
        "from dataclasses import dataclass",
        "import enum",
        "import pathlib",
        "from functools import partial",
        "import contextlib",
        "from __future__ import annotations",
        "from os import path",
        "from os import replace",
        "from socket import create_connection",
    ],
)
def test_a_name_that_boards_lack_is_refused_in_firmware(line: str) -> None:
    name = line.rsplit(maxsplit=1)[-1]
    assert "TID251" in ruff("firmware/otalink/x.py", f"{line}\n\nprint({name})\n")
    assert "TID251" not in ruff("host/otalink_host/x.py", f"{line}\n\nprint({name})\n")
