"""Reads the audit log, also while a server writes it: `verify` checks it with the key, `Reader` gives what it says."""

import contextlib
import heapq
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from otalink_host.audit import (
    MALFORMED,
    WRITER,
    Head,
    Position,
    chain,
    check_ahead,
    file_path,
    file_sizes,
    fingerprint,
    head_path,
    load_head,
    newest,
    no_head,
    seconds_of,
)
from otalink_host.errors import UserError

# How often a log is looked at again that was written to meanwhile.
ATTEMPTS = 10
# Digits of a MAC that stand for all of it: 128 bits.
SHORT = 32
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@dataclass(frozen=True)
class ExpectedHead:
    """A head that an earlier check printed: the record `number` of a writer's chain had a MAC that begins so."""

    writer: str
    number: int
    mac: str


@dataclass(frozen=True)
class Verified:
    """What a check of one writer's chain found: `fault` is a line that says what is wrong, or None.

    `records` counts those that are there and right, `first` and `last` are their times. `newer` counts those that the
    head does not have yet, `torn` the bytes of half a record at the end, as a process that was killed may leave them.
    """

    writer: str
    records: int = 0
    first: str | None = None
    last: str | None = None
    end: Position = field(default_factory=Position)
    newer: int = 0
    torn: int = 0
    fault: str | None = None

    @property
    def head(self) -> str:
        """The end of the chain, for `--expect-head`."""
        return f"{self.writer}:{self.end.number}:{self.end.mac[:SHORT]}"


def parse_expected_head(text: str) -> ExpectedHead:
    """The head that `text` names, as `Verified.head` writes it. Raises ValueError."""
    match = re.fullmatch(rf"({WRITER}):([0-9]{{1,18}}):([0-9a-f]{{{SHORT}}})", text)
    if match is None:
        raise ValueError("a head as `otalink audit verify` prints it, such as server:812:…")
    return ExpectedHead(match[1], int(match[2]), match[3])


def parse_when(text: str, now: float, end_of_day: bool = False) -> float:
    """Seconds since 1970 of a date, a date and time (in UTC, unless they say otherwise), or a time span before `now`.

    `end_of_day` makes a date the end of that day. Raises ValueError.
    """
    match = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    if match:
        return now - int(match[1]) * _UNITS[match[2]]
    try:
        found = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise ValueError("a time span such as 30m, 2h or 7d, a date such as 2026-01-31, or 2026-01-31T12:00") from None
    if end_of_day and re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        found += timedelta(days=1, milliseconds=-1)
    return (found if found.tzinfo else found.replace(tzinfo=timezone.utc)).timestamp()


def writers(folder: Path) -> list[str]:
    """The writers that have a chain in `folder`, or a head beside it, in order."""
    found = {
        match[1] for path in folder.glob("*.jsonl") if (match := re.fullmatch(rf"({WRITER})-[0-9]{{8}}", path.stem))
    }
    sample = head_path(folder, "*")
    for path in sample.parent.glob("*.head"):
        match = re.fullmatch(sample.name.replace(".", r"\.").replace("*", f"({WRITER})"), path.name)
        if match:
            found.add(match[1])
    return sorted(found)


def verify(folder: Path, key: bytes, expected: Iterable[ExpectedHead] = ()) -> list[Verified]:
    """Checks the chain of each writer in `folder`, and that those `expected` are in them."""
    expected = list(expected)
    names = sorted({*writers(folder), *(head.writer for head in expected)})
    return [_verified(folder, name, key, [head for head in expected if head.writer == name]) for name in names]


def _verified(folder: Path, writer: str, key: bytes, expected: list[ExpectedHead]) -> Verified:
    for _ in range(ATTEMPTS):
        head = None
        try:
            head, sizes = _snapshot(folder, writer, key)
            return _walk(folder, writer, key, head, sizes, expected)
        except UserError as error:
            fault = str(error)
        except OSError as error:
            fault = f"{error.filename or folder} cannot be read ({error.strerror})"
        # A server that writes meanwhile may have destroyed old files.
        with contextlib.suppress(UserError):
            if load_head(folder, writer, key) != head:
                continue
        break
    return Verified(writer, fault=fault)


def _snapshot(folder: Path, writer: str, key: bytes) -> tuple[Head, dict[int, int]]:
    """The head, and how long the files were while it was the head."""
    head = load_head(folder, writer, key)
    for _ in range(ATTEMPTS):
        sizes = file_sizes(folder, writer)
        before, head = head, load_head(folder, writer, key)
        if head == before:
            break
    if head is None:
        raise UserError(no_head(folder, writer))
    return head, sizes


