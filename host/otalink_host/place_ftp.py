"""A folder on an FTP server as a place for releases, by FTP or by FTP over TLS (RFC 959, RFC 3659, RFC 4217).

A file is sent under a hidden name, its size is asked, it is read back by whoever publishes it, and then it is renamed.
What the server says no to is one line with its reply. A session that has failed is not used again: whoever publishes
does so again, which completes what was begun.

Of two who publish into one folder at once, otalink's own server lets one in. Another server knows no lock: there each
rename still is one step, and a version that is there is looked for right before it; who comes second may be told that
its part is gone, and publishes again.
"""

import contextlib
import errno
import ftplib
import os
import posixpath
import secrets
import socket
import ssl
import struct
import tempfile
from calendar import timegm
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from io import BufferedIOBase
from pathlib import Path
from time import strptime
from typing import Any, cast
from urllib.parse import unquote, urlsplit

from otalink_host.errors import UserError
from otalink_host.place import PART_PREFIX, Entry

FTP_PORT = 21
# The account where an address names none.
DEFAULT_USER = "publisher"
# Seconds for any one answer: a server verifies a release file before it gives one.
TIMEOUT = 60.0


@dataclass(frozen=True)
class Address:
    """Where an FTP server has the folder `path`, and as whom to log in. `is_tls` stands for ftps, explicit TLS."""

    is_tls: bool
    user: str
    host: str
    port: int
    path: str

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == FTP_PORT else f":{self.port}"
        return f"{'ftps' if self.is_tls else 'ftp'}://{self.user}@{host}{port}{self.path}"


def is_address(text: str) -> bool:
    """True for what is meant as an address of an FTP server, and not as a folder of this machine."""
    return text.lower().startswith(("ftp://", "ftps://"))


def parse_address(text: str) -> Address:
    """The address ftp://[user@]host[:port]/path, or ftps://…. Raises UserError, which never holds a password."""
    try:
        parts = urlsplit(text)
        port = parts.port or FTP_PORT
    except ValueError:
        raise UserError("the address of an FTP server reads ftp://USER@HOST:PORT/FOLDER") from None
    if parts.password is not None:
        raise UserError(
            "a password in an address is everybody's to read: leave it out, and give it in OTALINK_PASSWORD or by "
            "--password-fd"
        )
    path, user = unquote(parts.path), unquote(parts.username or DEFAULT_USER)
    if not parts.hostname or parts.query or parts.fragment or not (path + user).isprintable():
        raise UserError(f"{text!r} is no address of an FTP server: it reads ftp://USER@HOST:PORT/FOLDER")
    return Address(parts.scheme == "ftps", user, parts.hostname, port, posixpath.normpath("/" + path.lstrip("/")))


@contextlib.contextmanager
def connected(address: Address, password: str, ca: Path | None = None) -> Iterator["FtpPlace"]:
    """The folder at `address`, in a session that is logged in with `password` and ends with the block.

    `ca` is the file with the certificates to trust, by default the system's. Raises UserError when the server cannot be
    reached, is not whom it claims to be, or refuses the login.
    """
    ftp = _connect(address, ca)
    try:
        with _asking(address, "USER", address.user):
            ftp.login(address.user, password)
            if isinstance(ftp, ftplib.FTP_TLS):
                ftp.prot_p()
            ftp.voidcmd("TYPE I")
            # As RFC 1738 section 3.2.2 has it, an address's path begins where the login led; two slashes at the root.
            top = "/" if address.path.startswith("//") else ftp.pwd()
            has_mlsd = _has_mlsd(ftp)
        yield FtpPlace(ftp, address, posixpath.join(top, address.path.lstrip("/")), has_mlsd)
        with contextlib.suppress(*ftplib.all_errors):
            ftp.quit()
    finally:
        ftp.close()


