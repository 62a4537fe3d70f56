"""`otalink peer` and `otalink fleet`: arguments, what is shown, and what is typed. The work is done by peer.py and the
others, which are imported where they are needed: the command line starts quickly.
"""

import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from otalink_host.errors import UserError

if TYPE_CHECKING:
    import asyncio
    import ssl as tls

    from otalink_host.connection import LinkOptions
    from otalink_host.recorder import Recorder

PEER_HELP = "Exchange frames with boards, or with a vendor's devices (note 70), until Ctrl-C: as a server or a client."
PEER_EXAMPLE = (
    "Example: otalink peer --fleet fleet.db --secrets boards.secrets; otalink peer --connect 192.168.0.10; "
    "otalink peer --soak 1000 --interval 1 --size 1500"
)
_SERVER = "As a server"
_CLIENT = "As a client"
_SOAK = "The soak test"


def peer(
    address: Annotated[
        str, typer.Option(metavar="IP", help="Listen on this address of the machine.", rich_help_panel=_SERVER)
    ] = "0.0.0.0",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Listen on this port; 0 takes a free one.")] = 3377,
    clients: Annotated[
        int, typer.Option(min=1, max=100_000, help="So many may be connected at once.", rich_help_panel=_SERVER)
    ] = 30,
    fleet: Annotated[
        Path | None,
        typer.Option("--fleet", metavar="FILE", help="Keep what boards say in this database.", rich_help_panel=_SERVER),
    ] = None,
    secrets: Annotated[
        Path | None,
        typer.Option("--secrets", metavar="FILE", help="The boards' secrets, mode 0600.", rich_help_panel=_SERVER),
    ] = None,
    connect: Annotated[
        str | None,
        typer.Option("--connect", metavar="HOST[:PORT]", help="Be a client of a peer there.", rich_help_panel=_CLIENT),
    ] = None,
    wait: Annotated[
        float | None,
        typer.Option(
            "--wait",
            metavar="SECONDS",
            min=0,
            help="End when the input has, and nothing came for so long.",
            rich_help_panel=_CLIENT,
        ),
    ] = None,
    soak: Annotated[
        int | None,
        typer.Option(
            "--soak", metavar="N", min=1, help="Send N frames, await N, compare the counts.", rich_help_panel=_SOAK
        ),
    ] = None,
    interval: Annotated[
        float, typer.Option(metavar="MS", min=0, help="One each so many milliseconds.", rich_help_panel=_SOAK)
    ] = 10.0,
    size: Annotated[int, typer.Option(metavar="CHARS", help="Of so many characters.", rich_help_panel=_SOAK)] = 1500,
    expect: Annotated[
        int | None,
        typer.Option(
            "--expect", metavar="N", min=0, help="Await so many; 0 from who only counts.", rich_help_panel=_SOAK
        ),
    ] = None,
    profile: Annotated[str, typer.Option(help="utf-16-le, as note 70 has it, or utf-8.")] = "utf-16-le",
    strict: Annotated[bool, typer.Option("--strict", help="Send no @ and ;, which note 70's sample misreads.")] = False,
    short_crc: Annotated[
        bool, typer.Option("--short-crc", help="Take a CRC without its leading zeros, as that sample writes it.")
    ] = False,
    limit: Annotated[int, typer.Option(metavar="BYTES", min=32, help="The receive buffer of a client.")] = 500_000,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.01, help="Give up half a frame after so long.")
    ] = 3.0,
    idle: Annotated[
        float | None, typer.Option("--idle", metavar="SECONDS", min=0.01, help="Disconnect who is silent so long.")
    ] = None,
    echo: Annotated[bool, typer.Option("--echo", help="Send each text back.")] = False,
    answer: Annotated[
        str | None, typer.Option("--answer", metavar="TEXT", help="Answer each text with this one.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Do not print each text and fault.")] = False,
    record: Annotated[
        Path | None, typer.Option("--record", metavar="FILE", help="Append the texts to this file.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Record JSON lines, of all that comes and goes; FILE.jsonl does too.")
    ] = False,
    cert: Annotated[
        Path | None,
        typer.Option("--cert", metavar="FILE", help="TLS, with this certificate.", rich_help_panel=_SERVER),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option("--key", metavar="FILE", help="The certificate's private key.", rich_help_panel=_SERVER),
    ] = None,
    tls: Annotated[bool, typer.Option("--tls", help="Connect by TLS.", rich_help_panel=_CLIENT)] = False,
    ca: Annotated[
        Path | None,
        typer.Option("--ca", metavar="FILE", help="TLS, trusting only this CA.", rich_help_panel=_CLIENT),
    ] = None,
) -> None:
    """See PEER_HELP."""
    from otalink_host import peer_view
    from otalink_host.connection import LinkOptions

    _refuse(echo and answer is not None, "--answer", "it is either --echo or --answer")
    _refuse(soak is not None and (echo or answer is not None), "--soak", "a soak sends its own frames: no --echo")
    _refuse(soak is None and expect is not None, "--expect", "it belongs to --soak")
    _refuse(as_json and record is None, "--json", "it says how to --record: give that too")
    _refuse((cert is None) != (key is None), "--cert, --key", "TLS needs both")
    if connect is None:
        _refuse(tls or ca is not None, "--tls, --ca", "these belong to --connect; a server has --cert and --key")
        _refuse(wait is not None, "--wait", "it belongs to --connect")
    else:
        _refuse(fleet is not None or secrets is not None, "--connect", "a client keeps no --fleet and no --secrets")
        _refuse(cert is not None, "--cert", "it belongs to a server; a client has --tls and --ca")
    try:
        options = LinkOptions(profile, strict, short_crc, limit, timeout, idle_timeout=idle)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    manner = peer_view.Manner(echo=echo, answer=answer, quiet=quiet)
    if answer is not None:
        _check_payload(answer, options)
    plan = None
    if soak is not None:
        from otalink_host.soak import Plan

        plan = Plan(soak, size, interval / 1000, expect)
    with _recorder(record, as_json) as recorder:
        if connect is not None:
            host, host_port = host_and_port(connect, port, "--connect")
            context = _client_tls(ca) if tls or ca is not None else None
            link = peer_view.Target(host, host_port, options, context, recorder)
            if plan is not None:
                good = _run(lambda stop: peer_view.soak_as_client(stop, link, plan))
            else:
                good = _run(lambda stop: peer_view.talk(stop, link, manner, wait))
        else:
            place = peer_view.Place(
                _ip(address), port, clients, options, _server_tls(cert, key), _secrets(secrets), secrets, recorder
            )
            if plan is not None:
                good = _run(lambda stop: peer_view.soak_as_server(stop, place, plan))
            else:
                with _fleet(fleet) as database:
                    good = _run(lambda stop: peer_view.serve(stop, place, manner, database))
    if not good:
        raise typer.Exit(1)


