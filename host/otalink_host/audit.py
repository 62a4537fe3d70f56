"""The audit log: who did what, when and from where, in records that nobody without the key can forge.

docs/audit.md has the format, what `otalink audit verify` finds, and what it cannot. The rules that this file keeps:

- A record is one line of JSON, written by one `write`, and ends with an HMAC-SHA256 over itself and the record before.
- The head says where the chain ends. It lies beside the log's folder, with a MAC of its own, and is written after the
  records, by a rename: the log is never behind the head unless it was cut off, nor far ahead of it.
- No password is recorded: a name that no account has is recorded as a fingerprint only, since people type passwords
  there.
"""

import contextlib
import errno
import hmac
import itertools
import json
import os
import posixpath
import re
import secrets
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any

from otalink_host.errors import UserError
from otalink_host.file_lock import lock
from otalink_host.secrets_file import check_mode
from otalink_host.settings import AuditSettings, Settings, check_account_name

# The head is written when it is so many records or seconds behind: what is newer can be cut off unseen, if no record
# follows.
HEAD_RECORDS = 1000
HEAD_SECONDS = 1.0
# How many records a head may be behind. A power cut may bring back the head before the last, whose rename the disk had.
AHEAD_MAX = 2 * HEAD_RECORDS
# Characters of a path or a detail, and of an address.
TEXT_MAX = 256
ADDRESS_MAX = 64
# Bytes of a line, at the most: JSON takes up to 12 for a character.
LINE_MAX = 8192
KEY_BYTES = 32
DAY = 86_400
WORD = re.compile(r"[a-z_]{1,32}")
WRITER = r"[a-z][a-z0-9]{0,15}"
# What an event may say, beside `event` itself.
KEYS = ("outcome", "account", "address", "path", "bytes", "detail")
# What a line that somebody changed makes of reading it.
MALFORMED = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)
# To write, and only to a file: a link or a pipe of that name, which somebody put there, is an error. Windows has none.
_SAFE = os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_encode = json.JSONEncoder(separators=(",", ":")).encode
# A line ends with this, the MAC's 64 hexadecimal digits, `"}` and the line end.
_MAC = b',"mac":"'
_TAIL = len(_MAC) + 64 + 3


@dataclass(frozen=True)
class Position:
    """A place in a chain: behind the record `number`, which has this `mac` (hexadecimal), 0 and zeros at its start.

    It lies in the file with the index `file`, behind so many lines and bytes of it.
    """

    number: int = 0
    mac: str = "0" * 64
    file: int = 1
    line: int = 0
    offset: int = 0


@dataclass(frozen=True)
class Head:
    """Where a writer's chain ends, and the `anchor`: where what is kept of it begins."""

    end: Position
    anchor: Position


