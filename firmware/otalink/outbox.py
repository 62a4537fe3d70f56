"""What waits to be sent over a link, and what is kept until the host has acknowledged it (docs/link.md, "Delivery").

It knows no socket. Rules that it keeps:
- It is bounded: when it is full it says so, and takes nothing.
- Kept texts go out in their order, at most `window` of them unacknowledged, and all again on each new connection.
- A plain text goes out once, behind what was kept before it; but it does not wait for an acknowledgement.
"""

import os
from binascii import hexlify
from collections import deque

from otalink.message import format_message


class MemoryStore:
    """Kept texts in memory, at most `limit` of them: they last as long as the program.

    `sequence` names this numbering. Ids count from 1: `last` is that of the newest text, `acknowledged` the highest
    that the host has acknowledged, `sent` that of the last text that `next` gave on this connection, `known` the
    highest that it ever gave. OutboxFile has the same on flash.
    """

    # What went wrong with what was kept, as a line for the user.
    damage = None

    def __init__(self, limit):
        self.sequence = make_sequence()
        self.acknowledged = self.sent = self.known = self.last = 0
        self._limit = limit
        # Those above `acknowledged`.
        self._texts = []

    def append(self, text):
        """Keeps `text`; False when there is no room."""
        if len(self._texts) >= self._limit:
            return False
        self._texts.append(text)
        self.last += 1
        return True

    def next(self):
        """The next text; there must be one. Its id is `sent` then."""
        text = self._texts[self.sent - self.acknowledged]
        self.sent += 1
        return text

    def rewind(self):
        """A connection begins: `next` starts over."""
        self.sent = self.acknowledged

    def acknowledge(self, identity):
        """The host has all up to this id, which is above `acknowledged` and not above `known`."""
        del self._texts[: identity - self.acknowledged]
        self.acknowledged = identity
        self.sent = max(self.sent, identity)

    def tidy(self):
        """The link closes."""


class Outbox:
    """`queue` plain texts (or bytes) at most, and what `store` takes. `dropped` counts what was given up for newer.

    With `drop_oldest` a plain text that finds the queue full takes the place of the oldest one in it.
    """

    def __init__(self, queue, store, window, drop_oldest=False):
        self.store = store
        self.dropped = 0
        self._queue = queue
        self._window = window
        self._drop_oldest = drop_oldest
        # Each with the id of the text that was the last one kept before it.
        self._plain = deque((), queue)  # noqa: RUF037 - MicroPython takes no keyword

    def put(self, data):
        """Takes a text or bytes, to be sent once; False when it is full."""
        plain = self._plain
        if len(plain) >= self._queue:
            if not self._drop_oldest:
                return False
            plain.popleft()
            self.dropped += 1
        plain.append((self.store.last, data))
        return True

    def keep(self, text):
        """Takes a text, to be sent until it is acknowledged; False when it is full. Raises InstallError.

        When it is kept in a file, it is on flash then.
        """
        return self.store.append(text)

    def next(self):
        """What is to be sent now, a text or bytes; None when there is nothing. Raises InstallError."""
        store = self.store
        may_send = store.sent < store.last and store.sent - store.acknowledged < self._window
        plain = self._plain
        if plain and (not may_send or plain[0][0] <= store.sent):
            return plain.popleft()[1]
        if not may_send:
            return None
        text = store.next()
        if text is None:
            return None
        store.known = max(store.known, store.sent)
        return format_message("keep", sequence=store.sequence, id=store.sent, data=text)

    def rewind(self):
        """A connection begins: what is not acknowledged is sent again."""
        self.store.rewind()

    def acknowledge(self, sequence, identity):
        """Takes an `ack` as it came; False when it is none for anything that was sent."""
        store = self.store
        if sequence != store.sequence or type(identity) is not int or not 0 < identity <= store.known:
            return False
        if identity > store.acknowledged:
            store.acknowledge(identity)
        return True

    def is_empty(self):
        """True when all is sent, and what was kept is acknowledged."""
        return not self._plain and self.store.acknowledged == self.store.last


def make_sequence():
    """16 hexadecimal digits for a new numbering."""
    return hexlify(os.urandom(8)).decode()
