"""Counters that several processes share: each has a row of its own, and whoever shows them adds the rows up.

The numbers lie in memory that a fork shares, so nothing is sent from one process to another and no lock is needed: each
row has one writer, and a number is written as a whole.
"""

import mmap

_WIDTH = 8
# Name here, name in Prometheus's text format, its kind, its labels, and what it is.
SERIES = (
    ("sessions", "otalink_sessions", "gauge", "", "Sessions now."),
    ("sessions_total", "otalink_sessions_total", "counter", "", "Sessions since the start."),
    ("refused", "otalink_refused_total", "counter", "", "Sessions and commands that a limit refused."),
    ("logins_ok", "otalink_logins_total", "counter", 'result="ok"', "Logins, by what became of them."),
    ("logins_failed", "otalink_logins_total", "counter", 'result="failed"', ""),
    ("logins_locked", "otalink_logins_total", "counter", 'result="locked"', ""),
    ("sent_complete", "otalink_transfers_total", "counter", 'direction="sent",result="complete"', "Files moved."),
    ("sent_broken_off", "otalink_transfers_total", "counter", 'direction="sent",result="broken_off"', ""),
    ("received_complete", "otalink_transfers_total", "counter", 'direction="received",result="complete"', ""),
    ("received_broken_off", "otalink_transfers_total", "counter", 'direction="received",result="broken_off"', ""),
    ("bytes_sent", "otalink_data_bytes_total", "counter", 'direction="sent"', "Bytes over data connections."),
    ("bytes_received", "otalink_data_bytes_total", "counter", 'direction="received"', ""),
    (
        "tls_ok",
        "otalink_tls_handshakes_total",
        "counter",
        'result="ok"',
        "TLS handshakes: those of control connections, and all that failed.",
    ),
    ("tls_failed", "otalink_tls_handshakes_total", "counter", 'result="failed"', ""),
    ("errors", "otalink_errors_total", "counter", "", "Mistakes of the server, which the log describes."),
    ("reloads", "otalink_reloads_total", "counter", 'result="ok"', "Times that the settings were read again."),
    ("reloads_failed", "otalink_reloads_total", "counter", 'result="failed"', ""),
    ("workers", "otalink_workers", "gauge", "", "Processes that serve."),
    ("worker_restarts", "otalink_worker_restarts_total", "counter", "", "Processes that ended and were replaced."),
    ("started", "otalink_start_time_seconds", "gauge", "", "When the server was started, in seconds since 1970."),
    (
        "certificate_expires",
        "otalink_certificate_expiry_seconds",
        "gauge",
        "",
        "When the certificate ends, in seconds since 1970; 0 without TLS.",
    ),
)
_INDEX = {name: index for index, (name, *_) in enumerate(SERIES)}


class Counters:
    """Numbers by the names of SERIES. `row` says which process this is: 0 the first, which supervises the others."""

    def __init__(self, processes: int = 1) -> None:
        # Anonymous: a child that is forked has the same memory.
        self._memory = mmap.mmap(-1, processes * len(SERIES) * _WIDTH)
        self._cells = memoryview(self._memory).cast("q")
        self._processes = processes
        self.row = 0

    def add(self, name: str, count: int = 1) -> None:
        self._cells[self.row * len(SERIES) + _INDEX[name]] += count

    def set(self, name: str, value: int, row: int | None = None) -> None:
        """Of this process, or of another, when that is not there any more."""
        self._cells[(self.row if row is None else row) * len(SERIES) + _INDEX[name]] = value

    def total(self, name: str) -> int:
        """The sum over all processes."""
        return sum(self._cells[_INDEX[name] :: len(SERIES)])

    def exposition(self) -> str:
        """All of them in Prometheus's text format, version 0.0.4."""
        lines = []
        described = ""
        for name, shown, kind, labels, text in SERIES:
            if shown != described:
                lines += [f"# HELP {shown} {text}", f"# TYPE {shown} {kind}"]
                described = shown
            lines.append(f"{shown}{'{' + labels + '}' if labels else ''} {self.total(name)}")
        return "\n".join(lines) + "\n"