def create_audit_key(path: Path) -> bytes:
    """Makes a new key in the file `path`, which nobody else can read; returns it. Raises UserError."""
    key = secrets.token_bytes(KEY_BYTES)
    try:
        # The mode is given as the file is made: at no moment can anybody else open it.
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(key.hex() + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise UserError(f"{path} cannot be made ({error.strerror})") from None
    return key


def load_audit_key(path: Path) -> bytes:
    """The key in the file `path`. Raises UserError when it is not there, is none, or others can read it."""
    try:
        with path.open("rb") as file:
            check_mode(path, os.fstat(file.fileno()).st_mode)
            text = file.read(3 * KEY_BYTES).decode("ascii", "replace").strip()
    except FileNotFoundError:
        raise UserError(f"there is no {path}: without that key the audit log cannot be checked nor go on") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from None
    if not re.fullmatch(f"[0-9a-f]{{{2 * KEY_BYTES}}}", text):
        raise UserError(f"{path}: it must hold {2 * KEY_BYTES} hexadecimal digits: put the key back from a copy")
    return bytes.fromhex(text)


def open_audit(
    settings: AuditSettings, known: Callable[[str], bool], *, writer: str = "server", wait: float = 0.0
) -> "AuditLog":
    """The audit log that `settings` name, open for `writer`; for the rest see AuditLog.

    The key is made on first use, but never for a log that is there already.
    """
    if os.path.lexists(settings.key) or any(settings.folder.glob("*.jsonl")):
        key = load_audit_key(settings.key)
    else:
        key = create_audit_key(settings.key)
    return AuditLog(
        settings.folder,
        key,
        known=known,
        writer=writer,
        keep_days=settings.keep_days,
        file_size=settings.file_mib * 2**20,
        wait=wait,
    )


def writers(settings: Settings) -> list[str]:
    """Those of the server: each of its processes has a chain of its own."""
    return ["server", *(f"worker{number + 1}" for number in range(settings.workers) if settings.workers > 1)]


def fingerprint(key: bytes, name: str) -> str:
    """What stands in the log for a `name` that no account has: `?` and 32 bits of its HMAC."""
    return "?" + hmac.digest(_derived(key, "name"), name.encode("utf-8", "surrogatepass"), "sha256").hex()[:8]


class AuditLog:
    """The log in `folder`, open for one `writer`, which has a chain of its own there: the only one to append to it.

    `known` tells of a name whether an account has it. `keep_days` is how long records are kept, `file_size` how many
    bytes a file has, `clock` gives seconds since 1970. A lock keeps a second writer of the same name out, for which it
    waits `wait` seconds; a server that forks opens its logs behind the fork. Raises UserError when the log cannot be
    had. What is wrong with the log that is found is no reason to serve no boards: `damage` says it, in a line for the
    operator, and the log goes on in a new file.

    Threads may share it. Close it, or use it in a `with` statement.
    """

    def __init__(
        self,
        folder: Path,
        key: bytes,
        *,
        known: Callable[[str], bool],
        writer: str = "server",
        keep_days: int = AuditSettings.keep_days,
        file_size: int = AuditSettings.file_mib * 2**20,
        clock: Callable[[], float] = time.time,
        wait: float = 0.0,
    ) -> None:
        assert re.fullmatch(WRITER, writer)
        self.damage: str | None = None
        # How many records could not be written, in all.
        self.lost = 0
        self._folder, self._key, self._writer, self._known = folder, key, writer, known
        self._chain_key = chain_key(key, writer)
        self._keep_seconds, self._file_size, self._clock = keep_days * DAY, file_size, clock
        self._mutex = threading.Lock()
        self._process = os.getpid()
        # Of the outage that goes on: how many records it has cost, and since when.
        self._missed, self._since = 0, 0.0
        # What opening found, until it is recorded.
        self._owed: dict[str, Any] = {}
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = (folder / f"{writer}.lock").open("ab")
        except OSError as error:
            raise UserError(f"{error.filename or folder} cannot be made ({error.strerror})") from None
        self._descriptor: int | None = None
        try:
            patience = time.monotonic() + wait
            while not lock(self._lock):
                if time.monotonic() >= patience:
                    raise UserError(f"{folder} has another process that writes as {writer}: end that one first")
                time.sleep(0.02)
            self._open()
        except OSError as error:
            self._release()
            raise UserError(f"{error.filename or folder} cannot be written ({error.strerror})") from None
        except BaseException:
            self._release()
            raise

    def append(self, event: Mapping[str, Any]) -> None:
        """Records what happened: `event`, a word, and of KEYS what there is to say.

        `outcome` is a word ("ok" where none is given), `path` the client's, `bytes` a number. An `account` that is not
        known is recorded as its fingerprint. The record is whole in the file when this returns.

        Raises UserError when it cannot be written, once for each outage: until writing works again the others are
        counted in `lost`, and the first record then says how many are missing.
        """
        record = self._checked(event)
        if os.getpid() != self._process:
            raise RuntimeError("the log belongs to the process before the fork")
        with self._mutex:
            now = self._clock()
            try:
                self._make_room(now)
                self._pay(now)
                self._put(record, now)
            except OSError as error:
                self._since = self._since if self._missed else now
                self._missed += 1
                self.lost += 1
                if self._missed == 1:
                    raise UserError(
                        f"{self._path()} cannot be written ({error.strerror}): no event is recorded until it can"
                    ) from None
                return
            self._settle(now)

    def tick(self) -> None:
        """Does what is due without an event: the head, a new day's file, the end of old files. Call it now and then."""
        with self._mutex, contextlib.suppress(OSError):
            now = self._clock()
            self._settle(now)
            if _day(now) > self._retained:
                self._make_room(now)

    def close(self) -> None:
        """Writes the head, and gives the log to the next writer."""
        with self._mutex:
            if self._descriptor is not None:
                with contextlib.suppress(OSError):
                    self._write_head()
            self._release()

    def __enter__(self) -> "AuditLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # What becomes a record

    def _checked(self, event: Mapping[str, Any]) -> dict[str, Any]:
        record = {"event": event["event"], "outcome": event.get("outcome", "ok")}
        size = event.get("bytes")
        if (
            not all(isinstance(word, str) and WORD.fullmatch(word) for word in record.values())
            or not event.keys() <= {"event", *KEYS}
            or not (size is None or (isinstance(size, int) and size >= 0))
        ):
            raise ValueError(f"this is no event to record: {event!r}")
        account, path = event.get("account"), event.get("path")
        if account is not None:
            record["account"] = account if self._is_account(account) else fingerprint(self._key, account)
        if event.get("address") is not None:
            record["address"] = _bounded(str(event["address"]), ADDRESS_MAX)
        if path is not None:
            # As the client sees it: what leads out of its folder is not recorded as such.
            record["path"] = _bounded(posixpath.normpath("/" + path.lstrip("/")), TEXT_MAX)
        if size is not None:
            record["bytes"] = size
        if event.get("detail") is not None:
            record["detail"] = _bounded(str(event["detail"]), TEXT_MAX)
        return record

    def _is_account(self, name: str) -> bool:
        try:
            return self._known(check_account_name(name))
        except ValueError:
            return False

    # Opening

    def _open(self) -> None:
        now = self._clock()
        self._day = _day(now)
        # The day when it was found that nothing is too old.
        self._retained = 0
        self._head_at = now
        self._end = self._anchor = Position()
        behind = torn = 0
        try:
            behind, torn = self._catch_up()
        except UserError as error:
            self.damage = str(error)
            # In a file of its own, and numbered behind the head: what is missing stays to be seen.
            taken = file_sizes(self._folder, self._writer)
            index = next(index for index in itertools.count(self._end.file + 1) if index not in taken)
            self._end = replace(self._end, file=index, line=0, offset=0)
        self._pending = behind
        if self._end.number == 0:
            # Ahead of the first line: a log without a head is one whose head was removed.
            self._write_head()
        self._descriptor = self._open_file()
        if torn:
            os.ftruncate(self._descriptor, self._end.offset)
        if self.damage is not None:
            self._owed = {"event": "damaged", "outcome": "failed", "detail": _bounded(self.damage, TEXT_MAX)}
        elif behind or torn:
            detail = f"{behind} records are newer than the head, {torn} bytes of half a record were cut off"
            self._owed = {"event": "recovered", "outcome": "ok", "detail": detail}
        # A disk that is full is no reason to serve no boards: the next record tells it.
        with contextlib.suppress(OSError):
            if self._owed:
                self._pay(now)
                self._write_head()
            self._retain(now)

    def _catch_up(self) -> tuple[int, int]:
        """Goes from the head to the log's end; gives how many records that were, and the bytes of half a line behind.

        Raises UserError for what is wrong; `_end` and `_anchor` are the head's then, if there is one.
        """
        sizes = file_sizes(self._folder, self._writer)
        head = load_head(self._folder, self._writer, self._key)
        if head is None:
            if sizes:
                raise UserError(no_head(self._folder, self._writer))
            return 0, 0
        self._end, self._anchor = head.end, head.anchor
        for index in [index for index in sizes if index < head.anchor.file]:
            # It was about to be destroyed when the process was killed.
            file_path(self._folder, self._writer, index).unlink()
            del sizes[index]
        end = head.end
        for record, after in chain(self._folder, self._writer, self._key, head.end, sizes):
            check_ahead(self._folder, self._writer, head, after)
            self._day, end = _day(seconds_of(record)), after
        self._end = end
        if end == head.end and end.line:
            self._day = _day(newest(self._path()))
        return end.number - head.end.number, sizes.get(end.file, 0) - end.offset

    # Writing

    def _path(self) -> Path:
        return file_path(self._folder, self._writer, self._end.file)

    def _open_file(self) -> int:
        """Opens the file of `_end` to append to it. Raises OSError, also when it holds something behind that."""
        path = self._path()
        descriptor = os.open(path, os.O_CREAT | os.O_APPEND | _SAFE, 0o600)
        if not self._end.offset and os.fstat(descriptor).st_size:
            os.close(descriptor)
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
        return descriptor

    def _pay(self, now: float) -> None:
        """Writes what the log has to say of itself first. Raises OSError."""
        if self._owed:
            self._put(self._owed, now)
            self._owed = {}
        if self._missed:
            detail = f"{self._missed} records are missing since {iso(self._since)}"
            self._put({"event": "outage", "outcome": "failed", "detail": detail}, now)
            self._missed = 0

    def _put(self, said: Mapping[str, Any], now: float) -> None:
        """Writes one record. Raises OSError, and leaves no part of it then, if the system allows that."""
        assert self._descriptor is not None
        end = self._end
        line, mac = _sealed(self._chain_key, end.mac, {"n": end.number + 1, "time": iso(now), **said})
        try:
            if self._missed:
                # What is left of the record that could not be written.
                os.ftruncate(self._descriptor, end.offset)
            left = memoryview(line)
            while left:
                left = left[os.write(self._descriptor, left) :]
            self._end = Position(end.number + 1, mac, end.file, end.line + 1, end.offset + len(line))
        except BaseException:
            # A signal's exception may come between the two: the record is whole in both, or in none.
            self._end = end
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, end.offset)
            raise
        self._pending += 1
        self._day = _day(now)

    def _settle(self, now: float) -> None:
        """Writes the head if it is due. That it cannot be written matters when it is as far behind as it may be."""
        # Whichever way the clock was set.
        if self._pending and abs(now - self._head_at) >= HEAD_SECONDS:
            with contextlib.suppress(OSError):
                self._write_head()

    def _write_head(self) -> None:
        """Puts the records on the disk, then the head: not even after a power cut is it ahead of them."""
        if self._descriptor is not None:
            os.fsync(self._descriptor)
        body = {"writer": self._writer, "end": asdict(self._end), "anchor": asdict(self._anchor)}
        line, _ = _sealed(_derived(self._key, "head"), "", body)
        path = head_path(self._folder, self._writer)
        new = path.with_name(f"{path.name}.new")
        with open(os.open(new, os.O_CREAT | os.O_TRUNC | _SAFE, 0o600), "wb") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, path)
        self._pending = 0
        self._head_at = self._clock()

    def _make_room(self, now: float) -> None:
        """Does what is due before the next record: the head, another file, the end of old ones. Raises OSError."""
        if self._pending >= HEAD_RECORDS:
            self._write_head()
        if self._end.line and (self._end.offset >= self._file_size or _day(now) > self._day):
            self._rotate()
        if _day(now) > self._retained:
            self._retain(now)

    def _rotate(self) -> None:
        assert self._descriptor is not None
        os.fsync(self._descriptor)
        before, full = self._end, self._descriptor
        self._end = replace(before, file=before.file + 1, line=0, offset=0)
        try:
            self._descriptor = self._open_file()
        except OSError:
            self._end = before
            raise
        os.close(full)

    def _retain(self, now: float) -> None:
        """Destroys the oldest file if its newest record is too old: one file at a time, since all of it is verified.

        One that is not as it was written stays, as evidence. Raises OSError.
        """
        before = self._anchor
        end = self._end_of_old(before, now - self._keep_seconds) if before.file < self._end.file else None
        if end is None:
            self._retained = _day(now)
            return
        detail = f"records {before.number + 1} to {end.number}, older than {self._keep_seconds // DAY} days"
        self._put({"event": "destroyed", "outcome": "ok", "detail": detail}, now)
        # First the head with the new anchor, then the file: what lies ahead of the anchor is nothing that is missing.
        self._anchor = replace(end, file=before.file + 1, line=0, offset=0)
        try:
            self._write_head()
        except OSError:
            self._anchor = before
            raise
        with contextlib.suppress(OSError):
            file_path(self._folder, self._writer, before.file).unlink()

    def _end_of_old(self, start: Position, oldest: float) -> Position | None:
        """Where the file that begins at `start` ends, if it holds what was written, all of it before `oldest`."""
        path = file_path(self._folder, self._writer, start.file)
        with contextlib.suppress(OSError, UserError):
            # A look at the last line, which anybody may have changed, saves reading the others on most days.
            if newest(path) < oldest:
                size = path.stat().st_size
                end = start
                for record, after in chain(self._folder, self._writer, self._key, start, {start.file: size}):
                    if seconds_of(record) >= oldest:
                        return None
                    end = after
                return end if end.offset == size else None
        return None

    def _release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        self._lock.close()


