"""The board's way into its network: one task joins it and keeps it joined, for otalink and the application alike.

    await otalink.network.up()      # by "wifi" or "ethernet" in /otalink.json

`Updater.run`, `Link.run` and the recovery do this by themselves. board_net.py has the hardware, and is in memory only
while something is done with it. Rules that are kept here:
- Without such settings nothing is touched: the board is taken to be in its network. So it is on a port without one.
- Nothing ends the task: what goes wrong is a line, once until something else happens, and another try.
- A try lasts 15 s; between two are 1 s, 2 s, and so on up to 60 s, less up to half of it at random.
"""

import asyncio
import random
from time import ticks_add, ticks_diff, ticks_ms

from otalink import phase

# Milliseconds: how long a try lasts; from one to the next, at first and at most; how often a network that is joined is
# looked at, and one that is being joined. One name for all, since each takes heap.
TIMES_MS = [15000, 1000, 60000, 500, 100]


class _Shared:
    """What there is once for all: data, and no methods."""

    # What board_setup.check gave, and what takes the lines; None: no settings have been seen.
    settings = message = None
    # That of _keep, and what it has of the hardware.
    task = interface = None
    # Set while the board is in the network.
    joined = asyncio.Event()


def use(settings, message=print):
    """Takes what board_setup.check gave: `up` brings that network up. The first settings are those that count.

    `message(line)` takes a line for each change: joined, lost, why not.
    """
    if _Shared.settings is None:
        _Shared.settings, _Shared.message = settings, message


async def up(timeout=None, config="/otalink.json"):
    """Waits until the board is in the network of the settings, `timeout` seconds at most (None: for ever). True: it is.

    The first call starts the task that keeps it there; further ones, from wherever, share it. `config` is a path or a
    dict that holds the settings, and is read unless an Updater or a Link.from_config has read some already. Raises
    ValueError when the settings of the network are wrong.
    """
    if _Shared.settings is None:
        _call("board_setup", "set_up_network", config, print)
    return await wait(timeout)


async def wait(timeout=None):
    """As `up`, by settings that were read before; without any it gives True at once."""
    if _Shared.settings is None:
        return True
    joined = _Shared.joined
    if _Shared.task is None:
        _Shared.task = asyncio.create_task(_keep())
    if _Shared.interface is not None and not _Shared.interface.isconnected():
        joined.clear()  # which the task has not seen yet
    if timeout is None:
        await joined.wait()
    else:
        deadline = ticks_add(ticks_ms(), int(timeout * 1000))
        while not joined.is_set() and ticks_diff(deadline, ticks_ms()) > 0:
            await asyncio.sleep_ms(TIMES_MS[4])
    return joined.is_set()


def stop():
    """Ends the task; the network stays as it is. The next `up` begins anew, with the settings that it is given."""
    if _Shared.task is not None:
        _Shared.task.cancel()
    _Shared.task = _Shared.settings = _Shared.interface = None
    _Shared.joined.clear()


async def _keep():
    settings, joined = _Shared.settings, _Shared.joined
    told = []
    failures = 0
    interface = None
    while True:
        try:
            if interface is None:
                interface = _Shared.interface = _call("board_net", "start", settings)
                if interface is None:
                    _tell(told, "this board's port has no network of its own: it is taken to be in one already")
                    joined.set()
                    return
            if await _join(interface, settings):
                told.clear()
                failures = 0
                joined.set()
                _tell(told, _describe(interface, settings))
                while interface.isconnected():
                    await asyncio.sleep_ms(TIMES_MS[3])
                told.clear()
                _tell(told, "the network is lost: joining it again")
            else:
                _tell(told, _describe(interface, settings))
        except Exception as error:
            # A ValueError is a line of our own.
            is_line = isinstance(error, ValueError) and str(error)
            _tell(told, str(error) if is_line else f"the network cannot be joined: {type(error).__name__}: {error}")
        joined.clear()
        failures += 1
        await asyncio.sleep_ms(_delay(failures))


async def _join(interface, settings):
    # One try; whether the board is in the network.
    if not interface.isconnected():
        _call("board_net", "connect", interface, settings)
        deadline = ticks_add(ticks_ms(), TIMES_MS[0])
        while not interface.isconnected() and ticks_diff(deadline, ticks_ms()) > 0:
            await asyncio.sleep_ms(TIMES_MS[4])
    return interface.isconnected()


def _describe(interface, settings):
    try:
        return _call("board_net", "describe", interface, settings)
    except Exception as error:  # there may be no memory for words
        return f"no word of how the network is: {type(error).__name__}"


def _tell(told, line):
    # Each line once, until `told` is emptied.
    if line not in told:
        told.append(line)
        try:
            _Shared.message(line)
        except Exception:  # a broken display must not end the task
            pass


def _delay(failures):
    # At random, so that the boards of an access point that was away do not come at once.
    _, first, most, _, _ = TIMES_MS
    delay = min(first << min(failures - 1, 16), most)
    return delay - int(delay * random.random() / 2)


def _call(module, function, *arguments):
    # As phase.call, but this feeds no watchdog: an application that hangs must not be kept alive.
    before = phase.enter()
    try:
        module = __import__("otalink." + module, None, None, (function,))
        return getattr(module, function)(*arguments)
    finally:
        module = None
        phase.leave(before)
