"""Whoever has no key changes nothing in the audit log without being found: every change that is tried here is.

What cannot be found is here too, as docs/audit.md says it: an older copy of log and head both, unless a later head is
known.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from otalink_host.audit import AHEAD_MAX, AuditLog
from otalink_host.audit_read import ExpectedHead, Verified, verify

KEY = bytes(range(32))
OTHER_KEY = bytes(32)
NOON = 1_769_860_800.0
RECORDS = 12
Files = dict[str, bytes]
quick = hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def write_log(folder: Path, key: bytes, count: int = RECORDS, writer: str = "server", now: float = NOON) -> None:
    with AuditLog(folder, key, known=lambda name: True, writer=writer, clock=lambda: now, file_size=800) as log:
        for number in range(count):
            log.append({"event": "fetch", "account": "board", "address": "192.168.0.55", "bytes": number})


def content(folder: Path) -> Files:
    """A log's files, and the heads beside it, by their path from the folder that both lie in."""
    paths = [*folder.glob("*.jsonl"), *folder.parent.glob("*.head")]
    return {path.relative_to(folder.parent).as_posix(): path.read_bytes() for path in sorted(paths)}


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """A log of several files that was closed in good order."""
    folder = tmp_path_factory.mktemp("log") / "audit"
    write_log(folder, KEY)
    found = content(folder)
    assert len(found) > 3
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    return tmp_path / "audit"


def check(folder: Path, files: Files, expected: list[ExpectedHead] | None = None) -> Verified:
    folder.mkdir(exist_ok=True)
    for path in [*folder.glob("*.jsonl"), *folder.parent.glob("*.head")]:
        path.unlink()
    for name, data in files.items():
        (folder.parent / name).write_bytes(data)
    (found,) = verify(folder, KEY, expected or [])
    return found


def fault_of(folder: Path, files: Files) -> str:
    """What is wrong with `files`, in one line; they must be found to be wrong."""
    fault = check(folder, files).fault
    assert fault is not None
    assert "\n" not in fault
    return fault


def lines_of(files: Files) -> list[tuple[str, int, bytes]]:
    """Each line of the log: its file, its index there, and itself."""
    return [
        (name, index, line)
        for name, data in files.items()
        if name.startswith("audit/")
        for index, line in enumerate(data.splitlines(keepends=True))
    ]


def with_lines(files: Files, lines: list[tuple[str, int, bytes]]) -> Files:
    """`files` with the log of these lines, each in its file."""
    logs = {name: b"" for name in files if name.startswith("audit/")}
    for name, _, line in lines:
        logs[name] += line
    return {**files, **logs}


def test_what_was_written_is_right(folder: Path, log: Files) -> None:
    found = check(folder, log)
    assert (found.fault, found.records, found.newer, found.torn) == (None, RECORDS, 0, 0)


@quick
@given(data=st.data())
def test_a_byte_that_was_changed_is_found(data: st.DataObject, folder: Path, log: Files) -> None:
    name = data.draw(st.sampled_from(sorted(log)))
    at = data.draw(st.integers(0, len(log[name]) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda byte: byte != log[name][at]))
    changed = log[name][:at] + bytes([other]) + log[name][at + 1 :]
    fault = fault_of(folder, {**log, name: changed})
    if name.startswith("audit/"):
        line = log[name][:at].count(b"\n") + 1
        assert f"{Path(name).name}:{line}: " in fault or f"{Path(name).name}:{line + 1}: " in fault
    else:
        assert "audit.server.head was changed" in fault


@quick
@given(data=st.data())
def test_a_line_that_was_dropped_is_found(data: st.DataObject, folder: Path, log: Files) -> None:
    lines = lines_of(log)
    del lines[data.draw(st.integers(0, len(lines) - 1))]
    fault_of(folder, with_lines(log, lines))


@quick
@given(data=st.data())
def test_lines_that_changed_places_are_found(data: st.DataObject, folder: Path, log: Files) -> None:
    lines = lines_of(log)
    one, other = data.draw(st.lists(st.integers(0, len(lines) - 1), min_size=2, max_size=2, unique=True))
    (name, index, line), (other_name, other_index, other_line) = lines[one], lines[other]
    lines[one], lines[other] = (name, index, other_line), (other_name, other_index, line)
    assert "in another order" in fault_of(folder, with_lines(log, lines))


@quick
@given(data=st.data())
def test_a_line_that_is_there_twice_is_found(data: st.DataObject, folder: Path, log: Files) -> None:
    lines = lines_of(log)
    again = lines[data.draw(st.integers(0, len(lines) - 1))]
    at = data.draw(st.integers(0, len(lines) - 1))
    lines.insert(at + 1, (lines[at][0], 0, again[2]))
    fault_of(folder, with_lines(log, lines))