class FtpPlace:
    """The folder `folder` of an FTP server, to which `address` leads; see place.Place. `connected` makes one."""

    reads_back = True

    def __init__(self, ftp: ftplib.FTP, address: Address, folder: str, has_mlsd: bool) -> None:
        self.address = address
        self._ftp = ftp
        self._folder = folder
        self._has_mlsd = has_mlsd

    def __str__(self) -> str:
        return str(self.address)

    def where(self, path: str) -> str:
        return str(self._below(path) if path else self.address)

    def sub(self, name: str) -> "FtpPlace":
        return FtpPlace(self._ftp, self._below(name), self._path(name), self._has_mlsd)

    def is_there(self) -> bool:
        return self._is_folder(self._folder)

    def make(self) -> None:
        self._make(self._folder)

    def files(self) -> dict[str, Entry]:
        return {name: entry for name, entry in self._list() if entry is not None}

    def folders(self) -> list[str]:
        return [name for name, entry in self._list() if entry is None and not name.startswith(".")]

    def entry(self, path: str) -> Entry | None:
        return self._entry(self._path(path))

    def is_folder(self, path: str) -> bool:
        return self._is_folder(self._path(path))

    def check_way(self, path: str) -> None:
        # Where links lead is the server's to watch over: no command tells it.
        pass

    def open(self, path: str) -> BufferedIOBase:
        content = cast(BufferedIOBase, tempfile.TemporaryFile())  # noqa: SIM115  # the caller closes it
        try:
            with self._asking("RETR", path):
                try:
                    self._fetch(self._path(path), content)
                except ftplib.error_perm as error:
                    if not str(error).startswith("550"):
                        raise
                    raise FileNotFoundError(errno.ENOENT, _reason(error), self.where(path)) from None
            content.seek(0)
        except BaseException:
            content.close()
            raise
        return content

    def stage(self, content: Iterable[bytes]) -> str:
        name = f"{PART_PREFIX}{secrets.token_hex(8)}"
        path = self._path(name)
        with self._asking("STOR", name):
            size = self._send(path, content)
            if self._ftp.size(path) != size:
                raise UserError(f"{self} has another size for what it was sent: publish again")
        return name

    def rename(self, before: str, after: str, *, replace: bool = False) -> None:
        source, target = self._path(before), self._path(after)
        if posixpath.dirname(after):
            self._make(posixpath.dirname(target))
        if not replace and self._entry(target) is not None:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), before, None, self.where(after))
        with self._asking("RNTO", after):
            try:
                self._ftp.rename(source, target)
            except ftplib.error_perm:
                # Some servers rename over nothing: there the file is missing for a moment, and boards wait.
                if not replace or not self._delete(target):
                    raise
                self._ftp.rename(source, target)

    def remove(self, path: str) -> bool:
        with self._asking("DELE", path):
            if not self._delete(self._path(path)):
                # Gone is as good as removed; what is still there must not stay without a word.
                if self._entry(self._path(path)) is not None:
                    raise UserError(f"{self} refuses to remove {path}: remove it there yourself")
                return False
            folder = posixpath.dirname(path)
            while folder:
                try:
                    self._ftp.rmd(self._path(folder))
                except ftplib.error_perm:  # something is still in it
                    break
                folder = posixpath.dirname(folder)
        return True

    def sync(self, paths: Iterable[str]) -> None:
        # The server's own affair: otalink's does it before it answers a rename.
        pass

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        with self._asking("SITE", "LOCK"):
            try:
                self._ftp.voidcmd(f"SITE LOCK {self._folder}")
                is_locked = True
            except ftplib.error_perm:  # another server than otalink's
                is_locked = False
            except ftplib.error_temp:
                raise UserError(f"another publish into {self} is under way: wait for it, then publish again") from None
        try:
            yield
        finally:
            if is_locked:
                # Where that fails, the end of the session gives it back.
                with contextlib.suppress(*ftplib.all_errors):
                    self._ftp.voidcmd(f"SITE UNLOCK {self._folder}")

    def _path(self, path: str) -> str:
        return posixpath.join(self._folder, path)

    def _below(self, path: str) -> Address:
        return replace(self.address, path=posixpath.join(self.address.path, path))

    def _send(self, path: str, content: Iterable[bytes]) -> int:
        """Sends `content` as the server's file `path`, and gives its size in bytes."""
        size = 0
        connection = self._ftp.transfercmd(f"STOR {path}")
        try:
            for chunk in content:
                try:
                    connection.sendall(chunk)
                except OSError:
                    # A server that has enough closes the connection, and says why.
                    connection.close()
                    self._ftp.voidresp()
                    raise
                size += len(chunk)
            _end_tls(connection)
            connection.close()
        except BaseException:
            # Closed in the usual way, it would look like the end of the file.
            _reset(connection)
            with contextlib.suppress(*ftplib.all_errors):
                self._ftp.getmultiline()
                self._ftp.delete(path)
            raise
        self._ftp.voidresp()
        return size

    def _entry(self, path: str) -> Entry | None:
        """The file at the server's `path`; its time is not asked."""
        with self._asking("SIZE", path):
            try:
                size = self._ftp.size(path)
            except ftplib.error_perm as error:
                if not str(error).startswith("55"):
                    raise
                return None
        return Entry(size, 0.0) if size is not None else None

    def _is_folder(self, path: str) -> bool:
        with self._asking("CWD", path):
            try:
                self._ftp.cwd(path)
            except ftplib.error_perm:
                return False
        return True

    def _make(self, folder: str) -> None:
        if self._is_folder(folder):
            return
        self._make(posixpath.dirname(folder))
        with self._asking("MKD", folder):
            try:
                self._ftp.mkd(folder)
            except ftplib.error_perm:
                # Somebody else may have made it meanwhile.
                if not self._is_folder(folder):
                    raise

    def _delete(self, path: str) -> bool:
        try:
            self._ftp.delete(path)
        except ftplib.error_perm:
            return False
        return True

    def _fetch(self, path: str, content: BufferedIOBase) -> None:
        connection = self._ftp.transfercmd(f"RETR {path}")
        with connection:
            while chunk := connection.recv(1 << 16):
                content.write(chunk)
            _end_tls(connection)
        self._ftp.voidresp()
        size = self._ftp.size(path)
        if size is not None and size != content.tell():
            raise UserError(f"{self}: only {content.tell()} of {size} bytes of {path} came: try again")

    def _list(self) -> list[tuple[str, Entry | None]]:
        """What is in the folder, sorted by name: (name, the file; None for a folder)."""
        with self._asking("MLSD" if self._has_mlsd else "NLST", self._folder):
            if self._has_mlsd:
                listed = list(self._ftp.mlsd(self._folder, ["type", "size", "modify"]))
                self._ftp.voidcmd("TYPE I")  # ftplib has gone to ASCII for that
                found = [
                    (name, _entry_of(facts) if facts.get("type", "").lower() == "file" else None)
                    for name, facts in listed
                    if facts.get("type", "").lower() in ("file", "dir")
                ]
            else:
                found = [(name, self._entry_by_name(name)) for name in self._names()]
        named = [each for each in found if each[0].strip(".") and each[0].isprintable() and "/" not in each[0]]
        return sorted(named, key=lambda each: each[0])

    def _names(self) -> list[str]:
        """The names in the folder, hidden ones too where the server tells them."""
        self._ftp.cwd(self._folder)
        names: set[str] = set()
        for command in ("NLST -a", "NLST"):
            try:
                lines: list[str] = []
                self._ftp.retrlines(command, lines.append)
                names |= {line.rstrip("/").rpartition("/")[2] for line in lines}
            except ftplib.Error:  # an empty folder is an error to some servers
                continue
            finally:
                self._ftp.voidcmd("TYPE I")  # ftplib has gone to ASCII for that
        return sorted(names - {"", ".", "..", "-a"})

    def _entry_by_name(self, name: str) -> Entry | None:
        entry = self._entry(self._path(name))
        if entry is None:
            return None
        try:
            reply = self._ftp.sendcmd(f"MDTM {self._path(name)}")
        except ftplib.error_perm:
            return entry
        return Entry(entry.size, _time(reply[4:]))

    def _asking(self, *command: str) -> AbstractContextManager[None]:
        return _asking(self.address, *command)


