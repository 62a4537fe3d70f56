"""Many boards at once: which of the connected boards is which device, and all of them flashed side by side."""

import csv
import json
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from otalink.errors import OtaError
from otalink_host.board_secrets import is_board_name
from otalink_host.cable import Cable
from otalink_host.errors import UserError
from otalink_host.secrets_file import check_mode
from otalink_host.settings import check_account_name
from otalink_host.survey import Board, survey

# Boards that are flashed at once. Each has an mpremote of its own; more than a hub's worth does not go faster.
AT_ONCE = 16
# Columns that say which board is meant; "wifi_ssid" and "wifi_password" say its network, any other a setting.
_WHICH = ("name", "port", "id")
_WIFI = ("wifi_ssid", "wifi_password")


@dataclass(frozen=True)
class Device:
    """A row of the list: what a board is to be called, where or which it is, and `settings` of its own."""

    name: str
    port: str | None = None
    identity: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Match:
    """A device and the board that is it; `board` None: it could not be asked, or there is none; `why` says so then."""

    device: Device
    port: str | None
    board: Board | None
    why: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of a device: `why` None, it was flashed."""

    device: Device
    port: str | None
    identity: str | None
    why: str | None


def load_devices(path: Path) -> list[Device]:
    """The devices in the CSV file `path`, whose first line names the columns. Raises UserError with the line."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            columns = [column.strip() for column in reader.fieldnames or ()]
            if "name" not in columns:
                raise UserError(f"{path}: its first line must name the columns, and one of them must be name")
            if "wifi_password" in columns or "password" in columns:
                check_mode(path, path.stat().st_mode)
            reader.fieldnames = columns
            devices = [_device(path, reader.line_num, row) for row in reader]
    except FileNotFoundError:
        raise UserError(f"there is no {path}: make it, with a first line such as name,port,wifi_ssid") from None
    except (OSError, UnicodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read as CSV: {getattr(error, 'strerror', None) or error}") from None
    for key in ("name", "port", "identity"):
        seen: dict[str, Device] = {}
        for device in devices:
            value = getattr(device, key)
            if value is not None and value in seen:
                raise UserError(f"{path}: {key} {value} comes twice: each line is a board of its own")
            seen[value] = device
    if not devices:
        raise UserError(f"{path} names no device: write a line for each behind the first")
    return devices


def _device(path: Path, line: int, row: dict[str | None, Any]) -> Device:
    place = f"{path}:{line}"
    if None in row:
        raise UserError(f"{place}: it has more fields than the first line names: put those that hold a comma in quotes")
    values = {str(key): (value or "").strip() for key, value in row.items()}
    name = _checked_name(place, values["name"])
    identity = values.get("id", "").lower().replace(":", "")
    if not re.fullmatch(r"([0-9a-f]{2})*", identity):
        raise UserError(f"{place}: id {values['id']!r} is none: write the digits that `otalink status` shows")
    settings: dict[str, Any] = {}
    for key, value in values.items():
        if not value or key in _WHICH or key in _WIFI:
            continue
        try:
            settings[key] = json.loads(value)
        except ValueError:
            settings[key] = value
    if values.get("wifi_ssid"):
        settings["wifi"] = {"ssid": values["wifi_ssid"], "password": values.get("wifi_password", "")}
    elif values.get("wifi_password"):
        raise UserError(f"{place}: there is a wifi_password and no wifi_ssid")
    return Device(name, values.get("port") or None, identity or None, settings)


def _checked_name(place: str, name: str) -> str:
    try:
        check_account_name(name)
    except ValueError as error:
        raise UserError(f"{place}: name {name!r}: it must be {error}") from None
    assert is_board_name(name)
    return name


def match(devices: Sequence[Device] | None, ports: Sequence[str], name: str) -> list[Match]:
    """Which board is which device: by its port, by its unique id, by the name that it has been given before; then the
    devices that are left get the boards that are left, in the order of both.

    `devices` None: each board is one, called `name` and its unique id. `ports` are those of the boards that are
    connected, apart from those that devices name.
    """
    every = list(dict.fromkeys([device.port for device in devices or () if device.port] + list(ports)))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        asked = dict(zip(every, pool.map(_ask, every), strict=True))
    if devices is None:
        return [_unnamed(name, port, found) for port, found in asked.items()]
    matches: dict[str, Match] = {}
    free = dict(asked)

    def claim(device: Device, port: str) -> None:
        found = free.pop(port)
        board, why = (found, None) if isinstance(found, Board) else (None, found)
        matches[device.name] = Match(device, port, board, why)

    for device in devices:
        if device.port is not None:
            claim(device, device.port)
    rules: tuple[Callable[[Device, Board], bool], ...] = (
        lambda device, board: device.identity is not None and device.identity == board.identity,
        lambda device, board: device.identity is None and device.name == board.device,
        # A board that is another device's, which is not here, is not taken for this one.
        lambda device, board: device.identity is None and board.device is None,
    )
    for rule in rules:
        for device in devices:
            if device.name in matches:
                continue
            fitting = (port for port, found in free.items() if isinstance(found, Board) and rule(device, found))
            port = next(fitting, None)
            if port is not None:
                claim(device, port)
    missing = "no board is left for it: connect it, or name its port in the list"
    absent = "the board with that id is not connected"
    result = [
        matches.get(device.name) or Match(device, None, None, absent if device.identity else missing)
        for device in devices
    ]
    # Boards that cannot be asked, or that no line of the list is for, are told, too.
    for port, found in free.items():
        if isinstance(found, str):
            result.append(Match(Device("?"), port, None, found))
    return result


def _unnamed(name: str, port: str, found: Board | str) -> Match:
    if isinstance(found, str):
        return Match(Device("?"), port, None, found)
    if found.device is None and found.identity is None:
        return Match(Device("?"), port, None, "it has no unique id to be called by: name it in a list, with --devices")
    return Match(Device(found.device or f"{name}-{found.identity}"), port, found)


def _ask(port: str) -> Board | str:
    try:
        return survey(Cable(port))
    except UserError as error:
        return str(error)


def provision(matches: Sequence[Match], flash: Callable[[Match], Board]) -> list[Outcome]:
    """Calls `flash` for each device that has a board, side by side; it raises UserError, one line, when that fails."""

    def run(each: Match) -> Outcome:
        identity = each.board.identity if each.board is not None else None
        if each.why is not None:
            return Outcome(each.device, each.port, identity, each.why)
        try:
            flash(each)
        except (UserError, OtaError) as error:
            return Outcome(each.device, each.port, identity, str(error))
        except OSError as error:
            return Outcome(each.device, each.port, identity, f"{error.filename}: {error.strerror}")
        return Outcome(each.device, each.port, identity, None)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(run, matches))
