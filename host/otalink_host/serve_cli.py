"""`otalink init`, `otalink serve` and `otalink health`: arguments, printing, signals. The work is done by accounts.py,
server.py and supervisor.py.
"""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from otalink_host import accounts, ftp_addresses, server, systemd
from otalink_host.audit import open_audit, writers
from otalink_host.cert_cli import Names, make
from otalink_host.cli_options import Config, check_private
from otalink_host.counters import Counters
from otalink_host.errors import UserError
from otalink_host.events import Events
from otalink_host.health import check_health
from otalink_host.log_output import logged_to_stdout
from otalink_host.settings import CONFIG_NAME, Settings, check_address, load_settings
from otalink_host.terminal import print_line
from otalink_host.tls_context import server_context

INIT_EXAMPLE = "Example: otalink init --directory update-server --name updates.example.com"
SERVE_EXAMPLE = "Example: otalink serve --address 192.168.0.10 --port 2121 --firewall"
# So many accounts are shown when the server starts; a fleet has hundreds.
GREETED = 3
HEALTH_EXAMPLE = "Example: otalink health --config update-server/otalink.toml"

Address = Annotated[str | None, typer.Option(metavar="IP", help="Listen on this address of the machine instead.")]
Port = Annotated[int | None, typer.Option(min=0, max=65535, help="Listen on this port instead; 0 takes a free one.")]


def init(
    directory: Annotated[
        Path, typer.Option("--directory", metavar="DIR", help="Where the server is to live.")
    ] = Path(),
    name: Names = None,
) -> None:
    """Make a server: its settings, an account for the boards, an empty release folder, and a certificate for TLS."""
    config, secrets, hashes, releases = accounts.create_server_folder(directory)
    print_line(f"Made {config}: the settings, with what each means.")
    print_line(f"Made {secrets}: the password of the account board. Keep it to yourself and out of version control.")
    print_line(f"Made {hashes}: the hash of that password, which is all that the server reads.")
    print_line(f"Made {releases}: the folder that boards are updated from.")
    make(load_settings(config), name)
    option = "" if directory == Path() else f" --config {config}"
    print_line("\nNext:")
    print_line(f"  otalink release publish DIR{option}   puts the files in DIR there as a release")
    print_line(f"  otalink serve{option}                 serves it to the boards")


def serve(
    config: Config = Path(CONFIG_NAME),
    address: Address = None,
    port: Port = None,
    firewall: Annotated[bool, typer.Option("--firewall", help="Print what opens the ports in the firewall.")] = False,
    unit: Annotated[bool, typer.Option("--systemd", help="Print a unit for systemd, and serve nothing.")] = False,
) -> None:
    """Serve releases to boards by FTP and FTPS, until Ctrl-C. SIGHUP has the settings read again."""

    def check(served: Settings) -> None:
        check_private(config, None, served.folders)

    def read() -> Settings:
        settings = _overridden(load_settings(config), address, port)
        check(settings)
        return settings

    settings = read()
    if unit:
        print_line(systemd.unit(settings).rstrip())
        return
    if adopted := accounts.adopt_passwords(settings):
        count = "the password" if len(adopted) == 1 else f"{len(adopted)} passwords"
        print_line(f"Hashed {count} of {settings.secrets} into {settings.hashes}, which is all that the server reads.")
    hashes = accounts.require_hashes(settings)
    if settings.tls.mode != "off":
        server_context(settings.tls)
    server.have_descriptors(settings.sessions)
    events = Events(Counters(settings.workers + 1))
    listeners = server.Listeners.open(settings)
    shared: dict[str, Any] = {
        "reread": accounts.ChangedAccounts(settings, check),
        "rehashed": accounts.Rehash(settings),
        "read_again": read,
        "listeners": listeners,
        "events": events,
    }
    bound = listeners.control[0].getsockname()[1]

    def begin() -> None:
        # When signals are taken: whoever reads this may send one.
        if settings.log_format == "text":
            _greet(settings, bound, firewall)
            sys.stdout.flush()
        events.counters.set("started", int(time.time()))
        events.told("start", f"serving on {', '.join(settings.addresses)} port {bound}", outcome="ok")

    try:
        with logged_to_stdout(settings.log_format):
            if settings.workers > 1:
                with _recorded(settings, events, "server", lambda name: False):
                    _serve_by_several(settings, hashes, shared, begin)
                    events.told("stop", "stopped", outcome="ok")
            else:
                running = server.FtpServer(settings, hashes, **shared)
                with _recorded(settings, events, "server", running.knows):
                    with running, _on_signals(running.finish, running.reload):
                        begin()
                        running.run()
                    events.told("stop", "stopped", outcome="ok")
    finally:
        listeners.close()
    if settings.log_format == "text":
        print_line("Stopped.")


def health(config: Config = Path(CONFIG_NAME), address: Address = None, port: Port = None) -> None:
    """Ask the server whether it serves: exit status 0 if it does, 1 if not. Nobody is logged in."""
    settings = _overridden(load_settings(config), address, port)
    place = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.addresses[0], settings.addresses[0])
    said = check_health(place, settings.port, tls=settings.tls.mode != "off")
    print_line(f"It serves on {place} port {settings.port}: {said}")