# The files


def file_path(folder: Path, writer: str, index: int) -> Path:
    """The file with this index, from 1 on, of a writer's chain."""
    return folder / f"{writer}-{index:08}.jsonl"


def head_path(folder: Path, writer: str) -> Path:
    """The file with a writer's head: beside the log's folder, so that who removes that one leaves the head."""
    folder = Path(os.path.abspath(folder))
    return folder.with_name(f"{folder.name}.{writer}.head")


def file_sizes(folder: Path, writer: str) -> dict[int, int]:
    """The bytes of each file of a writer's chain, by its index, in order. Raises OSError."""
    found = {}
    for path in folder.glob(f"{writer}-*.jsonl"):
        match = re.fullmatch(r"-([0-9]{8})", path.stem[len(writer) :])
        # One may be destroyed meanwhile.
        with contextlib.suppress(FileNotFoundError):
            status = path.lstat()
            if match and stat.S_ISREG(status.st_mode):
                found[int(match[1])] = status.st_size
    return dict(sorted(found.items()))


def load_head(folder: Path, writer: str, key: bytes) -> Head | None:
    """A writer's head, or None when there is none. Raises UserError when it is not as it was written."""
    path = head_path(folder, writer)
    try:
        with path.open("rb") as file:
            line = file.read(LINE_MAX)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from None
    if _mac_of(_derived(key, "head"), "", line) is not None:
        said = json.loads(line)
        if said["writer"] == writer:
            return Head(Position(**said["end"]), Position(**said["anchor"]))
    raise UserError(f"{path} was changed, or made with another key")


