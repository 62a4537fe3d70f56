"""A unit for systemd that runs the server with as few rights as it needs. It prints and starts nothing."""

import os
import sys
from pathlib import Path

from otalink_host.settings import Settings

UNIT = """\
[Unit]
Description=otalink: updates for MicroPython boards
Wants=network-online.target
After=network-online.target

[Service]
Type=exec
User={user}
ExecStart={command} serve --config {config}
ExecReload=/bin/kill -HUP $MAINPID
# The first process ends the others, and lets transfers finish.
KillMode=mixed
TimeoutStopSec={stop}
Restart=on-failure
RestartSec=2
LimitNOFILE={files}
UMask=0027

# All that it may write to is the server's own folder.
ProtectSystem=strict
ProtectHome={home}
ReadWritePaths={folders}
NoNewPrivileges=yes
CapabilityBoundingSet=
# For port 21 and others below 1024, in the place of the line above:
#CapabilityBoundingSet=CAP_NET_BIND_SERVICE
#AmbientCapabilities=CAP_NET_BIND_SERVICE
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""


def unit(settings: Settings) -> str:
    """The unit for a server with these settings, run by the user whom their folder belongs to, or by `otalink`."""
    assert settings.path is not None
    folder = settings.path.parent.resolve()
    command = Path(sys.argv[0]).absolute()
    folders = {folder, *(each.resolve() for each in settings.folders)}
    apart = sorted(each for each in folders if each == folder or not each.is_relative_to(folder))
    at_home = any(each.is_relative_to(home) for each in (*apart, command) for home in ("/home", "/root"))
    return UNIT.format(
        user=_owner(folder),
        command=_quoted(command),
        config=_quoted(folder / settings.path.name),
        stop=settings.stop_timeout + 15,
        files=max(4096, 3 * settings.sessions + 64),
        home="read-only" if at_home else "yes",
        folders=" ".join(_quoted(each) for each in apart),
    )


def _owner(folder: Path) -> str:
    """Who owns the folder: never root, which a server of files should not be."""
    try:
        owner = folder.owner()
    except (KeyError, NotImplementedError, OSError):
        return "otalink"
    return "otalink" if owner == "root" else owner


def _quoted(path: Path) -> str:
    """As systemd reads it: `%` and `$` mean something there, and so do blanks."""
    text = os.fspath(path).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{text}"' if any(c in text for c in " \t\"'\\;#") else text
