"""The FTP server: pyftpdlib's asynchronous one, with otalink's accounts, folders and limits.

A board may list and read in its own folder and nothing else: there is no command here that writes, and nobody gets out
of the folder, be it by `..` or by a symbolic link. No password is ever logged. This file reads no settings file and
prints nothing: it logs to the logger `otalink.server`, and the command line shows that.
"""

import contextlib
import errno
import logging
import os
import posixpath
import re
import socket
import stat
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

# Ahead of the others: it imports asyncore without the warning that Python 3.11 gives.
from pyftpdlib import ioloop
from pyftpdlib.exceptions import AuthenticationFailed, FilesystemError
from pyftpdlib.filesystems import AbstractedFS
from pyftpdlib.handlers import DTPHandler, FTPHandler
from pyftpdlib.servers import FTPServer as PyftpdlibServer

from otalink_host.accounts import load_passwords, password_matches
from otalink_host.errors import UserError
from otalink_host.listening import BACKLOG, listen, raise_descriptor_limit
from otalink_host.settings import Account, Settings

logger = logging.getLogger("otalink.server")

USUAL_PORT = 2121
# How soon a stop is noticed, in seconds.
TICK = 0.1
# Whoever has not logged in by then, in seconds, gives up the place to somebody else.
LOGIN_TIMEOUT = 60
# The answer to a wrong password is held back this long, in seconds.
FAILED_LOGIN_DELAY = 3.0
# How many transfers are remembered: a server runs for years.
TRANSFERS_KEPT = 10_000
# Everything that a board may say. What is not here is not understood: writing, SITE, and PORT, by which a server can be
# made to connect to others.
BOARD_COMMANDS = (
    *("USER", "PASS", "QUIT", "REIN", "NOOP", "SYST", "STAT", "HELP", "FEAT", "OPTS"),
    *("PWD", "XPWD", "CWD", "XCWD", "CDUP", "XCUP"),
    *("LIST", "NLST", "MLSD", "MLST", "SIZE", "MDTM"),
    *("PASV", "EPSV", "TYPE", "STRU", "MODE", "REST", "RETR", "ABOR"),
)


@dataclass(frozen=True)
class Transfer:
    """One file sent, or the part of it that was: `size` counts the bytes handed to the network, `path` is the client's.

    `complete` is False when the client left or stopped early, which a board does on purpose as well; `size` then counts
    what lay in buffers too. `seconds` is how long it took, `address` the client's.
    """

    account: str
    address: str
    path: str
    size: int
    complete: bool
    seconds: float


# Gives the accounts and their passwords when the files that hold them have changed, else None. Raises nothing.
Reread = Callable[[], tuple[tuple[Account, ...], Mapping[str, str]] | None]


