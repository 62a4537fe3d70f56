"""Building release files, verifying them byte by byte, and publishing and withdrawing them."""

import hashlib
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import otalink.version
from otalink.chunks import CHUNK
from otalink.errors import ReleaseError
from otalink.record import format_header
from otalink_host import repository
from otalink_host.build import Built, build
from otalink_host.compiler import Compiler, bytecode_of
from otalink_host.errors import UserError
from otalink_host.keys import Key, Signer, create, for_boards, load_signer
from otalink_host.release_file import compress, unpack, verify

OTALINK = Path(sys.executable).with_name("otalink")
BOOT = "try:\n    import otaguard\n\n    otaguard.boot()\nexcept Exception:\n    pass\n"
GUARD = "def boot():\n    pass\n"
SWAP = "FORMAT = 1\n\n\ndef work(names, cause):\n    pass\n"
Files = dict[str, str | bytes]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A keys folder with the keys `release` and `other`."""
    folder = tmp_path_factory.mktemp("server") / "keys"
    create(folder, "release")
    create(folder, "other")
    return folder


@pytest.fixture(scope="module")
def signer(keys: Path) -> Signer:
    return load_signer(keys, "release", lambda path: b"")


@pytest.fixture(scope="module")
def known(signer: Signer) -> dict[str, str]:
    return for_boards([signer.key])


@pytest.fixture
def other(keys: Path) -> Key:
    return load_signer(keys, "other", lambda path: b"").key


def fill(folder: Path, files: Files) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


@pytest.fixture
def make(tmp_path: Path, signer: Signer) -> Callable[..., Built]:
    """Builds a release of the files given."""

    def built(files: Files, **options: Any) -> Built:
        options = {"signer": signer, "name": "thermostat", "version": "1.0.0.3", "output": tmp_path, **options}
        return build(fill(tmp_path / "source", files), **options)

    return built


@pytest.fixture
def refused(make: Callable[..., Built], tmp_path: Path) -> Callable[..., str]:
    """The one line that a build is refused with; nothing may be written then."""

    def line(files: Files, **options: Any) -> str:
        with pytest.raises(UserError) as refusal:
            make(files, **options)
        assert [path.name for path in tmp_path.iterdir() if path.name != "source"] == []
        text = str(refusal.value)
        assert "\n" not in text
        return text

    return line


# Building


def test_modules_are_compiled_and_what_starts_the_board_is_not(make: Callable[..., Built]) -> None:
    built = make(
        {
            "boot.py": BOOT,
            "main.py": "import thermostat\n",
            "otaguard.py": GUARD,
            "otaswap.py": SWAP,
            "thermostat.py": "x = 1\n",
            "lib/main.py": "y = 2\n",
            "lib/data.txt": "text",
        }
    )
    content = dict(unpack(built.path))
    assert sorted(content) == [
        "boot.py",
        "lib/data.txt",
        "lib/main.mpy",
        "main.py",
        "otaguard.py",
        "otaswap.py",
        "thermostat.mpy",
    ]
    assert bytecode_of(content["thermostat.mpy"]) == (6, 0)
    assert b"lib/main.py" in content["lib/main.mpy"]
    assert built.bytecode == (6, 0)
    assert built.compiled == 2


def test_otalink_itself_is_compiled_as_it_is_flashed(make: Callable[..., Built]) -> None:
    source = Path(otalink.version.__file__).read_bytes()
    content = dict(unpack(make({"lib/otalink/version.py": source, "lib/version.py": source}).path))
    assert b"otalink.version" in content["lib/otalink/version.mpy"]
    assert b"version.py" not in content["lib/otalink/version.mpy"]
    assert b"lib/version.py" in content["lib/version.mpy"]
    assert len(content["lib/otalink/version.mpy"]) < len(content["lib/version.mpy"])


def test_modules_can_stay_as_they_are(make: Callable[..., Built]) -> None:
    built = make({"thermostat.py": "x = 1\n"}, compiled=False)
    assert dict(unpack(built.path)) == {"thermostat.py": b"x = 1\n"}
    assert built.bytecode is None


def test_the_versioned_file_loses_its_version_and_tells_it(make: Callable[..., Built]) -> None:
    built = make({"thermostat_1.0.0.2.py": "x = 1\n", "font_8.py": "y = 1\n"}, name=None, version=None)
    assert (built.name, built.version, built.path.name) == ("thermostat", (1, 0, 0, 2), "thermostat_1.0.0.2.ota")
    assert [file.path for file in built.files] == ["font_8.mpy", "thermostat.mpy"]


def test_the_header_says_who_may_install_it_and_who_signed(
    make: Callable[..., Built], signer: Signer, known: dict[str, str]
) -> None:
    built = make({"a.py": ""}, boards=["unix", "esp32", "unix"])
    release = verify(built.path, known)
    assert release.boards == ("esp32", "unix")
    assert release.key == built.key == signer.key.id
    unsigned = make({"a.py": ""}, signer=None)
    assert unsigned.key is None
    assert verify(unsigned.path, {}).boards == ()


def test_an_older_bytecode_is_written_on_request(make: Callable[..., Built]) -> None:
    built = make({"a.py": "x = 1\n"}, bytecode=(5, 0))
    assert built.bytecode == (5, 0)
    assert dict(unpack(built.path))["a.mpy"][:2] == b"M\x05"
    assert Compiler().bytecode > (6, 0)


def test_files_are_compressed_where_that_saves_an_eighth(make: Callable[..., Built]) -> None:
    noise = random.Random(1).randbytes(10_000)
    built = make({"noise.bin": noise, "text.txt": "abc\n" * 5000, "empty.txt": "", "mixed.bin": noise + bytes(CHUNK)})
    encodings = {file.path: (file.encoding, file.size, file.stored) for file in built.files}
    assert encodings["noise.bin"] == ("raw", 10_000, 10_000)
    assert encodings["empty.txt"] == ("raw", 0, 0)
    assert encodings["mixed.bin"][0] == "deflate"
    encoding, size, stored = encodings["text.txt"]
    assert encoding == "deflate"
    assert stored < size // 8
    assert dict(unpack(built.path))["mixed.bin"] == noise + bytes(CHUNK)


def test_what_is_junk_or_ignored_stays_out(make: Callable[..., Built]) -> None:
    built = make(
        {
            ".otaignore": "# tests stay here\ntests/\n*.md\n!keep.md\n/only-here.txt\n",
            ".git/config": "",
            "__pycache__/a.pyc": "",
            "a.py~": "",
            "a.txt": "",
            "tests/test_a.py": "this is no Python",
            "readme.md": "",
            "lib/keep.md": "",
            "only-here.txt": "",
            "lib/only-here.txt": "",
            "old_1.0.ota": "",
        }
    )
    assert [file.path for file in built.files] == ["a.txt", "lib/keep.md", "lib/only-here.txt"]
    assert "skipped tests/ (ignored)" in built.skipped


def test_the_release_file_takes_its_place_whole(make: Callable[..., Built], tmp_path: Path) -> None:
    first = make({"a.txt": "one"})
    again = make({"a.txt": "two"})
    assert first.path == again.path
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source", "thermostat_1.0.0.3.ota"]
    named = make({"a.txt": "two"}, output=tmp_path / "deep" / "thermostat_1.0.0.3.ota")
    assert named.path.read_bytes() == again.path.read_bytes()


def test_the_same_input_gives_the_same_bytes(tmp_path: Path, keys: Path) -> None:
    files: Files = {"boot.py": BOOT, "thermostat.py": "def f():\n    raise ValueError\n", "lib/é.txt": "e" * 5000}
    files |= {f"lib/m{number}.py": f"x = {number}\n" for number in range(3)}
    one = fill(tmp_path / "one", files)
    two = fill(tmp_path / "a much longer path" / "two", dict(reversed(files.items())))
    for number, path in enumerate(sorted(two.rglob("*"))):
        os.utime(path, (number * 1000, number * 1000))
    (two / "thermostat.py").chmod(0o600)
    outputs = []
    for folder, zone, place, umask, environment in (
        (one, "UTC", tmp_path, 0o022, {"LC_ALL": "C", "PYTHONHASHSEED": "1"}),
        (two.relative_to(two.parent), "Asia/Seoul", two.parent, 0o077, {"LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "2"}),
    ):
        output = tmp_path / f"out-{folder.name}"
        output.mkdir()
        options = ["--name", "thermostat", "--version", "1.0.0.3", "--keys", keys, "--key", "release"]
        completed = subprocess.run(
            [OTALINK, "release", "build", folder, *options, "--output", output],
            cwd=place,
            env={**os.environ, "TZ": zone, **environment},
            umask=umask,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        assert completed.returncode == 0, completed.stderr
        outputs.append((output / "thermostat_1.0.0.3.ota").read_bytes())
    assert outputs[0] == outputs[1]


# Refusals


@pytest.mark.parametrize(
    ("files", "options", "reason"),
    [
        ({}, {}, "holds no file"),
        ({"a.pyc": ""}, {}, "holds no file"),
        ({"otalink.json": "{}"}, {}, "belong to the board"),
        ({"lib/x.ota-new": ""}, {}, "otalink's own"),
        ({"lib/x\ny": ""}, {}, "control characters"),
        ({"x" * 200 + "/" + "y" * 60: ""}, {}, "1 to 240 bytes"),
        ({"boot.py": "import otaguard\notaguard.boot(\n"}, {}, "boot.py, line"),
        ({"boot.py": "match 1:\n    case 1:\n        pass\n"}, {}, "boot.py, line"),
        ({"boot.py": "print(1)\n"}, {}, "does not begin by calling the boot guard"),
        ({"boot.py": "import otaguard\n"}, {}, "otaguard.boot()"),
        ({"boot.py": "# import otaguard\n# otaguard.boot()\n"}, {}, "otaguard.boot()"),
        ({"boot.py": "import otaguard\nprint(otaguard.boot)\n"}, {}, "otaguard.boot()"),
        ({"boot.py": "import otaguard\notaguard.boot()\n"}, {}, "`try:`"),
        ({"boot.py": "import time\n" + BOOT}, {}, "otaguard.boot()"),
        ({"boot.py": BOOT.encode() + b"# \xff\n"}, {}, "boot.py is not UTF-8"),
        ({"otaswap.py": "def work():\n    pass\n"}, {}, "otaswap.py is no boot guard"),
        ({"otaswap.py": "FORMAT = 1\n"}, {}, "otaswap.py is no boot guard"),
        ({"otaguard.py": "FORMAT = 1\n"}, {}, "otaguard.py is no boot guard"),
        ({"otaguard.py": GUARD, "otaguard/x.txt": ""}, {}, "the folder otaguard hides otaguard.py"),
        ({"main.py": "x = = 1\n"}, {}, "main.py, line 1: SyntaxError"),
        ({"main.py": "x = = 1\n"}, {"compiled": False}, "main.py, line 1: SyntaxError"),
        ({"otaguard.py": "def boot(:\n"}, {}, "otaguard.py, line 1"),
        ({"lib/a.py": "x = 1\ny = = 2\n"}, {}, "lib/a.py, line 2: SyntaxError: invalid syntax"),
        ({"lib/a.py": "", "lib/a.mpy": b"M\x06\x00\x1f"}, {}, "lib/a.py and lib/a.mpy are the same module"),
        ({"lib/a.py": "", "lib/a.mpy": b"M\x06\x00\x1f"}, {"compiled": False}, "are the same module"),
        ({"a.py": "", "a.mpy/x": ""}, {}, "a.mpy would be both a file and a folder"),
        ({"thermostat_1.0.0.3.py": "", "thermostat.py/x": ""}, {"compiled": False}, "both a file and a folder"),
        ({"thermostat_1.0.0.3.py": "", "thermostat.py": ""}, {}, "are both thermostat.py on the board"),
        ({"a.py": "", "a/b.txt": ""}, {}, "the folder a hides a.py"),
        ({"a.mpy": b"no bytecode"}, {}, "a.mpy: it is no compiled module"),
        ({"a.mpy": b"M\x06\x00\x1f", "b.mpy": b"M\x05\x00\x1f"}, {}, "no board loads both"),
        ({"a.mpy": b"M\x06\x09\x1f", "b.mpy": b"M\x06\x0a\x1f"}, {}, "no board loads both"),
        ({"thermostat_1.0.py": "", "heater_1.0.py": ""}, {}, "two applications"),
        ({"thermostat_1.0.py": "", "thermostat_1.1.py": ""}, {}, "two versions"),
        ({"thermostat_1.0.py": ""}, {}, "--version says 1.0.0.3"),
        ({"a.txt": ""}, {"name": None}, "give --name"),
        ({"a.txt": ""}, {"version": None}, "give --version"),
        ({"a.txt": ""}, {"name": "thermo_stat"}, "letters, digits"),
        ({"a.txt": ""}, {"version": "1.x"}, "must be a number"),
        ({"a.txt": ""}, {"boards": ["esp 32"]}, "sys.platform"),
        ({"a.txt": ""}, {"boards": [""]}, "sys.platform"),
        ({"a.py": ""}, {"bytecode": (7, 1)}, "no mpy-cross here writes bytecode 7.1"),
        ({"a.txt": ""}, {"output": Path("thermostat_1.0.0.4.ota")}, "call it thermostat_1.0.0.3.ota"),
        ({"a.txt": ""}, {"output": Path("thermostat.bin")}, "--output"),
        ({".otaignore": b"\xff\xfe", "a.txt": ""}, {}, ".otaignore"),
    ],
)
def test_what_a_release_may_not_hold_is_refused(
    refused: Callable[..., str], files: Files, options: dict[str, Any], reason: str
) -> None:
    assert reason in refused(files, **options)


def test_bytecode_with_native_code_names_its_minor_version(make: Callable[..., Built]) -> None:
    built = make({"a.mpy": b"M\x06\x0b\x1f", "b.mpy": b"M\x06\x00\x1f"})
    assert built.bytecode == (6, 3)


def test_an_empty_folder_is_refused(make: Callable[..., Built], tmp_path: Path) -> None:
    source = fill(tmp_path / "source", {"a.txt": ""})
    (source / "lib" / "empty").mkdir(parents=True)
    with pytest.raises(UserError, match=r"lib/empty is an empty folder"):
        build(source, signer=None, name="a", version="1", output=tmp_path)
    (source / ".otaignore").write_text("empty/\n")
    build(source, signer=None, name="a", version="1", output=tmp_path)


def test_links_that_lead_out_are_refused(tmp_path: Path) -> None:
    source = fill(tmp_path / "source", {"a.txt": "A"})
    (tmp_path / "secret").write_text("SECRET")
    (source / "b.txt").symlink_to("a.txt")
    built = build(source, signer=None, name="a", version="1", output=tmp_path)
    assert dict(unpack(built.path)) == {"a.txt": b"A", "b.txt": b"A"}
    (source / "c.txt").symlink_to("../secret")
    with pytest.raises(UserError, match="leads out"):
        build(source, signer=None, name="a", version="1", output=tmp_path)
    (source / "c.txt").unlink()
    (source / "c").symlink_to(tmp_path)
    with pytest.raises(UserError, match="is a link to a folder"):
        build(source, signer=None, name="a", version="1", output=tmp_path)


def test_a_file_over_4_gib_is_refused(tmp_path: Path) -> None:
    source = fill(tmp_path / "source", {"a.txt": ""})
    with (source / "a.txt").open("wb") as file:
        file.truncate(1 << 32)
    with pytest.raises(UserError, match=r"a\.txt has 4,294,967,296 bytes"):
        build(source, signer=None, name="a", version="1", output=tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no file has such a name")
def test_a_name_that_is_not_utf_8_is_refused(refused: Callable[..., str]) -> None:
    assert r"'x\udcff.txt': its name is not UTF-8" in refused({"x\udcff.txt": ""})


def test_a_header_over_1_mib_is_refused(refused: Callable[..., str]) -> None:
    files: Files = {f"{'x' * 100}/{'y' * 100}/{number}.txt": "" for number in range(3700)}
    assert "1048576 is the most" in refused(files)
    assert "1048576 is the most" in refused(files, signer=None)


# Reading


PATH = st.lists(
    st.text("ab.- é漢", min_size=1, max_size=4).filter(lambda part: part.strip(".") and part[0] != "."),
    min_size=1,
    max_size=3,
).map("/".join)
CONTENT = st.one_of(
    st.binary(max_size=50),
    st.tuples(st.binary(min_size=1, max_size=20), st.integers(1, 700)).map(lambda pair: pair[0] * pair[1]),
    st.tuples(st.integers(0, 99), st.integers(0, 9000)).map(lambda pair: random.Random(pair[0]).randbytes(pair[1])),
)


@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(PATH, CONTENT, min_size=1, max_size=6))
def test_what_is_built_verifies_and_unpacks(
    tmp_path: Path, signer: Signer, known: dict[str, str], files: dict[str, bytes]
) -> None:
    folders = {parent.as_posix() for path in files for parent in Path(path).parents}
    assume(not folders & set(files))
    source = fill(tmp_path / "tree", dict(files))
    built = build(source, signer=signer, name="a", version="1.0", output=tmp_path)
    release = verify(built.path, known)
    assert dict(unpack(built.path)) == files
    assert [file.path for file in release.files] == sorted(files, key=lambda path: path.encode())
    assert built.path.stat().st_size == release.length + release.stored


@hypothesis_settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.one_of(st.binary(max_size=200), st.binary(max_size=100).map(lambda data: b"otalink 1 100\n" + data)))
def test_any_bytes_are_a_release_or_a_release_error(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a_1.0.ota"
    path.write_bytes(data)
    with pytest.raises(ReleaseError):
        verify(path, {})


def test_a_changed_byte_is_refused_or_changes_no_content(make: Callable[..., Built], known: dict[str, str]) -> None:
    files: Files = {"a.txt": b"abc\n" * 300, "noise.bin": random.Random(2).randbytes(300), "z.txt": b"a" * 5000}
    built = make(files)
    data = built.path.read_bytes()
    # tests/firmware/test_release.py has all of a header; here are the stored bytes behind it.
    start = verify(built.path, known).length
    for at in [*range(0, start, 29), *range(start, len(data))]:
        changed = bytearray(data)
        changed[at] ^= 1 << at % 8
        built.path.write_bytes(changed)
        try:
            verify(built.path, known)
        except ReleaseError:
            continue
        # A deflate stream may say the same in another way, and its last byte has bits that say nothing.
        assert at >= start
        assert dict(unpack(built.path)) == files
    for at in (0, 10, start - 1, start, start + 1, len(data) - 1):
        built.path.write_bytes(data[:at])
        with pytest.raises(ReleaseError):
            verify(built.path, known)
    built.path.write_bytes(data + b"\0")
    with pytest.raises(ReleaseError, match="more in the release file"):
        verify(built.path, known)


@pytest.mark.parametrize(
    ("size", "stored", "reason"),
    [
        (5, b"\x00\x05aaaaa", "no raw deflate stream"),
        (5, compress(b"a" * 9), "exactly its 5 bytes"),
        (9, compress(b"a" * 5), "9 bytes cannot be stored in 5"),
        (5, (b"\x00" + bytes([len(compress(b"a" * 50)) - 1]) + compress(b"a" * 50)[2:] + b"x"), "exactly its 5 bytes"),
        (50, (b"\x00" + bytes([len(compress(b"a" * 50)) - 1]) + compress(b"a" * 50)[2:] + b"x"), "exactly its 50"),
        (50, (b"\x00" + bytes([len(compress(b"a" * 50)) - 3]) + compress(b"a" * 50)[2:-1]), "exactly its 50"),
        (5, b"\x80\x04aaaa", "cannot be stored in 4"),
        (5, b"\x00\x00aaaa", "cannot be stored in 0"),
        (50, compress(b"a" * 50) + b"x", "its chunks do not have"),
    ],
)
def test_chunks_that_are_not_what_they_should_be_are_refused(
    tmp_path: Path, size: int, stored: bytes, reason: str
) -> None:
    digest = hashlib.sha256(b"a" * size).hexdigest()
    header = b"".join(format_header("a", (1, 0, 0, 0), [("x", digest, size, len(stored), "deflate")]))
    path = tmp_path / "a_1.0.ota"
    path.write_bytes(header + stored)
    with pytest.raises(ReleaseError, match=reason):
        verify(path, {})


@pytest.mark.parametrize(
    ("modules", "said", "reason"),
    [
        ({"a.mpy": b"M\x06\x00\x1f"}, None, "bytecode none is in it, and the files say 6.0"),
        ({"a.mpy": b"M\x05\x00\x1f"}, (6, 0), "bytecode 6.0 is in it, and the files say 5.0"),
        ({"a.mpy": b"M\x06\x0b\x1f"}, (6, 0), "bytecode 6.0 is in it, and the files say 6.3"),
        ({"a.txt": b""}, (6, 0), "bytecode 6.0 is in it, and the files say none"),
        ({"a.mpy": b"M\x06\x00\x1f", "b.mpy": b"M\x05\x00\x1f"}, (6, 0), "no board loads both"),
        ({"a.mpy": b""}, None, "a.mpy: it is no compiled module"),
    ],
)
def test_the_header_says_the_truth_about_bytecode(
    tmp_path: Path, modules: dict[str, bytes], said: tuple[int, int] | None, reason: str
) -> None:
    with pytest.raises(ReleaseError, match=reason):
        verify(by_hand(tmp_path, modules, said), {})


def test_only_known_keys_count(make: Callable[..., Built], known: dict[str, str], other: Key) -> None:
    built = make({"a.txt": ""})
    verify(built.path, known | for_boards([other]))
    with pytest.raises(ReleaseError, match=f"key {built.key}, which is unknown or retired"):
        verify(built.path, for_boards([other]))
    with pytest.raises(ReleaseError, match=f"key {built.key}, and no key is known here"):
        verify(built.path, {})
    unsigned = make({"a.txt": ""}, signer=None)
    verify(unsigned.path, {})
    verify(unsigned.path, known, unsigned=True)
    with pytest.raises(ReleaseError, match="not signed"):
        verify(unsigned.path, known)


def test_a_release_files_name_says_what_is_in_it(make: Callable[..., Built], known: dict[str, str]) -> None:
    built = make({"a.txt": ""})
    for name in ("thermostat_1.0.0.4.ota", "heater_1.0.0.3.ota", "thermostat_1.0.0.3.py", "thermostat.ota"):
        renamed = built.path.with_name(name)
        shutil.copy(built.path, renamed)
        with pytest.raises(ReleaseError, match=name):
            verify(renamed, known)


def test_a_board_reads_every_chunk(
    make: Callable[..., Built], known: dict[str, str], on_board: Callable[..., Any]
) -> None:
    noise = random.Random(3)
    words = [noise.randbytes(noise.randrange(1, 12)) for _ in range(300)]
    built = make(
        {
            "zeros.bin": bytes(70_000),
            "text.txt": b" ".join(noise.choice(words) for _ in range(9000)),
            "mixed.bin": noise.randbytes(CHUNK) + bytes(CHUNK) + noise.randbytes(CHUNK + 1) + bytes(3 * CHUNK),
            "one.bin": bytes(CHUNK),
            "short.bin": bytes(40),
            "code.py": Path(repository.__file__).read_bytes().replace(b":=", b"=="),
        },
        compiled=False,
        boards=["linux"],
    )
    printed = on_board(
        f"""
