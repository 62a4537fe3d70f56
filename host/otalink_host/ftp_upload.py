"""What a session of the server writes: a publisher's uploads, renames and removals, and a board's report.

Whichever client it is, what it sends stands under a hidden name until all of it came and is found right; only then it
gets its name, in one step, and the client is told that it is there. An upload that breaks off leaves nothing. What may
be written at all, upload_rules.py says. A release file is verified in a thread, so that boards are served meanwhile.
"""

import contextlib
import json
import logging
import posixpath
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from OpenSSL import SSL

# Ahead of the others: it imports asyncore without the warning that Python 3.11 gives.
from pyftpdlib import ioloop  # noqa: F401
from pyftpdlib.exceptions import FilesystemError
from pyftpdlib.handlers import DTPHandler

from otalink_host import upload_rules
from otalink_host.errors import UserError
from otalink_host.events import Events
from otalink_host.ftp_filesystem import REPORT_PATH, ServedPlace, Upload
from otalink_host.ftp_turns import TurnsMixin
from otalink_host.log_text import printable
from otalink_host.logins import LoopCalls
from otalink_host.place import PART_PREFIX
from otalink_host.place_local import replace_file
from otalink_host.settings import Settings

logger = logging.getLogger("otalink.server")

REPORT_MAX = 4096
# Seconds between two reports of an account; those that come sooner are refused.
REPORT_INTERVAL = 1.0
# So many release files are verified at once; others wait.
CHECKS_AT_ONCE = 2
# Seconds in which a session must not end for an upload to count that nothing else proves to be whole.
_GRACE = 0.25
# A publisher's lock: pyftpdlib turns the argument of a command that needs a permission into a path.
UPLOAD_COMMANDS = {
    f"SITE {name}": {"perm": "m", "auth": True, "arg": True, "help": f"Syntax: SITE {name} <SP> folder."}
    for name in ("LOCK", "UNLOCK")
}


class UploadDataMixin(DTPHandler):  # type: ignore[misc]  # pyftpdlib has no type hints
    """A data connection that tells an upload that ended from one that broke off."""

    _resp: tuple[Any, ...]

    def handle_close(self) -> None:
        # pyftpdlib comes here for a connection that was reset as well, from where it handles that error.
        if isinstance(sys.exc_info()[1], OSError):
            self.cmd_channel.upload_broke_off = True
        super().handle_close()

    def handle_error(self) -> None:
        upload = self.file_obj
        # What the disk or a limit ends is no fault of the server's, and has a reply of its own.
        if isinstance(upload, Upload) and (upload.failure is not None or upload.is_too_large):
            self.close()
        else:
            super().handle_error()

    def close(self) -> None:
        upload = self.file_obj
        if not self._closed and isinstance(upload, Upload):
            if upload.is_too_large:
                self._resp = (f"552 Too large: {self.cmd_channel.upload_limit} bytes are allowed.", logger.debug)
            elif upload.failure is not None:
                self._resp = (f"452 The file cannot be written: {upload.failure.strerror}.", logger.debug)
            elif self.cmd_channel.upload_broke_off:
                self.transfer_finished = False
                self._resp = ("426 Connection closed; transfer aborted.", logger.debug)
            elif self.transfer_finished:
                # The answer comes when what was sent is found right.
                self._resp = ()
                if isinstance(self.socket, SSL.Connection):
                    # TLS's own end (RFC 8446 section 6.1): without it anybody in between may have cut the file off.
                    self.cmd_channel.upload_end_is_told = bool(self.socket.get_shutdown() & SSL.RECEIVED_SHUTDOWN)
            if not self.transfer_finished:
                # Ahead of the reply: whoever has that finds nothing.
                self.cmd_channel.break_upload_off()
        super().close()


