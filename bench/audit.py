"""What a record of the audit log costs: beside a bare write of the same lines, and how fast a log is checked."""

import os
import statistics
import time
from pathlib import Path

from bench.report import Aim, Table, spread
from otalink_host.audit import AuditLog
from otalink_host.audit_read import verify

RECORDS = 20_000
KEY = bytes(32)
EVENT = {
    "event": "fetch",
    "account": "board",
    "address": "192.168.0.55",
    "path": "/lib/sensor.py",
    "bytes": 12_345,
}
# As many boards as are served at once, each with 20 events in a second.
AIM = 10_000


def measure(work: Path, rounds: int) -> list[Table]:
    """Writes logs of RECORDS records in `work`, and the same lines without anything else."""
    recorded, bare, verified, heads = [], [], [], []
    for number in range(rounds):
        folder = work / f"audit{number}"
        with AuditLog(folder, KEY, known=lambda name: name == "board", file_size=2**40) as log:
            started = time.perf_counter()
            for _ in range(RECORDS):
                log.append(EVENT)
            recorded.append(RECORDS / (time.perf_counter() - started))
            log.append(EVENT)
            started = time.perf_counter()
            log.close()
            heads.append(1000 * (time.perf_counter() - started))
        bare.append(RECORDS / _bare_write(folder / "server-00000001.jsonl", work / f"bare{number}"))
        started = time.perf_counter()
        (found,) = verify(folder, KEY)
        verified.append(found.records / (time.perf_counter() - started))
        assert found.fault is None
        assert found.records == RECORDS + 1
    ratios = [without / with_log for without, with_log in zip(bare, recorded, strict=True)]
    return [
        Table(
            "Audit log: what a record costs",
            ("", "median (min to max)"),
            [
                ("records a second", spread(recorded, 0)),
                ("bare writes of the same lines a second", spread(bare, 0)),
                ("ratio", spread(ratios, 1)),
                ("ms for a head, once a second at the most", spread(heads, 2)),
                ("records a second that verify checks", spread(verified, 0)),
            ],
            [Aim(f"{AIM:,} records a second or more", statistics.median(recorded) >= AIM)],
            [f"{RECORDS:,} records of a fetch, one write each; with a head after each second or 1,000 records."],
            {"recorded": recorded, "bare": bare, "ratio": ratios, "head_ms": heads, "verified": verified},
        )
    ]


def _bare_write(log: Path, copy: Path) -> float:
    """Seconds to write the first RECORDS lines of `log`, one write each."""
    lines = log.read_bytes().splitlines(keepends=True)[:RECORDS]
    descriptor = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        started = time.perf_counter()
        for line in lines:
            os.write(descriptor, line)
        return time.perf_counter() - started
    finally:
        os.close(descriptor)