@contextlib.contextmanager
def _asking(address: Address, *command: str) -> Iterator[None]:
    """What goes wrong in the block, which gives the server this `command`, becomes one line."""
    try:
        yield
    except ftplib.Error as error:
        raise UserError(f"{address}: the server refused {' '.join(command)}: {_reason(error)}") from None
    except (FileNotFoundError, FileExistsError):
        raise
    except (OSError, EOFError, UnicodeError) as error:
        raise UserError(f"{address}: the connection broke off ({_reason(error)}): try again") from None


def _connect(address: Address, ca: Path | None) -> ftplib.FTP:
    """A session that nobody is logged in to yet; under TLS, with whom the certificate says."""
    ftp = _FtpTls(context=_context(ca), timeout=TIMEOUT) if address.is_tls else ftplib.FTP(timeout=TIMEOUT)
    try:
        ftp.connect(address.host, address.port)
        if isinstance(ftp, ftplib.FTP_TLS):
            ftp.auth()
        return ftp
    except ssl.SSLCertVerificationError as error:
        why = f"{address.host} is not proven to be {address.host}: {error.verify_message}"
        line = f"{why}: name its certificate, or that of who signed it, with --ca"
    except (ssl.SSLError, ftplib.Error) as error:
        line = f"{address} offers no TLS that can be used ({_reason(error)}): see its settings, or use ftp://"
        if not address.is_tls:
            line = f"{address} answers like no FTP server that is ready ({_reason(error)}): try again later"
    except (OSError, EOFError, UnicodeError) as error:
        line = f"{address} cannot be reached ({_reason(error)}): is the server running, and the address right?"
    ftp.close()
    raise UserError(line)


