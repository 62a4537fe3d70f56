# The boot guard comes first. When a new one fails, the one before it is put back: docs/update.md.
try:
    import otaguard

    otaguard.boot()
    del otaguard
except Exception as error:
    import os
    import sys

    sys.print_exception(error)
    try:
        kept = [name for name in ("otaswap.py", "otaguard.py") if name + ".ota-old" in os.listdir("/")]
        for state in ("swapping", "trial-0", "trial-1", "trial-2", "trial-3") if kept else ():
            try:
                os.rename("/.otalink/" + state, "/.otalink/reverting")
            except OSError:
                pass
        for name in kept:
            os.rename("/" + name + ".ota-old", "/" + name)
        if kept:
            __import__("machine").reset()
    except OSError:
        pass
# What was this board's boot.py before otalink came.
try:
    __import__("os").stat("/boot_own.py")
except OSError:
    pass
else:
    execfile("/boot_own.py")  # noqa: F821 - MicroPython has it