import deflate, hashlib, io
from binascii import hexlify
from otalink.admission import check
from otalink.chunks import chunk, chunk_count
from otalink.release import Header

mpy = sys.implementation._mpy
with open({str(built.path)!r}, "rb") as file:
    check(Header(file), "thermostat", sys.platform, (mpy & 0xFF, mpy >> 8 & 3), {known!r}, {built.path.name!r})
with open({str(built.path)!r}, "rb") as file, open({str(built.path)!r}, "rb") as stored_bytes:
    header = Header(file)
    stored_bytes.seek(header.length)
    for path, digest, size, stored, encoding in header.files():
        sha256 = hashlib.sha256()
        if encoding == "deflate":
            chunks = chunk_count(size)
            table = stored_bytes.read(2 * chunks)
            for index in range(chunks):
                length, share, compressed = chunk(table, index, size)
                data = stored_bytes.read(length)
                if compressed:
                    inflater = deflate.DeflateIO(io.BytesIO(data), deflate.RAW, 12)
                    data = inflater.read(share)
                    assert inflater.read(1) == b""
                assert len(data) == share
                sha256.update(data)
        else:
            sha256.update(stored_bytes.read(size))
        assert hexlify(sha256.digest()).decode() == digest, path
        print(path, encoding)
    assert stored_bytes.read(1) == b""
