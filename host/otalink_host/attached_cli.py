"""`otalink status`, `rollback`, `config` and `unprovision`: arguments and what is shown. attached.py does the work."""

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from otalink_host import attached
from otalink_host.attached import Status, Update
from otalink_host.board_secrets import BOARD_SECRETS_NAME, forget_board
from otalink_host.board_settings import (
    is_reference,
    is_secret,
    masked,
    secrets_in,
    value_of,
    with_value,
    without,
)
from otalink_host.boards import load_boards, usb_ids
from otalink_host.cli_options import Config
from otalink_host.errors import UserError
from otalink_host.ports import find_port
from otalink_host.settings import CONFIG_NAME
from otalink_host.terminal import print_line, print_table, progress_bar

# Scripts give a secret setting's value here, or by a file descriptor; a command line is everybody's to read.
VALUE_VARIABLE = "OTALINK_VALUE"
# Lines of the log that are shown.
LOG_LINES = 5

Port = Annotated[
    str | None,
    typer.Option("--port", metavar="PORT", help="The board; by default the one that is connected by USB."),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]

STATUS_EXAMPLE = "Example: otalink status --port /dev/ttyUSB0; otalink status --json"
ROLLBACK_EXAMPLE = "Example: otalink rollback --port /dev/ttyUSB0"
UNPROVISION_EXAMPLE = "Example: otalink unprovision --port /dev/ttyUSB0 --forget"

config_app = typer.Typer(no_args_is_help=True, help="Read and change the settings of a board at the cable.")


def _port(given: str | None) -> str:
    return given if given is not None else find_port(usb_ids(load_boards()))


def _confirm(question: str, yes: bool) -> None:
    """Asks whoever sits there. Raises UserError when nobody does, or the answer is no."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UserError("nobody is here to be asked: say --yes")
    if not typer.confirm(question, err=True):
        raise UserError("nothing was done")


# status


def status(
    port: Port = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all of it as JSON.")] = False,
    log: Annotated[bool, typer.Option("--log", help="Print the whole log, not its last lines.")] = False,
) -> None:
    """Say what a board at the cable is, what it runs, and what is wrong with it; exit status 1 if anything is.

    Its application is stopped meanwhile and started again. During a trial that does not count as one of its boots.
    """
    found = attached.status(_port(port))
    if as_json:
        print(json.dumps({**asdict(found), "faults": found.faults}, indent=2))
    else:
        table = Table(show_header=False, box=None, pad_edge=False)
        for name, text in describe(found, None if log else LOG_LINES):
            table.add_row(name, text)
        print_table(table)
    if found.faults:
        raise UserError(f"{found.port}: {'; '.join(found.faults)}")


def describe(found: Status, log_lines: int | None) -> list[tuple[str, str]]:
    """The lines that show a status, each with what it is about. `log_lines` bounds those of the log."""
    lines = [
        ("port", found.port),
        ("board", f"{found.machine or found.platform}, {found.platform}, id {found.unique_id or 'unknown'}"),
        ("MicroPython", f"{found.micropython}, bytecode {found.bytecode}"),
        ("last reset", _reset(found.reset_cause)),
        ("heap", f"{found.heap_free:,} bytes free without the application"),
        ("flash", f"{found.file_system}, {found.flash_free:,} of {found.flash_total:,} bytes free"),
        ("otalink", _otalink(found)),
    ]
    if found.otalink is None and found.record == "missing" and found.settings is None:
        return lines
    lines += [("boot guard", _guard(found)), ("application", str(found.update.installed or "none is recorded"))]
    lines += [("update", text) for text in _states(found.update)]
    lines += [("files", text) for text in _files(found)]
    lines += [("evidence", f"{name}: {text}") for name, text in found.crashes.items()]
    lines += _about_settings(found)
    lines += [("log", line) for line in (found.log if log_lines is None else found.log[-log_lines:])]
    return lines


def _reset(cause: str | None) -> str:
    if cause is None:
        return "unknown"
    return "a soft one, this command's" if cause == "SOFT_RESET" else cause.removesuffix("_RESET").lower()


def _otalink(found: Status) -> str:
    if found.otalink is None:
        return found.otalink_fault or "unknown"
    path = found.otalink_path or ""
    return f"{found.otalink}, {'frozen into the firmware' if path.startswith('.frozen') else f'in {path}'}"


def _guard(found: Status) -> str:
    calls = "/boot.py calls it" if found.guard_called else "/boot.py does not call it"
    others = [
        f"{name} is {'missing' if how == 'missing' else 'not the one that is here'}"
        for name, how in found.guard.items()
        if how != "same"
    ]
    return "; ".join([calls, *others])


def _states(update: Update) -> list[str]:
    """Where an update is, in words; the first one is the state's name in docs/update.md."""
    texts = {
        "none": "none since it was flashed",
        "trial": f"trial: {update.on_trial}, boot {update.boot} of {attached.TRIAL_BOOTS}",
        "reverted": f"reverted: it went back from {update.failed}",
    }
    lines = [texts.get(update.state, update.state)]
    if update.kept is not None:
        lines.append(f"{update.kept} is kept: `otalink rollback` goes back to it")
    if update.incoming is not None:
        lines.append(f"downloading {update.incoming}")
    return lines