def fleet(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The database that otalink peer --fleet keeps.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with all that is known.")] = False,
    forget: Annotated[
        str | None, typer.Option("--forget", metavar="BOARD", help="Forget this board, until it says hello again.")
    ] = None,
) -> None:
    """List the boards of a fleet: what each runs, what it said last, and when; also while the peer runs."""
    from dataclasses import asdict

    from otalink_host.fleet import Fleet
    from otalink_host.peer_view import fleet_table, print_line, print_table

    if forget is not None:
        with Fleet(file) as database:
            if not database.forget(forget):
                raise UserError(f"{file} knows no board {forget}: otalink fleet {file} lists them")
        print_line(f"Forgot {forget}.")
        return
    with Fleet(file, read_only=True) as database:
        boards = database.boards()
    if as_json:
        print(json.dumps([asdict(board) for board in boards], indent=2))
    elif boards:
        print_table(fleet_table(boards))
    else:
        print_line(f"No board in {file} yet: one comes in when it says hello.")


def _run(main: Any) -> bool:
    """Runs `main(stop)` in an event loop; Ctrl-C and SIGTERM set `stop`. True when it says that all is good."""
    import asyncio

    async def until_stopped() -> bool:
        stop = asyncio.Event()
        with _stopped_by_signals(asyncio.get_running_loop(), stop):
            return bool(await main(stop))

    return asyncio.run(until_stopped())


@contextmanager
def _stopped_by_signals(loop: "asyncio.AbstractEventLoop", stop: "asyncio.Event") -> Iterator[None]:
    """Not by the loop's own means, which Windows does not have."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: Any) -> None:
        loop.call_soon_threadsafe(stop.set)

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _refuse(is_wrong: bool, option: str, why: str) -> None:
    if is_wrong:
        raise typer.BadParameter(why, param_hint=option)


def _check_payload(text: str, options: "LinkOptions") -> None:
    from otalink.frame import encode_frame

    try:
        encode_frame(text, options.profile, options.strict)
    except ValueError as error:
        raise UserError(f"--answer: {error}") from None


def _ip(address: str) -> str:
    from otalink_host.settings import check_address

    try:
        return check_address(address)
    except ValueError as error:
        raise typer.BadParameter(f"{address}: it must be {error}", param_hint="--address") from None


def host_and_port(text: str, port: int, option: str) -> tuple[str, int]:
    """What `option` holds: HOST, HOST:PORT, or an IPv6 address, which has brackets where a port follows it."""
    host, number = text, str(port)
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        number = rest.removeprefix(":") or number
    elif text.count(":") == 1:
        host, number = text.split(":")
    if not host or not number.isdecimal() or len(number) > 5 or not 1 <= int(number) <= 65535:
        raise typer.BadParameter(f"{text}: give HOST or HOST:PORT", param_hint=option)
    return host, int(number)


@contextmanager
def _recorder(path: Path | None, as_json: bool) -> "Iterator[Recorder | None]":
    if path is None:
        yield None
        return
    from otalink_host.recorder import Recorder

    with Recorder(path, as_json=as_json or path.suffix == ".jsonl") as recorder:
        yield recorder


@contextmanager
def _fleet(path: Path | None) -> Iterator[Any]:
    if path is None:
        yield None
        return
    from otalink_host.fleet import Fleet

    with Fleet(path) as database:
        yield database


def _secrets(path: Path | None) -> dict[str, str] | None:
    if path is None:
        return None
    from otalink_host.board_secrets import load_board_secrets

    return load_board_secrets(path)


def _server_tls(cert: Path | None, key: Path | None) -> "tls.SSLContext | None":
    if cert is None or key is None:
        return None
    import ssl

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    for path in (cert, key):
        _check_readable(path)
    try:
        # A server that starts by itself has nobody to ask for a passphrase.
        context.load_cert_chain(cert, key, password=lambda: b"")
    except (ssl.SSLError, OSError):
        raise UserError(
            f"{cert} and {key} are no certificate and its private key: both in PEM form, without a passphrase"
        ) from None
    return context


def _client_tls(ca: Path | None) -> "tls.SSLContext":
    import ssl

    if ca is None:
        return ssl.create_default_context()
    _check_readable(ca)
    try:
        return ssl.create_default_context(cafile=ca)
    except (ssl.SSLError, OSError):
        raise UserError(f"{ca} holds no certificate in PEM form") from None


def _check_readable(path: Path) -> None:
    try:
        path.open("rb").close()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from None
