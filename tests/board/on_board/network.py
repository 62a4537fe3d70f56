"""Says the address of the board, and how long a round trip to the host takes."""

import json
import socket
import sys
from time import ticks_diff, ticks_us

ROUNDS = 20


def station():
    # The Wi-Fi of the board; None when it has none.
    try:
        from network import STA_IF, WLAN

        return WLAN(STA_IF)
    except (ImportError, OSError):
        return None


def measure(host, port):
    # Milliseconds; the median of ROUNDS.
    sock = socket.socket()
    try:
        sock.settimeout(10)
        sock.connect(socket.getaddrinfo(host, port)[0][-1])
        times = []
        for _ in range(ROUNDS):
            started = ticks_us()
            sock.send(b"ping\n")
            if sock.recv(16) != b"ping\n":
                raise OSError("what came back is not what was sent")
            times.append(ticks_diff(ticks_us(), started))
        return sorted(times)[ROUNDS // 2] / 1000
    finally:
        sock.close()


wifi = station()
is_joined = wifi is not None and wifi.isconnected()
print(json.dumps({"has_wifi": wifi is not None, "address": wifi.ifconfig()[0] if is_joined else None}))
try:
    print(json.dumps({"milliseconds": measure(given["host"], given["port"])}))
except OSError as error:
    if not is_joined and sys.platform not in ("linux", "darwin"):
        raise OSError("it is in no network: name one with --wifi SSID")
    raise OSError(
        "it does not reach {}:{} ({}): does a firewall of that machine block it?".format(
            given["host"],
            given["port"],
            error,
        )
    )
