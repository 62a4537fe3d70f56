"""What a board says of itself over a link, and what it does when its host asks. docs/link.md is its specification.

    link = otalink.Link.configured()                # /otalink.json's "link"
    updater = otalink.Updater()
    otalink.Reporter(link, updater)                 # joins the two, which know nothing of each other

The host proves with the board's secret that it may ask; a board without one tells, and obeys nobody.
"""

import asyncio
import gc
import os
from binascii import hexlify

from micropython import const

from otalink import __version__
from otalink.message import format_message
from otalink.phase import call

# The lines of the boot guard's log that say no reason.
_NO_REASON = ("boot ", "on trial: ", "went back from ")
# Outcomes are kept until the host has them, whatever happens meanwhile.
_KEPT = ("applied", "confirmed", "failed")
# Milliseconds that an answer has to leave the board before it restarts.
_RESTART_AFTER = const(500)


class Reporter:
    """Reports `updater` over `link`, and obeys a host that knows the secret.

    `board` is what the host calls this board; None: as /otalink.json's "link" says, or else the chip's unique id.
    `secret` is text that the host has too; None: as /otalink.json says, if it does. Raises ValueError when there is
    neither a name nor a unique id.
    """

    def __init__(self, link, updater, board=None, secret=None):
        self.board = board or link.board or call("board.unique_id")
        if not self.board:
            raise ValueError('this board has no unique id: name it, as in "link": {"board": "shop-1", ...}')
        self._secret = secret or link.secret
        self._link = link
        self._updater = updater
        # What the updater did last, sent again when somebody asks.
        self._last = None
        self._challenge = ""
        self._asked = 0
        link.service = self
        updater.event = self._heard

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
        if not call(
            "secret.is_proven",
            fields.get("mac"),
            self._secret,
            "otalink ask",
            self.board,
            self._challenge,
            number,
            what,
        ):
            return "the secret is not this board's"
        if number <= self._asked:
            return "this was asked before"
        self._asked = number
        if what == "check":
            asyncio.create_task(self._updater.update())
        elif what == "restart":
            asyncio.create_task(self._restart())
        elif what == "report":
            self._send(self._hello())
            if self._last is not None:
                self._send(self._last)
        else:
            return "this board cannot " + what
        return None

    async def _restart(self):
        await asyncio.sleep_ms(_RESTART_AFTER)
        call("board.restart", "reset")

    # What the updater tells

    def _heard(self, event, text):
        if event == "download":
            if text % 10:
                return
            self._last = format_message("report", event=event, percent=text)
        elif event == "failed":
            self._last = format_message("report", event=event, reason=text)
        else:
            self._last = format_message("report", event=event, version=text)
        self._send(self._last, event in _KEPT)

    def _send(self, text, keep=False):
        # What finds no place is lost: the next hello says how things are.
        self._link.send_own(text, keep)

    # How things are

    def _hello(self):
        version = self._updater.installed()
        root = self._updater.root
        state = call("journal.state", root)
        return format_message(
            "hello",
            board=self.board,
            challenge=self._challenge,
            name=self._updater.config and self._updater.config.name,
            version=version and ".".join(str(field) for field in version),
            state=state if state in ("trial", "confirmed", "reverted") else "confirmed",
            failed=state == "reverted" and call("journal.failed", root).partition(" ")[2] or None,
            reason=state == "reverted" and _reason(root) or None,
            platform=call("board.platform"),
            otalink=__version__,
        )


def _reason(root):
    # Why the board went back, as the boot guard's log has it.
    reason = "it was asked to"
    try:
        with open(root + ".otalink/log") as log:
            for line in log:
                line = line.strip()
                if not line.startswith(_NO_REASON):
                    reason = line
    except (OSError, ValueError):
        pass
    return reason
