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
        os.stat("/otaguard.py.ota-old")
        for state in ("swapping", "trial-0", "trial-1", "trial-2", "trial-3"):
            try:
                os.rename("/.otalink/" + state, "/.otalink/reverting")
            except OSError:
                pass
        os.rename("/otaguard.py.ota-old", "/otaguard.py")
        __import__("machine").reset()
    except OSError:
        pass
