"""What the board is. As all of this folder it runs there, by mpremote, and prints JSON; otalink need not be there."""

import gc
import json
import os
import sys

PROBE = "/board-test.tmp"


def file_system():
    try:
        import vfs

        for found, where in vfs.mount():
            if where == "/":
                return repr(found).strip("<>")
    except (ImportError, TypeError):  # before MicroPython 1.25 it does not tell
        pass
    # As otalink finds out: only FAT takes a name in capitals for the same.
    with open(PROBE, "w"):
        pass
    try:
        os.stat(PROBE.upper())
        return "VfsFat"
    except OSError:
        return "not FAT"
    finally:
        os.remove(PROBE)


def machine_facts():
    from binascii import hexlify

    import machine

    frequency = machine.freq() if hasattr(machine, "freq") else None
    return {
        "id": hexlify(machine.unique_id()).decode() if hasattr(machine, "unique_id") else None,
        "frequency": frequency[0] if isinstance(frequency, tuple) else frequency,
    }


gc.collect()
free, used = gc.mem_free(), gc.mem_alloc()
implementation = sys.implementation
found = os.statvfs("/")
facts = {
    "name": implementation.name,
    "version": ".".join(str(part) for part in implementation.version[:3])
    + "".join("-" + part for part in implementation.version[3:] if part),
    "build": sys.version.split("; ")[-1],
    "machine": getattr(implementation, "_machine", None),
    "board": getattr(implementation, "_build", None),
    "platform": sys.platform,
    "mpy": getattr(implementation, "_mpy", 0),
    "heap": free + used,
    "heap_free": free,
    "flash": found[2] * found[1],
    # A full littlefs has been seen to say four billion.
    "flash_free": min(found[3], found[2]) * found[0],
    "file_system": file_system(),
}
facts.update(machine_facts())
print(json.dumps(facts))
