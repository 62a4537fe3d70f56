"""The boot guard: swaps the files of an update forward and back at boot, and goes back when a release does not start.

`boot.py` calls `boot()` before any application code is imported. It alone swaps, from whatever it finds after a power
cut; docs/update.md is its specification. With nothing to do it lists one folder and writes nothing. It imports nothing
of otalink and stays `.py`, so that a new MicroPython still loads it.
"""

import os
import sys
import time

import machine
import micropython
from micropython import const

# The newest plan that this guard can carry out.
FORMAT = 1
_STATE = "/.otalink/"
_NEW = ".ota-new"
_OLD = ".ota-old"
# In the order in which they are looked after.
_STATES = ("forgetting", "committed", "swapping", "reverting", "trial-0", "trial-1", "trial-2", "trial-3")
_LOG_SIZE = const(1000)
_RESTART_DELAY = const(2)
# Where the port does not tell a soft reset: its clock begins at a hard one, and boot.py comes within so many ms.
_SOFT_MS = const(3000)
_SOFT = const(1)
_SLEEP = const(2)
_WATCHDOG = const(3)

# The deadline's timer; whether the updater has to run instead of a main.py that does not start.
_kept = {}


def boot():
    """Does what the state on the flash asks for, then takes `main.py` into its care. Restarts the board after a swap.

    What a guard cannot do here it raises, and boot.py puts the guard before it back.
    """
    try:
        names = os.listdir(_STATE[:-1])
    except OSError:
        names = ()
    cause = _reset_cause()
    for state in _STATES:
        if state in names:
            _recover(state, names, cause)
            break
    else:
        if cause == _WATCHDOG:
            _add_evidence(names)
            names = os.listdir(_STATE[:-1]) if names else names
        if "crash-3" in names and cause != _SOFT:
            if "confirmed" in names:
                log("it does not start any more: going back")
                _become("confirmed", "reverting")
                _revert()
            _kept["recovery"] = True
    if cause != _SOFT:
        _take_main()


def _reset_cause():
    cause = machine.reset_cause() if hasattr(machine, "reset_cause") else None
    if hasattr(machine, "SOFT_RESET") and sys.platform != "esp8266":
        if cause == machine.SOFT_RESET:
            return _SOFT
        if cause == machine.WDT_RESET:
            return _WATCHDOG
    # The rp2 tells neither from machine.reset(), and the ESP8266 calls that SOFT_RESET.
    elif time.ticks_ms() > _SOFT_MS:
        return _SOFT
    if hasattr(machine, "DEEPSLEEP_RESET") and cause == machine.DEEPSLEEP_RESET:
        return _SLEEP
    return None


# The states


def _recover(state, names, cause):
    if state.startswith("trial"):
        if cause in (_SOFT, _SLEEP):
            _set_deadline(state)
            return
        _settle()
        if state != "trial-3":
            following = "trial-" + chr(ord(state[-1]) + 1)
            _become(state, following)
            log(f"boot {following[-1]} of the trial of {_release(following)}")
            _set_deadline(following)
            return
        log(f"{_release(state)} was not confirmed: going back")
        _become(state, "reverting")
        state = "reverting"
    else:
        _settle()
    if state == "forgetting":
        _forget(state)
        state = "committed"
        if state not in names:
            return
    if state == "committed":
        if not _whole(state):
            return
        for old in ("confirmed", "reverted"):
            if old in names:
                _forget(old)
        _become(state, "swapping")
        state = "swapping"
    if state == "reverting" or not _swap():
        _revert()


def _settle():
    # After a cut inside a rename littlefs 2.9 to 2.11 overlooks a name until something is written, so a call that
    # would write comes before anything else.
    _remove(_STATE + "none")


def _swap():
    # Returns only when it could not be done. False: what was begun has to go back, and the state says so.
    if not _whole("swapping"):
        return True
    try:
        for action, path in _lines("swapping"):
            new = path + _NEW
            if action == "delete":
                if _exists(path):
                    os.rename(path, path + _OLD)
            elif _exists(new):
                if action == "replace":
                    if _exists(path):
                        os.rename(path, path + _OLD)
                elif action == "copy":
                    _copy(path, path + _OLD + _NEW)
                    os.rename(path + _OLD + _NEW, path + _OLD)
                os.rename(new, path)
        for n in "123":
            _remove(_STATE + "crash-" + n)
        _become("swapping", "trial-0")
    except OSError as error:
        log(f"the swap failed with error {error.errno}: going back")
        _become("swapping", "reverting")
        return False
    log("on trial: " + _release("trial-0"))
    machine.reset()
    return True


def _revert():
    if not _whole("reverting"):
        return
    try:
        for action, path in _lines("reverting"):
            if action == "add":
                _remove(path)
            elif _exists(path + _OLD):
                os.rename(path + _OLD, path)
            _remove(path + _OLD + _NEW)
            _remove(path + _NEW)
            _prune(path)
        for n in "123":
            _remove(_STATE + "crash-" + n)
        _become("reverting", "reverted")
    except OSError as error:
        # The next boot tries again; what is there runs until then.
        log(f"going back failed with error {error.errno}")
        return
    log("went back from " + _release("reverted"))
    machine.reset()


