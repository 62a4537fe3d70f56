"""Runs one test of this folder on the runtime that runs this file: run_one.py FIRMWARE MODULE FUNCTION."""

import sys

firmware, module, function = sys.argv[1:]
sys.path.insert(0, firmware)
sys.path.insert(0, sys.path[1] if sys.path[1:2] == ["."] else ".")
getattr(__import__(module), function)()
print("PASSED", function)
