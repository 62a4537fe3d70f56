"""`make board-test` on a virtual board: every step is ok there; where something is wrong, it fails and says why."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from otalink_host.vboard import VirtualBoard

HERE = Path(__file__).parent
GUARD = HERE.parents[1] / "firmware" / "guard"
sys.path.insert(0, str(HERE))  # for the suite

from board_report import FAILED, LEFT_OUT, NOT_POSSIBLE, OK, Outcome, Report  # noqa: E402 - as above
from board_suite import STEPS, BoardTest, needed_modules  # noqa: E402

# Name and unit of each figure; some boards cannot tell the last one.
FIGURES = {
    "frequency": "MHz",
    "heap": "KiB",
    "flash: size of the file system": "KiB",
    "flash: free before the test": "KiB",
    "network: round trip": "ms",
    "FTP: 100,000 bytes to the flash, buffer 512": "MB/s",
    "FTP: 100,000 bytes to the flash, buffer 4,096": "MB/s",
    "FTP: 1,000,000 bytes to the flash, buffer 512": "MB/s",
    "FTP: 1,000,000 bytes to the flash, buffer 4,096": "MB/s",
    "SHA-256": "MB/s",
    "flash: writing": "MB/s",
    "flash: reading": "MB/s",
    "CRC-32": "MB/s",
    "frame of 100 characters: encode": "ms",
    "frame of 100 characters: decode": "ms",
    "deflate, bytes that come out": "MB/s",
    "RSA-3072: verification": "ms",
    "link: a text and its echo": "ms",
    "heap free: nothing imported": "KiB",
    "heap free: otalink and asyncio imported": "KiB",
    "heap free: Updater, Link and Reporter made": "KiB",
    "heap free: all three at work, after a check": "KiB",
    "boot guard: a boot with nothing to do": "ms",
    "flash: free with otalink on it": "KiB",
    "flash: bytes written by an update": "",
}


class Done:
    """What a run of the command printed, how it ended, and its report as rows of cells."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        report = folder / "report.md"
        completed = subprocess.run(
            [sys.executable, str(HERE), "--report", str(report), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        self.status = completed.returncode
        self.output, self.errors = completed.stdout, completed.stderr
        lines = report.read_text(encoding="utf-8").splitlines() if report.exists() else []
        self.rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
        self.report = "\n".join(lines)

    def outcome(self, step: str) -> list[str]:
        """The state of a step, and what is said of it."""
        return next(row[1:] for row in self.rows if row[0] == STEPS[step].title)


@contextmanager
def a_board(folder: Path, heap: str = "128k", **files: str) -> Iterator[VirtualBoard]:
    """A virtual board that holds these files, boot for /boot.py and so on."""
    with VirtualBoard(folder / "board", heap=heap) as board:
        if files:
            board.mpremote(
                "exec",
                f"for name, text in {files!r}.items():\n    with open(f'/{{name}}.py', 'w') as f: f.write(text)",
            )
        yield board


def on(board: VirtualBoard) -> tuple[str, ...]:
    return ("--port", board.pty, "--address", "127.0.0.1", "--yes", "--patience", "20")


def names_on(board: VirtualBoard) -> set[str]:
    board.stop()
    return board.names()


@pytest.mark.timeout(300)  # half a minute on an idle machine
def test_every_step_is_ok_on_a_virtual_board_and_the_report_has_every_figure(tmp_path: Path) -> None:
    done = Done(tmp_path, "--port", "virtual")
    assert [done.outcome(step)[0] for step in STEPS] == [OK] * len(STEPS), done.output
    assert done.status == 0
    found = {row[0]: row[1:] for row in done.rows[len(STEPS) :] if row[0] in FIGURES}
    assert {name: (cells[1:] or [""])[0].strip("| ") for name, cells in found.items()} == FIGURES
    numbers = [cells[0] for name, cells in found.items() if FIGURES[name]]
    assert all(float(number.replace(",", "")) > 0 for number in numbers), numbers
    assert "3 tries of 1.0.0.3, then 1.0.0.2 again" in done.outcome("crash")[1]
    assert "nothing of hardware" in done.report
    assert "The report is in" in done.output


def test_a_heap_that_is_too_small_fails_the_update_with_a_line_that_says_so(tmp_path: Path) -> None:
    with a_board(tmp_path, heap="68k") as board:
        done = Done(tmp_path, *on(board), "--steps", "update,swap")
        names = names_on(board)
    assert done.outcome("update")[0] == FAILED
    assert re.search("the memory is too small for the update", done.outcome("update")[1])
    assert done.outcome("swap") == [NOT_POSSIBLE, f"it needs the step {STEPS['update'].title!r}"]
    assert done.outcome("cleanup")[0] == OK
    assert names == set()
    assert done.status == 1
    assert "Traceback" not in done.output + done.errors


class WrongByte(BoardTest):
    """Serves a file in which a byte is another than that of which the board is told the SHA-256."""

    def _serve(self, name: str, content: bytes) -> None:
        super()._serve(name, content[:5000] + bytes([content[5000] ^ 1]) + content[5001:])


def test_a_wrong_file_and_a_firmware_without_deflate_fail_their_steps_and_no_others(tmp_path: Path) -> None:
    boot = (GUARD / "boot.py").read_text(encoding="utf-8") + "import sys\nsys.modules['deflate'] = object()\n"
    with a_board(tmp_path, boot=boot) as board:
        test = WrongByte(board.pty, "127.0.0.1")
        test.check_owner()
        report = test.run(["modules", "ftp", "speed", "signature"])
        names = names_on(board)
    found = {name: each for name, each in zip(STEPS, report.outcomes, strict=True) if each.state != LEFT_OUT}
    failed = {name: each.text for name, each in found.items() if each.state != OK}
    assert list(failed) == ["modules", "ftp", "speed"]
    assert failed["modules"] == "this MicroPython lacks deflate.DeflateIO"
    assert failed["ftp"] == "what came has not the SHA-256 of what was served"
    assert "DeflateIO" in failed["speed"]
    assert found["signature"].state == OK
    # What was measured before it failed is in the report.
    assert "SHA-256" in report.figures
    assert "deflate, bytes that come out" not in report.figures
    assert not report.passed
    # A boot.py that does something of its own was left alone.
    assert names == {"/boot.py"}


def test_a_board_of_somebody_elses_is_left_alone(tmp_path: Path) -> None:
    with a_board(tmp_path, main="print('mine')\n", boot="import network\n") as board:
        done = Done(tmp_path, *on(board))
        assert names_on(board) == {"/main.py", "/boot.py"}
    assert done.status == 1
    assert done.rows == []
    assert done.errors == (
        "board-test: the board holds /main.py, /boot.py, which the test would overwrite: save what you need of it, "
        "then add --overwrite\n"
    )


@pytest.mark.parametrize(
    ("arguments", "status", "line"),
    [
        (("--port", "no-such-port", "--address", "127.0.0.1", "--yes"), 1, "there is no such port"),
        (("--port", "no-such-port", "--address", "127.0.0.1"), 1, "add --yes if the board may be overwritten"),
        (("--port", "virtual", "--wifi", "shop"), 1, "put it into OTALINK_WIFI_PASSWORD"),
        (("--port", "virtual", "--steps", "board,upgrade"), 2, "there is no step upgrade"),
    ],
)
def test_a_mistake_gets_one_line(tmp_path: Path, arguments: tuple[str, ...], status: int, line: str) -> None:
    done = Done(tmp_path, *arguments)
    assert done.status == status
    assert line in done.errors.splitlines()[-1]
    assert "Traceback" not in done.errors


def test_the_modules_that_are_looked_for_are_those_that_otalink_imports() -> None:
    assert {"asyncio", "deflate", "hashlib", "machine", "socket", "vfs"} <= needed_modules()
    assert "framebuf" not in needed_modules()


def test_only_a_whole_report_of_hardware_is_good_for_the_label() -> None:
    ok, failed = Outcome("link", OK, ""), Outcome("link", FAILED, "why")
    label = "verified on hardware"
    assert label in Report("0.1.0", False, outcomes=[ok]).verdict
    assert label not in Report("0.1.0", True, outcomes=[ok]).verdict
    assert label not in Report("0.1.0", False, outcomes=[ok, Outcome("network", NOT_POSSIBLE, "why")]).verdict
    assert label not in Report("0.1.0", False, outcomes=[ok, failed]).verdict
    assert Report("0.1.0", False, outcomes=[ok, Outcome("network", NOT_POSSIBLE, "why")]).passed
    assert not Report("0.1.0", False, outcomes=[ok, failed]).passed
    assert not Report("0.1.0", False, outcomes=[Outcome("network", NOT_POSSIBLE, "why")]).passed
