"""What keeps one session from having the server for itself: commands by turns, one transfer, no reply without a reader.

pyftpdlib runs every command that came in one piece at once, whatever each costs, even after the session has ended;
queues replies and transfers for a client that reads nothing; and waits for it for ever before it closes.
"""

from collections import deque
from typing import Any

# Ahead of the others: it imports asyncore without the warning that Python 3.11 gives.
from pyftpdlib import ioloop
from pyftpdlib.handlers import FTPHandler

# Bytes of a command.
COMMAND_MAX = 2048
# A client has so long to read what it was told at the end, in seconds.
LINGER = 10.0
TRANSFERS = ("RETR", "LIST", "NLST", "MLSD", "STOR")


class TurnsMixin(FTPHandler):  # type: ignore[misc]  # pyftpdlib has no type hints
    """Goes before any other handler of pyftpdlib's.

    A session has one command a turn of the loop, so that others have theirs in between. While commands wait, or replies
    that the client does not read, nothing is read from it: what it sends fills its own buffers, not the server's.
    """

    _wanted_io_events: int

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        # The command whose end has not come yet, and those that wait; None: one that was too long.
        self._begun: list[bytes] = []
        self._begun_length = 0
        self._waiting: deque[bytes | None] = deque()
        self._has_turn = False
        super().__init__(*arguments, **keywords)

    def collect_incoming_data(self, data: bytes) -> None:
        self._begun_length += len(data)
        # What lies behind the limit is dropped up to the line's end: it is no command of its own.
        if self._begun_length <= COMMAND_MAX:
            self._begun.append(data)

    def found_terminator(self) -> None:
        self._waiting.append(b"".join(self._begun) if self._begun_length <= COMMAND_MAX else None)
        self._begun, self._begun_length = [], 0
        self.go_on()

    def go_on(self) -> None:
        """Has the next command run in its turn, if there is one and nothing is in its way."""
        if self._waiting and not self._has_turn and self.may_go_on():
            self._has_turn = True
            # Not the session's own call_later, which keeps each call until the end.
            self.ioloop.call_later(0, self._take_turn, _errback=self.handle_error)
        self._watch()

    def may_go_on(self) -> bool:
        """Whether the next command may be run."""
        return not self.producer_fifo

    def forget_commands(self) -> None:
        """Drops what came and was not run."""
        self._waiting.clear()
        self._begun, self._begun_length = [], 0
        self.ac_in_buffer = b""

    def _take_turn(self) -> None:
        self._has_turn = False
        if self._closed or self._closing or self._quit_pending:
            self._waiting.clear()
        elif self._waiting and self.may_go_on():
            line = self._waiting.popleft()
            if line is None:
                self.respond("500 The command is too long.")
            else:
                self._in_buffer = [line]
                super().found_terminator()
            self.go_on()

    def process_command(self, cmd: str, *arguments: Any, **keywords: Any) -> None:
        data = self.data_channel
        if cmd in TRANSFERS and data is not None and data._initialized:
            self.respond("450 A transfer is under way: wait for its reply.")
        else:
            super().process_command(cmd, *arguments, **keywords)

    def initiate_send(self) -> None:
        # Not pyftpdlib's own, which goes on reading meanwhile, and fails where the session is not watched at all.
        ioloop.asynchat.async_chat.initiate_send(self)
        self.go_on()

    def close_when_done(self) -> None:
        super().close_when_done()
        if not self._closed:
            self.call_later(LINGER, self.close)

    def _watch(self) -> None:
        """Has the loop look for what can be done now: to send, to read, or neither while commands wait."""
        # A session that waits for its password, or whose last transfer is under way, is not watched at all.
        if self._closed or self._fileno not in self.ioloop.socket_map:
            return
        wanted = self.ioloop.WRITE if self.producer_fifo else 0 if self._waiting else self.ioloop.READ
        if wanted != self._wanted_io_events:
            self._wanted_io_events = wanted
            self.modify_ioloop_events(wanted)