class FtpServer:
    """The server on its port: it accepts from the start and answers while `run` runs.

    Raises UserError when the port cannot be had. Close it, or use it in a `with` statement.
    """

    def __init__(
        self,
        settings: Settings,
        passwords: Mapping[str, str],
        *,
        failed_login_delay: float = FAILED_LOGIN_DELAY,
        reread: Reread | None = None,
    ) -> None:
        """`reread` is asked at each login: accounts may have been added, changed or removed since."""
        self.settings = settings
        self._stop = threading.Event()
        self._transfers: deque[Transfer] = deque(maxlen=TRANSFERS_KEPT)
        _have_descriptors(settings.sessions)
        _keep_pyftpdlib_quiet()
        listener = listen(settings.address, settings.port, USUAL_PORT)
        self._loop = ioloop.IOLoop()
        # pyftpdlib configures a handler by attributes of its class: each server has a class of its own.
        handler = type(
            "Handler",
            (_Handler,),
            {
                "authorizer": _Authorizer(settings.accounts, passwords, reread),
                "passive_ports": settings.passive_ports,
                "masquerade_address": settings.masquerade_address,
                "auth_failed_timeout": failed_login_delay,
                "sessions_max": settings.sessions,
                "transfers": self._transfers,
                "proto_cmds": {name: FTPHandler.proto_cmds[name] for name in BOARD_COMMANDS},
            },
        )
        self._server = _Server(listener, handler, ioloop=self._loop, backlog=BACKLOG)
        # A control and a data connection each, and the socket that listens.
        self._server.max_cons = 2 * settings.sessions + 1
        self.address: str
        self.port: int
        self.address, self.port = self._server.address

    @property
    def transfers(self) -> list[Transfer]:
        """The transfers that have ended, the latest last; the oldest are forgotten after ten thousand."""
        return list(self._transfers)

    def run(self) -> None:
        """Serves until `stop` is called, from another thread or a signal handler."""
        while not self._stop.is_set():
            self._loop.loop(timeout=TICK, blocking=False)

    def stop(self) -> None:
        """Makes `run` return within a tenth of a second."""
        self._stop.set()

    def close(self) -> None:
        """Closes the port and every connection."""
        self._server.close_sessions()
        self._server.close_all()

    def __enter__(self) -> "FtpServer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class BackgroundServer:
    """The server in a thread of its own, for a test or a demonstration: by default on a free port of the loopback.

    `with BackgroundServer(settings) as server:` gives an FtpServer; leaving the block ends the thread and closes every
    socket. `passwords` None reads the settings' secrets file.
    """

    def __init__(
        self,
        settings: Settings,
        passwords: Mapping[str, str] | None = None,
        *,
        address: str = "127.0.0.1",
        port: int = 0,
        failed_login_delay: float = FAILED_LOGIN_DELAY,
        reread: Reread | None = None,
    ) -> None:
        self._reread = reread
        self._settings = replace(settings, address=address, port=port)
        self._passwords = load_passwords(settings) if passwords is None else passwords
        self._failed_login_delay = failed_login_delay
        self._server: FtpServer | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> FtpServer:
        self._server = FtpServer(
            self._settings, self._passwords, failed_login_delay=self._failed_login_delay, reread=self._reread
        )
        self._thread = threading.Thread(target=self._server.run, name="otalink FTP server", daemon=True)
        self._thread.start()
        return self._server

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None and self._thread is not None:
            self._server.stop()
            self._thread.join()
            self._server.close()


def own_address() -> str | None:
    """This machine's address in its network, as boards see it, or None when it has none. Sends nothing."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        # Connecting a datagram socket only looks the route up; 192.0.2.1 is a documentation address (RFC 5737).
        probe.connect(("192.0.2.1", 9))
        address = str(probe.getsockname()[0])
        if not address.startswith("127.") and address != "0.0.0.0":
            return address
    return None


def address_for_boards(settings: Settings) -> str | None:
    """The address at which boards reach a server with these settings; None when this machine is in no network."""
    if settings.masquerade_address or settings.address not in ("0.0.0.0", "::"):
        return settings.masquerade_address or settings.address
    return own_address()


def board_settings(settings: Settings, account: Account, port: int) -> dict[str, Any]:
    """What a board's `/otalink.json` says of the server, but for the password."""
    return {
        "host": address_for_boards(settings) or "127.0.0.1",
        "port": port,
        "user": account.name,
        "folder": account.virtual_path,
    }


def firewall_commands(settings: Settings, port: int) -> list[tuple[str, list[str]]]:
    """What opens the server's ports in the usual firewalls: (name of the firewall, its commands)."""
    passive = settings.passive_ports
    first, last = (passive[0], passive[-1]) if passive else (1024, 65535)
    netsh = 'netsh advfirewall firewall add rule name="otalink" dir=in action=allow protocol=TCP'
    return [
        ("ufw (Ubuntu, Debian)", [f"sudo ufw allow {port}/tcp", f"sudo ufw allow {first}:{last}/tcp"]),
        (
            "firewalld (Fedora, Red Hat)",
            [
                f"sudo firewall-cmd --permanent --add-port={port}/tcp --add-port={first}-{last}/tcp",
                "sudo firewall-cmd --reload",
            ],
        ),
        ("Windows, as administrator", [f"{netsh} localport={port},{first}-{last}"]),
    ]


class _PassivePortsError(Exception):
    pass


