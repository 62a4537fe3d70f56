"""A peer in a thread of its own, for programs that are not asyncio's: the demonstration, tests."""

import asyncio
import threading
from collections.abc import Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from otalink_host.fleet import Fleet
from otalink_host.peer import Answer, Handler, Peer

Result = TypeVar("Result")


class BackgroundPeer:
    """`with BackgroundPeer(handler) as background:` listens on a free port of the loopback; see Peer for the options.

    The handler is called in the thread. `fleet` is a file for the fleet's database. Raises UserError when it cannot
    listen or have that.
    """

    peer: Peer

    def __init__(self, handler: Handler, fleet: Path | None = None, **options: Any) -> None:
        self._handler = handler
        self._fleet_file = fleet
        self._fleet: Fleet | None = None
        self._options: dict[str, Any] = {"address": "127.0.0.1", "port": 0, **options}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="otalink peer")

    def __enter__(self) -> "BackgroundPeer":
        self._thread.start()
        try:
            self._do(self._begin())
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._do(self.peer.close())
        finally:
            self._end()

    async def _begin(self) -> None:
        if self._fleet_file is not None:
            self._fleet = Fleet(self._fleet_file)
        self.peer = Peer(self._handler, fleet=self._fleet, **self._options)
        await self.peer.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.peer.port

    def ask(self, board: str, what: str) -> Answer:
        """See Peer.ask."""
        return self._do(self.peer.ask(board, what))

    def _do(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def _end(self) -> None:
        if self._fleet is not None:
            # By the thread that opened it.
            self._loop.call_soon_threadsafe(self._fleet.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
