"""A board's settings, `/otalink.json`, as the host handles them: checked, changed, and shown without their secrets.

They are the JSON object that the file holds. A key may be dotted, as in wifi.ssid. It prints nothing, and no message of
it holds a secret.
"""

import json
from collections.abc import Collection, Iterator
from typing import Any

from otalink import link_setup
from otalink.config import PATH, configure
from otalink_host.errors import UserError
from otalink_host.toml_file import suggestion

# The last part of a key whose value nobody else may know.
_SECRET = ("password", "secret")
# What stands for such a value where it is shown.
MASK = "***"


def check_settings(settings: dict[str, Any], tolerated: Collection[str] = ()) -> None:
    """Refuses what no board takes; and what it would pass over, as a newer otalink's, which is a slip here.

    Unknown keys that are `tolerated` pass. Raises UserError.
    """
    try:
        config: Any = configure(settings)
    except ValueError as error:
        raise UserError(f"the board's settings: {error}") from None
    slips = [key for key in config.unknown if key not in tolerated]
    if slips:
        known = sorted(key for key in vars(config) if _is_known(key))
        raise UserError(f"the board's settings: {slips[0]!r} is not known: {suggestion(slips[0], known)}")


def _is_known(key: str) -> bool:
    try:
        config: Any = configure({"name": "x", "host": "x", key: None})
        return key not in config.unknown
    except ValueError:  # it must not be that
        return True


def check_link(settings: dict[str, Any]) -> None:
    """Refuses an object "link" of which no board makes a link, as `otalink.Link` does. Raises UserError."""
    link = settings.get("link")
    if link is None:
        return
    if isinstance(link, dict):
        # The certificate lies on the board, where its own name stands in for a missing one, and so may a secret.
        link = {key: "elsewhere" if is_reference(value) else value for key, value in link.items()}
        link = {"board": "elsewhere", **{key: link[key] for key in link if key not in ("ca", "server_name")}}
    board: Any = link_setup
    try:
        board.load({"link": link})
        board.identity({"link": link})
    except ValueError as error:
        raise UserError(f"the board's settings: {error}") from None


def parse_settings(content: bytes) -> dict[str, Any]:
    """The settings that `/otalink.json` holds. Raises UserError when it holds none."""
    try:
        settings = json.loads(content.decode())
    except ValueError:  # UnicodeDecodeError is one
        raise UserError(f"{PATH} on the board is no JSON: put otalink on it again with `otalink flash`") from None
    if not isinstance(settings, dict):
        raise UserError(f"{PATH} on the board is no JSON object: put otalink on it again with `otalink flash`")
    return settings


def format_settings(settings: dict[str, Any]) -> bytes:
    """What `/otalink.json` holds of these settings."""
    return (json.dumps(settings, indent=2) + "\n").encode()


# Secrets


def is_secret(key: str) -> bool:
    """True when the value of the (dotted) `key` is a secret."""
    return key.rpartition(".")[2] in _SECRET


def is_reference(value: object) -> bool:
    """True when `value` says where the board keeps the value itself: {"nvs": "NAMESPACE/KEY"}."""
    return isinstance(value, dict) and list(value) == ["nvs"] and isinstance(value["nvs"], str)


def references(settings: dict[str, Any]) -> list[tuple[str, str]]:
    """The (namespace, key) of each value that the board keeps in its NVS (ESP32)."""
    found = [value["nvs"].partition("/") for _, value in _walk(settings) if is_reference(value)]
    return sorted({(namespace, key) for namespace, _, key in found})


def secrets_in(value: object, key: str) -> list[str]:
    """Which of `key`, if `value` were its value, and of the keys in that have a secret for theirs."""
    return [each for each, found in _walk({key: value}) if is_secret(each) and not is_reference(found)]


def masked(value: Any) -> Any:
    """`value`, settings or a part of them, with MASK in the place of each secret."""
    if isinstance(value, list):
        return [masked(each) for each in value]
    if isinstance(value, dict):
        return {key: MASK if is_secret(key) and not is_reference(each) else masked(each) for key, each in value.items()}
    return value


def _walk(value: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """Each dotted key in `value` with what it has; an object comes ahead of what it holds."""
    for key, each in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield f"{before}{key}", each
        yield from _walk(each, f"{before}{key}.")


# One value


def value_of(settings: dict[str, Any], key: str) -> Any:
    """The value of the dotted `key`. Raises UserError when there is none."""
    folder, last = _holder(settings, key)
    if last not in folder:
        raise UserError(f"{PATH} on the board has no {key}: {suggestion(last, sorted(folder))}")
    return folder[last]


def with_value(settings: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """`settings` with this value for the dotted `key`. Raises UserError when that cannot be."""
    changed: dict[str, Any] = json.loads(json.dumps(settings))
    folder, last = _holder(changed, key, make=True)
    folder[last] = value
    return changed


def without(settings: dict[str, Any], key: str) -> dict[str, Any]:
    """`settings` without the dotted `key`. Raises UserError when it is not there."""
    value_of(settings, key)
    changed: dict[str, Any] = json.loads(json.dumps(settings))
    folder, last = _holder(changed, key)
    del folder[last]
    return changed


def _holder(settings: dict[str, Any], key: str, make: bool = False) -> tuple[dict[str, Any], str]:
    """The object that the value of `key` lies in, and its name there; missing objects are put in to `make` it."""
    *folders, last = key.split(".")
    place: Any = settings
    for folder in folders:
        place = place.setdefault(folder, {}) if make else place.get(folder, {})
        if not isinstance(place, dict):
            raise UserError(f"{PATH} on the board: {folder} is no object, so it has no {key}")
    return place, last