def _walk(
    folder: Path, writer: str, key: bytes, head: Head, sizes: Mapping[int, int], expected: list[ExpectedHead]
) -> Verified:
    first = last = None
    end = head.anchor
    _compare(folder, writer, head, end, expected)
    for record, end in chain(folder, writer, key, head.anchor, sizes):
        first, last = first or record["time"], record["time"]
        check_ahead(folder, writer, head, end)
        _compare(folder, writer, head, end, expected)
    place = f"{file_path(folder, writer, end.file)}:{end.line + 1}"
    if end.number < head.end.number:
        raise UserError(f"{place}: the log is cut off: it ends with record {end.number}, and had {head.end.number}")
    for each in expected:
        if each.number > end.number:
            raise UserError(
                f"{place}: the log is cut off, or an older copy: it ends with {end.number}, {each.number} is expected"
            )
        if each.number < head.anchor.number:
            raise UserError(
                f"record {each.number} of {writer} was destroyed when its time was over: expect a newer head"
            )
    return Verified(
        writer,
        end.number - head.anchor.number,
        first,
        last,
        end,
        newer=end.number - head.end.number,
        torn=max(0, sizes.get(end.file, 0) - end.offset),
    )


def _compare(folder: Path, writer: str, head: Head, at: Position, expected: list[ExpectedHead]) -> None:
    place = f"{file_path(folder, writer, at.file)}:{at.line}"
    if at.number == head.end.number and at.mac != head.end.mac:
        raise UserError(f"{place}: record {at.number} is not the one that the head has: log and head are of two times")
    for each in expected:
        if at.number == each.number and not at.mac.startswith(each.mac):
            raise UserError(f"{place}: record {at.number} is not the one that is expected: the log is another one")


@dataclass(frozen=True)
class Filter:
    """Which records are wanted; None: whichever. `accounts` has a name and its fingerprint, times are in seconds."""

    accounts: tuple[str, ...] | None = None
    address: str | None = None
    event: str | None = None
    outcome: str | None = None
    since: float | None = None
    until: float | None = None

    def matches(self, record: Mapping[str, Any]) -> bool:
        when = seconds_of(record)
        return (
            (self.accounts is None or record.get("account") in self.accounts)
            and self.address in (None, record.get("address"))
            and self.event in (None, record.get("event"))
            and self.outcome in (None, record.get("outcome"))
            and (self.since is None or when >= self.since)
            and (self.until is None or when <= self.until)
        )


def account_filter(name: str, key: bytes | None) -> tuple[str, ...]:
    """What stands in the log for `name`: itself, and with the key its fingerprint, as of one that was tried in vain."""
    return (name,) if key is None else (name, fingerprint(key, name))


class Reader:
    """Gives the records in `folder` as they stand there, unverified; `unreadable` counts the lines that are none."""

    def __init__(self, folder: Path, wanted: Filter) -> None:
        self._folder = folder
        self._wanted = wanted
        # By writer: the index of the file that is being read, and the bytes of it that were.
        self._places: dict[str, tuple[int, int]] = {}
        self.unreadable = 0

    def records(self) -> Iterator[dict[str, Any]]:
        """The records that are wanted, of all writers by their time; called again, those that were added since."""
        return heapq.merge(*map(self._of, writers(self._folder)), key=lambda record: str(record["time"]))

    def _of(self, writer: str) -> Iterator[dict[str, Any]]:
        index, offset = self._places.get(writer, (0, 0))
        while True:
            # Before the file is read: what has a file behind it is complete.
            indices = [each for each in file_sizes(self._folder, writer) if each >= index]
            if not indices:
                return
            if indices[0] != index:
                index, offset = indices[0], 0
            path = file_path(self._folder, writer, index)
            # One that was destroyed meanwhile is passed over.
            with contextlib.suppress(FileNotFoundError):
                since = self._wanted.since
                if len(indices) == 1 or since is None or newest(path) >= since:
                    with path.open("rb") as file:
                        file.seek(offset)
                        for line in file:
                            if not line.endswith(b"\n"):
                                break
                            offset += len(line)
                            self._places[writer] = (index, offset)
                            record = self._read(line)
                            if record is not None:
                                yield record
            if len(indices) == 1:
                return
            index, offset = index + 1, 0

    def _read(self, line: bytes) -> dict[str, Any] | None:
        try:
            record: dict[str, Any] = json.loads(line)
            return record if self._wanted.matches(record) else None
        except MALFORMED:
            self.unreadable += 1
            return None


def as_row(record: Mapping[str, Any]) -> str:
    """A record as one line for a person; what would do something to a terminal is escaped."""
    parts = [_shown(record.get(name, "-")) for name in ("time", "event", "outcome", "account", "address", "bytes")]
    rest = [_shown(record[name]) for name in ("path", "detail") if name in record]
    return f"{row(*parts)}  {'  '.join(rest)}".rstrip()


def row(time: str, event: str, outcome: str, account: str, address: str, size: str) -> str:
    return f"{time:<24}  {event:<12}  {outcome:<10}  {account:<16}  {address:<15}  {size:>10}"


def _shown(value: object) -> str:
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape", "backslashreplace").decode()
        for each in str(value)
    )
