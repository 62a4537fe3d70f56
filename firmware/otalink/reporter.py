"""What a board says of itself over a link, and what it does when its host asks. docs/link.md is its specification.

    link = otalink.Link.from_config()               # /otalink.json's "link"
    updater = otalink.Updater()
    otalink.Reporter(link, updater)                 # joins the two, which know nothing of each other

The host proves with the board's secret that it may ask; a board without one tells, and obeys nobody.
"""

import asyncio
import os
from binascii import hexlify
from time import sleep_ms

from micropython import const

from otalink.errors import OtaError
from otalink.message import format_message
from otalink.phase import call

# Outcomes are kept until the host has them, whatever happens meanwhile.
_KEPT = ("confirmed", "failed")
# Percent of a download between two reports.
_STEP = const(10)
# Seconds that what waits has to be sent before the board restarts, and milliseconds to leave it then.
_FLUSH = const(1)
_LEAVE_MS = const(200)


class Reporter:
    """Reports what `updater` does over `link`, and obeys a host that knows the secret. Make it before either runs.

    Who this board is stands in the object "link" of the settings, `config`, which is a path or a dict that holds them:
    `board`, its name, or else the chip's unique id; and `secret`, text that the host has too. Raises ValueError when
    they are wrong, or when there is neither a name nor an id.
    """

    def __init__(self, link, updater, config="/otalink.json"):
        self.board, self._secret = call("link_setup.identity", config)
        self._link = link
        self._updater = updater
        # The report that was sent last, for a host that asks.
        self._last = None
        self._challenge = ""
        # The highest number of an ask on this connection.
        self._asked = 0
        self._task = None
        link.service = self
        updater.event = self._tell
        updater.leave = self._leave

    # What the link asks of its service

    def connected(self):
        """The messages that a new connection begins with."""
        self._challenge = hexlify(os.urandom(16)).decode()
        self._asked = 0
        return (self._hello(),)

    def message(self, kind, fields):
        """Takes a message of the host's. Gives the text of the one to answer it with, or None."""
        if kind == "welcome":
            challenge = fields.get("challenge")
            if self._secret is None or not isinstance(challenge, str):
                return None
            return format_message(
                "proof", mac=call("secret.prove_board", self._secret, self.board, challenge, self._challenge)
            )
        if kind == "ask":
            reason = self._obey(fields)
            return format_message("answer", id=fields.get("id"), done=reason is None, text=reason or "")
        return None

    def _obey(self, fields):
        # Does what is asked. Gives None, or why not.
        number, what = fields.get("id"), fields.get("what")
        if self._secret is None:
            return "this board has no secret, and obeys nobody"
        if not isinstance(number, int) or not isinstance(what, str):
            return "this is no ask"
        facts = "otalink ask", self.board, self._challenge, number, what
        if not call("secret.is_proven", fields.get("mac"), self._secret, *facts):
            return "who asks has not this board's secret"
        if number <= self._asked:
            return "this was asked before"
        self._asked = number
        if what == "check":
            if self._updater.busy:
                return "an update is under way already"
            self._task = asyncio.create_task(self._updater.update())
        elif what == "restart":
            self._task = asyncio.create_task(self._restart())
        elif what == "report":
            self._send(self._hello())
            if self._last is not None:
                self._send(self._last)
        else:
            return "this board cannot " + what
        return None

    async def _restart(self):
        await self._leave()
        call("board_reset.restart", "reset")

    async def _leave(self):
        await self._link.flush(_FLUSH)
        # The host is to hear that the connection ends. The application hears nothing: it has no turn any more.
        await self._link.close(0)
        sleep_ms(_LEAVE_MS)

    # What the updater tells

    def _tell(self, event, detail):
        if event == "download":
            if detail % _STEP:
                return
            self._last = format_message("report", event=event, percent=detail)
        elif event == "failed":
            self._last = format_message("report", event=event, reason=detail)
        else:
            self._last = format_message("report", event=event, version=call("status.text", detail))
        # What finds no place is lost: the next hello says how things are.
        self._send(self._last, event in _KEPT)

    def _send(self, text, keep=False):
        try:
            self._link.send_own(text, keep)
        except (OtaError, ValueError) as error:  # the flash, or the file for what is kept, is full
            print(f"the host does not hear of it: {error}")

    # How things are

    def _hello(self):
        name = self._updater.config.name if self._updater.config else None
        facts = call("status.status", self._updater.root, name, self._updater.installed())
        return format_message("hello", board=self.board, challenge=self._challenge, **facts)
