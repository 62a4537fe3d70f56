"""The fleet's database: which boards there are, what they run and said last, and which messages were delivered.

SQLite, with a write-ahead log: others read it while a peer writes, and what was committed outlives the process, however
it ends. It opens no socket and prints nothing. Every method may raise FleetError for a database that fails.
"""

import contextlib
import sqlite3
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import TracebackType

from otalink_host.errors import UserError

# What says that a database is a fleet's ("otal"), and in which form.
APPLICATION_ID = 0x6F74616C
FORMAT = 1
# A numbering is made anew by a board that lost its own: the oldest ones are forgotten, those of verified boards and all
# others each by themselves, so that strangers push nothing out.
SEQUENCES_MAX = 100_000
BOARDS_MAX = 100_000
# After so many deliveries it is looked whether there are too many.
PRUNE_EVERY = 10_000
# How long another program may hold the database, in seconds: the peer serves nobody meanwhile.
LOCK_TIMEOUT = 1.0

_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE board (
    name TEXT PRIMARY KEY,
    application TEXT, version TEXT, state TEXT, platform TEXT, otalink TEXT,
    event TEXT, event_version TEXT, percent REAL, reason TEXT, event_time REAL,
    first_seen REAL NOT NULL, last_seen REAL NOT NULL, address TEXT, verified INTEGER NOT NULL
);
CREATE TABLE sequence (
    board TEXT, sequence TEXT, last INTEGER NOT NULL, seen REAL NOT NULL, PRIMARY KEY (board, sequence)
) WITHOUT ROWID;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {FORMAT};
COMMIT;
"""


@dataclass(frozen=True)
class Board:
    """A board as the fleet knows it. Times are seconds since 1970; None is what it never said.

    `event`, with the `event_version`, `percent` and `reason` that came with it, is its last report (docs/link.md).
    `verified` tells whether it has proven to be who it says when it last said who it is.
    """

    name: str
    application: str | None
    version: str | None
    state: str | None
    platform: str | None
    otalink: str | None
    event: str | None
    event_version: str | None
    percent: float | None
    reason: str | None
    event_time: float | None
    first_seen: float
    last_seen: float
    address: str | None
    verified: bool


class FleetError(UserError):
    """The database failed."""


class Fleet:
    """The database in the file `path`, which is made where there is none, unless it is only read (`read_only`).

    Raises FleetError when it cannot be had: it is damaged, another program's, locked. Close it, or use it in a `with`
    statement.
    """

    def __init__(self, path: Path, *, read_only: bool = False, lock_timeout: float = LOCK_TIMEOUT) -> None:
        self.path = path
        self._deliveries = 0
        if read_only and not path.exists():
            raise UserError(f"there is no {path}: otalink peer --fleet {path} makes it")
        with self._translated():
            self._database = sqlite3.connect(
                f"{path.absolute().as_uri()}{'?mode=ro' if read_only else ''}",
                uri=True,
                timeout=lock_timeout,
                isolation_level=None,
            )
        try:
            with self._translated():
                self._check(read_only)
        except BaseException:
            self._database.close()
            raise

    def close(self) -> None:
        """Commits, and closes the database."""
        try:
            self.commit()
        finally:
            self._database.close()

    def __enter__(self) -> "Fleet":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def commit(self) -> None:
        """Makes what was noted last. When it cannot, it is not noted."""
        if self._database.in_transaction:
            with self._translated():
                self._database.execute("COMMIT")

    # --- boards

    def hello(
        self,
        name: str,
        *,
        application: str | None = None,
        version: str | None = None,
        state: str | None = None,
        platform: str | None = None,
        otalink: str | None = None,
        address: str | None = None,
        verified: bool = False,
        now: float | None = None,
    ) -> None:
        """Notes who a board says that it is. Raises UserError for a new one where there are too many already."""
        when = time.time() if now is None else now
        with self._translated():
            known = self._database.execute("SELECT 1 FROM board WHERE name = ?", (name,)).fetchone()
            ((count,),) = self._database.execute("SELECT count(*) FROM board") if known is None else ((0,),)
        if count >= BOARDS_MAX:
            raise UserError(f"{self.path} knows {count:,} boards, and takes no more: forget those that are not there")
        self._write(
            "INSERT INTO board (name, application, version, state, platform, otalink, address, verified, first_seen, "
            "last_seen) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9) ON CONFLICT (name) DO UPDATE SET "
            "application = ?2, version = ?3, state = ?4, platform = ?5, otalink = ?6, address = ?7, verified = ?8, "
            "last_seen = ?9",
            (name, application, version, state, platform, otalink, address, verified, when),
        )

    def report(
        self,
        name: str,
        event: str,
        *,
        version: str | None = None,
        percent: float | None = None,
        reason: str | None = None,
        now: float | None = None,
    ) -> None:
        """Notes what a board reports. A board that never said hello is not known, and nothing is noted."""
        when = time.time() if now is None else now
        self._write(
            "UPDATE board SET event = ?, event_version = ?, percent = ?, reason = ?, event_time = ?, "
            "last_seen = max(last_seen, ?) WHERE name = ?",
            (event, version, percent, reason, when, when, name),
        )
        if event == "confirmed":
            # One that comes late says nothing of the release that is there now.
            self._write(
                "UPDATE board SET state = 'confirmed' WHERE name = ? AND version = ? AND state = 'trial'",
                (name, version),
            )

    def seen(self, boards: Iterable[tuple[str, float]]) -> None:
        """Notes when boards, each with its time, were last heard."""
        for name, when in boards:
            self._write("UPDATE board SET last_seen = max(last_seen, ?) WHERE name = ?", (when, name))

    def forget(self, name: str) -> bool:
        """Forgets a board, until it says hello again. False when there is none of that name."""
        return self._write("DELETE FROM board WHERE name = ?", (name,)).rowcount > 0

    def boards(self) -> list[Board]:
        """The boards, by name."""
        columns = ", ".join(field.name for field in fields(Board))
        with self._translated():
            rows = self._database.execute(f"SELECT {columns} FROM board ORDER BY name").fetchall()
        return [replace(Board(*row), verified=bool(row[-1])) for row in rows]

    # --- what was delivered

    def last(self, board: str, sequence: str) -> int:
        """The highest id of a numbering (docs/link.md) that was delivered; 0 when none was.

        `board` is whose it is, "" where nobody has proven that.
        """
        with self._translated():
            row = self._database.execute(
                "SELECT last FROM sequence WHERE board = ? AND sequence = ?", (board, sequence)
            ).fetchone()
        return 0 if row is None else int(row[0])

    def delivered(self, board: str, sequence: str, number: int) -> None:
        """Notes that all up to the id `number` was delivered."""
        self._write(
            "INSERT INTO sequence VALUES (?1, ?2, ?3, ?4) ON CONFLICT (board, sequence) DO UPDATE SET "
            "last = max(last, ?3), seen = ?4",
            (board, sequence, number, time.time()),
        )
        self._deliveries += 1
        if self._deliveries % PRUNE_EVERY == 0:
            self.prune()

    def prune(self, keep: int = SEQUENCES_MAX) -> None:
        """Forgets all but the `keep` numberings that were used last: of verified boards, and of all others."""
        for whose in ("board != ''", "board = ''"):
            with self._translated():
                ((count,),) = self._database.execute(f"SELECT count(*) FROM sequence WHERE {whose}")
            if count > keep:
                self._write(
                    "DELETE FROM sequence WHERE (board, sequence) IN "
                    f"(SELECT board, sequence FROM sequence WHERE {whose} ORDER BY seen DESC LIMIT -1 OFFSET ?)",
                    (keep,),
                )

    def _check(self, read_only: bool) -> None:
        database = self._database
        ((identity,),) = database.execute("PRAGMA application_id")
        ((form,),) = database.execute("PRAGMA user_version")
        ((tables,),) = database.execute("SELECT count(*) FROM sqlite_master")
        if identity != APPLICATION_ID and (tables or identity or form or read_only):
            raise UserError(f"{self.path} is another program's database: choose another file")
        if identity == APPLICATION_ID and form != FORMAT:
            raise UserError(f"{self.path} was made by another version of otalink (form {form}): update otalink")
        if identity == APPLICATION_ID and database.execute("PRAGMA quick_check(1)").fetchall() != [("ok",)]:
            raise sqlite3.DatabaseError("malformed")
        if not read_only:
            database.execute("PRAGMA journal_mode = WAL")
            # A kill loses nothing. A power cut may lose the last moments' records: a board that was told that they are
            # delivered does not send them again.
            database.execute("PRAGMA synchronous = NORMAL")
            if not tables:
                database.executescript(_SCHEMA)
            # Whether another program holds it is told now, and not when the first board is there.
            database.execute("BEGIN IMMEDIATE")
            self.prune()
            self.commit()

    def _write(self, statement: str, values: tuple[object, ...]) -> sqlite3.Cursor:
        with self._translated():
            if not self._database.in_transaction:
                self._database.execute("BEGIN IMMEDIATE")
            return self._database.execute(statement, values)

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            # What was not committed is not noted, whichever part of it failed.
            with contextlib.suppress(sqlite3.Error, AttributeError):
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
            raise FleetError(f"{self.path} {_why(error)}") from None


def _why(error: sqlite3.Error) -> str:
    text = str(error)
    if "locked" in text or "busy" in text:
        return "is locked by another program: end that one, and try again"
    if "not a database" in text or "malformed" in text or "no such table" in text or "no such column" in text:
        return "is no fleet's database, or a damaged one: move it away, and a new one is made"
    if "unable to open" in text:
        return "cannot be opened: its folder must exist, and be yours to write to"
    if "readonly" in text:
        return "cannot be written to: its folder and the file must be yours to write to"
    return f"cannot be used ({text})"