def _context(ca: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise UserError(f"{ca} holds no certificates in PEM ({_reason(error)}): name the file of the CA") from None


class _FtpTls(ftplib.FTP_TLS):
    """Goes on with the control connection's TLS session on a data connection, as vsftpd and others demand."""

    def ntransfercmd(self, cmd: str, rest: int | str | None = None) -> Any:
        connection, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
        try:
            session = self.sock.session if isinstance(self.sock, ssl.SSLSocket) else None
            return self.context.wrap_socket(connection, server_hostname=self.host, session=session), size
        except BaseException:
            connection.close()
            raise


def _end_tls(connection: Any) -> None:
    if isinstance(connection, ssl.SSLSocket):
        # Servers differ in whether they answer that; what counts is their reply.
        connection.settimeout(1)
        with contextlib.suppress(OSError):
            connection.unwrap()


def _reset(connection: Any) -> None:
    """Closes so that the server sees an error, not the end of a file."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def _has_mlsd(ftp: ftplib.FTP) -> bool:
    """True when the server says so: RFC 3659 section 7.8 has MLST among the features, for MLSD too."""
    try:
        return any(line.strip().upper().startswith("MLST") for line in ftp.sendcmd("FEAT").splitlines())
    except ftplib.error_perm:
        return False


def _entry_of(facts: dict[str, str]) -> Entry:
    size = facts.get("size", "")
    return Entry(int(size) if size.isdecimal() else 0, _time(facts.get("modify", "")))


def _time(text: str) -> float:
    """Seconds since 1970 for a time as RFC 3659 section 2.3 writes it, in UTC; 0 for what is none."""
    try:
        return float(timegm(strptime(text.strip()[:14], "%Y%m%d%H%M%S")))
    except ValueError:
        return 0.0


def _reason(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error) or "it was closed"
    return " ".join(str(text).split())