def _files(found: Status) -> list[str]:
    if found.record == "missing":
        return ["unknown: no release is recorded"]
    bad = [(path, "changed") for path in found.changed] + [(path, "missing") for path in found.missing]
    lines = [f"{found.files}, {'as installed' if not bad else f'{len(bad)} of them not as installed'}"]
    if found.record == "damaged":
        lines[0] += ", as far as the record can be read: it is damaged"
    lines += [f"{path}: {how}" for path, how in sorted(bad)]
    return lines + [f"{path}: hidden by {path[:-3]}py" for path in found.hidden]


def _about_settings(found: Status) -> list[tuple[str, str]]:
    if found.settings is None:
        return [("settings", found.settings_fault or "none")]
    settings = found.settings
    server = f"{settings.get('host')}:{settings.get('port', 21)}"
    lines = [("server", f"{server}, folder {settings.get('folder', '/')}, as {settings.get('user', 'anonymous')}")]
    keys = settings.get("keys")
    lines.append(
        ("keys", ", ".join(sorted(keys)) if isinstance(keys, dict) and keys else "none: it installs what nobody signed")
    )
    link = settings.get("link")
    if isinstance(link, dict):
        lines.append(("link", f"{link.get('host')}:{link.get('port', 3377)}, as {link.get('board', found.unique_id)}"))
    wifi = settings.get("wifi")
    if isinstance(wifi, dict):
        lines.append(("Wi-Fi", str(wifi.get("ssid"))))
    if found.settings_fault is not None:
        lines.append(("settings", found.settings_fault))
    return lines


# rollback


def rollback(port: Port = None, yes: Yes = False) -> None:
    """Take a board at the cable back to the release before the one that runs.

    The one that runs is not tried there again until another version is offered.
    """
    device = _port(port)
    before = attached.kept_release(device)
    where = before.kept or "what was there before"
    runs = before.installed or "a release that is not recorded"
    _confirm(f"{device} runs {runs}. Take it back to {where}?", yes)
    print_line(f"going back from {runs} to {where}; restarting")
    after = attached.roll_back(device)
    print_line(f"It runs {after.installed or where}.")
    if after.failed is not None:
        print_line(f"{after.failed} is not tried there again until another version is offered.")


# config


@config_app.command("get", epilog="Example: otalink config get wifi.ssid")
def config_get(
    key: Annotated[str | None, typer.Argument(metavar="[KEY]", help="One setting, such as wifi.ssid.")] = None,
    port: Port = None,
    show_secrets: Annotated[bool, typer.Option("--show-secrets", help="Print passwords and secrets too.")] = False,
) -> None:
    """Print the settings of a board, or one of them; passwords and secrets as ***."""
    settings = attached.read_settings(_port(port))
    value = settings if key is None else value_of(settings, key)
    if not show_secrets:
        value = masked({key: value})[key] if key is not None else masked(value)
    print(value if isinstance(value, str) else json.dumps(value, indent=2))


@config_app.command("set", epilog="Example: otalink config set interval=600 wifi.ssid=shop wifi.password")
def config_set(
    settings: Annotated[
        list[str],
        typer.Argument(
            metavar="KEY=VALUE", help="Settings, as in interval=600; of a password or secret the KEY alone."
        ),
    ],
    port: Port = None,
    descriptor: Annotated[
        int | None,
        typer.Option(
            "--from-fd", metavar="N", min=0, help="Read passwords and secrets from this file descriptor, a line each."
        ),
    ] = None,
) -> None:
    """Change settings of a board, and restart it with them.

    A password or secret is asked for, or comes from --from-fd or OTALINK_VALUE: command lines are everybody's to read.
    """
    values: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        _refuse_keys(key)
        values[key] = _value(key, text) if equals else None
        if not equals and not is_secret(key):
            raise typer.BadParameter(f"{key}: say what it is to be, as in {key}=VALUE")
    hidden = [key for key, value in values.items() if value is None and is_secret(key)]
    values.update(zip(hidden, _secrets(hidden, descriptor), strict=True))

    def change(before: dict[str, Any]) -> dict[str, Any]:
        for key, value in values.items():
            before = with_value(before, key, value)
        return before

    device = _port(port)
    if attached.change_settings(device, change):
        print_line(f"Set {', '.join(values)} on {device}; it restarts with that.")
    else:
        print_line(f"{device} has these settings already.")


