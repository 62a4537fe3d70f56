"""The boot guard: looks at boot whether an update, a trial or a crash wants something done, and watches over main.py.

`boot.py` calls `boot()` before any application code is imported. What there is to do, `otaswap.py` does, which is
loaded for that alone; docs/update.md is the specification of both. With nothing to do the guard lists one folder, looks
for main.py, writes nothing, and leaves the memory. It imports nothing of otalink and stays `.py`, so that a new
MicroPython still loads it.
"""

import os
import sys
import time

import machine

# Names in /.otalink that stand for something to do.
_WORK = " forgetting committed swapping reverting trial-0 trial-1 trial-2 trial-3 crash crash-3 "
# Where the port does not tell a soft reset: its clock begins at a hard one, and boot.py comes within so many ms.
_SOFT_MS = 3000
# Runs in the place of main.py, and then runs it: this module is not in memory any more by then.
_MAIN = """
def _main(names, recover):
    import sys
    try:
        from vfs import umount
    except ImportError:
        from os import umount
    umount("/main.py")
    if recover:
        try:
            __import__("otalink.recovery")
        except Exception as error:
            sys.print_exception(error)
    try:
        execfile("main.py", names)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        import machine, time
        sys.print_exception(error)
        if isinstance(error, MemoryError):
            names.clear()
        try:
            with open("/.otalink/crash", "w") as file:
                file.write((type(error).__name__ + ": " + str(error))[:120])
        except Exception:
            pass
        print("otalink: restarting in 2 s; Ctrl-C gives the REPL")
        time.sleep(2)
        machine.reset()
globals().pop("_main")(globals(), %d)
"""


def boot():
    """Has done what the state on the flash asks for, then takes `main.py` into its care.

    The board restarts after a swap. What a guard cannot do here it raises, and boot.py puts the one before it back.
    """
    try:
        names = os.listdir("/.otalink")
    except OSError:
        names = ()
    cause = _cause()
    recover = False
    if names and (cause == "WDT" or any(f" {name} " in _WORK for name in names)):
        import otaswap

        recover = otaswap.work(names, cause)
        # At the most the deadline's timer needs something of it.
        sys.modules.pop("otaswap", None)
    if cause != "SOFT":
        try:
            import vfs
        except ImportError:
            vfs = os
        try:
            os.stat("/main.py")
            vfs.mount(_Main(_MAIN % recover), "/main.py")
        except Exception:  # there is none, or the firmware runs it as ever
            pass
    sys.modules.pop("otaguard", None)


def _cause():
    # "SOFT", "DEEPSLEEP", "WDT" or None.
    cause = machine.reset_cause() if hasattr(machine, "reset_cause") else None
    # The rp2 tells neither a soft reset nor the watchdog from machine.reset(), which the ESP8266 calls SOFT_RESET.
    tells = hasattr(machine, "SOFT_RESET") and sys.platform != "esp8266"
    if cause == machine.SOFT_RESET if tells else time.ticks_ms() > _SOFT_MS:
        return "SOFT"
    for name in ("DEEPSLEEP", "WDT")[: 1 + tells]:
        if cause == getattr(machine, name + "_RESET", -1):
            return name
    return None


class _Main:
    # Stands in for /main.py until the firmware opens it. The guard cannot run main.py inside boot.py: several ports
    # bring USB up between the two.
    def __init__(self, text):
        self.text = text

    def mount(self, readonly, mkfs):
        pass

    def umount(self):
        # Something on the stack may point here while main.py runs: it must not keep the whole guard.
        self.text = None
        globals().clear()

    def stat(self, path):
        return (0x8000, 0, 0, 0, 0, 0, 0, 0, 0, 0)

    def open(self, path, mode):
        import io

        return io.BytesIO(self.text)
