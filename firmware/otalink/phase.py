"""An update goes in phases, and a phase's code is in memory only while the phase lasts.

All of otalink's updater would take some 70 KB of heap where pointers have 8 bytes; most boards have less to spare
beside their application. So the updater calls each phase by its name here: its modules are imported, and forgotten when
it is over. What a phase gives back must be data alone (tuples, lists, instances of classes without methods): one
function or method that is kept keeps its whole module.

Modules that were there before, such as those that the application imported itself, stay; of others than otalink's, only
asyncio's streams go. `otalink.errors` is no part of any phase, so that its classes are the same all the time.
"""

import asyncio
import gc
import sys

from micropython import const

# What stays once it is there: it is needed between phases, or an application's.
_STAY = ("errors", "frame", "link", "network", "phase", "updater")
# Only phases that talk to a server need them.
_STREAMS = "asyncio.stream"
# In a heap that is smaller (bytes), memory counts more than speed: it is collected whenever the one part in so many was
# allocated, so that what stays does not come to lie between what goes.
_SMALL_HEAP = const(131072)
_PARTS = const(64)


# What keeps a watchdog quiet while a phase is loaded, which holds the application up; None: there is none.
feed = None
_heap = gc.mem_alloc() + gc.mem_free()


def call(name, *arguments):
    """Gives what a function of otalink gives, such as "config.load"; the modules that this imported are forgotten.

    Modules may stand before it, as in "release install.finish": they are imported first. One at a time, modules take
    less than when one import leads to the next, since the collector has its turn in between.
    """
    before = enter()
    try:
        return _find(name)(*arguments)
    finally:
        leave(before)


async def run(name, *arguments):
    """`call` for a coroutine or a function, from a coroutine: what is forgotten is sure to be out of memory then."""
    before = enter()
    given = None
    is_over = False
    try:
        given = _find(name)(*arguments)
        given = await given if hasattr(given, "send") else given
        is_over = True
        return given
    except Exception:
        is_over = True
        raise
    finally:
        given = None  # a coroutine keeps its module
        leave(before)
        # Not where it was cancelled, or where somebody pressed Ctrl-C: that is to end here and now.
        if is_over:
            await asyncio.create_task(_collect())


async def network():
    """Waits until the board is in the network, when the settings that were read say which; see network.py."""
    found = sys.modules.get("otalink.network")
    if found is not None:
        try:
            await found.wait()
        except Exception:  # there may be no memory for its task; what needs the network says that it is not there
            pass


async def go(job, steps, failed):
    """Runs steps one after the other: phases that take `job` and nothing else, with "; " between their names.

    A step may give further ones, which come before the rest. What it raises goes to the phase `failed`, beside the job:
    that raises it again, or gives the steps that are to come instead of the rest.
    """
    while steps:
        step, _, steps = steps.partition("; ")
        try:
            more = await run(step, job)
        except BaseException as error:
            more = None
            steps = await run(failed, job, error)
        if more:
            steps = f"{more}; {steps}"


async def _collect():
    # After a turn, in which cancelled tasks end. And in a task of its own, whose stack is short: the collector takes
    # all that earlier calls have left on the stack for pointers, and so keeps whole modules.
    await asyncio.sleep_ms(0)
    gc.collect()


def start(coroutine):
    """A task that lets go of its coroutine at its end: asyncio's queue may point to a task long after it has ended."""
    return asyncio.create_task(_let_go([coroutine]))


async def _let_go(holder):
    try:
        await holder.pop()
    finally:
        holder = None  # the handler takes the coroutine's place on the stack of this one


def _find(name):
    if feed is not None:
        feed()
    for part in name.split(" "):
        # What is loaded now should find the heap in one piece.
        gc.collect()
        module, _, function = part.partition(".")
        found = __import__("otalink." + module, None, None, (function,))
    return getattr(found, function)


def enter():
    """Gives what `leave` needs to know: after how many bytes the collector came before, and the modules there were."""
    before = gc.threshold()
    if _heap < _SMALL_HEAP and not 0 <= before <= _heap // _PARTS:
        gc.threshold(_heap // _PARTS)
    return before, _loaded()


def leave(before):
    """Forgets the modules of otalink that were imported since `enter` gave `before`."""
    threshold, there = before
    # Also what an import without enough memory left half done, which MicroPython would take for whole the next time.
    for name in _loaded():
        if name not in there:
            forget(name)
    gc.threshold(threshold)
    gc.collect()


def forget(name):
    """Forgets a module of a package."""
    del sys.modules[name]
    package, _, part = name.partition(".")
    package = sys.modules[package]
    # asyncio itself keeps the name that was asked for.
    for found in (part, "StreamReader"):
        if found in package.__dict__:
            delattr(package, found)


def _loaded():
    return [name for name in sys.modules if name == _STREAMS or (name[:8] == "otalink." and name[8:] not in _STAY)]
