"""Where boards reach the server: its address, what a board's settings say of it, and the firewall's commands."""

import contextlib
import socket
from typing import Any

from otalink_host.settings import Account, Settings

EVERY_ADDRESS = ("0.0.0.0", "::")


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
    if settings.masquerade_address or settings.addresses[0] not in EVERY_ADDRESS:
        return settings.masquerade_address or settings.addresses[0]
    return own_address()


def board_settings(settings: Settings, account: Account, port: int) -> dict[str, Any]:
    """What a board's `/otalink.json` says of the server, but for the password."""
    return {
        "host": address_for_boards(settings) or "127.0.0.1",
        "port": port,
        "user": account.name,
        "folder": next(iter(account.mounts)),
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
