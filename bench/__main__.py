"""`python -m bench [TABLE …]`: measures, and prints tables of what it found.

An aim that is missed is said and is no failure: the exit status tells whether everything could be measured.
"""

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench import (
    allocation,
    audit,
    download,
    esp8266,
    fleet,
    frame,
    ftp_load,
    guard,
    heap,
    link_heap,
    one_file,
    peer,
    plain_files,
    provision,
    signature,
    signed_heap,
    tls_heap,
    wear,
)
from bench.board import BoardError
from bench.report import Table, make_console, save, show
from otalink_host.errors import UserError

TABLES = (
    "download",
    "heap",
    "signed-heap",
    "tls-heap",
    "guard",
    "flash",
    "signature",
    "allocation",
    "one-file",
    "frame",
    "link-heap",
    "esp8266",
    "peer",
    "plain-files",
    "provision",
    "server",
    "fleet",
    "audit",
)
# Only when it is asked for: it takes minutes.
LONG = ("power-cut",)
# Room for the files of a benchmark, in bytes, so that a small RAM disk is left alone.
ROOM = 256 * 1024 * 1024
RAM_DISK = Path("/dev/shm")


def main() -> int:
    options = _options()
    # The servers and the temporary folder go when the program is ended, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder, where = _place(options.folder)
    measures: dict[str, Callable[[Path], list[Table]]] = {
        "download": lambda work: download.measure(work, options.rounds, options.micropython_ftplib, where),
        "heap": heap.measure,
        "signed-heap": signed_heap.measure,
        "tls-heap": tls_heap.measure,
        "guard": guard.measure,
        "flash": wear.measure,
        "signature": signature.measure,
        "power-cut": guard.measure_cuts,
        "allocation": lambda work: allocation.measure(work, options.rounds),
        "one-file": one_file.measure,
        "frame": lambda work: frame.measure(work, options.rounds),
        "link-heap": link_heap.measure,
        "esp8266": esp8266.measure,
        "peer": peer.measure,
        "plain-files": plain_files.measure,
        "provision": provision.measure,
        "server": ftp_load.measure,
        "fleet": fleet.measure,
        "audit": lambda work: audit.measure(work, options.rounds),
    }
    console = make_console()
    found: list[Table] = []
    started = time.monotonic()
    for name in options.tables or TABLES:
        try:
            with tempfile.TemporaryDirectory(prefix="otalink-bench-", dir=folder) as work:
                tables = measures[name](Path(work))
        except (BoardError, UserError, download.DownloadError, heap.UpdateError) as error:
            print(f"bench: {name} could not be measured: {error}", file=sys.stderr)
            return 1
        for table in tables:
            show(console, table)
        found += tables
    console.print(f"Measured in {time.monotonic() - started:.0f} s.")
    if options.json:
        save(options.json, found)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench",
        description="Measures speed and memory, and prints tables.",
        epilog='Example: make bench ARGS="download --rounds 3"',
    )
    parser.add_argument(
        "tables",
        nargs="*",
        metavar="TABLE",
        help=f"what to measure, of {', '.join(TABLES)}, all of these by default; or {LONG[0]}",
    )
    parser.add_argument("--rounds", type=int, default=5, help="how often each speed is measured (5)")
    parser.add_argument("--folder", type=Path, help="where files are written to (a RAM disk where there is one)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers to FILE as well")
    parser.add_argument(
        "--micropython-ftplib",
        type=Path,
        metavar="PATH",
        help="ftplib.py of https://github.com/SpotlightKid/micropython-ftplib, to measure it beside otalink",
    )
    options = parser.parse_args()
    for name in options.tables:
        if name not in TABLES + LONG:
            parser.error(f"there is no table {name}: choose from {', '.join(TABLES + LONG)}")
    if options.rounds < 1:
        parser.error("--rounds must be 1 or more")
    if options.micropython_ftplib and not options.micropython_ftplib.is_file():
        parser.error(f"there is no file {options.micropython_ftplib}")
    if options.folder and not options.folder.is_dir():
        parser.error(f"there is no folder {options.folder}")
    return options


def _place(folder: Path | None) -> tuple[Path | None, str]:
    if folder is not None:
        return folder, "the disk of --folder"
    try:
        status = os.statvfs(RAM_DISK)
        if os.access(RAM_DISK, os.W_OK) and status.f_bavail * status.f_frsize > ROOM:
            return RAM_DISK, "a RAM disk (/dev/shm)"
    except OSError:
        pass
    return None, "the disk of temporary files"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