class _Authorizer:
    """What pyftpdlib asks about accounts."""

    def __init__(
        self, accounts: tuple[Account, ...], passwords: Mapping[str, str], reread: Reread | None = None
    ) -> None:
        self._accounts = {account.name: account for account in accounts}
        self._passwords = {account.name: passwords[account.name] for account in accounts if account.name in passwords}
        self._reread = reread

    def account(self, username: str) -> Account:
        return self._accounts[username]

    def validate_authentication(self, username: str, password: str, handler: Any) -> None:
        self._take_over_changes()
        if not password_matches(password, self._passwords.get(username)):
            raise AuthenticationFailed("Authentication failed.")

    def _take_over_changes(self) -> None:
        found = self._reread() if self._reread is not None else None
        if found is None:
            return
        accounts, passwords = found
        # Who is logged in keeps the account that is not there any more; nobody logs in with it.
        self._accounts |= {account.name: account for account in accounts}
        self._passwords = dict(passwords)
        logger.info("the accounts have changed: %d are known now", len(accounts))

    def get_home_dir(self, username: str) -> str:
        return str(self._accounts[username].folder)

    def has_perm(self, username: str, perm: str, path: str | None = None) -> bool:
        return perm in self.get_perms(username)

    def get_perms(self, username: str) -> str:
        return "elr"

    def get_msg_login(self, username: str) -> str:
        return "Login successful."

    def get_msg_quit(self, username: str) -> str:
        return "Goodbye."

    def impersonate_user(self, username: str, password: str) -> None:
        pass

    def terminate_impersonation(self, username: str) -> None:
        pass


class _VirtualFolder(AbstractedFS):  # type: ignore[misc]  # pyftpdlib has no type hints
    """An account's folder under its virtual path, read-only.

    pyftpdlib turns each path of a client into one of the file system and passes that around. Here both are the client's
    path, absolute and without `..`; only the methods that touch a disk turn it into a real one, so that one place,
    `_real`, decides what can be reached. The folders above the virtual path are no folders of the disk.
    """

    def __init__(self, root: str, cmd_channel: Any) -> None:
        super().__init__(os.path.realpath(root), cmd_channel)
        self.account: Account = cmd_channel.authorizer.account(cmd_channel.username)
        self._prefix = self._parts(self.account.virtual_path)

    def ftpnorm(self, ftppath: str) -> str:
        return "/" + posixpath.normpath(posixpath.join(self.cwd, ftppath)).lstrip("/")

    def ftp2fs(self, ftppath: str) -> str:
        return self.ftpnorm(ftppath)

    def fs2ftp(self, fspath: str) -> str:
        return fspath

    def validpath(self, path: str) -> bool:
        """False for what leads out of the folder. What is not there is said when it is opened."""
        try:
            self._real(path)
        except PermissionError:
            return False
        except FileNotFoundError:
            pass
        return True

    def open(self, filename: str, mode: str) -> Any:
        real = self._real(filename)
        # Opening a named pipe would stop the whole server until somebody writes to it.
        if mode != "rb" or not stat.S_ISREG(os.stat(real).st_mode):
            raise FilesystemError("This is no file that can be read")
        return open(real, "rb")

    def chdir(self, path: str) -> None:
        # Not os.chdir, as in pyftpdlib: the server is a guest in its process.
        if not self.isdir(path):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        self.cwd = path

    def listdir(self, path: str) -> list[str]:
        above = self._above(path)
        if above is not None:
            return [above]
        real = self._real(path)
        # Hidden names are uploads under way, which a client that fetches every file it sees must not get.
        with os.scandir(real) as entries:
            return [entry.name for entry in entries if entry.name[:1] != "." and self._is_shown(entry)]

    def stat(self, path: str) -> os.stat_result:
        # In a listing "." and "" stand for the folder itself.
        path = self.ftpnorm(path.replace(os.sep, "/"))
        return os.stat(self._root if self._above(path) is not None else self._real(path))

    # A link is shown as what it leads to: where it leads is nobody's business.
    lstat = stat
    readlink = None

    def islink(self, path: str) -> bool:
        return False

    def isfile(self, path: str) -> bool:
        return self._is(stat.S_ISREG, path)

    def isdir(self, path: str) -> bool:
        return self._is(stat.S_ISDIR, path)

    def lexists(self, path: str) -> bool:
        return self._is(lambda mode: True, path)

    def getsize(self, path: str) -> int:
        return self.stat(path).st_size

    def getmtime(self, path: str) -> float:
        return self.stat(path).st_mtime

    def realpath(self, path: str) -> str:
        return path

    def get_user_by_uid(self, uid: int) -> str:
        return "otalink"

    def get_group_by_gid(self, gid: int) -> str:
        return "otalink"

    def _refuse(self, *arguments: Any, **keywords: Any) -> Any:
        raise FilesystemError("This account may read only")

    # No command leads here; inherited, these would act on the real disk.
    mkdir = rmdir = remove = rename = chmod = utime = mkstemp = _refuse

    def client_path(self, real: str) -> str:
        """The client's path of a file that `open` opened."""
        parts = os.path.relpath(real, self._root).split(os.sep)
        return "/" + "/".join(self._prefix + parts)

    def _is(self, kind: Callable[[int], bool], path: str) -> bool:
        try:
            return kind(self.stat(path).st_mode)
        except (OSError, FilesystemError):
            return False

    def _parts(self, path: str) -> list[str]:
        return [part for part in path.split("/") if part]

    def _above(self, path: str) -> str | None:
        """When `path` is a folder above the virtual path: the one name in it, else None."""
        parts = self._parts(path)
        if len(parts) < len(self._prefix) and parts == self._prefix[: len(parts)]:
            return self._prefix[len(parts)]
        return None

    def _real(self, path: str) -> str:
        """The path on this machine's disk. Raises OSError for what cannot be reached."""
        parts = self._parts(path)
        if parts[: len(self._prefix)] != self._prefix:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        parts = parts[len(self._prefix) :]
        for part in parts:
            # On Windows `C:`, `\` and `name:stream` inside of a part would lead elsewhere.
            if part == ".." or re.search(r"[\x00-\x1f\x7f]", part) or (os.name == "nt" and re.search(r"[:\\]", part)):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        real = os.path.join(self._root, *parts)
        if not self._inside(real):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real

    def _is_shown(self, entry: "os.DirEntry[str]") -> bool:
        """False for links that lead out of the folder, or nowhere. Windows has links that do not say that they are."""
        if os.name != "nt" and not entry.is_symlink():
            return True
        return self._inside(entry.path) and os.path.exists(entry.path)

    def _inside(self, real: str) -> bool:
        """True unless symbolic links lead from `real` out of the folder."""
        try:
            resolved = os.path.realpath(real)
            return bool(os.path.commonpath([self._root, resolved]) == self._root)
        except (OSError, ValueError):
            return False


