"""The heap that importing a module takes when the modules `first` are there already; and what else it imported."""
# MicroPython's modules have no type hints:
# mypy: ignore-errors

import gc
import json
import sys

wanted = json.loads(sys.stdin.readline())
for name in wanted["first"]:
    __import__(name)
there = list(sys.modules)
name = wanted["module"]
gc.collect()
before = gc.mem_alloc()
__import__(name)
gc.collect()
taken = gc.mem_alloc() - before
print(json.dumps({"bytes": taken, "others": [n for n in sys.modules if n not in there and n != name]}))
