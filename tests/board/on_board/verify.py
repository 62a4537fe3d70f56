"""Verifies a signature of the host's, and two that are forged: of other data, and with one bit changed."""

import gc
import hashlib
import json
from binascii import a2b_base64
from time import ticks_diff, ticks_us

from otalink.signature import verify

ROUNDS = 3
modulus, data, signature = (a2b_base64(given[name]) for name in ("modulus", "data", "signature"))
digest = hashlib.sha256(data).digest()
forged = bytearray(signature)
forged[100] ^= 1
times = []
for _ in range(ROUNDS):
    gc.collect()
    started = ticks_us()
    is_right = verify(modulus, digest, signature)
    times.append(ticks_diff(ticks_us(), started) / 1000000)
    if not is_right:
        raise ValueError("a right signature is refused")
if verify(modulus, digest, bytes(forged)) or verify(modulus, hashlib.sha256(data + b".").digest(), signature):
    raise ValueError("a forged signature is taken")
print(json.dumps({"bits": len(modulus) * 8, "seconds": sorted(times)[ROUNDS // 2]}))