class _PassiveDTP(FTPHandler.passive_dtp):  # type: ignore[misc]  # pyftpdlib has no type hints
    """Listens for a data connection, on one of the configured ports or not at all."""

    def listen(self, backlog: int) -> None:
        """pyftpdlib takes any port, without a word, once the configured ones are in use: a firewall is in its way."""
        ports = self.cmd_channel.passive_ports
        if ports is not None and self.socket.getsockname()[1] not in ports:
            self.close()
            raise _PassivePortsError
        super().listen(backlog)


class _DTPHandler(DTPHandler):  # type: ignore[misc]  # pyftpdlib has no type hints
    """A data connection that reports what it sent."""

    def close(self) -> None:
        # Ahead of pyftpdlib's own record, which comes after the client has its reply: whoever has that finds this.
        if not self._closed and self.file_obj is not None:
            self.cmd_channel.record_transfer(self)
        super().close()


class _Handler(FTPHandler):  # type: ignore[misc]  # pyftpdlib has no type hints
    """A client's session. The attributes without a value are each server's own."""

    banner = "otalink ready."
    abstracted_fs = _VirtualFolder
    dtp_handler = _DTPHandler
    passive_dtp = _PassiveDTP
    sessions_max: int
    transfers: deque[Transfer]

    def on_connect(self) -> None:
        self.server.sessions.add(self)
        # Refused here, before it can take a data connection from a board that is being served.
        if len(self.server.sessions) > self.sessions_max:
            logger.warning("%s refused: %d sessions are all in use", self._client(), self.sessions_max)
            self.handle_max_cons()
            return
        self.call_later(LOGIN_TIMEOUT, self._end_without_login)

    def close(self) -> None:
        self.server.sessions.discard(self)
        super().close()

    def ftp_PASV(self, line: str) -> None:  # noqa: N802  # pyftpdlib finds a command's method by this name
        with self._passive_port():
            super().ftp_PASV(line)

    def ftp_EPSV(self, line: str) -> None:  # noqa: N802  # as above
        with self._passive_port():
            super().ftp_EPSV(line)

    def handle_auth_success(self, home: str, password: str, msg_login: str) -> None:
        # pyftpdlib keeps the password with the session: nothing here needs it.
        super().handle_auth_success(home, "", msg_login)

    def on_login(self, username: str) -> None:
        logger.info("%s at %s logged in", username, self._client())

    def on_login_failed(self, username: str, password: str) -> None:
        logger.warning("%s at %s refused: no such account, or a wrong password", printable(username), self._client())

    def record_transfer(self, data: _DTPHandler) -> None:
        path = self.fs.client_path(data.file_obj.name)
        transfer = Transfer(
            account=self.fs.account.name,
            address=self._client(),
            path=path,
            size=data.tot_bytes_sent,
            complete=data.transfer_finished,
            seconds=data.get_elapsed_time(),
        )
        self.transfers.append(transfer)
        logger.info(
            "%s at %s fetched %s: %d bytes in %.1f s, %s",
            transfer.account,
            transfer.address,
            printable(path),
            transfer.size,
            transfer.seconds,
            "complete" if transfer.complete else "broken off",
        )

    # pyftpdlib's own lines say less, twice over.
    def log(self, msg: str, logfun: object = None) -> None:
        pass

    logline = log

    def log_cmd(self, cmd: str, arg: str, respcode: int, respstr: str) -> None:
        pass

    def log_transfer(self, *arguments: Any, **keywords: Any) -> None:
        pass

    def log_exception(self, instance: Any) -> None:
        logger.error("a fault of the server ended the session of %s", self._client(), exc_info=sys.exc_info())

    @contextlib.contextmanager
    def _passive_port(self) -> Iterator[None]:
        try:
            yield
        except _PassivePortsError:
            logger.warning("%s refused a data connection: all of passive_ports are in use", self._client())
            self.respond("425 No port is free for a data connection. Try again later.")

    def _end_without_login(self) -> None:
        if self.authenticated:
            return
        if self._fileno in self.ioloop.socket_map:
            self.handle_timeout()
        else:
            # It waits for the answer to a wrong password, and pyftpdlib cannot close it then.
            self.call_later(LOGIN_TIMEOUT, self._end_without_login)

    def _client(self) -> str:
        return str(self.remote_ip).removeprefix("::ffff:")