def chain(
    folder: Path, writer: str, key: bytes, start: Position, sizes: Mapping[int, int]
) -> Iterator[tuple[dict[str, Any], Position]]:
    """The records behind `start`, each with the position behind it; each is verified before it is given.

    `sizes` are the bytes of the files, by index, as far as they count. Half a line at the end of all is no record.
    Raises UserError with the file and the line of what is wrong, OSError when a file cannot be read.
    """
    secret = chain_key(key, writer)
    at = start
    # A chain that has begun has a file; one that was made for the next record has none yet.
    last = max([*(index for index, size in sizes.items() if size), start.file if start.number else 0])
    for index in range(start.file, last + 1):
        path = file_path(folder, writer, index)
        if index not in sizes:
            raise UserError(f"{path} is missing, with what came after record {at.number}")
        if index != at.file:
            at = replace(at, file=index, line=0, offset=0)
        if sizes[index] < at.offset:
            raise UserError(f"{path} is cut off: its record {at.number} is missing")
        with path.open("rb") as file:
            file.seek(at.offset)
            while at.offset < sizes[index]:
                line = file.readline(min(LINE_MAX, sizes[index] - at.offset))
                if index == last and len(line) == sizes[index] - at.offset < LINE_MAX and line[-1:] != b"\n":
                    break
                mac = _mac_of(secret, at.mac, line)
                if mac is None:
                    raise UserError(f"{path}:{at.line + 1}: {_what_is_wrong(line, at.number + 1)}")
                at = Position(at.number + 1, mac, index, at.line + 1, at.offset + len(line))
                yield json.loads(line), at