def _overridden(settings: Settings, address: str | None, port: int | None) -> Settings:
    if address is not None:
        try:
            settings = replace(settings, addresses=(check_address(address),))
        except ValueError as error:
            raise typer.BadParameter(f"{address}: it must be {error}", param_hint="--address") from None
    return settings if port is None else replace(settings, port=port)


def _serve_by_several(
    settings: Settings, hashes: dict[str, str], shared: dict[str, Any], begin: Callable[[], None]
) -> None:
    from otalink_host.supervisor import Supervisor

    events: Events = shared["events"]
    parent = os.getpid()

    # A process that is started again has what the others have by then.
    current = settings

    def work(index: int) -> None:
        # Ctrl-C in a terminal reaches every process: the first one passes it on.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        running = server.FtpServer(current, hashes, worker=index, parent=parent, **shared)
        # Its place in the chains is that of the process before it, when that has died.
        with (
            _recorded(current, events, writers(current)[index + 1], running.knows),
            running,
            _on_signals(running.finish, running.reload, numbers=(signal.SIGTERM,)),
        ):
            if supervisor.stopping:
                running.finish()
            running.run()

    def may_reload() -> bool:
        nonlocal current
        try:
            changed: Settings = shared["read_again"]()
            if changed.tls.mode != "off":
                server_context(changed.tls)
        except UserError as error:
            events.warn("reload_failed", f"the settings stay as they were: {error}", outcome="failed")
            return False
        current = server.changed_while_running(settings, changed)
        return True

    supervisor = Supervisor(settings.workers, work, events, settings.stop_timeout)
    with _on_signals(supervisor.stop, supervisor.reload):
        begin()
        # What still waits to be accepted is to hear at once that nobody will.
        supervisor.run(may_reload, shared["listeners"].close)


@contextmanager
def _recorded(settings: Settings, events: Events, writer: str, knows: Callable[[str], bool]) -> Iterator[None]:
    """Has the audit log record what is told to `events`, as `writer`."""
    if settings.audit is None:
        yield
        return
    with open_audit(settings.audit, knows, writer=writer) as log:
        events.audit = log
        if log.damage is not None:
            events.warn("audit_damaged", log.damage, outcome="failed")
        try:
            yield
        finally:
            events.audit = None


def _greet(settings: Settings, port: int, firewall: bool) -> None:
    every = settings.addresses[0] in ftp_addresses.EVERY_ADDRESS
    address = ftp_addresses.address_for_boards(settings)
    print_line(
        f"Serving on {'every address of this machine' if every else ', '.join(settings.addresses)}, port {port}."
    )
    if settings.tls.mode != "off":
        ca = f"; boards check the server by {settings.tls.ca}" if settings.tls.ca else ""
        print_line(f"TLS is {settings.tls.mode}{ca}.")
    if address is None:
        print_line("This machine is in no network now: boards cannot reach it.")
    kept = f"the password is in {settings.secrets}" if settings.secrets and settings.secrets.exists() else None
    for account in settings.accounts[:GREETED]:
        if account.disabled:
            print_line(f"\nThe account {account.name} is disabled.")
            continue
        hint = kept if account.role == "board" else None
        print_line(f"\nA {account.role} uses{f' ({hint})' if hint else ''}:")
        print_line(f"  address       {address or '127.0.0.1'}")
        print_line(f"  port          {port}")
        print_line(f"  user          {account.name}")
        for path, folder in account.mounts.items():
            print_line(f"  virtual path  {path}   which is the folder {folder}")
        if account.role == "board":
            values = ftp_addresses.board_settings(settings, account, port)
            print_line(f"In its /otalink.json: {json.dumps(values)[1:-1]}")
    more = len(settings.accounts) - GREETED
    if more > 0:
        print_line(f"\nand {more} more {'account' if more == 1 else 'accounts'}: `otalink user list` shows them.")
    if firewall:
        for name, commands in ftp_addresses.firewall_commands(settings, port):
            print_line(f"\n{name}:")
            for command in commands:
                print_line(f"  {command}")
    print_line("\nCtrl-C ends it.")


@contextmanager
def _on_signals(
    finish: Callable[[], None],
    reload: Callable[[], None],
    numbers: tuple[int, ...] = (signal.SIGINT, signal.SIGTERM),
) -> Iterator[None]:
    """Has `numbers` call `finish`, and SIGHUP, where there is one, `reload`."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    in_terminal = sys.stdout.isatty()

    def hang_up(number: int, frame: Any) -> None:
        # It comes as well when the terminal is closed, and then there is nobody to end the server.
        if in_terminal and not os.isatty(1):
            finish()
        else:
            reload()

    handlers: dict[int, Callable[[int, Any], None]] = {number: lambda number, frame: finish() for number in numbers}
    if hasattr(signal, "SIGHUP"):
        handlers[signal.SIGHUP] = hang_up
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
