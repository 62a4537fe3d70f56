"""The time: asked of an SNTP server, and put into the clock of the board. clock.py calls it where TLS needs that.

Rules (RFC 4330 section 5): an answer counts when it comes from where the request went, as a server's (mode 4) whose own
clock is set (leap indicator not 3, stratum 1 to 15), repeats the request's 64 bits at random, and has a time. One that
fails is passed over, so that nobody who only guesses sets the clock. Stratum 0 is a kiss-o'-death: do not ask again.
"""

import asyncio
import errno
import os
import socket
import struct
import time

from micropython import const

from otalink.errors import ProtocolError, TransferError
from otalink.resolve import resolve

PORT = 123
_SIZE = const(48)
# Version 4, mode 3: a client.
_REQUEST = const(0x23)
# Seconds from 1900 to 1970, and to 2000.
_TO_1970 = const(2208988800)
_TO_2000 = const(946684800)
_POLL_MS = const(20)
_TRIES = const(3)


async def set_clock(host, timeout=10):
    """Asks the SNTP server `host` for the time, and sets the clock of the board (machine.RTC), where it has one.

    Gives the seconds, an int, by which the clock was behind (below 0: ahead); on the Unix port, whose clock is the
    system's, that is all that happens. `timeout` is in seconds, for up to three requests, to the addresses of `host` in
    turn. Raises TransferError when no answer comes that counts, ProtocolError when the server refuses to be asked.
    """
    try:
        addresses = resolve(host, PORT)
    except OSError as error:
        raise TransferError(f"the time server {host} cannot be looked up: is its name right?", error.errno)
    timeout_ms = int(timeout * 1000) // _TRIES
    reason = "it does not answer"
    for number in range(_TRIES):
        try:
            seconds, reason = await _ask(addresses[number % len(addresses)], host, timeout_ms)
        except OSError as error:
            seconds, reason = None, f"it cannot be reached (error {error.errno})"
        if seconds is not None:
            offset = seconds - (int(time.time()) + _epoch())
            _set(seconds)
            return offset
    raise TransferError(f"the time server {host} gives no time: {reason}")


async def _ask(address, host, timeout_ms):
    # One request: (seconds since 1970, None), or (None, why not).
    family, kind, protocol, _, target = socket.getaddrinfo(address, PORT, 0, socket.SOCK_DGRAM)[0]
    nonce = os.urandom(8)
    request = bytearray(_SIZE)
    request[0] = _REQUEST
    request[40:48] = nonce
    reason = "it does not answer"
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        # From then on the socket takes what comes from there alone.
        sock.connect(target)
        began = time.ticks_ms()
        sock.send(request)
        while time.ticks_diff(time.ticks_ms(), began) < timeout_ms:
            try:
                answer = sock.recv(_SIZE)
            except OSError as error:
                if error.errno != errno.EAGAIN:
                    raise
                await asyncio.sleep_ms(_POLL_MS)
                continue
            seconds, reason = _read(answer, nonce, host)
            if seconds is not None:
                # Half of the way there and back is old.
                return seconds + (time.ticks_diff(time.ticks_ms(), began) + 1000) // 2000, None
        return None, reason
    finally:
        sock.close()


def _read(answer, nonce, host):
    # (The time in an answer in seconds since 1970, None), or (None, what is wrong with it).
    if len(answer) < _SIZE:
        return None, "its answer is cut off"
    first, stratum = answer[0], answer[1]
    if answer[24:32] != nonce:
        return None, "what came answers no request of this board"
    if first & 7 != 4:
        return None, "what came is no server's answer"
    if stratum == 0:
        # Printable letters only: they come from the network.
        code = "".join(chr(byte) for byte in answer[12:16] if 32 < byte < 127)
        raise ProtocolError(f"the time server {host} does not want to be asked ({code}): put another one under ntp")
    if first >> 6 == 3 or stratum > 15:
        return None, "its own clock is not set"
    seconds, fraction = struct.unpack("!II", answer[40:48])
    if not seconds and not fraction:
        return None, "its answer has no time"
    # Without its first bit it is of the time after 7 February 2036 (RFC 4330 section 3).
    return seconds + (fraction >> 31) - _TO_1970 + (0 if seconds >> 31 else 1 << 32), None


def _epoch():
    # Seconds from 1970 to where the clock of the port begins.
    return _TO_2000 if time.gmtime(0)[0] == 2000 else 0


def _set(seconds):
    try:
        from machine import RTC
    except ImportError:
        return
    year, month, day, hour, minute, second, weekday = time.gmtime(seconds - _epoch())[:7]
    RTC().datetime((year, month, day, weekday, hour, minute, second, 0))
