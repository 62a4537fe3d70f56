"""A TOML file that a person writes, and its checks: every wrong value is a UserError of one line.

The line says the file, the line in it, the key, and what is allowed. What the keys mean the callers know.
"""

import difflib
import re
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from otalink_host.errors import UserError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# As a default: the key must be there.
REQUIRED = object()

# Gives a value as it is used. Raises ValueError with what is allowed.
Check = Callable[[Any], Any]


class TomlFile:
    """The TOML file `path`, parsed to `document`; `to_make` says how to come by one where there is none.

    Raises UserError when it cannot be read or is no TOML. In the methods `section` is a section's name, "" for what
    stands before all of them, and `number` its index when it is one of several [[sections]].
    """

    def __init__(self, path: Path, to_make: str) -> None:
        self.path = path
        try:
            # Windows' editors put a mark of UTF-8 ahead.
            text = path.read_text(encoding="utf-8-sig")
        except FileNotFoundError:
            raise UserError(f"there is no {path}: {to_make}") from None
        except (OSError, UnicodeError) as error:
            raise UserError(f"{path} cannot be read ({_reason(error)})") from None
        try:
            self.document: dict[str, Any] = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise UserError(f"{path}: this is not TOML: {error}") from None
        self._lines = text.splitlines()

    def section(self, name: str, known: tuple[str, ...] | None) -> dict[str, Any]:
        """The section `name`, empty when it is not there. It holds no key but those that are `known`; None: any."""
        table = self.document.get(name, {})
        if not isinstance(table, dict):
            raise self.wrong(name, "", f"must be a section that begins with the line [{name}]")
        if known is not None:
            self.check_keys(table, known, name)
        return table

    def value(
        self, table: dict[str, Any], key: str, section: str, default: Any, check: Check, number: int | None = None
    ) -> Any:
        """What `check` makes of the value of `key` in `table`, or the `default` where it is missing."""
        if key not in table:
            if default is REQUIRED:
                raise self.wrong(key, section, "is missing", number)
            return default
        try:
            return check(table[key])
        except ValueError as error:
            raise self.wrong(key, section, f"is {table[key]!r}; allowed: {error}", number) from None

    def check_keys(
        self, table: dict[str, Any], known: tuple[str, ...], section: str, number: int | None = None
    ) -> None:
        """Refuses a key of `table` that is none of those `known`."""
        for key in table:
            if key not in known:
                raise self.wrong(key, section, f"is not known: {suggestion(key, known)}", number)

    def wrong(self, key: str, section: str, what: str, number: int | None = None) -> UserError:
        """The error that says `what` is wrong with `key`."""
        line = self._line(key, section, number or 0)
        place = f"{self.path}:{line}" if line else f"{self.path}"
        where = f" in [{section}]" if number is None else f" in [[{section}]] number {number + 1}"
        return UserError(f"{place}: {key}{where if section else ''} {what}")

    def _line(self, key: str, section: str, number: int) -> int | None:
        """The line of `key` in the `number`th of the sections named `section`, else of that section's head."""
        current, head, counted = "", None, -1
        assigned = rf'\s*"?{re.escape(key)}"?\s*='
        for index, line in enumerate(self._lines, 1):
            heading = re.match(r"\s*\[\[?\s*([^\]]*?)\s*\]", line)
            if heading:
                current = heading[1]
                counted += current == section
                if current == section and counted == number:
                    head = index
                if not section and current == key:
                    return index
            elif current == section and (not section or counted == number) and re.match(assigned, line):
                return index
        return head


def suggestion(key: str, known: Collection[str]) -> str:
    """What to write in the place of `key`, which is none of those that are `known`."""
    close = difflib.get_close_matches(key, known, 1)
    return f"did you mean {close[0]}?" if close else f"known here: {', '.join(known)}"


def text(check: Callable[[str], Any]) -> Check:
    """Takes text, as `check` does."""

    def checked(value: Any) -> Any:
        if not isinstance(value, str):
            raise ValueError('text in quotes, such as "board"')
        return check(value)

    return checked


def number(first: int, last: int) -> Check:
    """Takes a whole number from `first` to `last`."""

    def checked(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not first <= value <= last:
            raise ValueError(f"a whole number from {first} to {last}, without quotes")
        return value

    return checked


def truth(value: Any) -> bool:
    """Takes true or false."""
    if not isinstance(value, bool):
        raise ValueError("true or false, without quotes")
    return value


def list_of(check: Check, least: int = 1) -> Check:
    """Takes a list of `least` values or more, each as `check` does."""

    def checked(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list) or len(value) < least:
            raise ValueError(f"a list in [ ] of {least} or more")
        return tuple(check(each) for each in value)

    return checked


def one_of(allowed: Collection[str]) -> Callable[[str], str]:
    """Takes one of the texts `allowed`."""

    def checked(value: str) -> str:
        if value not in allowed:
            raise ValueError(" or ".join(f'"{each}"' for each in allowed))
        return value

    return checked


def _reason(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else "it is not UTF-8"
