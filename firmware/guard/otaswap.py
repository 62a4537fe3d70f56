"""The boot guard's work: swaps the files of an update forward and back, counts a trial's boots and a release's crashes.

`otaguard.py` loads it at boot when there is something to do, ahead of any application code, and forgets it afterwards.
It alone swaps, from whatever it finds after a power cut; docs/update.md is its specification. It imports nothing of
otalink and stays `.py`, as the guard does.
"""

import os

import machine

# The newest plan that can be carried out here. The commit looks for this very line.
FORMAT = 1
_STATE = "/.otalink/"
_NEW = ".ota-new"
_OLD = ".ota-old"
# In the order in which they are looked after.
_STATES = ("forgetting", "committed", "swapping", "reverting", "trial-0", "trial-1", "trial-2", "trial-3")
_CRASHES = ("crash-3", "crash-2", "crash-1", "crash")
_LOG_SIZE = 1000


def work(names, cause):
    """Does what the `names` in /.otalink ask for, and restarts the board after a swap. True when the updater has to run
    ahead of main.py, which does not start.

    `cause` is that of the boot: "SOFT", "DEEPSLEEP", "WDT" or None.
    """
    recover = False
    for state in _STATES:
        if state in names:
            _go_on(state, names, cause)
            break
    else:
        if cause != "SOFT":
            recover = _look_for_crashes(names, cause)
    # From here on, at the most the deadline's timer needs something of this module.
    everything = globals()
    for name in list(everything):
        if name not in ("os", "machine", "_STATE", "_LOG_SIZE", "_check_deadline", "_head", "_exists", "log"):
            del everything[name]
    return recover


# The states


def _go_on(state, names, cause):
    trial = state[:6] == "trial-"
    if not (trial and cause in ("SOFT", "DEEPSLEEP")):
        # After a cut inside a rename littlefs 2.9 to 2.11 overlooks a name until something is written, so a call that
        # would write comes before anything else.
        _remove(_STATE + "none")
        if trial:
            _log_crash()
            if state == "trial-3":
                log(_head(state)[0] + " was not confirmed: going back")
                _become(state, "reverting")
                trial, state = False, "reverting"
            else:
                old, state = state, "trial-" + chr(ord(state[-1]) + 1)
                _become(old, state)
                log("boot " + state[-1] + " of the trial of " + _head(state)[0])
    if trial:
        _set_deadline(_head(state)[1])
        return
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
    if state == "reverting" or not _pass("swapping", "trial-0", _forward, "on trial: "):
        _pass("reverting", "reverted", _back, "went back from ")


def _pass(state, then, step, text):
    # Does every line of the plan, and restarts. True when nothing can be done; False: what was begun has to go back,
    # and the state says so.
    if not _whole(state):
        return True
    try:
        for line in _lines(state):
            step(*line)
        for name in _CRASHES:
            _remove(_STATE + name)
        _become(state, then)
    except OSError as error:
        log(state + " failed with error " + str(error.errno))
        if step == _forward:
            _become(state, "reverting")
        # A way back that failed is tried again at the next boot; what is there runs until then.
        return False
    log(text + _head(then)[0])
    machine.reset()
    return True


def _forward(action, path):
    new = path + _NEW
    old = path + _OLD
    if action == "delete":
        if _exists(path):
            os.rename(path, old)
    elif _exists(new):
        if action == "replace":
            if _exists(path):
                os.rename(path, old)
        elif action == "copy":
            _copy(path, old + _NEW)
            os.rename(old + _NEW, old)
        os.rename(new, path)


def _back(action, path):
    old = path + _OLD
    if action == "add":
        _remove(path)
    elif _exists(old):
        os.rename(old, path)
    _remove(old + _NEW)
    _remove(path + _NEW)
    _prune(path)


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
    log("the plan in " + state + " is broken or newer than this guard: put aside")
    _become(state, "broken")
    return False


def _lines(state):
    with open(_STATE + state) as file:
        for line in file:
            action, _, path = line[:-1].partition(" ")
            if action in ("replace", "add", "delete", "copy"):
                yield action, "/" + path


def _head(state):
    # The release that a plan installs, for people, and the deadline of its trial in seconds.
    try:
        with open(_STATE + state) as file:
            _, name, version, deadline = [file.readline()[:-1].partition(" ")[2] for _ in range(4)]
        return name + " " + version, int(deadline)
    except (OSError, ValueError):
        return "?", 600


# A release that does not start


def _look_for_crashes(names, cause):
    # The evidence: crash is of the run before, crash-1 to crash-3 count. True when the updater has to run by itself.
    if cause == "WDT" or "crash" in names:
        try:
            if "crash" not in names:
                with open(_STATE + "crash", "w") as file:
                    file.write("the watchdog reset the board")
            _log_crash(True)
            names = os.listdir(_STATE[:-1])
        except OSError:
            pass
    if "crash-3" not in names:
        return False
    if "confirmed" in names:
        log("it does not start any more: going back")
        _become("confirmed", "reverting")
        _go_on("reverting", names, cause)
    return True


def _log_crash(count=False):
    try:
        with open(_STATE + "crash") as file:
            log(file.read())
    except (OSError, ValueError):
        return
    if count:
        for n in "321":
            if _exists(_STATE + "crash-" + n):
                if n != "3":
                    _become("crash", "crash-" + chr(ord(n) + 1))
                    _remove(_STATE + "crash-" + n)
                break
        else:
            _become("crash", "crash-1")
    _remove(_STATE + "crash")


# The trial's deadline


def _set_deadline(seconds):
    if not seconds or not hasattr(machine, "Timer"):
        return
    for number in (-1, 3, 2, 1, 0):  # the last ones first: applications take the first ones
        try:
            timer = machine.Timer(number)
            timer.init(mode=machine.Timer.PERIODIC, period=seconds * 1000, callback=_on_deadline)
            return
        except (ValueError, OSError):
            pass


def _on_deadline(timer):
    # It may be an interrupt, where nothing can be allocated.
    __import__("micropython").schedule(_check_deadline, timer)


def _check_deadline(timer):
    for name in os.listdir(_STATE[:-1]):
        if name[:6] == "trial-":
            log(_head(name)[0] + " was not confirmed in time")
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
    with open(source, "rb") as old, open(target, "wb") as new:
        while True:
            piece = old.read(512)
            if not piece:
                return
            new.write(piece)


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
