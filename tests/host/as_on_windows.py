"""Runs command lines of otalink where Python has only what it has on Windows: as_on_windows.py, JSON on stdin.

A double of what no machine here is: the modules and names that only POSIX systems have are gone, and sys.platform and
os.name are Windows'. Other libraries are loaded before, as this system needs them; otalink and its host's modules, all
of them, after. Its input is a list of command lines, each a list of arguments; its output is one line of JSON: a list
of [exit status, stdout, stderr].
"""

import contextlib
import importlib
import io
import json
import os
import pathlib
import pkgutil
import select
import shutil
import signal
import socket
import sys
import types

# Of the standard library's documentation: "Availability: Unix".
_MODULES = """
crypt curses fcntl grp nis ossaudiodev posix pty pwd readline resource spwd syslog termios tty _curses _posixshmem
_posixsubprocess
"""
MODULES = _MODULES.split()
NAMES = {
    os: """
    O_ASYNC O_CLOEXEC O_DIRECT O_DIRECTORY O_DSYNC O_NDELAY O_NOCTTY O_NOFOLLOW O_NONBLOCK O_PATH O_SYNC P_ALL P_PID
    P_PIDFD WCONTINUED WEXITED WNOHANG WNOWAIT WSTOPPED WUNTRACED WEXITSTATUS WIFEXITED WIFSIGNALED WTERMSIG chown
    chroot confstr copy_file_range ctermid eventfd fchdir fchown fdatasync fork forkpty fpathconf fstatvfs getegid
    geteuid getgid getgroups getloadavg getpgid getpgrp getpriority getrandom getresuid getsid getuid initgroups
    killpg lchown lockf login_tty major makedev memfd_create minor mkfifo mknod nice openpty pathconf pidfd_open pipe2
    posix_fadvise posix_fallocate posix_spawn posix_spawnp pread preadv pwrite pwritev readv register_at_fork
    sched_getaffinity sched_setaffinity sched_yield sendfile setegid seteuid setgid setgroups setpgid setpriority
    setregid setreuid setsid setuid splice statvfs sync sysconf tcgetpgrp tcsetpgrp ttyname uname wait wait3 wait4
    waitid writev
    """,
    signal: """
    SIGALRM SIGBUS SIGCHLD SIGCONT SIGHUP SIGIO SIGKILL SIGPIPE SIGPOLL SIGPROF SIGQUIT SIGRTMAX SIGRTMIN SIGSTOP SIGSYS
    SIGTRAP SIGTSTP SIGTTIN SIGTTOU SIGURG SIGUSR1 SIGUSR2 SIGVTALRM SIGWINCH SIGXCPU SIGXFSZ alarm getitimer pause
    pthread_kill pthread_sigmask setitimer siginterrupt sigpending sigtimedwait sigwait sigwaitinfo
    """,
    select: "epoll poll kqueue devpoll",
    socket: "AF_UNIX SO_REUSEPORT CMSG_LEN send_fds recv_fds sethostname",
}


class _Refused:
    """Finds no module of MODULES."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name in MODULES:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def import_all() -> list[str]:
    """Imports otalink_host's modules, all but the two that are a virtual board's programs. Gives their names."""
    import otalink_host

    names = [module.name for module in pkgutil.iter_modules(otalink_host.__path__)]
    for name in names:
        if name not in ("vboard_boot", "vboard_look"):
            importlib.import_module(f"otalink_host.{name}")
    return names


def become_windows() -> None:
    """Takes away what Windows does not have, otalink's modules included: they are to be imported anew."""
    import fcntl

    from pyftpdlib.handlers import FTPHandler

    # Windows' own lock, made of this system's.
    msvcrt = types.ModuleType("msvcrt")
    msvcrt.LK_NBLCK = 2
    msvcrt.locking = lambda descriptor, mode, count: fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, count)
    for name in list(sys.modules):
        if name.split(".")[0] in ("otalink", "otalink_host", "otalink_guard", "otalink_examples", *MODULES):
            del sys.modules[name]
    sys.meta_path.insert(0, _Refused())
    sys.modules["msvcrt"] = msvcrt
    # What libraries found out about this system when they were loaded.
    shutil._use_fd_functions = False
    FTPHandler.use_sendfile = False
    vars(sys.modules[type(pathlib.Path()).__module__])["WindowsPath"] = type(pathlib.Path())
    for module, names in NAMES.items():
        for name in names.split():
            vars(module).pop(name, None)
    # Without AF_UNIX it is made of TCP.
    socket.socketpair = _socketpair
    sys.platform, os.name = "win32", "nt"


def _socketpair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one = socket.create_connection(listener.getsockname())
        return one, listener.accept()[0]


def run(arguments: list[str]) -> tuple[int, str, str]:
    from otalink_host.cli import main

    # As Python makes them for a pipe.
    out = io.TextIOWrapper(io.BytesIO(), "cp1252", "strict", write_through=True)
    err = io.TextIOWrapper(io.BytesIO(), "cp1252", "backslashreplace", write_through=True)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(arguments)
    return status, *(stream.buffer.getvalue().decode("cp1252") for stream in (out, err))


if __name__ == "__main__":
    command_lines = json.load(sys.stdin)
    before = import_all()
    become_windows()
    assert import_all() == before
    print(json.dumps([run(arguments) for arguments in command_lines]))
