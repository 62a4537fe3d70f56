"""FTP servers that others wrote, each started as a child process on a free port of the loopback, and ended by its pid.

`with vsftpd(folder) as server:` serves `folder` and gives a Server; so do `proftpd` and `pure_ftpd`. The user nobody
must be able to read what is in `folder`, and to get there: `public_folder` makes such a one.
tests/interop/setup unpacks the servers, which need root to start. Whatever is missing is a MissingError.

Each configuration has two parts: what a user sets too, which docs/interop.md shows and test_interop_docs.py compares,
and what only a test needs. Imports nothing of the tests'.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

PLACE = Path("/opt/otalink-interop")
PAM_SERVICE = "otalink-interop"
USER = "board"
PASSWORD = "interop-password"
# As whom the servers touch files: vsftpd, and the others.
VSFTPD_USER = "daemon"
NOBODY = "nobody"
# For data connections; below the ports that Linux gives to outgoing ones.
PASSIVE = (20000, 29999)
# How long a server may take to start and to end, in seconds.
PATIENCE = 20
# Pure-FTPd closes as many as it may have open, one by one, for each session.
DESCRIPTORS = 256
# A port that was free may be taken before the server has it.
TRIES = 5

VSFTPD = """\
listen=YES
listen_port={port}
anonymous_enable=NO
local_enable=YES
pam_service_name={pam_service}
guest_enable=YES
local_root={folder}
chroot_local_user=YES
pasv_min_port={passive_first}
pasv_max_port={passive_last}
"""
VSFTPD_TLS = """\
ssl_enable=YES
ssl_ciphers=HIGH
rsa_cert_file={certificate}
"""
# Its virtual users count as anonymous ones here.
VSFTPD_PRIVATE = "force_anon_data_ssl=YES\n"
VSFTPD_NO_REUSE = "require_ssl_reuse=NO\n"
VSFTPD_WRITES = """\
write_enable=YES
virtual_use_local_privs=YES
local_umask=022
allow_writeable_chroot=YES
"""
VSFTPD_TEST = """\
background=NO
listen_address=127.0.0.1
guest_username={user}
secure_chroot_dir={home}
xferlog_enable=NO
max_clients=0
max_per_ip=0
"""

PROFTPD = """\
Port {port}
PassivePorts {passive_first} {passive_last}
AuthUserFile {users}
AuthOrder mod_auth_file.c
RequireValidShell off
DefaultRoot ~
"""
PROFTPD_READS = """\
<Limit WRITE>
  DenyAll
</Limit>
"""
PROFTPD_WRITES = """\
AllowOverwrite on
"""
PROFTPD_TLS = """\
LoadModule mod_tls.c
TLSEngine on
TLSRSACertificateFile {certificate}
TLSRSACertificateKeyFile {certificate}
"""
PROFTPD_PRIVATE = "TLSRequired on\n"
PROFTPD_CLEAR = "TLSRequired ctrl\n"
PROFTPD_NO_REUSE = "TLSOptions NoSessionReuseRequired\n"
PROFTPD_TEST = """\
User nobody
Group nogroup
ModulePath {modules}
DefaultAddress 127.0.0.1
SocketBindTight on
UseIPv6 off
UseReverseDNS off
PidFile {home}/pid
ScoreboardFile {home}/scoreboard
DelayEngine off
WtmpLog off
SystemLog {home}/log
"""

PURE_FTPD = """\
PassivePortRange {passive_first} {passive_last}
ChrootEveryone yes
NoAnonymous yes
PureDB {users}
"""
PURE_FTPD_TLS = "CertFile {certificate}\n"
PURE_FTPD_PRIVATE = "TLS 3\n"
PURE_FTPD_CLEAR = "TLS 2\n"
PURE_FTPD_TEST = """\
Bind 127.0.0.1,{port}
DontResolve yes
PIDFile {home}/pid
"""


class MissingError(Exception):
    """The machine lacks what a server needs; the text says which and what to do."""


@dataclass(frozen=True)
class Server:
    """A server that runs: where it is, and who may log in. Its virtual path is `/`, its process `pid`."""

    host: str
    port: int
    user: str
    password: str
    pid: int

    def kill_sessions(self) -> None:
        """Kills the processes that serve the sessions; the server goes on."""
        _kill(descendants(self.pid))


@dataclass(frozen=True)
class Tls:
    """How a server speaks TLS; plain logins are refused then.

    `certificate` is the PEM file with its key and its chain, `private` whether data must be encrypted too (PROT P), or
    may be in the clear (PROT C), `reuse` whether a data connection must resume the control connection's TLS session.
    Pure-FTPd has no such demand.
    """

    certificate: Path
    private: bool = True
    reuse: bool = False


def vsftpd(folder: Path, tls: Tls | None = None, *, writes: bool = False) -> contextlib.AbstractContextManager[Server]:
    """vsftpd, read-only unless its user `writes`. Without `tls` it knows plain FTP alone."""

    def command(home: Path, port: int) -> list[str]:
        parts = [VSFTPD, VSFTPD_WRITES if _own(folder, VSFTPD_USER, writes) else ""]
        if tls is not None:
            parts += [VSFTPD_TLS, VSFTPD_PRIVATE if tls.private else "", "" if tls.reuse else VSFTPD_NO_REUSE]
        config = _write(
            home, [*parts, VSFTPD_TEST], port=port, folder=folder, tls=tls, pam_service=PAM_SERVICE, user=VSFTPD_USER
        )
        return [_program("vsftpd"), str(config)]

    return _run("vsftpd", command)


def proftpd(folder: Path, tls: Tls | None = None, *, writes: bool = False) -> contextlib.AbstractContextManager[Server]:
    """ProFTPD, read-only unless its user `writes`. Without `tls` it knows plain FTP alone."""

    def command(home: Path, port: int) -> list[str]:
        program = _program("proftpd")
        users = home / "users"
        users.write_text(f"{USER}:{_password_hash()}:65534:65534::{folder}:/bin/false\n", encoding="utf-8")
        users.chmod(0o600)
        parts = [PROFTPD, PROFTPD_WRITES if _own(folder, NOBODY, writes) else PROFTPD_READS]
        if tls is not None:
            parts += [PROFTPD_TLS, PROFTPD_PRIVATE if tls.private else PROFTPD_CLEAR]
            parts += ["" if tls.reuse else PROFTPD_NO_REUSE]
        modules = PLACE / "usr/lib/proftpd"
        config = _write(home, [PROFTPD_TEST, *parts], port=port, users=users, tls=tls, modules=modules)
        return [program, "--nodaemon", "--config", str(config)]

    return _run("ProFTPD", command)


def pure_ftpd(
    folder: Path, tls: Tls | None = None, *, writes: bool = False
) -> contextlib.AbstractContextManager[Server]:
    """Pure-FTPd, read-only because `folder` belongs to another user, unless its user `writes`. Without `tls` it knows
    plain FTP alone."""

    def command(home: Path, port: int) -> list[str]:
        program = _program("pure-ftpd")
        # `pure-pw useradd` takes seconds on purpose, and with its hash each login as well.
        users = home / "users.pdb"
        (home / "users").write_text(
            f"{USER}:{_password_hash()}:65534:65534::{folder}/./::::::::::::\n", encoding="utf-8"
        )
        subprocess.run([_program("pure-pw"), "mkdb", users, "-f", home / "users"], check=True)
        _own(folder, NOBODY, writes)
        parts = [PURE_FTPD]
        if tls is not None:
            parts += [PURE_FTPD_TLS, PURE_FTPD_PRIVATE if tls.private else PURE_FTPD_CLEAR]
        config = _write(home, [*parts, PURE_FTPD_TEST], port=port, users=users, tls=tls)
        return [program, str(config)]

    return _run("Pure-FTPd", command)


def _own(folder: Path, user: str, writes: bool) -> bool:
    """Gives `folder` to the server's user when that `writes`, which this gives back."""
    if writes:
        shutil.chown(folder, user)
    return writes


