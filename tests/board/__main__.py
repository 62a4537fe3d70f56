"""`make board-test`: tests whether otalink works on the board that is connected, and writes a report of it.

The board must be one that may be overwritten. Example: make board-test PORT=/dev/ttyUSB0 ARGS="--wifi workshop"
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from getpass import getpass
from pathlib import Path

from board_suite import PATIENCE, STEPS, BoardTest  # what is run as a folder finds its neighbours
from rich.table import Table

from otalink_host.boards import load_boards, usb_ids
from otalink_host.errors import UserError
from otalink_host.ftp_addresses import own_address
from otalink_host.ports import find_port
from otalink_host.terminal import print_line, print_table
from otalink_host.vboard import VirtualBoard

VIRTUAL = "virtual"
VIRTUAL_FLASH = 4 << 20
PASSWORD_VARIABLE = "OTALINK_WIFI_PASSWORD"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="board-test", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", help=f"the board's port, or {VIRTUAL}; by default the one board that is connected")
    parser.add_argument("--wifi", metavar="SSID", help=f"the network to join; its password is in {PASSWORD_VARIABLE}")
    parser.add_argument("--address", help="this machine's address, as the board reaches it")
    parser.add_argument("--report", type=Path, metavar="FILE", help="by default board-test-BOARD-DATE.md")
    parser.add_argument("--steps", metavar="STEP,…", help=f"only these, and what they need: {', '.join(STEPS)}")
    parser.add_argument("--patience", type=float, default=PATIENCE, help="seconds to wait for the board (%(default)g)")
    parser.add_argument("--overwrite", action="store_true", help="also a board that holds files of somebody else's")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    arguments = parser.parse_args()
    steps = arguments.steps.split(",") if arguments.steps else []
    unknown = [step for step in steps if step not in STEPS]
    if unknown:
        parser.error(f"there is no step {unknown[0]}: they are {', '.join(STEPS)}")
    try:
        return _test(arguments, steps)
    except UserError as error:
        print(f"board-test: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("board-test: interrupted: run it again, and it removes what it put on the board", file=sys.stderr)
    return 1


def _test(arguments: argparse.Namespace, steps: list[str]) -> int:
    with _connected(arguments.port) as port:
        address = "127.0.0.1" if arguments.port == VIRTUAL else arguments.address or own_address()
        if address is None:
            raise UserError("this machine is in no network: join the one that the board is to use, or name --address")
        if not (arguments.yes or arguments.port == VIRTUAL):
            _ask(port)
        wifi = _wifi(arguments.wifi)
        test = BoardTest(port, address, wifi=wifi, overwrite=arguments.overwrite, patience=arguments.patience, say=_say)
        test.check_owner()
        report = test.run(steps)
    path = arguments.report or Path(report.filename(date.today()))
    try:
        path.write_text(report.markdown(date.today()), encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}): name another with --report") from None
    table = Table("step", "outcome", title="The board test", title_justify="left")
    for outcome in report.outcomes:
        table.add_row(outcome.step, outcome.state)
    figures = Table("figure", "value", "unit")
    for name, (value, unit) in report.figures.items():
        figures.add_row(name, value, unit)
    print_line("")
    print_table(table)
    if report.figures:
        print_table(figures)
    print_line(f"{report.verdict}\nThe report is in {path}.")
    return 0 if report.passed else 1


@contextmanager
def _connected(port: str | None) -> Iterator[str]:
    if port != VIRTUAL:
        yield port or find_port(usb_ids(load_boards()))
        return
    with (
        tempfile.TemporaryDirectory(prefix="otalink-board-test-") as folder,
        VirtualBoard(Path(folder, "board"), size=VIRTUAL_FLASH) as board,
    ):
        yield board.pty


def _ask(port: str) -> None:
    print_line(f"The test overwrites what is on the board on {port}, and removes at the end what it put there.")
    if not sys.stdin.isatty():
        raise UserError("nobody is there to be asked: add --yes if the board may be overwritten")
    if input("May it be overwritten? [y/N] ").strip().lower() not in ("y", "yes"):
        raise UserError("nothing was done")


def _wifi(ssid: str | None) -> dict[str, str] | None:
    if ssid is None:
        return None
    password = os.environ.get(PASSWORD_VARIABLE)
    if password is None:
        if not sys.stdin.isatty():
            raise UserError(f"the password of {ssid} is missing: put it into {PASSWORD_VARIABLE}")
        password = getpass(f"Password of {ssid}: ")
    return {"ssid": ssid, **({"password": password} if password else {})}


def _say(text: str) -> None:
    print(text, end="", flush=True)


if __name__ == "__main__":
    sys.exit(main())
