"""What the boot guard takes when it has nothing to do: the time of a boot, and the heap that it leaves in use."""
# MicroPython's modules have no type hints:
# mypy: ignore-errors

import gc
import json
import sys
from time import ticks_diff, ticks_us

import power_on
import vfs


def in_use():
    gc.collect()
    return gc.mem_alloc()


def boot():
    started = ticks_us()
    power_on.boot()
    taken = ticks_diff(ticks_us(), started)
    # As when the firmware opens it. Raises where the guard has not come so far.
    vfs.umount("/main.py")
    return taken


wanted = json.loads(sys.stdin.readline())
power_on.mount(wanted["image"])
times = [0] * wanted["rounds"]
before = in_use()
times[0] = boot()
first = in_use() - before
for number in range(1, len(times)):
    times[number] = boot()
print(json.dumps({"times": times, "first": first, "later": in_use() - before - first}))
