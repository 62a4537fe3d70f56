"""What every server here begins with: a socket that listens, and enough open files. It prints and logs nothing."""

import errno
import os
import socket
from collections.abc import Sequence

from otalink_host.errors import UserError

# Two hundred boards that come back from the same power cut call within a second; 100, a usual value, lost most of them.
BACKLOG = 1024


def listen_on(addresses: Sequence[str], port: int, usual_port: int) -> list[socket.socket]:
    """A socket for each of `addresses`, all on one port; 0 is a free one. Raises UserError, with none left open."""
    listeners: list[socket.socket] = []
    try:
        for address in addresses:
            # "::" has IPv4's connections as well, unless another socket of ours has these.
            alone = "0.0.0.0" not in addresses
            listeners.append(listen(address, port, usual_port, both=alone))
            port = listeners[0].getsockname()[1]
    except UserError:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def listen(address: str, port: int, usual_port: int, *, both: bool = True) -> socket.socket:
    """A socket that listens there. Raises UserError when it cannot; `usual_port` is one that would do.

    On "::" it takes IPv4's connections as well, if `both` is set and the system can.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    both = both and address == "::" and socket.has_dualstack_ipv6()
    try:
        return socket.create_server((address, port), family=family, backlog=BACKLOG, dualstack_ipv6=both)
    except OSError as error:
        raise UserError(_why_not(error, address, port, usual_port)) from None


def raise_descriptor_limit(needed: int) -> int:
    """Lets the process have `needed` open files, as far as the system lets it. Returns how many it may have: `needed`,
    or fewer.
    """
    try:
        import resource  # there is none on Windows
    except ImportError:
        return needed
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return needed
    possible = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (possible, hard))
    except (OSError, ValueError):
        return soft
    return possible


def _why_not(error: OSError, address: str, port: int, usual_port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} is in use: stop what listens there, or choose another with --port"
    # Windows answers EACCES for a port that another program holds for itself alone.
    if error.errno == errno.EACCES:
        rights = "an administrator's rights" if os.name == "posix" and port < 1024 else "rights that you do not have"
        return f"port {port} needs {rights}: choose one from 1024 on with --port, such as {usual_port}"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{address} is no address of this machine: choose one that is with --address, or 0.0.0.0 for all"
    return f"{address} port {port} cannot be listened on ({error.strerror or error})"
