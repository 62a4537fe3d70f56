"""`make fuzz`: fuzzes each target, or the one that is named, for SECONDS. Exit status 1 when it found something.

python tests/fuzz [SECONDS, 60 unless it is said] [frame | ftp]
"""

import importlib.util
import sys
import tempfile
from pathlib import Path

from fuzzer import TARGETS, fuzz  # what is run as a folder finds its neighbours


def main() -> int:
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    if importlib.util.find_spec("atheris") is None:
        print("fuzz: there is no atheris here: it needs CPython 3.11 or later on Linux, x86-64", file=sys.stderr)
        return 1
    names = sys.argv[2:] or list(TARGETS)
    if wrong := [name for name in names if name not in TARGETS]:
        print(f"fuzz: there is no target {wrong[0]}: choose from {', '.join(TARGETS)}", file=sys.stderr)
        return 2
    found = 0
    for name in names:
        folder = Path(tempfile.mkdtemp(prefix=f"otalink-fuzz-{name}-"))
        status, output = fuzz(name, folder, f"-max_total_time={seconds}")
        print(f"--- {name}")
        print("\n".join(output.splitlines()[-25:]))
        if status:
            print(f"fuzz: the input that failed is in {folder}", file=sys.stderr)
            found = 1
    return found


if __name__ == "__main__":
    sys.exit(main())
