"""The command line: arguments, printing and exit statuses. The work is done by the modules that it calls.

Exit statuses: 0, 1 (it failed: one line on stderr, what and what to do), 2 (the command line is wrong), 128 and a
signal's number (143: SIGTERM).
Modules that not every system has are imported inside of the command that needs them.
"""

import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from otalink import __version__
from otalink.errors import OtaError
from otalink_host import (
    attached_cli,
    audit_cli,
    boards_cli,
    cert_cli,
    flash_cli,
    keys_cli,
    peer_cli,
    release_cli,
    reports_cli,
    serve_cli,
    user_cli,
)
from otalink_host.errors import UserError
from otalink_host.terminal import print_line

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Updates for a fleet of MicroPython boards from an FTP server.",
    epilog="To begin: otalink init, then otalink serve.",
)
app.add_typer(release_cli.app, name="release")
app.add_typer(keys_cli.app, name="keys")
app.add_typer(audit_cli.app, name="audit")
app.add_typer(cert_cli.app, name="cert")


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line `arguments`, by default the process's own, and returns the exit status."""
    # A file's name that the terminal cannot show must not end the command.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with _ended_in_good_order():
            app(arguments, prog_name="otalink")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except (UserError, OtaError) as error:
        return _fail(str(error))
    except BrokenPipeError:
        # Whoever read our output has gone; what is still in the buffers has nowhere to go either.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        return 1
    except OSError as error:
        return _fail(f"{error.filename or 'the system'}: {error.strerror or error}")
    except KeyboardInterrupt:
        return _fail("interrupted: run it again to complete it")
    return 0


@app.callback(invoke_without_command=True)
def _otalink(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    if version:
        print_line(f"otalink {__version__}")
        raise typer.Exit


app.command(epilog=serve_cli.INIT_EXAMPLE)(serve_cli.init)
app.command(epilog=serve_cli.SERVE_EXAMPLE)(serve_cli.serve)
app.command(epilog=serve_cli.HEALTH_EXAMPLE)(serve_cli.health)
app.command(help=peer_cli.PEER_HELP, epilog=peer_cli.PEER_EXAMPLE)(peer_cli.peer)
app.command(epilog="Example: otalink fleet fleet.db")(peer_cli.fleet)
app.command(epilog=reports_cli.EXAMPLE)(reports_cli.reports)
app.command(epilog=flash_cli.FLASH_EXAMPLE)(flash_cli.flash)
app.command(help=boards_cli.HELP, epilog=boards_cli.EXAMPLE)(boards_cli.boards)
app.command(epilog=attached_cli.STATUS_EXAMPLE)(attached_cli.status)
app.command(epilog=attached_cli.ROLLBACK_EXAMPLE)(attached_cli.rollback)
app.add_typer(attached_cli.config_app, name="config")
app.add_typer(user_cli.app, name="user")
app.command(epilog=attached_cli.UNPROVISION_EXAMPLE)(attached_cli.unprovision)


@app.command(epilog="Example: otalink vboard board-1 --heap 128k --size 2m --console")
def vboard(
    directory: Annotated[Path, typer.Argument(metavar="DIRECTORY", help="Where the board's flash is kept.")],
    heap: Annotated[str, typer.Option(metavar="SIZE", help="The board's memory.")] = "128k",
    size: Annotated[str, typer.Option(metavar="SIZE", help="The board's flash, at most 256m.")] = "2m",
    console: Annotated[bool, typer.Option("--console", help="Print what the board prints.")] = False,
) -> None:
    """Run a virtual board: MicroPython on this machine, with a flash and a reset of its own (Linux)."""
    from otalink_host.vboard import run_vboard

    run_vboard(directory, heap=heap, size=_size(size), echo=console)


@app.command(epilog="Example: otalink demo")
def demo() -> None:
    """Watch a virtual board update itself from a real server; exit status 1 if anything was not seen (Linux)."""
    from otalink_host.demo import run_demo

    if not run_demo(Console()):
        raise typer.Exit(1)


def _size(text: str) -> int:
    """The bytes that "512k" or "2m" are."""
    units = {"": 1, "k": 1 << 10, "m": 1 << 20}
    number, unit = (text[:-1], text[-1:].lower()) if text[-1:].isalpha() else (text, "")
    if not number.isdecimal() or len(number) > 20 or unit not in units:
        raise typer.BadParameter(
            f"{text}: give bytes, or a number with k or m behind it, as in 2m", param_hint="--size"
        )
    return int(number) * units[unit]


@contextmanager
def _ended_in_good_order() -> Iterator[None]:
    """SIGTERM, and a terminal that is closed, end a command as an exception does: nothing of its own is left behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: Any) -> None:
        # A second one must not end what the first one has begun.
        signal.signal(number, signal.SIG_IGN)
        sys.exit(128 + number)

    numbers = {signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)}
    before = {number: signal.signal(number, end) for number in numbers if signal.getsignal(number) == signal.SIG_DFL}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _fail(line: str) -> int:
    print(f"otalink: {line}", file=sys.stderr)
    return 1
