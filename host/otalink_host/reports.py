"""The reports that boards leave on the server, as ftp_upload.py keeps them: ACCOUNT.json is that board's last one."""

import json
from dataclasses import dataclass
from pathlib import Path

from otalink_host.errors import UserError


@dataclass(frozen=True)
class Report:
    """What the board with `account` said last, at `when` (seconds since 1970); `fields` are its own words, all of them.

    The account is proven by its password; nothing else here is.
    """

    account: str
    when: float
    fields: dict[str, object]

    def text(self, key: str) -> str:
        """What it said of `key`, if that is text; else nothing."""
        value = self.fields.get(key)
        return value if isinstance(value, str) else ""

    @property
    def last_message(self) -> str:
        """Its last line."""
        messages = self.fields.get("messages")
        last = messages[-1] if isinstance(messages, list) and messages else ""
        return last if isinstance(last, str) else ""


def read_reports(folder: Path) -> list[Report]:
    """The reports in `folder`, sorted by account; none where there is no such folder. Raises UserError."""
    found = []
    for file in sorted(folder.glob("*.json")) if folder.is_dir() else ():
        try:
            fields = json.loads(file.read_bytes())
            when = file.stat().st_mtime
        except FileNotFoundError:  # it was removed since
            continue
        except (ValueError, RecursionError):
            raise UserError(f"{file} is no report: remove it, and the board's next one takes its place") from None
        if isinstance(fields, dict):
            found.append(Report(file.stem, when, fields))
    return found