STARTERS = {"vsftpd": vsftpd, "ProFTPD": proftpd, "Pure-FTPd": pure_ftpd}


@contextlib.contextmanager
def public_folder() -> Iterator[Path]:
    """A temporary folder that the user nobody may read, for what is served."""
    with tempfile.TemporaryDirectory(prefix="otalink-interop-") as name:
        os.chmod(name, 0o755)
        yield Path(name)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def descendants(pid: int) -> list[int]:
    """The processes that the process has begun, and theirs."""
    try:
        children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []
    return children + [further for child in children for further in descendants(child)]


def _program(name: str) -> str:
    found = shutil.which(name, path=f"{PLACE}/usr/sbin:{PLACE}/usr/bin")
    if found is None:
        raise MissingError(f"{name} is not installed: run tests/interop/setup")
    if os.geteuid() != 0:
        raise MissingError(f"only root can start {name}: run this as root")
    return found


def _password_hash() -> str:
    """The hash of PASSWORD, which setup made for vsftpd."""
    return (PLACE / "passwords").read_text(encoding="utf-8").split(":")[1].strip()


def _write(home: Path, parts: Sequence[str], *, tls: Tls | None, **values: object) -> Path:
    path = home / "config"
    certificate = tls.certificate if tls is not None else ""
    values |= {"home": home, "certificate": certificate, "passive_first": PASSIVE[0], "passive_last": PASSIVE[1]}
    path.write_text("".join(parts).format(**values), encoding="utf-8")
    return path


@contextlib.contextmanager
def _run(name: str, command: Callable[[Path, int], list[str]]) -> Iterator[Server]:
    with public_folder() as home:
        for _ in range(TRIES):
            port = free_port()
            with open(home / "output", "wb") as output:
                process = subprocess.Popen(
                    ["sh", "-c", f'ulimit -n {DESCRIPTORS}; exec "$@"', "sh", *command(home, port)],
                    cwd=home,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
            try:
                if _answers(process, port):
                    yield Server("127.0.0.1", port, USER, PASSWORD, process.pid)
                    return
            finally:
                _end(process)
        said = (home / "output").read_text("utf-8", "replace").strip() or f"it ended with status {process.returncode}"
        raise RuntimeError(f"{name} does not start: {said}")


def _answers(process: "subprocess.Popen[bytes]", port: int) -> bool:
    """Waits for the server's banner; False when the server has ended."""
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as probe:
            return probe.recv(4).startswith(b"220")
        time.sleep(0.02)
    return False


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Ends the sessions, of which vsftpd's would go on, and the server."""
    _kill(descendants(process.pid))
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _kill(pids: Iterable[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
