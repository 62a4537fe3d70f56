"""A link to a host: texts in the frames of note 70, over one TCP connection that is made again whenever it breaks.

    link = otalink.Link("192.168.0.10")
    asyncio.create_task(link.run())
    await link.send("21.5")
    async for text in link:
        ...

docs/link.md is the contract with the host. Rules that are kept here:
- Nothing that the network or a host does ends `run`, and nothing that they send takes more than a fixed memory.
- No socket is known here: link_connection.py has the connection, which asks for frames, and brings them.
- Without `keep`, `heartbeat`, TLS and a service, the frames are note 70's and nothing else.
"""

import asyncio
import random
from collections import deque
from time import ticks_add, ticks_diff, ticks_ms

from micropython import const

from otalink import phase
from otalink.frame import LENGTH_MAX, OVERHEAD, PROFILES, FrameDecoder, decode_text, encode_frame, encode_text
from otalink.link_connection import Connection
from otalink.message import format_message, is_message, parse_message
from otalink.outbox import MemoryStore, Outbox

# A connection is dead after so many heartbeats without a byte.
_HEARTBEATS = const(3)
# How many messages of otalink's own may wait to be sent.
_OWN_MAX = const(16)
# How often `flush` looks.
_FLUSH_MS = const(20)
# What `keep` adds to a text, in characters, and what it makes of one character.
_KEEP = const(100)
_ESCAPE = const(6)