""",
        heap="128k",
    ).lines
    assert len(printed) == 6
    assert sum(line.endswith("deflate") for line in printed) == 6


# Publishing


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_release_file_is_published_in_one_step(
    make: Callable[..., Built], known: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = make({"a.txt": "A"})
    folder = tmp_path / "releases"
    renames = []
    real = os.link

    # The link gives the whole file its name, where a rename would replace what is there.
    def watched(before: Path, after: Path, **options: bool) -> None:
        renames.append((before.name, after.name))
        assert before.read_bytes() == built.path.read_bytes()
        real(before, after, **options)

    monkeypatch.setattr(os, "link", watched)
    done = repository.publish_file(built.path, folder, known)
    assert done.written
    ((before, after),) = renames
    assert before.startswith(".")
    assert after == built.path.name
    assert content(folder) == {built.path.name: built.path.read_bytes()}
    assert not repository.publish_file(built.path, folder, known).written
    assert len(renames) == 1


def test_a_published_version_is_never_replaced(
    make: Callable[..., Built], known: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "releases"
    repository.publish_file(make({"a.txt": "A"}).path, folder, known)
    before = content(folder)
    with pytest.raises(UserError, match="is published already, with other content"):
        repository.publish_file(make({"a.txt": "B"}).path, folder, known)
    repository.withdraw(folder, "thermostat", "1.0.0.3")
    for other in ("A", "B"):
        with pytest.raises(UserError, match=r"was withdrawn: .* withdraw thermostat_1\.0\.0\.3\.ota --undo"):
            repository.publish_file(make({"a.txt": other}).path, folder, known)
    with pytest.raises(UserError, match="was withdrawn"):
        repository.publish(fill(tmp_path / "plain", {"thermostat_1.0.0.3.py": ""}), folder)
    repository.withdraw(folder, "thermostat", "1.0.0.3", undo=True)
    assert content(folder) == before


def test_a_version_is_the_same_however_it_is_written(
    make: Callable[..., Built], known: dict[str, str], tmp_path: Path
) -> None:
    built = make({"a.txt": "A"}, version="1.0.3")
    folder = fill(tmp_path / "releases", {"thermostat_1.0.3.ota": built.path.read_bytes()})
    done = repository.publish_file(built.path, folder, known)
    assert (done.written, done.path.name) == (False, "thermostat_1.0.3.ota")
    with pytest.raises(UserError, match="is published already, with other content"):
        repository.publish_file(make({"a.txt": "B"}, version="1.0.3").path, folder, known)


def test_what_a_killed_publish_left_goes(make: Callable[..., Built], known: dict[str, str], tmp_path: Path) -> None:
    folder = fill(tmp_path / "releases", {".otalink-part-0123": "half"})
    built = make({"a.txt": "A"})
    repository.publish_file(built.path, folder, known)
    assert list(content(folder)) == [built.path.name]


def by_hand(folder: Path, files: dict[str, bytes], bytecode: tuple[int, int] | None = None) -> Path:
    """An unsigned release file a_1.0.ota as another tool may make one."""
    entries = [(path, hashlib.sha256(data).hexdigest(), len(data), len(data), "raw") for path, data in files.items()]
    path = folder / "a_1.0.ota"
    header = b"".join(format_header("a", (1, 0, 0, 0), entries, (), bytecode))
    path.write_bytes(header + b"".join(files[name] for name in sorted(files)))
    return path


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"boot.py": "print(1)\n"}, "boot.py does not begin by calling the boot guard"),
        ({"boot.py": BOOT + "x = = 1\n"}, "boot.py, line 7: SyntaxError"),
        ({"otaguard.py": "FORMAT = 1\n"}, "otaguard.py is no boot guard"),
        ({"otaswap.py": "def work():\n    pass\n"}, "otaswap.py is no boot guard"),
        ({"otaguard/x.txt": ""}, "the folder otaguard would hide the boot guard"),
        ({"otaswap/x.txt": ""}, "the folder otaswap would hide the boot guard"),
    ],
)
def test_what_would_stop_a_board_is_published_in_no_form(tmp_path: Path, files: Files, reason: str) -> None:
    folder = tmp_path / "releases"
    with pytest.raises(UserError) as refusal:
        repository.publish(fill(tmp_path / "plain", {"a_1.0.py": "", **files}), folder)
    assert reason in str(refusal.value)
    made = by_hand(tmp_path, {path: text.encode() for path, text in files.items() if isinstance(text, str)})
    verify(made, {})
    with pytest.raises(UserError) as refusal:
        repository.publish_file(made, folder, {})
    assert reason in str(refusal.value)
    assert not folder.exists() or content(folder) == {}


def test_otalinks_own_guard_goes_into_a_release_as_it_is(make: Callable[..., Built]) -> None:
    own = {path.name: path.read_text() for path in (Path(__file__).parents[2] / "firmware" / "guard").glob("*.py")}
    own = {name: text for name, text in own.items() if name != "__init__.py"}
    assert dict(unpack(make(own).path)) == {name: text.encode() for name, text in own.items()}


def test_a_boot_file_that_calls_the_guard_is_published_in_both_forms(tmp_path: Path) -> None:
    starters = {"boot.py": BOOT, "otaguard.py": GUARD, "otaswap.py": SWAP, "main.py": "import a\n"}
    repository.publish(fill(tmp_path / "plain", {"a_1.0.py": "", **starters}), tmp_path / "one")
    made = by_hand(tmp_path, {path: text.encode() for path, text in starters.items()})
    assert repository.publish_file(made, tmp_path / "two", {}).written


def test_what_does_not_verify_is_not_published(
    make: Callable[..., Built], known: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "releases"
    built = make({"a.txt": "A"})
    built.path.write_bytes(built.path.read_bytes() + b"\0")
    with pytest.raises(UserError, match=r"thermostat_1\.0\.0\.3\.ota: there is more"):
        repository.publish_file(built.path, folder, known)
    with pytest.raises(UserError, match="not signed"):
        repository.publish_file(make({"a.txt": "A"}, signer=None).path, folder, known)
    assert not folder.exists()


def test_an_older_release_is_published_on_request_only(
    make: Callable[..., Built], known: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "releases"
    repository.publish_file(make({"a.txt": "A"}, version="1.0.0.10").path, folder, known)
    old = make({"a.txt": "A"}, version="1.0.0.9").path
    with pytest.raises(UserError, match=r"older than 1\.0\.0\.10"):
        repository.publish_file(old, folder, known)
    assert repository.publish_file(old, folder, known, allow_older=True).written
    listed = repository.list_releases(folder).releases
    assert [release.version for release in listed] == [(1, 0, 0, 10), (1, 0, 0, 9)]


def test_plain_folders_and_release_files_live_side_by_side(
    make: Callable[..., Built], known: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "releases"
    repository.publish(fill(tmp_path / "plain", {"thermostat_1.0.0.2.py": ""}), folder)
    repository.publish_file(make({"a.txt": "A"}).path, folder, known)
    listing = repository.list_releases(folder, known)
    assert [(release.version, release.is_file, release.key) for release in listing.releases] == [
        ((1, 0, 0, 3), True, next(iter(known))),
        ((1, 0, 0, 2), False, None),
    ]
    assert listing.notes == []
    done = repository.publish(fill(tmp_path / "plain", {"thermostat_1.0.0.4.py": ""}), folder)
    assert done.notes == []
    assert (folder / "thermostat_1.0.0.3.ota").is_file()
    with pytest.raises(UserError, match="another application, thermostat"):
        repository.publish_file(make({"a.txt": "A"}, name="heater").path, folder, known)
    only = tmp_path / "only"
    repository.publish_file(make({"a.txt": "A"}).path, only, known)
    with pytest.raises(UserError, match="another application, thermostat"):
        repository.publish_file(make({"a.txt": "A"}, name="heater").path, only, known)
    with pytest.raises(UserError, match="another application, thermostat"):
        repository.publish(fill(tmp_path / "plain", {"heater_1.0.0.3.py": ""}), only)
    with pytest.raises(UserError, match=r"older than thermostat_1\.0\.0\.3\.ota"):
        repository.publish(fill(tmp_path / "plain", {"thermostat_1.0.0.2.py": ""}), only)
    assert repository.publish(fill(tmp_path / "plain", {"thermostat_1.0.0.2.py": ""}), only, allow_older=True).written


def test_the_list_tells_broken_and_withdrawn_release_files(
    make: Callable[..., Built], known: dict[str, str], other: Key, tmp_path: Path
) -> None:
    folder = tmp_path / "releases"
    built = make({"a.txt": "A"})
    repository.publish_file(built.path, folder, known)
    assert repository.list_releases(folder, for_boards([other])).releases[0].key == built.key
    repository.withdraw(folder, built.path.name)
    assert [release.withdrawn for release in repository.list_releases(folder, known).releases] == [True]
    data = built.path.read_bytes()
    (folder / built.path.name).write_bytes(data[:-1])
    (folder / "thermostat_1.0.0.4.ota").write_bytes(data)
    (folder / "heater_1.0.ota").write_bytes(data.replace(b"a.txt", b"b.txt"))
    notes = repository.list_releases(folder, known).notes
    assert len(notes) == 3
    assert "heater_1.0.ota" in notes[0]
    assert "not the length" in notes[1]
    assert "its name must say so" in notes[2]


def test_a_plain_folder_is_withdrawn_by_its_versioned_file(tmp_path: Path, board_takes: Callable[..., Any]) -> None:
    folder = tmp_path / "releases"
    repository.publish(fill(tmp_path / "plain", {"thermostat_1.0.0.2.py": "two", "a.txt": ""}), folder)

    def taken() -> Any:
        names = [path.name for path in folder.iterdir()]
        return board_takes(names, lambda path: (folder / path).read_bytes(), "thermostat")

    assert taken() is not None
    repository.withdraw(folder, "thermostat", "1.0.0.2")
    assert taken() is None
    listing = repository.list_releases(folder)
    assert listing.releases == []
    assert "thermostat_1.0.0.2.py is withdrawn" in listing.notes[0]
    repository.withdraw(folder, "thermostat_1.0.0.2.py", undo=True)
    assert taken() is not None
    repository.withdraw(folder, "thermostat", "1.0.0.2")
    repository.publish(fill(tmp_path / "plain", {"thermostat_1.0.0.3.py": "three"}), folder)
    with pytest.raises(UserError, match="another release's files now"):
        repository.withdraw(folder, "thermostat", "1.0.0.2", undo=True)
    assert "another release's files now" in repository.list_releases(folder).notes[0]


def test_a_withdrawn_plain_release_comes_back_by_publishing_it_again(tmp_path: Path) -> None:
    folder = tmp_path / "releases"
    two: Files = {"thermostat_1.0.0.2.py": "two", "a.txt": "A"}
    repository.publish(fill(tmp_path / "plain", two), folder)
    before = content(folder)
    repository.withdraw(folder, "thermostat", "1.0.0.2")
    for other in ({"thermostat_1.0.0.2.py": "TWO"}, {"a.txt": "B"}):
        with pytest.raises(UserError, match="was withdrawn"):
            repository.publish(fill(tmp_path / "plain", two | other), folder)
    repository.publish(fill(tmp_path / "plain", two), folder)
    assert content(folder) == before
    repository.withdraw(folder, "thermostat", "1.0.0.2")
    repository.publish(fill(tmp_path / "plain", {"thermostat_1.0.0.3.py": "three"}), folder)
    with pytest.raises(UserError, match="was withdrawn"):
        repository.publish(fill(tmp_path / "plain", {"thermostat_1.0.0.2.py": "TWO"}), folder, allow_older=True)
    repository.publish(fill(tmp_path / "plain", two), folder, allow_older=True)
    assert content(folder) == before


def test_what_cannot_be_withdrawn_is_said(make: Callable[..., Built], known: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "releases"
    built = make({"a.txt": "A"})
    repository.publish_file(built.path, folder, known)
    repository.publish(fill(tmp_path / "plain", {"thermostat_1.0.0.3.py": ""}), folder)
    for arguments, undo, reason in (
        (("thermostat", "1.0.0.4"), False, "1.0.0.4 is not published"),
        (("heater", "1.0.0.3"), False, "is not published"),
        (("thermostat",), False, "give NAME VERSION"),
        (("../thermostat_1.0.0.3.ota",), False, "no release's name"),
        (("thermostat", "1.0.0.3"), False, "name one of them"),
        (("thermostat", "1.0.0.3"), True, "is not withdrawn"),
        (("thermostat", "1.x"), False, "must be a number"),
    ):
        with pytest.raises(UserError, match=reason):
            repository.withdraw(folder, *arguments, undo=undo)
    repository.withdraw(folder, built.path.name)
    shutil.copy(built.path, folder)
    with pytest.raises(UserError, match="is there again"):
        repository.withdraw(folder, built.path.name, undo=True)