class _Server(PyftpdlibServer):  # type: ignore[misc]  # pyftpdlib has no type hints
    """The socket that listens, and the sessions that came from it."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        self.sessions: set[_Handler] = set()
        super().__init__(*arguments, **keywords)

    def close_sessions(self) -> None:
        # close_all misses those that wait for the answer to a wrong password.
        for session in list(self.sessions):
            session.close()

    def handle_error(self) -> None:
        # pyftpdlib closes the server here, and one moment without a free descriptor would end it for good.
        logger.error("a connection could not be accepted: %s", sys.exc_info()[1])
        time.sleep(TICK)


def printable(text: str) -> str:
    """`text` from a client, fit for one line of a log."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text[:200])


def _have_descriptors(sessions: int) -> None:
    """Makes sure that the process may open what `sessions` need: two sockets and a file each."""
    needed = 3 * sessions + 64
    possible = raise_descriptor_limit(needed)
    if possible < needed:
        raise UserError(
            f"{sessions} sessions need {needed} open files and this account may have {possible}: "
            f"lower sessions in [server], or raise the limit (ulimit -n)"
        )


def _keep_pyftpdlib_quiet() -> None:
    """Without a handler of its own pyftpdlib sets up logging for the whole process."""
    theirs = logging.getLogger("pyftpdlib")
    if not theirs.handlers:
        theirs.addHandler(logging.NullHandler())
        theirs.setLevel(logging.WARNING)
