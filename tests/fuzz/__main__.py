"""`make fuzz`: fuzzes the frame decoder for SECONDS, 60 unless it is said. Exit status 1 when it found something."""

import importlib.util
import sys
import tempfile
from pathlib import Path

from fuzzer import fuzz  # what is run as a folder finds its neighbours


def main() -> int:
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    if importlib.util.find_spec("atheris") is None:
        print("fuzz: there is no atheris here: it needs CPython 3.11 or later on Linux, x86-64", file=sys.stderr)
        return 1
    folder = Path(tempfile.mkdtemp(prefix="otalink-fuzz-"))
    status, output = fuzz(folder, f"-max_total_time={seconds}")
    print("\n".join(output.splitlines()[-25:]))
    if status:
        print(f"fuzz: the input that failed is in {folder}", file=sys.stderr)
    return 1 if status else 0


if __name__ == "__main__":
    sys.exit(main())