class UploadMixin(TurnsMixin):
    """The commands of a session that write. It goes ahead of pyftpdlib's handler, whose names it uses.

    The attributes without a value are each server's own. `checks` verifies release files.
    """

    settings: Settings
    events: Events
    checks: ThreadPoolExecutor
    loop_calls: LoopCalls
    _restart_position: int
    _rnfr: str | None

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        # The upload whose data comes, and then the one that is checked; only one at a time.
        self._upload: Upload | None = None
        # All of it came, and it has no answer yet; and then, it is verified.
        self._is_ending = False
        self._is_checking = False
        self.upload_broke_off = False
        # Under TLS whether its end was told; None without TLS, where nothing tells it.
        self.upload_end_is_told: bool | None = None
        self.upload_limit = 0
        # What this session has uploaded and not given its name yet: (the account's folder, the path in it).
        self._parts: set[tuple[Path, str]] = set()
        self._locks: dict[str, contextlib.ExitStack] = {}
        super().__init__(*arguments, **keywords)

    def may_go_on(self) -> bool:
        return not self._is_checking and super().may_go_on()

    def in_upload(self) -> bool:
        """Whether an upload is received, or waits for its answer."""
        return self._is_ending or (self.data_channel is not None and self.data_channel.receive)

    def handle_timeout(self) -> None:
        if self._is_ending:
            self.call_later(self.timeout, self.handle_timeout)
        else:
            super().handle_timeout()

    def ftp_STOR(self, path: str, mode: str = "w") -> None:  # noqa: N802  # pyftpdlib finds it by this name
        rest, self._restart_position = self._restart_position, 0
        if self._is_busy():
            return
        if rest:
            self.respond("554 An upload begins at its first byte: REST does not go with STOR.")
        elif self._current_type != "i":
            self.respond("550 Uploads are binary: give TYPE I first.")
        else:
            self._drop_upload()
            with self._refused(path):
                self._upload = self._new_upload(path)
                self._receive(self._upload)

    def _new_upload(self, path: str) -> Upload:
        self.upload_broke_off, self.upload_end_is_told = False, None
        if self.fs.account.role == "board":
            self.upload_limit = REPORT_MAX
            return self._new_report()
        place, relative = self.fs.locate(path)
        upload_rules.check_upload(place, relative, self.settings)
        self.upload_limit = self.settings.upload_max
        upload: Upload = self.fs.create(path, self.upload_limit)
        return upload

    def _receive(self, upload: Upload) -> None:
        # As pyftpdlib's own STOR.
        if self.data_channel is not None:
            self.respond("125 Data connection already open. Transfer starting.")
            self.data_channel.file_obj = upload
            self.data_channel.enable_receiving(self._current_type, "STOR")
        else:
            self.respond("150 File status okay. About to open data connection.")
            self._in_dtp_queue = (upload, "STOR")

    def on_file_received(self, file: str) -> None:
        if self._upload is None:
            return
        # A part is compared by its client before it is renamed; in a release file, or in JSON, what is missing shows.
        name = posixpath.basename(file)
        proves_itself = (
            name.startswith(PART_PREFIX) or upload_rules.is_release_file(name) or self.fs.account.role == "board"
        )
        if self.upload_end_is_told is False and not proves_itself:
            self.break_upload_off()
            self.respond("426 TLS ended without its close_notify: the file may be cut off, and is not kept.")
            return
        self.events.counters.add("received_complete")
        self._is_ending = True
        if proves_itself or self.upload_end_is_told:
            self._take_upload(self._upload)
        else:
            # Without TLS the data of a client that was killed ends like a file's; that its session ended shows soon.
            self.call_later(_GRACE, self._take_upload, self._upload)

    def _on_dtp_close(self) -> None:
        if self._quit_pending and self._upload is not None:
            # RFC 959 section 4.1.1: the reply to the transfer comes behind that to QUIT, and then the end.
            self.data_channel = None
            self.add_channel()
        else:
            super()._on_dtp_close()

    def break_upload_off(self) -> None:
        """Leaves nothing of the upload that will not become whole."""
        if self._upload is not None:
            self.events.counters.add("received_broken_off")
            path, size = self._upload.name, self._upload.size
            self._drop_upload()
            self._tell(self.events.warn, "upload", "broke the upload off of", path, "broken_off", size)

    def _take_upload(self, upload: Upload) -> None:
        with self._refused(upload.name):
            if self.fs.account.role == "board":
                upload.close()
                _check_report(upload.part)
                replace_file(upload.part, self._report_file())
                self.events.noted("report", **self.who(), path=REPORT_PATH, bytes=upload.size)
                self._answer("226 Transfer complete.")
                return
            upload.flush_to_disk()
            place, relative = self.fs.locate(upload.name)
            part = upload.part.relative_to(place.folder).as_posix()
            self._give_name(place, part, relative, "226 Transfer complete")

    def _give_name(self, place: ServedPlace, part: str, path: str, done: str) -> None:
        """Renames `part` to `path` if that may be, and answers `done`."""

        def finish(is_there: bool) -> None:
            if is_there:
                place.remove(part)
            else:
                # Somebody else may have been quicker: what must not be replaced is not replaced.
                place.rename(part, path, replace=not is_release)
                place.sync([path])
            self._parts.discard((place.folder, part))
            if posixpath.basename(path).startswith(PART_PREFIX):
                self._parts.add((place.folder, path))
            else:
                size = (place.folder / path).stat().st_size
                self._tell(self.events.told, "publish" if is_release else "upload", "put there", path, "ok", size)
            self._answer(f"{done}{': the same is there already' if is_there else ''}.")

        is_file = upload_rules.is_release_file(path)
        is_release = is_file or upload_rules.is_versioned(place, path)
        if not is_file:
            finish(upload_rules.check_replacement(place, part, path))
            return
        self._is_ending = self._is_checking = True

        def checked(future: "Future[bool]") -> None:
            if not self._closed:
                with self._refused(path):
                    finish(future.result())

        check = self.checks.submit(upload_rules.check_release_file, place, part, path, self.settings)
        check.add_done_callback(lambda future: self.loop_calls.call(partial(checked, future)))

    def _answer(self, reply: str) -> None:
        """Tells the client what became of its upload, and goes on with its next command."""
        self._upload = None
        self._is_ending = self._is_checking = False
        self.respond(reply)
        if self._quit_pending:
            self.close_when_done()
        else:
            self.go_on()

    def ftp_RNFR(self, path: str) -> None:  # noqa: N802  # as above
        if not self._is_busy():
            super().ftp_RNFR(path)

    def ftp_RNTO(self, path: str) -> None:  # noqa: N802  # as above
        before, self._rnfr = self._rnfr, None
        if self._is_busy():
            return
        if before is None:
            self.respond("503 Bad sequence of commands: use RNFR first.")
            return
        with self._refused(path):
            place, source = self.fs.locate(before)
            _, target = self.fs.locate(path)
            upload_rules.check_rename(place, source, target, self.settings)
            if posixpath.basename(source).startswith(PART_PREFIX):
                self._give_name(place, source, target, "250 Renaming ok")
                return
            place.rename(source, target, replace=posixpath.basename(target).startswith("."))
            place.sync([target])
            is_hidden = posixpath.basename(target).startswith(".")
            event, what = ("withdraw", "withdrew") if is_hidden else ("publish", "put back")
            self._tell(self.events.told, event, what, source if is_hidden else target, "ok")
            self.respond("250 Renaming ok.")

    def ftp_DELE(self, path: str) -> None:  # noqa: N802  # as above
        if self._is_busy():
            return
        with self._refused(path):
            place, relative = self.fs.locate(path)
            if place.entry(relative) is None:
                raise UserError("there is no such file")
            upload_rules.check_removal(place, relative, self.settings)
            (place.folder / relative).unlink()
            self._parts.discard((place.folder, relative))
            self._tell(self.events.told, "remove", "removed", relative, "ok")
            self.respond("250 File removed.")

    def ftp_SITE_LOCK(self, path: str) -> None:  # noqa: N802  # as above
        """Keeps every other publish out of the folder `path`, on this machine too, until the session ends."""
        with self._refused(path):
            place, relative = self.fs.locate(path)
            if relative not in self._locks:
                lock = contextlib.ExitStack()
                try:
                    lock.enter_context((place.sub(relative) if relative else place).locked())
                except UserError as error:
                    self.respond(f"450 {error}.")
                    return
                self._locks[relative] = lock
            self.respond("200 It is yours until the session ends.")

    def ftp_SITE_UNLOCK(self, path: str) -> None:  # noqa: N802  # as above
        with self._refused(path):
            lock = self._locks.pop(self.fs.locate(path)[1], None)
            if lock is not None:
                lock.close()
            self.respond("200 It is free.")

    def close(self) -> None:
        # What this session has not brought to an end is of no use to another.
        self._drop_upload()
        for folder, part in self._parts:
            with contextlib.suppress(OSError):
                (folder / part).unlink()
        self._parts.clear()
        while self._locks:
            self._locks.popitem()[1].close()
        super().close()

    def _is_busy(self) -> bool:
        if self.in_upload():
            self.respond("450 The upload before is not ended: wait for its reply.")
            return True
        return False

    def _drop_upload(self) -> None:
        if self._upload is not None:
            self._upload.discard()
            self._upload = None

    @contextlib.contextmanager
    def _refused(self, path: str) -> Iterator[None]:
        """What the block raises is told the client, and nothing is left of the upload then."""
        try:
            yield
        except (UserError, FilesystemError, OSError) as error:
            why = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
            if isinstance(error, FileExistsError):
                why = f"{posixpath.basename(path)} has just been put there by somebody else"
            self._drop_upload()
            self._tell(self.events.warn, "upload_refused", f"may not write ({printable(why)})", path, "refused")
            self._answer(f"{'450' if isinstance(error, _TooSoonError) else '550'} {printable(why)}.")

    def _tell(
        self, tell: Callable[..., None], event: str, what: str, path: str, outcome: str, size: int | None = None
    ) -> None:
        path = posixpath.join("/", path)
        text = f"{self.username} at {self._client()} {what} {printable(path)}"
        tell(event, text, **self.who(), path=path, outcome=outcome, **({} if size is None else {"bytes": size}))

    def _new_report(self) -> Upload:
        file = self._report_file()
        with contextlib.suppress(FileNotFoundError):
            if abs(time.time() - file.stat().st_mtime) < REPORT_INTERVAL:
                raise _TooSoonError("a report came a moment ago: wait a second")
        file.parent.mkdir(exist_ok=True, mode=0o700)
        return Upload(REPORT_PATH, file.parent, REPORT_MAX)

    def _report_file(self) -> Path:
        if self.settings.reports is None:
            raise UserError("this server keeps no reports")
        return Path(self.settings.reports) / f"{self.username}.json"


class _TooSoonError(UserError):
    pass


def _check_report(part: Path) -> None:
    """Raises UserError unless the file `part` is a JSON object."""
    try:
        report = json.loads(part.read_bytes())
    except (ValueError, RecursionError):
        report = None
    if not isinstance(report, dict):
        raise UserError("a report is one JSON object")
