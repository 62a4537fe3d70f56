"""Note 70's acceptance test: N frames each way at an interval, and the counts compared at the end. It prints nothing.

Each frame says which one it is, so that one that is missing, comes twice or out of order is told from the others. Who
is at the other end sends as many of the same kind (another `otalink peer --soak`), or sends back what it gets, or
answers each frame with one of its own, of which only the number can be compared.
"""

import asyncio
import re
import time
from dataclasses import dataclass

from otalink.frame import LENGTH_MAX
from otalink_host.connection import RESULTS, Connection
from otalink_host.errors import UserError
from otalink_host.peer import Client, Handler, Report

COUNT_MAX = 10_000_000
SIZE_MIN = 32
# Once all is sent, so long without a frame ends the wait for the rest, in seconds.
PATIENCE = 5.0
# What comes twice comes within this time, in seconds.
LINGER = 0.25
_HEAD = re.compile(r"soak ([0-9]{1,8}) of ([0-9]{1,8}) ")
# Neither "@" nor ";", which note 70's own receiver cannot take.
_FILLING = "ABCDEFGHIJKLMNOPQRSTUVWXYZ abcdefghijklmnopqrstuvwxyz 0123456789 "


@dataclass(frozen=True)
class Plan:
    """`count` frames of `size` characters, one each `interval` seconds; `expected` frames are to come back.

    Raises UserError for what cannot be.
    """

    count: int
    size: int = 1500
    interval: float = 0.0
    expected: int | None = None
    patience: float = PATIENCE

    def __post_init__(self) -> None:
        if not 1 <= self.count <= COUNT_MAX or not 0 <= self.wanted <= COUNT_MAX:
            raise UserError(f"a soak has 1 to {COUNT_MAX:,} frames, not {self.count:,}")
        if not SIZE_MIN <= self.size <= LENGTH_MAX:
            raise UserError(f"a soak's frames carry {SIZE_MIN} to {LENGTH_MAX:,} characters, not {self.size:,}")

    @property
    def wanted(self) -> int:
        """How many frames are to come."""
        return self.count if self.expected is None else self.expected


class Soak:
    """One soak, over one connection. Tell it what comes by `received` and `fault`; `run` sends and waits."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.sent = 0
        # Good frames with a number that was due, counted once; good frames without one; and what was wrong.
        self.numbered = 0
        self.others = 0
        self.twice = 0
        self.late = 0
        self.foreign = 0
        self.faults = [0, 0, 0, 0]
        self.closed: str | None = None
        self._seen = bytearray(plan.wanted + 1)
        self._highest = 0
        self._is_over = False
        self._heard = time.monotonic()

    def text(self, number: int) -> str:
        """The payload of frame `number`, from 1."""
        head = f"soak {number} of {self.plan.count} "
        size = self.plan.size - len(head)
        start = number % len(_FILLING)
        return head + (_FILLING[start:] + _FILLING * (size // len(_FILLING) + 1))[:size]

    def received(self, text: str) -> None:
        """Takes note of a good frame."""
        self._heard = time.monotonic()
        head = _HEAD.match(text)
        if head is None:
            self.others += 1
            return
        number = int(head[1])
        if not 1 <= number <= self.plan.wanted:
            self.foreign += 1
        elif self._seen[number]:
            self.twice += 1
        else:
            self._seen[number] = 1
            self.numbered += 1
            if number < self._highest:
                self.late += 1
            self._highest = max(self._highest, number)

    def fault(self, result: int) -> None:
        """Takes note of something that is no good frame."""
        self._heard = time.monotonic()
        self.faults[result] += 1

    def lost(self, reason: str) -> None:
        """Takes note that the connection is closed, unless that is after the end."""
        if not self._is_over:
            self.closed = reason

    async def run(self, connection: Connection) -> None:
        """Sends all frames, and waits until as many came, or no more do."""
        begun = time.monotonic()
        for number in range(1, self.plan.count + 1):
            due = begun + (number - 1) * self.plan.interval
            wait = due - time.monotonic()
            if wait > 0 or number % 16 == 0:
                await asyncio.sleep(max(wait, 0))
            # Where the other end is slower, it is waited for.
            if self.closed is not None or not await connection.send_patiently(self.text(number)):
                break
            self.sent += 1
        self._heard = time.monotonic()
        while self.closed is None and self.good < self.plan.wanted:
            await asyncio.sleep(0.02)
            if time.monotonic() - self._heard > self.plan.patience and not connection.waiting:
                break
        await connection.drain()
        if self.closed is None:
            await asyncio.sleep(LINGER)
        self._is_over = True

    @property
    def good(self) -> int:
        """The frames that came: of those with a number each one once; or, where none has, those without."""
        return self.numbered or self.others

    @property
    def missing(self) -> int:
        """The frames that did not come."""
        return max(self.plan.wanted - self.good, 0)

    @property
    def differences(self) -> list[str]:
        """What is not as it should be; nothing when the counts are equal."""
        counted = [
            (self.plan.count - self.sent, "not sent"),
            (self.missing, "missing"),
            (max(self.good - self.plan.wanted, 0), "too many"),
            (self.others if self.numbered else 0, "without a number"),
            (self.twice, "twice"),
            (self.late, "out of order"),
            (self.foreign, "of another soak"),
            *zip(self.faults[1:], RESULTS[1:], strict=True),
        ]
        found = [f"{count:,} {what}" for count, what in counted if count]
        if found and self.closed is not None:
            found.append(self.closed)
        return found

    @property
    def progress(self) -> str:
        """How far it is, in a few words."""
        return f"{self.sent:,} of {self.plan.count:,} sent, {self.good:,} of {self.plan.wanted:,} received"

    @property
    def result(self) -> str:
        """How it ended, in a few words."""
        differences = self.differences
        counts = f"sent {self.sent:,}, received {self.good:,} good"
        return f"{counts}: {'DIFFERS: ' + ', '.join(differences) if differences else 'equal'}"


class SoakHandler(Handler):
    """Soaks with each client of a peer. `done` is set once there was a client, and all that there were are finished."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.soaks: dict[str, Soak] = {}
        self.done = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()

    def connected(self, client: Client) -> None:
        client.data = soak = Soak(self.plan)
        self.soaks[client.address] = soak
        task = asyncio.get_running_loop().create_task(self._run(soak, client))
        self._running.add(task)
        task.add_done_callback(self._ended)

    def text(self, client: Client, text: str) -> None:
        client.data.received(text)

    def report(self, client: Client, report: Report) -> None:
        """A board's reports are no part of it."""

    def fault(self, client: Client, result: int, data: bytes) -> None:
        client.data.fault(result)

    def disconnected(self, client: Client, reason: str) -> None:
        client.data.lost(reason)

    async def close(self) -> None:
        """Ends what still runs."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _run(self, soak: Soak, client: Client) -> None:
        await soak.run(client)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._running.discard(task)
        if not self._running:
            self.done.set()
