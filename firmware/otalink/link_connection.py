"""One connection of a link, from the look-up of the host to its end. link.py makes the next one, and has the texts.

Rules that are kept here:
- Nothing that the network or a host does raises anything; it ends the connection, at the worst.
- One task reads, one writes, one watches the clock (docs/decisions/0001-one-watch-task-instead-of-timeouts.md).
- A socket is tried first and waited for then. Bytes go into one buffer, in place.
"""

import asyncio
from time import ticks_diff, ticks_ms

from micropython import const

from otalink.connect import connect_socket
from otalink.message import format_message
from otalink.resolve import resolve

# How often the clock is looked at.
_WATCH_MS = const(100)
# A frame that has begun must go on within this time.
_PARTIAL_MS = const(3000)
_NOTHING = bytearray(0)


class Connection:
    """A part of `link`, a Link, whose options it takes. `run` is all that it does.

    The link's `_greet` and `_next_frame` give it what is to be sent; it tells by `_take` that frames have come, and by
    `_prove` that the connection is a good one.
    """

    def __init__(self, link):
        self._link = link
        # When a byte last came; None: nothing is read, since the application does not receive.
        self._heard = None
        # What ended it: a stage as link_errors.py has them, and the error or None.
        self._why = None
        self._ended = asyncio.Event()

    async def run(self):
        """Connects, and moves frames until the connection ends. Gives why: the stage, and the error or None."""
        link = self._link
        stage = "look up"
        sock = None
        try:
            error = None
            for address in resolve(link._host, link._port):
                stage = "connect"
                try:
                    sock = await connect_socket(address, link._port, link._timeout_ms)
                    break
                except OSError as found:
                    error = found
            if sock is None:
                raise error or OSError(-2)
            try:
                sock.setsockopt(6, 1, 1)  # TCP_NODELAY: texts are small, and wait for nothing
            except Exception:  # not every port has it
                pass
            link._own = link._greet()
            if link._ca is not None:
                stage = "secure"
                from otalink.tls import secure, trust

                # Only writing tells that the handshake is over.
                frame = link._encode(link._own.pop(0) if link._own else format_message("ping"))
                context = await trust(link._ca, link._ntp, link._timeout_ms)
                sock = await secure(sock, context, link._server_name, frame, link._timeout_ms)
                link.sent += 1
            stage = "serve"
            await self._serve(sock)
            return self._why
        except Exception as error:
            return stage, error
        finally:
            link._own.clear()
            if sock is not None:
                sock.close()

    async def _serve(self, sock):
        link = self._link
        link._begin()
        self._heard = ticks_ms()
        stream = asyncio.StreamReader(sock)
        link.connected.set()
        tasks = [asyncio.create_task(task) for task in (self._read(sock, stream), self._write(stream), self._watch())]
        try:
            await self._ended.wait()
        finally:
            link.connected.clear()
            for task in tasks:
                task.cancel()
            for task in tasks:
                try:
                    await task
                except asyncio.CancelledError:
                    pass
            link._is_writing = False
            # What is not whole does not go on in the next connection.
            link._decoder.end()
            link._take()

    def _break(self, stage, error=None):
        # The first that goes wrong ends the connection.
        if self._why is None:
            self._why = stage, error
            self._ended.set()

    async def _read(self, sock, stream):
        link = self._link
        decoder = link._decoder
        try:
            while True:
                while not link._take():
                    self._heard = None
                    link._space.clear()
                    await link._space.wait()
                if self._heard is None:
                    self._heard = ticks_ms()
                count = sock.readinto(decoder.space())
                if count is None:
                    # Nothing is read into the buffer while this waits: the watch may empty it meanwhile.
                    await stream.readinto(_NOTHING)
                    continue
                if not count:
                    self._break("ended")
                    return
                decoder.received(count)
                self._heard = ticks_ms()
                await asyncio.sleep_ms(0)  # a host that never pauses must not hold the application up
        except Exception as error:
            self._break("serve", error)

    async def _write(self, stream):
        link = self._link
        try:
            while True:
                frame = link._next_frame()
                if frame is None:
                    link._more.clear()
                    await link._more.wait()
                    continue
                link._is_writing = True
                stream.write(frame)
                frame = None  # the stream has what is left of it
                await stream.drain()
                link._is_writing = False
                link.sent += 1
        except Exception as error:
            self._break("serve", error)

    async def _watch(self):
        link = self._link
        decoder = link._decoder
        began = ticks_ms()
        pings = 0
        try:
            while True:
                await asyncio.sleep_ms(_WATCH_MS)
                now = ticks_ms()
                if ticks_diff(now, began) > link._retry_ms[1]:
                    link._prove()
                heard = self._heard
                if heard is None:
                    continue  # it is the application that holds this up
                silent = ticks_diff(now, heard)
                is_partial = silent >= _PARTIAL_MS and decoder.is_waiting()
                is_dead = 0 < link._deadline_ms <= silent
                if is_partial or is_dead:
                    # The application may have held up the loop itself: let what has arrived meanwhile count first.
                    await asyncio.sleep_ms(_WATCH_MS)
                    if self._heard != heard:
                        continue
                    if is_dead:
                        self._break("silent")
                        return
                    decoder.end()
                    link._take()
                if link._heartbeat_ms:
                    due = silent // link._heartbeat_ms
                    if due > pings:
                        link.send_own(format_message("ping"))
                    pings = due
        except Exception as error:
            self._break("serve", error)
