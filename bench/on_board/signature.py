"""The time of verifying a signature, by itself: nothing is read or hashed."""
# MicroPython's modules have no type hints:
# mypy: ignore-errors

import gc
import json
import sys
from binascii import a2b_base64
from time import ticks_diff, ticks_us

# By its name, so that mypy does not follow it to the board's modules.
verify = __import__("otalink.signature", None, None, ("verify",)).verify

wanted = json.loads(sys.stdin.readline())
modulus, digest, signature = (a2b_base64(wanted[name]) for name in ("modulus", "digest", "signature"))
times = []
for _ in range(wanted["rounds"]):
    gc.collect()
    started = ticks_us()
    right = verify(modulus, digest, signature)
    times.append(ticks_diff(ticks_us(), started))
    if not right:
        raise SystemExit("the signature is refused")
print(json.dumps(times))
