"""`make lint` refuses what no board has, where boards run it, and only there."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
LACKING = """
__future__ abc base64 bisect collections.abc contextlib copy dataclasses datetime decimal enum fnmatch functools glob
hmac http.client importlib inspect ipaddress itertools logging operator os.path pathlib queue secrets shutil signal stat
string subprocess tempfile textwrap threading traceback types typing unittest urllib.parse uuid warnings weakref zlib
otalink.no_such_module otalink_host.build
"""


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


def lint_boards(*files: Path, project: Path = PROJECT) -> tuple[int, str]:
    completed = subprocess.run(
        [sys.executable, "host/lint_boards.py", *files], cwd=project, capture_output=True, encoding="utf-8", check=False
    )
    return completed.returncode, completed.stderr


@pytest.mark.parametrize(
    "line",
    [
        "from collections import abc",
        "from os import path",
        "from os import replace",
        "import os\n\nos.makedirs('x')",
        "from socket import create_connection",
    ],
)
def test_a_name_that_boards_lack_is_refused_in_firmware(line: str) -> None:
    name = line.rsplit(maxsplit=1)[-1]
    assert "TID251" in ruff("firmware/otalink/x.py", f"{line}\n\nprint({name})\n")
    assert "TID251" not in ruff("host/otalink_host/x.py", f"{line}\n\nprint({name})\n")


def test_a_module_is_refused_unless_boards_have_it(tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    for number, module in enumerate(LACKING.split()):
        form = ("import {}", "from {} import x", "def f():\n    import {} as y", "__import__({!r})")[number % 4]
        file.write_text(f"import os\n{form.format(module)}\n")
        status, said = lint_boards(file)
        assert status == 1, module
        assert said.startswith(f"{file}:{3 if 'def' in form else 2}: {module} is no module that boards have")
        assert said.count("\n") == 1


def test_what_boards_have_and_what_is_ours_passes(tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    file.write_text(
        "import asyncio, gc, hashlib, json, machine, os, re, socket, ssl, struct, sys, time\n"
        "import otaguard, otalink, otalink.updater, thermostat\nfrom otalink.version import parse_version\n"
        "from micropython import const\nfrom vfs import umount\n__import__('deflate')\n__import__(name)\n"
    )
    assert lint_boards(file) == (0, "")


def test_make_lint_looks_at_all_that_boards_run(tmp_path: Path) -> None:
    printed = subprocess.run(["make", "-n", "lint"], cwd=PROJECT, capture_output=True, encoding="utf-8", check=True)
    assert "python host/lint_boards.py\n" in printed.stdout
    (tmp_path / "host").mkdir()
    shutil.copy(PROJECT / "host" / "lint_boards.py", tmp_path / "host")
    for folder in ("firmware", "tests/firmware"):
        shutil.copytree(PROJECT / folder, tmp_path / folder)
    assert lint_boards(project=tmp_path) == (0, "")
    for folder in ("firmware/otalink", "firmware/guard", "firmware/examples", "tests/firmware"):
        planted = tmp_path / folder / "planted.py"
        planted.write_text("import secrets\n")
        assert lint_boards(project=tmp_path)[0] == 1
        planted.unlink()


@pytest.mark.parametrize("module", ["machine", "network", "esp32"])
def test_only_board_files_of_otalink_import_hardware(tmp_path: Path, module: str) -> None:
    folder = tmp_path / "firmware" / "otalink"
    folder.mkdir(parents=True)
    (tmp_path / "host").mkdir()
    (tmp_path / "firmware" / "guard").mkdir()
    shutil.copy(PROJECT / "host" / "lint_boards.py", tmp_path / "host")
    line = f"def f():\n    import {module}\n"
    for name in ("board.py", "board_radio.py"):
        (folder / name).write_text(line)
    (tmp_path / "firmware" / "guard" / "guard.py").write_text(line)
    assert lint_boards(project=tmp_path) == (0, "")
    for name in ("boarding.py", "network.py"):
        (folder / name).write_text(line)
        status, said = lint_boards(project=tmp_path)
        assert status == 1
        assert said.startswith(f"{folder / name}:2: {module} is hardware, which only board.py and board_*.py import")
        assert said.count("\n") == 1
        (folder / name).unlink()


def test_what_only_cpython_imports_has_to_say_so(tmp_path: Path) -> None:
    lint = [sys.executable, str(Path(__file__).parents[2] / "host" / "lint_boards.py")]
    module = tmp_path / "module.py"
    module.write_text("if True:\n    from codecs import lookup  # only on CPython\n")
    assert subprocess.run([*lint, str(module)], check=False).returncode == 0
    module.write_text("from codecs import lookup\n")
    assert subprocess.run([*lint, str(module)], check=False, stderr=subprocess.DEVNULL).returncode == 1