def _forget(state):
    for _, path in _lines(state):
        _remove(path + _OLD)
        _prune(path)
    _remove(_STATE + state)


# The plan


def _whole(state):
    # A plan that is cut off or of a format to come is put aside: nothing must act on it, and nothing wait for it.
    try:
        with open(_STATE + state) as file:
            magic, number = file.readline().split()
            whole = magic == "otalink-plan" and int(number) <= FORMAT
            line = ""
            for line in file:  # noqa: B007 - the last one counts
                pass
            if whole and line == "end\n":
                return True
    except ValueError:
        pass
    log(f"the plan in {state} is broken or newer than this guard: put aside")
    _become(state, "broken")
    return False


def _lines(state):
    with open(_STATE + state) as file:
        for line in file:
            action, _, path = line[:-1].partition(" ")
            if action in ("replace", "add", "delete", "copy"):
                yield action, "/" + path


def _release(state):
    return _field(state, "name") + " " + _field(state, "version")


def _field(state, key):
    try:
        with open(_STATE + state) as file:
            for _ in range(5):
                found, _, value = file.readline()[:-1].partition(" ")
                if found == key:
                    return value
    except (OSError, ValueError):
        pass
    return "?"


# main.py


class _Main:
    # Stands in for /main.py until the firmware opens it. The guard cannot run main.py inside boot.py: several ports
    # bring USB up between the two. What the firmware runs is these lines, which come back to the guard.

    def mount(self, readonly, mkfs):
        pass

    def umount(self):
        pass

    def stat(self, path):
        return (0x8000, 0, 0, 0, 0, 0, 0, 0, 0, 0)

    def open(self, path, mode):
        import io

        return io.BytesIO(b"__import__('otaguard').main(globals())")


def _take_main():
    try:
        if _exists("/main.py"):
            _vfs().mount(_Main(), "/main.py")
    except Exception as error:  # the firmware runs it as ever
        log(f"main.py runs unwatched: {error}")


def _vfs():
    try:
        import vfs

        return vfs
    except ImportError:
        return os


def main(names):
    """Runs main.py with the globals `names`; restarts the board when an exception comes out of it."""
    _vfs().umount("/main.py")
    if _kept.get("recovery"):
        try:
            __import__("otalink.recovery")
        except Exception as error:
            _show(error)
    try:
        execfile("main.py", names)  # noqa: F821 - MicroPython has it
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        _show(error)
        try:
            found = os.listdir(_STATE[:-1])
            if not any(name.startswith("trial") for name in found):
                _add_evidence(found)
        except OSError:
            pass
        print("otalink: restarting in", _RESTART_DELAY, "s; Ctrl-C gives the REPL")
        time.sleep(_RESTART_DELAY)
        machine.reset()


def _show(error):
    sys.print_exception(error)
    log(f"{type(error).__name__}: {error}"[:120])


def _add_evidence(names):
    # Empty files whose name counts: crash-1 to crash-3.
    try:
        for n in "321":
            if "crash-" + n in names:
                if n != "3":
                    _become("crash-" + n, "crash-" + chr(ord(n) + 1))
                return
        open(_STATE + "crash-1", "w").close()
    except OSError:
        pass


# The trial's deadline


def _set_deadline(state):
    seconds = _field(state, "deadline")
    seconds = int(seconds) if seconds.isdigit() else 600
    if not seconds or not hasattr(machine, "Timer"):
        return
    for number in (-1, 3, 2, 1, 0):  # the last ones first: applications take the first ones
        try:
            timer = machine.Timer(number)
            timer.init(mode=machine.Timer.PERIODIC, period=seconds * 1000, callback=_on_deadline)
            _kept["timer"] = timer
            return
        except (ValueError, OSError):
            pass


def _on_deadline(timer):
    # It may be an interrupt, where nothing can be allocated.
    micropython.schedule(_check_deadline, timer)


def _check_deadline(timer):
    for name in os.listdir(_STATE[:-1]):
        if name.startswith("trial"):
            log(f"{_release(name)} was not confirmed in time")
            machine.reset()
    timer.deinit()


# The flash


def _become(old, new):
    os.rename(_STATE + old, _STATE + new)


def _exists(path):
    try:
        os.stat(path)
        return True
    except OSError:
        return False


def _remove(path):
    try:
        os.remove(path)
    except OSError:
        pass


def _prune(path):
    # Folders on the way to `path` that have nothing in them; one that has cannot be removed.
    while True:
        path = path[: path.rfind("/")]
        if not path or path == _STATE[:-1]:
            return
        try:
            os.rmdir(path)
        except OSError:
            pass


def _copy(source, target):
    buffer = bytearray(512)
    view = memoryview(buffer)
    with open(source, "rb") as old, open(target, "wb") as new:
        while True:
            n = old.readinto(buffer)
            if not n:
                return
            new.write(view[:n])


def log(text):
    """Adds a line to /.otalink/log; the last 1 to 2 KB are kept, there and in log-1. A full flash loses it."""
    path = _STATE + "log"
    try:
        if _exists(path) and os.stat(path)[6] > _LOG_SIZE:
            os.rename(path, path + "-1")
        with open(path, "a") as file:
            file.write(text + "\n")
    except OSError:
        pass
