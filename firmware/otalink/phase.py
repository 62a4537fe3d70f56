"""An update goes in phases, and a phase's code is in memory only while the phase lasts.

All of otalink's updater would take some 70 KB of heap where pointers have 8 bytes; most boards have less to spare
beside their application. So the updater calls each phase by its name here: its modules are imported, and forgotten when
it is over. What a phase gives back must be data alone (tuples, lists, instances of classes without methods): one
function or method that is kept keeps its whole module.

Modules that were there before, such as those that the application imported itself, stay. `otalink.errors` is no part of
any phase, so that its classes are the same all the time.
"""

import asyncio
import gc
import sys

# What phases import. Whatever is not named here stays once it is there.
_PARTS = (
    "apply board boot_rule check commit config download fetch files fingerprint folder forget ftp ftp_errors ftp_facts "
    "ftp_listing ftp_login ftp_reply ftp_session ftp_store install journal offer paths plain plan prepare ready "
    "recovery release retry sizes space staging trial version"
)


def call(name, *arguments):
    """Gives what a function of otalink gives, such as "config.load"; the modules that this imported are forgotten.

    Modules may stand before it, as in "release prepare.finish": they are imported first. One at a time, modules take
    less than when one import leads to the next, since the collector has its turn in between.
    """
    there = _loaded()
    try:
        return _find(name)(*arguments)
    finally:
        _forget(there)


async def run(name, *arguments):
    """`call` for a coroutine or a function, from a coroutine: what is forgotten is sure to be out of memory then."""
    there = _loaded()
    given = None
    try:
        given = _find(name)(*arguments)
        return await given if hasattr(given, "send") else given
    finally:
        given = None  # a coroutine keeps its module
        _forget(there)
        await asyncio.create_task(_collect())


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
    for part in name.split(" "):
        # What is loaded now should find the heap in one piece.
        gc.collect()
        module, _, function = part.partition(".")
        found = __import__("otalink." + module, None, None, (function,))
    return getattr(found, function)


def _loaded():
    return [part for part in _PARTS.split() if "otalink." + part in sys.modules]


def _forget(there):
    # Also what an import without enough memory left half done, which MicroPython would take for whole the next time.
    package = sys.modules["otalink"]
    for part in _loaded():
        if part not in there:
            del sys.modules["otalink." + part]
            if part in package.__dict__:
                delattr(package, part)
    gc.collect()