@quick
@given(data=st.data())
def test_a_log_that_was_cut_off_anywhere_is_found(data: st.DataObject, folder: Path, log: Files) -> None:
    names = [name for name in log if name.startswith("audit/")]
    cut = data.draw(st.integers(0, len(names) - 1))
    at = data.draw(st.integers(0, len(log[names[cut]]) - 1))
    left = {name: data for name, data in log.items() if name not in names[cut:]}
    fault_of(folder, {**left, names[cut]: log[names[cut]][:at]})
    fault_of(folder, left)
    # A file in the middle alone.
    fault_of(folder, {**log, names[cut]: log[names[cut]][:at]})


@quick
@given(st.binary(max_size=300))
def test_a_line_that_was_added_is_found(folder: Path, log: Files, line: bytes) -> None:
    last = max(name for name in log if name.startswith("audit/"))
    fault_of(folder, {**log, last: log[last] + line + b"\n"})


def test_each_file_that_was_removed_is_found(folder: Path, log: Files) -> None:
    for removed in log:
        fault = fault_of(folder, {name: data for name, data in log.items() if name != removed})
        assert "missing" in fault or "the log is cut off" in fault
    fault_of(folder, {name: data for name, data in log.items() if not name.startswith("audit/")})


def test_files_that_changed_places_are_found(folder: Path, log: Files) -> None:
    one, other, *_ = (name for name in log if name.startswith("audit/"))
    assert "in another order" in fault_of(folder, {**log, one: log[other], other: log[one]})


def test_a_chain_that_was_made_anew_with_another_key_is_found(folder: Path, log: Files, tmp_path: Path) -> None:
    write_log(tmp_path / "forged" / "audit", OTHER_KEY)
    forged = content(tmp_path / "forged" / "audit")
    logs = {name: data for name, data in forged.items() if name.startswith("audit/")}
    assert forged.keys() == log.keys()
    assert "is none that this key made" in fault_of(folder, {**log, **logs})
    assert "or made with another key" in fault_of(folder, forged)


def test_another_writers_chain_is_found(folder: Path, log: Files, tmp_path: Path) -> None:
    write_log(tmp_path / "other" / "audit", KEY, writer="worker")
    renamed = {name.replace("worker", "server"): data for name, data in content(tmp_path / "other" / "audit").items()}
    assert "audit.server.head was changed" in fault_of(folder, renamed)
    assert "is none that this key made" in fault_of(folder, {**renamed, "audit.server.head": log["audit.server.head"]})


def older(folder: Path, counts: tuple[int, ...]) -> list[Files]:
    """What a log was, and became, when it had grown by these numbers of records."""
    found = []
    for count in counts:
        write_log(folder, KEY, count)
        found.append(content(folder))
    return found


def test_an_older_log_beside_the_head_is_found(folder: Path) -> None:
    before, after = older(folder, (5, 5))
    fault = fault_of(folder, {**before, "audit.server.head": after["audit.server.head"]})
    assert "the log is cut off" in fault or "is missing" in fault


def test_an_older_head_hides_nothing_that_the_log_has(folder: Path) -> None:
    before, after = older(folder, (5, 5))
    found = check(folder, {**after, "audit.server.head": before["audit.server.head"]})
    assert (found.fault, found.records, found.newer) == (None, 10, 5)


def test_a_head_that_is_much_older_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = older(folder, (1, AHEAD_MAX + 1))
    fault = fault_of(folder, {**after, "audit.server.head": before["audit.server.head"]})
    assert "audit.server.head is too old" in fault
    with AuditLog(folder, KEY, known=lambda name: True) as log:
        assert "audit.server.head is too old" in str(log.damage)


def test_a_head_of_another_course_of_the_same_log_is_found(folder: Path) -> None:
    before, after = older(folder, (5, 5))
    check(folder, before)
    write_log(folder, KEY, 20, now=NOON + 60)
    fault = fault_of(folder, {**content(folder), "audit.server.head": after["audit.server.head"]})
    assert "record 10 is not the one that the head has" in fault


def test_an_older_copy_of_both_is_found_by_who_knows_a_later_head(folder: Path) -> None:
    before, after = older(folder, (5, 5))
    later = check(folder, after)
    noted = ExpectedHead("server", later.end.number, later.end.mac[:32])
    assert check(folder, after, [noted]).fault is None
    # Nothing in the copy itself tells that it is one.
    assert check(folder, before).fault is None
    assert "an older copy: it ends with 5, 10 is expected" in str(check(folder, before, [noted]).fault)
    # Nor when it has gone on since.
    write_log(folder, KEY, 20, now=NOON + 60)
    grown = content(folder)
    assert check(folder, grown).fault is None
    assert "record 10 is not the one that is expected" in str(check(folder, grown, [noted]).fault)


def test_a_log_that_is_gone_with_its_head_is_missed_by_who_knows_a_head(folder: Path) -> None:
    (found,) = verify(folder, KEY, [ExpectedHead("server", 3, "0" * 32)])
    assert str(found.fault).endswith("audit.server.head is missing, which says where the log ends")