@config_app.command("unset", epilog="Example: otalink config unset wifi")
def config_unset(
    keys: Annotated[list[str], typer.Argument(metavar="KEY", help="Settings, such as interval or wifi.password.")],
    port: Port = None,
) -> None:
    """Remove settings of a board, which then has the defaults for them, and restart it."""
    for key in keys:
        _refuse_keys(key)

    def change(before: dict[str, Any]) -> dict[str, Any]:
        for key in keys:
            before = without(before, key)
        return before

    device = _port(port)
    attached.change_settings(device, change)
    print_line(f"Removed {', '.join(keys)} from {device}; it restarts without.")


def _refuse_keys(key: str) -> None:
    if key.partition(".")[0] == "keys":
        raise typer.BadParameter("the keys are given by `otalink flash --key`, and taken away by its --unsigned")


def _value(key: str, text: str) -> Any:
    """What KEY=VALUE says: JSON, else text. A secret must not stand there."""
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    secret = secrets_in(value, key)
    if secret:
        raise typer.BadParameter(
            f"{secret[0]} is a secret, and command lines are everybody's to read: say {secret[0]} alone, and it is "
            f"asked for, or taken from --from-fd or {VALUE_VARIABLE}"
        )
    return value


def _secrets(keys: list[str], descriptor: int | None) -> list[str]:
    """The values of the settings `keys`: from a descriptor, the environment, or whoever sits there."""
    if not keys:
        return []
    if descriptor is not None:
        try:
            with open(descriptor, "rb") as file:
                values = [file.readline().rstrip(b"\r\n").decode() for _ in keys]
        except (OSError, UnicodeError) as error:
            raise UserError(f"file descriptor {descriptor} gives no value ({error})") from None
    elif VALUE_VARIABLE in os.environ:
        if len(keys) > 1:
            raise UserError(f"{VALUE_VARIABLE} is one value, and {' and '.join(keys)} need one each: use --from-fd")
        values = [os.environ[VALUE_VARIABLE]]
    elif sys.stdin.isatty():
        values = [typer.prompt(key, hide_input=True, confirmation_prompt=True, err=True) for key in keys]
    else:
        raise UserError(f"{keys[0]} needs a value: give it by --from-fd or in {VALUE_VARIABLE}")
    for key, value in zip(keys, values, strict=True):
        if not value:
            raise UserError(f"the value for {key} is empty: give one, or remove it with `otalink config unset {key}`")
    return values


# unprovision


def unprovision(
    port: Port = None,
    yes: Yes = False,
    forget: Annotated[
        bool, typer.Option("--forget", help="Remove the board from boards.secrets beside the settings, too.")
    ] = False,
    config: Config = Path(CONFIG_NAME),
) -> None:
    """Wipe the passwords and secrets of a board at the cable from its flash; the application and otalink stay."""
    device = _port(port)
    settings = attached.provisioned_as(device)
    board = _board_name(settings)
    secrets = config.with_name(BOARD_SECRETS_NAME)
    _confirm(f"Wipe the settings, passwords and secrets of {board or 'the board'} on {device}?", yes)
    if forget and board is None:
        print_line(f"It does not say which board of {secrets} it is: remove its line there by hand.")
    elif forget and board is not None:
        known = forget_board(secrets, board)
        print_line(f"removed {board} from {secrets}" if known else f"{board} is not in {secrets}")
    with progress_bar("Writing over the free flash") as progress:
        done = attached.unprovision(device, settings, progress)
    for path in done.removed:
        print_line(f"removed {path}")
    for key in done.erased:
        print_line(f"erased {key} in NVS, which may keep it in its flash until it needs the space")
    for key in done.not_erased:
        print_line(f"{key} is not in NVS")
    print_line(f"wrote over the free flash, {done.filled:,} bytes")
    print_line("Unprovisioned: the application and otalink are on it, without settings; it has been reset.")
    if settings is not None:
        user = settings.get("user", "anonymous")
        print_line(f"Still to do: remove the account {user} on {settings.get('host')}, if no other board uses it.")
    if board is not None and not forget:
        print_line(f"Still to do: remove {board} from {secrets}, or wherever its peer has that.")


def _board_name(settings: dict[str, Any] | None) -> str | None:
    link = (settings or {}).get("link")
    board = link.get("board") if isinstance(link, dict) else None
    return board if isinstance(board, str) and not is_reference(board) else None
