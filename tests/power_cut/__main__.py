"""`make power-cut`: cuts the power everywhere, on every core. The last line says how many cuts, and how many were bad.

With the name of a scenario only that one; with --singles no second cut in the boots after the first.
"""

import argparse
import os
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed

from runner import SCENARIOS, Counts, cut  # what is run as a folder finds its neighbours


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenario", nargs="*", choices=[*SCENARIOS, []], help="one or several; all of them by default")
    parser.add_argument("--singles", action="store_true")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    scenarios = arguments.scenario or list(SCENARIOS)
    parts = 4
    total = Counts()
    with ThreadPoolExecutor(arguments.jobs) as pool:
        runs = {
            pool.submit(cut, scenario, doubles=not arguments.singles, part=part, parts=parts): (scenario, part)
            for scenario in scenarios
            for part in range(parts)
        }
        for run in as_completed(runs):
            scenario, part = runs[run]
            counts = run.result()
            total += counts
            print(f"{scenario} {part + 1}/{parts}: {counts}", flush=True)
            for line in counts.lines:
                print(line, flush=True)
    print(total)
    return 1 if total.bad or not total.cuts else 0


if __name__ == "__main__":
    sys.exit(main())
