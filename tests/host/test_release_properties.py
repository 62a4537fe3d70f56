"""Rules that hold for whatever comes: headers, SHA256SUMS, plans."""

import ast
import contextlib
import inspect
from io import BytesIO
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

import otalink.admission
import otalink.boot_rule
import otalink.chunks
import otalink.errors
import otalink.ftp_facts
import otalink.ftp_reply
import otalink.ftp_text
import otalink.layout
import otalink.offer
import otalink.paths
import otalink.plain
import otalink.plan
import otalink.record
import otalink.release
import otalink.signature
import otalink.version
from otalink.errors import ReleaseError
from otalink.layout import HEADER_LENGTH_MAX, parents
from otalink.paths import check_path
from otalink.plain import choose, format_sums_line, parse_release_name, parse_sums_line
from otalink.plan import REMOVE, WANT, check_folders, steps
from otalink.record import format_header
from otalink.release import Header
from otalink.version import format_version, parse_version


def is_path(text: str) -> bool:
    try:
        check_path(text)
    except ValueError:
        return False
    return True


texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=60)
paths = (texts | st.text("ab/.", min_size=1, max_size=8)).filter(is_path)
digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
names = st.from_regex(r"[A-Za-z0-9-][A-Za-z0-9.-]{0,20}", fullmatch=True)
versions = st.tuples(*[st.integers(0, 65535)] * 4)
files = st.dictionaries(paths, st.tuples(digests, st.integers(0, 4_294_967_295)), max_size=8).filter(
    lambda content: not any(folder in content for path in content for folder in parents(path))
)


def listed(header: Header) -> list[tuple[str, str, int]]:
    return [file[:3] for file in header.files()]


@given(names, versions, files)
def test_a_header_reads_back(name: str, version: tuple[int, ...], content: dict[str, tuple[str, int]]) -> None:
    entries = [(path, digest, size) for path, (digest, size) in content.items()]
    data = b"".join(format_header(name, version, entries))
    header = Header(BytesIO(data + b"more"))
    assert (header.name, header.version, header.length) == (name, version, len(data))
    assert listed(header) == sorted(entries, key=lambda entry: entry[0].encode())


@given(st.binary(max_size=300))
def test_any_bytes_give_a_header_or_a_release_error(data: bytes) -> None:
    for start in (b"", b"otalink 1 ", b"otalink 1 200\n", b"otalink 1 200\nname a\nversion 1\n"):
        with contextlib.suppress(ReleaseError):
            listed(Header(BytesIO(start + data)))


@given(names, versions, files, st.data())
def test_a_header_with_any_byte_changed_is_read_or_a_release_error(
    name: str, version: tuple[int, ...], content: dict[str, tuple[str, int]], data: st.DataObject
) -> None:
    entries = [(path, digest, size) for path, (digest, size) in content.items()]
    changed = bytearray(b"".join(format_header(name, version, entries)))
    changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ReleaseError):
        for path, _, _ in listed(Header(BytesIO(bytes(changed)))):
            check_path(path)


@given(paths, digests)
def test_a_line_of_sums_reads_back(path: str, digest: str) -> None:
    assert parse_sums_line(format_sums_line(path, digest)) == (path, digest)
    assert parse_sums_line(f"{digest.upper()} *./{path}\r\n".encode()) == (path, digest)


@given(st.binary(max_size=200), digests)
def test_any_line_gives_a_path_that_a_release_may_name_or_a_release_error(data: bytes, digest: str) -> None:
    for line in (data, digest.encode() + b"  " + data):
        with contextlib.suppress(ReleaseError):
            entry = parse_sums_line(line)
            if entry is not None:
                check_path(entry[0])


@given(st.sets(paths), st.sets(paths))
def test_steps_are_those_of_two_sets(installed: set[str], offered: set[str]) -> None:
    def as_files(found: set[str]) -> list[tuple[str, str, int]]:
        return [(path, "digest", 1) for path in sorted(found)]

    planned = list(steps(as_files(installed), as_files(offered)))
    assert [file[0] for step, file in planned if step == WANT] == sorted(offered)
    assert [file[0] for step, file in planned if step == REMOVE] == sorted(installed - offered)
    assert len(planned) == len(offered) + len(installed - offered)
    # One pass over both: in the order of the paths.
    assert [file[0] for _, file in planned] == sorted(file[0] for _, file in planned)


@given(st.sets(paths))
def test_folders_are_refused_exactly_where_a_path_is_a_file_and_a_folder(found: set[str]) -> None:
    clash = any(other.startswith(path + "/") for path in found for other in found)
    try:
        check_folders(sorted(found))
    except ReleaseError:
        assert clash
    else:
        assert not clash


@given(paths)
def test_parents_are_the_prefixes_that_end_before_a_slash(path: str) -> None:
    assert parents(path) == [path[:i] for i, c in enumerate(path) if c == "/"]


@given(names, versions, st.sampled_from(["py", "mpy", "ota", "exe"]))
def test_a_release_name_reads_back(name: str, version: tuple[int, ...], extension: str) -> None:
    filename = f"{name}_{format_version(version)}.{extension}"
    assert parse_release_name(filename) == (name, version, extension)
    assert parse_version(format_version(version)) == version


@given(texts)
def test_any_name_is_a_release_name_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        parse_release_name(text)
    with contextlib.suppress(ValueError):
        parse_version(text)


@given(st.sets(versions, min_size=1, max_size=8))
def test_the_highest_version_is_chosen(found: set[tuple[int, ...]]) -> None:
    filenames = [f"app_{format_version(version)}.py" for version in found]
    assert choose(filenames, "app")[1] == max(found)


# Modules of MicroPython's that touch nothing outside of memory.
COMPUTING = {"binascii", "hashlib", "io"}
PURE = [
    otalink.admission,
    otalink.boot_rule,
    otalink.chunks,
    otalink.errors,
    otalink.ftp_facts,
    otalink.ftp_reply,
    otalink.ftp_text,
    otalink.layout,
    otalink.offer,
    otalink.paths,
    otalink.plain,
    otalink.plan,
    otalink.record,
    otalink.release,
    otalink.signature,
    otalink.version,
]


@pytest.mark.parametrize("module", PURE, ids=lambda module: module.__name__)
def test_a_pure_file_imports_nothing_but_pure_files_and_opens_none(module: ModuleType) -> None:
    tree = ast.parse(inspect.getsource(module))
    pure = {each.__name__ for each in PURE}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            assert {name.name for name in node.names} <= COMPUTING
        if isinstance(node, ast.ImportFrom):
            assert node.module in pure | COMPUTING
        assert not (isinstance(node, ast.Name) and node.id in ("open", "__import__"))


def test_a_header_that_is_too_long_for_boards_is_not_written() -> None:
    entries = [(f"{'x' * 200}-{number:04}", "0" * 64, 5) for number in range(3_600)]
    assert Header(BytesIO(b"".join(format_header("a", (1, 0, 0, 0), entries)))).length < HEADER_LENGTH_MAX
    entries += [(f"{'z' * 200}-{number:04}", "0" * 64, 5) for number in range(200)]
    with pytest.raises(ValueError, match="1048576 is the most"):
        format_header("a", (1, 0, 0, 0), entries)