class Link:
    """A link to the host at `host` (a name or an address) and `port`. `run` is its task.

    Options, with what they are by default:

    profile "utf-16-le"   or "utf-8", see docs/frame-protocol.md
    limit 1500            characters of the longest text, in and out, 200 to 99999: (limit + 15) * 2 bytes are the one
                          buffer for what comes, half as many in utf-8. A longer frame that comes is a LENGTH_ERROR
    queue 16              how many plain texts may wait to be sent, how many kept ones, and how many that came
    window 8              how many kept texts may be unacknowledged at a time, 1 to 100
    file None             a path on littlefs, where kept texts outlast restarts and power cuts, see outbox_file.py;
    file_size 32768       its largest size in bytes, in the place of `queue` for kept texts
    drop_oldest False     True: a plain text that finds the queue full takes the place of the oldest
    heartbeat 0           seconds without a byte after which the host is asked whether it is there; 0: never
    deadline None         seconds without a byte after which the connection is dead, above `heartbeat`; 0: never;
                          None: three heartbeats
    timeout 10            seconds for a connection to be made
    retry (1, 60)         seconds before the second try to connect, doubled from try to try, and at most; less up to
                          half of it, at random
    strict False          True: refuses to send @ and ;, which the sample of note 70 cannot take
    short_crc False       True: takes CRCs without their leading zeros, which that sample sends
    ca None               a file with the certificate (DER) of who signed the host's: the link is over TLS, with
    server_name None      the name in the host's certificate
    ntp None              a server that is asked for the time, which TLS needs, when the clock is not set
    fault None            fault(result, view) is called for each fault in what comes, see FrameDecoder
    message print         takes each line of what happens

    A value that cannot be is a ValueError.

    `connected` is an asyncio.Event, set while there is a connection. `service` may be an object for the messages of
    otalink's own: `service.connected()` gives the texts to be sent first on each connection, `service.message(kind,
    fields)` takes each that is not about delivery, and gives the text of an answer or None. Neither may be a coroutine.
    """

    def __init__(self, host, port=3377, fault=None, message=print, **options):
        options = _call("link_setup", "check", host, port, options)
        self.connected = asyncio.Event()
        self.service = None
        self.sent = self.connections = self.missed = self.ignored = 0
        self._host = host
        self._port = port
        self._fault = fault
        self._message = message
        self._profile = options["profile"]
        self._limit = options["limit"]
        self._queue = options["queue"]
        self._heartbeat_ms = int(options["heartbeat"] * 1000)
        deadline = options["deadline"]
        self._deadline_ms = self._heartbeat_ms * _HEARTBEATS if deadline is None else int(deadline * 1000)
        self._timeout_ms = int(options["timeout"] * 1000)
        self._retry_ms = tuple(int(seconds * 1000) for seconds in options["retry"])
        self._strict = options["strict"]
        self._ca = options["ca"]
        self._server_name = options["server_name"]
        self._ntp = options["ntp"]
        self._decoder = FrameDecoder(
            (self._limit + OVERHEAD) * PROFILES[self._profile],
            self._profile,
            self._limit,
            options["short_crc"],
            self._report_fault if fault is not None else None,
        )
        if options["file"] is None:
            store = MemoryStore(self._queue)
        else:
            from otalink.outbox_file import OutboxFile

            store = OutboxFile(options["file"], options["file_size"])
        self._outbox = Outbox(self._queue, store, options["window"], options["drop_oldest"])
        # Texts that came; whether anybody has asked for one.
        self._inbox = deque((), self._queue)  # noqa: RUF037 - MicroPython takes no keyword
        self._is_received = False
        # Messages of otalink's own that wait to be sent on this connection.
        self._own = []
        # Set when there is something to send, room to put it, something received, room to put it.
        self._more, self._room, self._arrived, self._space = [asyncio.Event() for _ in range(4)]
        # The task of `run`, and whether it has ended.
        self._task = None
        self._stopped = asyncio.Event()
        self._is_closed = self._is_writing = self._is_good = False
        # What was last said to be wrong; None: nothing is.
        self._told = None
        self._tell_damage()

    @staticmethod
    def from_config(config="/otalink.json", **keywords):
        """A Link as the object "link" of the settings has it: `config` is their path, or a dict that holds them.

        Its keys are the options above, `host` and `port`; `secret` and `board` in it are others' (docs/link.md), and
        `ntp` stands beside it. With "wifi" or "ethernet" in the settings, `run` brings the network up.
        `keywords` go before it. Raises ValueError with the key and what it may be.
        """
        settings, has_network = _call("link_setup", "load", config)
        settings.update(keywords)
        link = Link(**settings)
        if has_network:
            _call("board_setup", "set_up_network", config, link._say)
        return link

    @property
    def counts(self):
        """How many frames there were, a dict: `in`, a list of how many of each of note 70's results came; `out`, how
        many were sent.

        And texts: `dropped` to make room in the queue, `missed` since nobody ever received; `ignored` are messages of
        otalink's own that nobody understood; `connections`, how many were made; `kept`, texts not acknowledged yet.
        """
        store = self._outbox.store
        return {
            "in": list(self._decoder.counts),
            "out": self.sent,
            "dropped": self._outbox.dropped,
            "missed": self.missed,
            "ignored": self.ignored,
            "connections": self.connections,
            "kept": store.last - store.acknowledged,
        }

    # What the application calls

    async def run(self):
        """Keeps the connection, until `close`. A cancellation closes the connection at once; `run` may be run again.

        Raises nothing else, but a ValueError when it runs already.
        """
        if self._task is not None:
            raise ValueError("the link runs already")
        if self._is_closed:
            return
        self._task = asyncio.current_task()
        self._stopped.clear()
        failures = 0
        try:
            while True:
                if failures:
                    await asyncio.sleep_ms(self._delay(failures))
                await phase.network()
                self._is_good = False
                stage = "connect"
                error = None
                try:
                    stage, error = await Connection(self).run()
                except Exception as found:  # whatever it is, the link goes on
                    error = found
                failures = 1 if self._is_good else failures + 1
                self._tell(stage, error)
        except asyncio.CancelledError:
            if not self._is_closed:
                raise
        finally:
            self._task = None
            self._stopped.set()

    async def send(self, data, keep=False):
        """Puts a text into the outbox; waits while that is full.

        A plain text (or bytes, whole code units of the profile) is sent once: what is being written while the
        connection breaks is lost. With `keep` it is sent until the host has acknowledged it, and is on flash, if there
        is a `file`, when this returns; bytes must be text then.
        Raises ValueError for what cannot be sent, or when the link is closed; InstallError when the flash fails.
        """
        while not self.send_nowait(data, keep):
            self._room.clear()
            await self._room.wait()

    def send_nowait(self, data, keep=False):
        """As `send`, but when the outbox is full it gives False and takes nothing; else True."""
        if self._is_closed:
            raise ValueError("the link is closed: make another")
        data = self._check(data, keep)
        return self._put(data, keep)

    def send_own(self, text, keep=False):
        """Sends a message of otalink's own, for a service. True when it was taken.

        Without `keep` only on the connection that there is, ahead of all else, and False when there is none or 16 wait.
        """
        if len(encode_text(text, self._profile)) > LENGTH_MAX * PROFILES[self._profile]:
            raise ValueError("the message is too long for a frame")
        if keep:
            return not self._is_closed and self._put(text, True)
        if not self.connected.is_set() or len(self._own) >= _OWN_MAX:
            return False
        self._own.append(text)
        self._more.set()
        return True

    async def receive(self):
        """The next text that came; waits for it. None: the link is closed, and there is no more.

        As long as nobody has called it, a full inbox loses its oldest text. From then on nothing is read from the
        network while it is full, acknowledgements included: receive in a task of its own.
        """
        self._is_received = True
        inbox = self._inbox
        while not inbox:
            if self._is_closed:
                return None
            self._arrived.clear()
            await self._arrived.wait()
        self._space.set()
        return inbox.popleft()

    def __aiter__(self):
        return self

    async def __anext__(self):
        text = await self.receive()
        if text is None:
            raise StopAsyncIteration
        return text

    async def flush(self, timeout=None):
        """Waits until all is sent, and what was kept is acknowledged, `timeout` seconds at most. True: it is."""
        deadline = None if timeout is None else ticks_add(ticks_ms(), int(timeout * 1000))
        while not self._is_flushed():
            if deadline is not None and ticks_diff(deadline, ticks_ms()) <= 0:
                return False
            await asyncio.sleep_ms(_FLUSH_MS)
        return True

    async def close(self, timeout=None):
        """Closes the link for good: what waits is still sent, as `flush` has it, while the connection lasts.

        `timeout` bounds that, in seconds; None: that of the link. Kept texts that are not acknowledged then stay in the
        file, and are lost without one. Texts that came can still be received.
        """
        self._is_closed = True
        deadline = ticks_add(ticks_ms(), self._timeout_ms if timeout is None else int(timeout * 1000))
        while self.connected.is_set() and not self._is_flushed() and ticks_diff(deadline, ticks_ms()) > 0:
            await asyncio.sleep_ms(_FLUSH_MS)
        if self._task is not None:
            self._task.cancel()
            await self._stopped.wait()
        # Who waits hears of it now, and not earlier.
        self._room.set()
        self._arrived.set()
        try:
            self._outbox.store.tidy()
        except Exception as error:
            self._say(str(error))

    # What its connection tells it

    def _begin(self):
        self.connections += 1
        if self._told is None:
            self._say(f"connected to {self._host}:{self._port}")
        self._outbox.rewind()

    def _prove(self):
        # A frame came, or the connection lasted: it is a good one.
        if not self._is_good:
            self._is_good = True
            if self._told is not None:
                self._told = None
                self._say(f"connected to {self._host}:{self._port}")

    # What comes

    def _take(self):
        # Deals with the frames that the decoder has; False when the inbox is full, and there may be more.
        inbox = self._inbox
        while True:
            is_full = len(inbox) >= self._queue
            if is_full and self._is_received:
                return False
            text = self._decoder.next_text()
            if text is None:
                return True
            self._prove()
            if is_message(text):
                self._hear(text)
                continue
            if is_full:
                inbox.popleft()
                self.missed += 1
            inbox.append(text)
            self._arrived.set()

    def _hear(self, text):
        # A message of otalink's own.
        try:
            kind, fields = parse_message(text)
        except ValueError:
            kind = None
        if kind == "pong":
            return
        if kind == "ack":
            if self._outbox.acknowledge(fields.get("sequence"), fields.get("id")):
                self._more.set()
                self._room.set()
                return
            kind = None
        if kind is None or self.service is None:
            self.ignored += 1
            return
        try:
            answer = self.service.message(kind, fields)
            if answer is not None:
                self.send_own(answer)
        except Exception as error:
            self._say(f"the link's service failed with {type(error).__name__}: {error}")

    def _report_fault(self, result, view):
        try:
            self._fault(result, view)
        except Exception:  # the application's own affair
            pass

    # What goes

    def _check(self, data, keep):
        # What is to be put into the outbox for `data`.
        unit = PROFILES[self._profile]
        if isinstance(data, str):
            text = data
            # A text in ASCII is not encoded, which may take more memory than all else here.
            length = len(text) if len(text.encode()) == len(text) else len(encode_text(text, self._profile)) // unit
        else:
            data = bytes(data)
            length, rest = divmod(len(data), unit)
            if rest:
                raise ValueError("a payload of bytes must be whole UTF-16 code units: an even number")
            try:
                text = decode_text(data, self._profile)
            except ValueError:
                if keep:
                    raise
                text = ""
        if length > self._limit:
            raise ValueError(f"the text has {length} characters, and this link takes {self._limit}: send it in parts")
        if is_message(text):
            raise ValueError('a text that begins with {"otalink": cannot be sent: it would be taken for otalink\'s own')
        if keep:
            if _ESCAPE * length + _KEEP > LENGTH_MAX and len(format_message("keep", data=text)) + _KEEP > LENGTH_MAX:
                raise ValueError("the text is too long to be kept: send it in parts")
            return text
        if self._strict:
            encode_frame(data, self._profile, True)
        return data

    def _put(self, data, keep):
        is_taken = self._outbox.keep(data) if keep else self._outbox.put(data)
        if is_taken:
            self._more.set()
        return is_taken

    def _greet(self):
        # What the service says first.
        if self.service is None:
            return []
        try:
            return list(self.service.connected())
        except Exception as error:
            self._say(f"the link's service failed with {type(error).__name__}: {error}")
            return []

    def _next_frame(self):
        # The frame that is to go next; None when there is none.
        if self._own:
            return self._encode(self._own.pop(0))
        data = self._outbox.next()
        self._tell_damage()
        if data is None:
            return None
        self._room.set()
        return self._encode(data)

    def _encode(self, data):
        return encode_frame(data, self._profile)

    def _is_flushed(self):
        return not self._own and not self._is_writing and self._outbox.is_empty()

    # Tries, and what is said of them

    def _delay(self, failures):
        # Milliseconds until the next try. At random, so that the boards of a host that was away do not come at once.
        first, most = self._retry_ms
        delay = min(first << min(failures - 1, 16), most)
        return delay - int(delay * random.random() / 2)

    def _tell(self, stage, error):
        number = error.errno if isinstance(error, OSError) else None
        key = stage, type(error), str(error) if number is None else number
        if key != self._told:
            self._told = key
            try:
                line = _call("link_errors", "explain", self._host, self._port, stage, error)
            except Exception:  # there may be no memory for words
                line = f"no link to {self._host}:{self._port}: {type(error).__name__}"
            self._say(line)

    def _tell_damage(self):
        store = self._outbox.store
        if store.damage is not None:
            line, store.damage = store.damage, None
            self._say(line)

    def _say(self, line):
        if self._message is not None:
            try:
                self._message(line)
            except Exception:  # a broken display must not end the link
                pass


def _call(module, function, *arguments):
    # What a function of otalink gives whose module is in memory only for this call.
    before = phase.enter()
    try:
        module = __import__("otalink." + module, None, None, (function,))
        return getattr(module, function)(*arguments)
    finally:
        module = None
        phase.leave(before)