def check_ahead(folder: Path, writer: str, head: Head, end: Position) -> None:
    """Raises UserError when the log goes on further behind its head than a killed process leaves it."""
    if end.number - head.end.number > AHEAD_MAX:
        raise UserError(f"{head_path(folder, writer)} is too old: it says {head.end.number}, and the log goes on")


def no_head(folder: Path, writer: str) -> str:
    return f"{head_path(folder, writer)} is missing, which says where the log ends"


def chain_key(key: bytes, writer: str) -> bytes:
    """The key of a writer's records: none of them is valid in another's chain."""
    return _derived(key, f"chain {writer}")


def iso(seconds: float) -> str:
    """Seconds since 1970 as in 2026-01-31T12:00:00.123Z: ISO 8601, in UTC."""
    text = datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def seconds_of(record: Mapping[str, Any]) -> float:
    """The time of a record, in seconds since 1970."""
    return datetime.fromisoformat(record["time"].replace("Z", "+00:00")).timestamp()


def newest(path: Path) -> float:
    """The time of the last record in a file, as it stands there; 0 where there is none. Raises OSError."""
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 2 * LINE_MAX))
        lines = file.read().splitlines(keepends=True)
    for line in reversed(lines):
        with contextlib.suppress(*MALFORMED):
            return seconds_of(json.loads(line))
    return 0.0


