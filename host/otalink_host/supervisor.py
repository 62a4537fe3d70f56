"""Several processes that do the same work: started, started again when one dies, and ended in good order. POSIX only.

What they share, such as sockets that listen, is opened before; each process makes its own event loop after its fork.
This process does no work itself and has no threads, so that it can fork at any time.
"""

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable

from otalink_host.errors import UserError
from otalink_host.events import Events

# How soon a signal or an end is noticed, and how long after its start a process that died may be started again.
TICK = 0.1
PAUSE = 1.0
# So much longer than the processes themselves take, in seconds, is waited for them to end.
GRACE = 5.0


class Supervisor:
    """Runs `work`, with its number from 0 on, in each of `count` processes; `work` returns when it was told to end.

    `stop_timeout` is how many seconds `work` may take to end after SIGTERM.
    """

    def __init__(self, count: int, work: Callable[[int], None], events: Events, stop_timeout: float) -> None:
        self._work = work
        self._events = events
        self._stop_timeout = stop_timeout
        self._running: dict[int, int] = {}
        self._due = dict.fromkeys(range(count), 0.0)
        self._stops = 0
        self._reload_wanted = False

    @property
    def stopping(self) -> bool:
        return self._stops > 0

    def stop(self) -> None:
        """Ends all processes by SIGTERM; a second call sends them a second one. For a signal handler, too."""
        self._stops += 1

    def reload(self) -> None:
        """Sends all processes SIGHUP. For a signal handler, too."""
        self._reload_wanted = True

    def run(self, may_reload: Callable[[], bool], stopped: Callable[[], None]) -> None:
        """Supervises until `stop`. `may_reload` is asked before SIGHUP is passed on, `stopped` called as it begins."""
        passed_on = 0
        kill_at = float("inf")
        while self._running or not self.stopping:
            now = time.monotonic()
            if not self.stopping:
                for index in [index for index, due in self._due.items() if due <= now]:
                    self._start(index)
            while passed_on < self._stops:
                if passed_on == 0:
                    kill_at = now + self._stop_timeout + GRACE
                    stopped()
                passed_on += 1
                self._send(signal.SIGTERM)
            if now >= kill_at:
                self._send(signal.SIGKILL)
            if self._reload_wanted:
                self._reload_wanted = False
                if may_reload():
                    self._send(signal.SIGHUP)
            self._reap()
            self._events.tick()
            time.sleep(TICK)

    def _start(self, index: int) -> None:
        del self._due[index]
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        process = os.fork()
        if process:
            self._running[process] = index
            return
        status = 1
        try:
            self._events.counters.row = index + 1
            # That of the parent, which alone may append to it.
            self._events.audit = None
            self._running = {}
            self._work(index)
            status = 0
        except UserError as error:
            print(f"otalink: {error}", file=sys.stderr)
        except BaseException:
            traceback.print_exc()
        finally:
            # Not by an exception, which would run on in the parent's functions.
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            os._exit(status)

    def _reap(self) -> None:
        for process, index in list(self._running.items()):
            ended, status = os.waitpid(process, os.WNOHANG)
            if not ended:
                continue
            del self._running[process]
            for gauge in ("sessions", "workers"):
                self._events.counters.set(gauge, 0, row=index + 1)
            self._due[index] = time.monotonic() + PAUSE
            if not self.stopping:
                code = os.waitstatus_to_exitcode(status)
                how = f"by signal {-code}" if code < 0 else f"with status {code}"
                self._events.warn(
                    "worker_died", f"worker {index + 1} ended {how}: it is started again", outcome="failed", detail=how
                )

    def _send(self, number: int) -> None:
        for process in self._running:
            os.kill(process, number)
