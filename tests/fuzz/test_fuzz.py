"""A slice of `make fuzz`, which must find nothing, and bugs that were planted, which it must find."""

import platform
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for fuzzer

from fuzzer import FIRMWARE, HOST, fuzz

# Where requirements.lock has the fuzzer, it is there: these tests are not skipped, they fail without it.
HAS_FUZZER = (
    sys.platform == "linux"
    and platform.machine() == "x86_64"
    and platform.python_implementation() == "CPython"
    and (3, 11) <= sys.version_info[:2] < (3, 15)
)

pytestmark = pytest.mark.skipif(not HAS_FUZZER, reason="there is no atheris for this platform")

# What is replaced in frame.py, and by what.
PLANTED = {
    "what is wrong takes what is in it along": (
        "self._drop(1, self._wrong, min(end, self._end))",
        "self._drop(min(end, self._end) - self._start, self._wrong, min(end, self._end))",
    ),
    "half of an STX at the end of a piece is lost": ("buffer[end - 1] == _STX", "buffer[end - 1] == 1"),
    "a fault is counted again in each piece": (
        "is_new = result != ERROR or not self._is_lost",
        "is_new = True",
    ),
    "the CRC of a span is that of what was there before": ("self._spans.moved(start)", "pass"),
}


def test_a_slice_finds_nothing(tmp_path: Path) -> None:
    status, output = fuzz("frame", tmp_path, "-runs=4000", "-seed=70", timeout=100)
    assert status == 0, output
    assert "Done 4" in output, output


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_bug_is_found(planted: str, tmp_path: Path) -> None:
    shutil.copytree(FIRMWARE / "otalink", tmp_path / "firmware" / "otalink")
    frame = tmp_path / "firmware" / "otalink" / "frame.py"
    source = frame.read_text(encoding="utf-8")
    right, wrong = PLANTED[planted]
    assert source.count(right) == 1
    frame.write_text(source.replace(right, wrong), encoding="utf-8")
    status, output = fuzz("frame", tmp_path, "-runs=50000", "-seed=70", code=tmp_path / "firmware", timeout=100)
    assert status != 0, output
    assert "AssertionError" in output, output
    assert list(tmp_path.glob("crash-*"))


# As above, in a file of otalink_host.
PLANTED_IN_HOST = {
    "links lead out of the folder": (
        "ftp_filesystem.py",
        "        if not self._inside(real):\n",
        "        if False:\n",
    ),
    "commands are run behind the end": (
        "ftp_turns.py",
        "if self._closed or self._closing or self._quit_pending:",
        "if self._quit_pending:",
    ),
    "who gave a wrong password is never heard again": (
        "ftp_login.py",
        "if self._fileno not in self.ioloop.socket_map:",
        "if right and self._fileno not in self.ioloop.socket_map:",
    ),
    "a path that is not there is a fault": (
        "ftp_filesystem.py",
        "        except (OSError, FilesystemError):\n            return False\n",
        "        except FilesystemError:\n            return False\n",
    ),
}


def test_a_slice_of_sessions_finds_nothing(tmp_path: Path) -> None:
    status, output = fuzz("ftp", tmp_path, "-runs=100", "-seed=70", timeout=100)
    assert status == 0, output
    assert "Done 100" in output, output


@pytest.mark.parametrize("planted", PLANTED_IN_HOST)
def test_a_bug_that_was_planted_in_the_server_is_found(planted: str, tmp_path: Path) -> None:
    shutil.copytree(HOST / "otalink_host", tmp_path / "host" / "otalink_host")
    name, right, wrong = PLANTED_IN_HOST[planted]
    file = tmp_path / "host" / "otalink_host" / name
    source = file.read_text(encoding="utf-8")
    assert source.count(right) == 1
    file.write_text(source.replace(right, wrong), encoding="utf-8")
    status, output = fuzz("ftp", tmp_path, "-runs=3000", "-seed=70", code=tmp_path / "host", timeout=100)
    assert status != 0, output
    assert "AssertionError" in output, output
    assert list(tmp_path.glob("crash-*"))