def _sealed(key: bytes, before: str, said: Mapping[str, Any]) -> tuple[bytes, str]:
    """The line that says this, and its MAC; `before` is the MAC of the line before."""
    body = _encode(said)[:-1].encode("ascii")
    mac = hmac.digest(key, before.encode("ascii") + body, "sha256").hex()
    return b'%b%b%b"}\n' % (body, _MAC, mac.encode("ascii")), mac


def _mac_of(key: bytes, before: str, line: bytes) -> str | None:
    """The MAC of a line, or None when it is not the right one. Every byte of the line counts."""
    body = line[:-_TAIL]
    mac = hmac.digest(key, before.encode("ascii") + body, "sha256").hex()
    same = hmac.compare_digest(line, b'%b%b%b"}\n' % (body, _MAC, mac.encode("ascii")))
    return mac if same else None


def _what_is_wrong(line: bytes, number: int) -> str:
    try:
        found = json.loads(line)["n"]
    except MALFORMED:
        found = number
    # What somebody else wrote is not repeated, unless it is a number.
    if isinstance(found, int) and found != number:
        return f"record {number} belongs here, and {found} stands here: records are missing, or in another order"
    return f"record {number} was changed, or is none that this key made"


def _derived(key: bytes, purpose: str) -> bytes:
    return hmac.digest(key, b"otalink audit 1 " + purpose.encode("ascii"), "sha256")


def _day(seconds: float) -> int:
    return int(seconds // DAY)


def _bounded(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
