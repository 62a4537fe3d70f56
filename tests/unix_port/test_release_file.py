"""The update of a board from a release file on a real FTP server (docs/release-format.md, docs/update.md)."""

import contextlib
import json
import os
import random
import shutil
import struct
import time
import zlib

import pytest
from scripted_server import ScriptedServer
from updater_support import Server, digest, write

from otalink.record import format_header
from otalink_host import keys
from otalink_host.build import build

TEXT = b"".join(b"line %d of the manual\n" % number for number in range(3000))  # compresses well
NOISE = random.Random(1).randbytes(30_000)  # does not compress


def content(version, **changes):
    """What a release's files are on the board; a change is the content of a file, None for none."""
    files = {
        "app.py": b"VERSION = %d\n" % version,
        "lib/empty.bin": b"",
        "lib/noise.bin": NOISE,
        "manual.txt": TEXT,
        "zone/a.py": b"A = 1\n",
    }
    files.update({path.replace("__", "/").replace("_", "."): data for path, data in changes.items()})
    return {path: data for path, data in files.items() if data is not None}


@pytest.fixture(scope="session")
def key_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    keys.create(folder, "first")
    keys.create(folder, "second")
    return folder


@pytest.fixture
def signer(key_folder):
    return keys.load_signer(key_folder, "first", lambda *_: b"")


@pytest.fixture
def known(key_folder):
    return keys.for_boards([keys.load_public(key_folder, "first")])


@pytest.fixture
def publish(tmp_path):
    """Builds a release file and puts it into the server's folder, in the place of what is there."""
    folder = tmp_path / "served"
    folder.mkdir()

    def run(version, files, signer=None, keep=False, **arguments):
        if not keep:
            for path in folder.iterdir():
                path.unlink()
        source = tmp_path / "source"
        shutil.rmtree(source, ignore_errors=True)
        write(source, files)
        text = f"1.0.0.{version}"
        build(source, signer=signer, name="app", version=text, compiled=False, output=folder, **arguments)
        return folder / f"app_{text}.ota"

    run.folder = folder
    return run


def install(board, server, **changes):
    lines = board.run(server, **changes)
    assert lines[-1] == "True", lines
    return lines


def interrupt(board, publish, path, after):
    """Begins an update and takes the server away after so many bytes of the transfer behind the header's."""

    def before(command, argument):
        if command == "REST":
            server.sent.clear()

    def during(name, sent):
        if server.count("REST") and sent >= after:
            server.go_down()
            # What is on its way arrives before the end.
            time.sleep(0.2)

    with Server(publish.folder, before=before, during=during) as server:
        lines = board.run(server, attempts=1, retry_delay=0)
    assert "given up until the next check" in lines[-2], lines


def test_a_release_file_is_installed_whole_and_recorded_and_nothing_else_is_left(board, publish):
    path = publish(2, content(2))
    with Server(publish.folder) as server:
        lines = install(board, server)
    assert "app 1.0.0.2 is offered, no release is here" in lines
    assert board.files() == content(2)
    expected = {path: (digest(data), len(data)) for path, data in content(2).items()}
    assert board.installed() == ("app", (1, 0, 0, 2), expected)
    assert (board.root / ".otalink" / "installed").read_bytes() == path.read_bytes()[: _length(path)]
    assert board.state() == ["installed"]


def _length(path):
    return _length_of(path.read_bytes())


def _length_of(data):
    return int(data.split(b"\n", 1)[0].split(b" ")[2])


def test_only_what_differs_crosses_the_network_in_as_few_transfers_as_can_be(board, publish):
    publish(2, content(2))
    with Server(publish.folder) as server:
        install(board, server)
        big = random.Random(2).randbytes(30_000)
        path = publish(3, content(3, lib__noise_bin=big))
        server.sent.clear()
        server.commands.clear()
        lines = install(board, server)
    assert "downloaded" in lines[-3]
    assert "2 of 5 files differ" in lines[-3]
    assert board.files() == content(3, lib__noise_bin=big)
    # Both lie side by side: one transfer for the header, one for them.
    assert server.count("RETR") == 2
    assert server.sent[path.name] < _length(path) + 30_000 + 200_000  # what was on its way when the client stopped


def test_a_long_gap_is_jumped_over_and_a_short_one_is_read(board, publish):
    def files(version):
        return {f"f{n:02}.bin": random.Random(n).randbytes(1000) for n in range(60)} | {
            "f00.bin": b"%d" % version,
            "f20.bin": b"%d" % version,
            "f25.bin": b"%d" % version,
            "g.bin": b"%d" % version,
        }

    publish(2, files(2))
    with Server(publish.folder) as server:
        install(board, server)
        path = publish(3, files(3))
        server.commands.clear()
        install(board, server)
    assert board.files() == files(3)

    rests = [int(line[5:]) for line in server.commands if line.startswith("REST ")]
    assert len(rests) == server.count("RETR") - 1
    # f00; far away f20 with f25 close to it; far from there g.
    assert len(rests) == 3
    assert rests[0] >= _length(path)


def test_names_that_resemble_otalinks_own_are_ordinary(board, publish):
    files = {"app.py": b"VERSION = 2\n", ".otalinked/x": b"x", ".otalink.txt": b"y", "a..b/c": b"z"}
    # `release build` leaves hidden files out.
    header = format_header("app", (1, 0, 0, 2), [(path, digest(data), len(data)) for path, data in files.items()])
    write(publish.folder, {"app_1.0.0.2.ota": b"".join(header) + b"".join(data for _, data in sorted(files.items()))})
    with Server(publish.folder) as server:
        install(board, server)
    assert board.files() == files


def test_files_that_are_gone_are_removed_and_folders_with_them(board, publish):
    board.put({"zone/own.txt": b"mine", "settings.json": b"{}"})
    publish(2, content(2))
    with Server(publish.folder) as server:
        install(board, server)
        publish(3, {"app.py": b"VERSION = 3\n", "new/deep/x.py": b"X = 1\n"})
        install(board, server)
    assert board.files() == {
        "app.py": b"VERSION = 3\n",
        "new/deep/x.py": b"X = 1\n",
        "zone/own.txt": b"mine",
        "settings.json": b"{}",
    }
    assert not (board.root / "lib").exists()


# Trust


def test_a_signed_release_is_installed_where_its_key_is_known(board, publish, signer, known):
    publish(2, content(2), signer)
    with Server(publish.folder) as server:
        install(board, server, keys=known)
    assert board.files() == content(2)


def _other_name(path):
    data = path.read_bytes()
    path.with_name("app_1.0.0.9.ota").write_bytes(data)
    path.unlink()


def _change(path, place):
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(bytes(data))


REFUSED = [
    ("unsigned", {}, "the release is not signed, and there is a key: sign it with "),
    ("second", {}, "which is unknown or retired here"),
    ("name", {}, "app_1.0.0.9.ota holds app 1.0.0.2: its name must say so"),
    ("board", {"boards": ("esp32",)}, "the release is for esp32, and this board is unix"),
    ("cut", {}, "bytes and must have"),
    ("empty", {}, "ends within its header"),
    ("text", {}, "is no release file: it does not begin with a header"),
    ("long", {}, "is no release file: it does not begin with a header"),
    ("header", {}, "ends within its header"),
]


@pytest.mark.parametrize(("kind", "arguments", "reason"), REFUSED, ids=[kind for kind, _, _ in REFUSED])
def test_what_a_board_must_not_install_is_refused_with_a_line_that_says_which(
    board, publish, signer, key_folder, known, kind, arguments, reason
):
    publish(1, content(1), signer)
    with Server(publish.folder) as server:
        install(board, server, keys=known)
        before = board.files()
        other = keys.load_signer(key_folder, "second", lambda *_: b"")
        path = publish(2, content(2), {"unsigned": None, "second": other}.get(kind, signer), **arguments)
        data = path.read_bytes()
        if kind == "name":
            _other_name(path)
        elif kind == "cut":
            path.write_bytes(data[:-1])
        elif kind == "empty":
            path.write_bytes(b"")
        elif kind == "text":
            path.write_bytes(b"print('I am no release')\n" * 20)
        elif kind == "long":
            path.write_bytes(b"otalink 1 9999999\n" + data)
        elif kind == "header":
            path.write_bytes(data[:300])
        lines = board.run(server, keys=known)
    assert lines[-1] == "False"
    assert reason in lines[-2], lines
    assert board.files() == before
    assert board.state() == ["confirmed", "installed"] or board.state() == ["installed"]


def test_a_header_with_any_byte_changed_is_refused(board, publish, signer, known):
    publish(1, content(1), signer)
    with Server(publish.folder) as server:
        install(board, server, keys=known)
        before = board.files()
        path = publish(2, {"app.py": b"VERSION = 2\n"}, signer)
        data = path.read_bytes()
        places = random.Random(3).sample(range(_length(path)), 40)
        body = """
        updater = make(message=None)
        for place in places:
            with open("../served/" + name, "r+b") as file:
                file.seek(place)
                byte = file.read(1)
                file.seek(place)
                file.write(bytes([byte[0] ^ 1]))
            print(await updater.update())
            with open("../served/" + name, "r+b") as file:
                file.seek(place)
                file.write(byte)
        print(await updater.update())
        """
        names = f"places = {places}\nname = {'x/' + path.name!r}[2:]\n"
        lines = board.run(server, body.replace("../served", str(publish.folder)), names, keys=known)
        assert path.read_bytes() == data
    assert lines == ["False"] * 40 + ["True"]
    assert board.files() != before


@pytest.mark.parametrize("where", ["raw", "table", "chunk", "last"])
def test_a_file_with_a_byte_changed_is_refused_and_nothing_is_left(board, publish, signer, known, where):
    publish(1, content(1), signer)
    with Server(publish.folder) as server:
        install(board, server, keys=known)
        before = board.files()
        changed = {"lib__noise_bin": NOISE[::-1], "manual_txt": TEXT[::-1], "zone__a_py": b"A = 2\n"}
        path = publish(2, content(2, **changed), signer)
        start = _length(path) + len(b"VERSION = 2\n")
        _change(path, {"raw": start + 5, "table": start + 30_001, "chunk": start + 30_500, "last": -3}[where])
        lines = board.run(server, keys=known)
    assert lines[-1] == "False"
    assert f"publish {path.name} again" in lines[-2]
    assert board.files() == before
    assert board.state() in (["installed"], ["confirmed", "installed"])


def test_a_plain_folder_is_refused_where_there_is_a_key(board, publish, signer, known):
    publish(1, content(1), signer)
    (publish.folder / "app_1.0.0.2.py").write_bytes(b"VERSION = 2\n")
    with Server(publish.folder) as server:
        lines = install(board, server, keys=known)
        assert any("passed over: app_1.0.0.2.py is a plain folder's, which nobody signed" in line for line in lines)
        assert board.files() == content(1)
        (publish.folder / "app_1.0.0.1.ota").unlink()
        lines = board.run(server, keys=known)
    assert lines[-2].startswith("app_1.0.0.2.py is a plain folder's, which nobody signed, and this board has a key")
    assert board.files() == content(1)


def test_without_a_key_the_newest_of_both_forms_counts(board, publish):
    publish(1, content(1))
    (publish.folder / "app_1.0.0.2.py").write_bytes(b"VERSION = 2\n")
    with Server(publish.folder) as server:
        install(board, server)
        assert board.files() == {"app.py": b"VERSION = 2\n"}
        publish(3, content(3), keep=True)
        (publish.folder / "app_1.0.0.3.py").write_bytes(b"other\n")
        install(board, server)
    assert board.files() == content(3)


def test_an_older_release_is_left_alone_under_newer_and_taken_under_differs(board, publish, signer, known):
    publish(5, content(5), signer)
    with Server(publish.folder) as server:
        install(board, server, keys=known)
        publish(4, content(4), signer)
        lines = board.run(server, keys=known)
        assert lines[-2:] == ["the server offers app 1.0.0.4, older than 1.0.0.5 here", "False"]
        lines = board.run(server, "await attempt(make().check())", keys=known)
        assert lines[-1] == "ReleaseError the server offers app 1.0.0.4, older than 1.0.0.5 here"
        install(board, server, keys=known, policy="differs")
    assert board.files() == content(4)


def test_what_was_passed_over_is_said_beside_an_older_release_too(board, publish, signer, known):
    publish(5, content(5), signer)
    with Server(publish.folder) as server:
        install(board, server, keys=known)
        publish(4, content(4), signer)
        (publish.folder / "app_1.0.0.6.py").write_bytes(b"VERSION = 6\n")
        (publish.folder / "app_settings.json").write_bytes(b"{}")
        lines = board.run(server, keys=known)
    assert len(lines) == 4
    assert lines[0].startswith("passed over app_settings.json: ")
    assert lines[1].startswith("passed over: app_1.0.0.6.py is a plain folder's, which nobody signed")
    assert lines[2:] == ["the server offers app 1.0.0.4, older than 1.0.0.5 here", "False"]


def test_a_release_without_the_main_py_that_it_would_remove_is_refused(board, publish, signer, known):
    publish(2, content(2, main_py=b"import app\n"), signer)
    with Server(publish.folder) as server:
        install(board, server, keys=known)
        path = publish(3, content(3), signer)
        for _ in range(2):
            server.commands.clear()
            lines = board.run(server, keys=known)
            assert lines[-2:] == [
                "the release has no main.py, and would remove the one that starts the application: "
                "publish main.py with it",
                "False",
            ]
            # The header, and no more.
            assert server.fetched() == [path.name]
            assert board.files() == content(2, main_py=b"import app\n")
            assert board.state() == ["installed"]
        publish(3, content(3, main_py=b"import app\n"), signer)
        install(board, server, keys=known)
    assert board.files() == content(3, main_py=b"import app\n")


# Where a download goes on


@pytest.mark.parametrize("lacks", [(), ("REST",), ("MLSD",), ("MLSD", "SIZE")])
def test_a_download_that_is_cut_off_goes_on_where_it_was(board, publish, lacks):
    big = random.Random(7).randbytes(400_000)
    path = publish(2, content(2, big_bin=big))
    # The first may meet the header's transfer, which the client has stopped by then.
    cuts = (100_000, 100_000, 90_000, 50_000)
    with Server(publish.folder, lacks=lacks, cuts=cuts) as server:
        lines = install(board, server)
    assert sum("going on where it was" in line for line in lines) >= 2, lines
    assert board.files() == content(2, big_bin=big)
    # With REST nothing comes twice but a header, a table and the chunk that was cut.
    if not lacks:
        received = int(next(line for line in lines if line.startswith("downloaded")).split(" ")[1])
        assert received < path.stat().st_size + 3 * (4096 + 100)


@pytest.mark.parametrize("change", [None, "half", "more"])
def test_what_an_earlier_start_left_is_used_when_it_is_right(board, publish, change):
    big = random.Random(5).randbytes(200_000)
    path = publish(2, content(2, big_bin=big))
    interrupt(board, publish, path, 150_000)
    with Server(publish.folder) as server:
        staged = board.root / "big.bin.ota-new"
        assert staged.stat().st_size > 100_000
        if change == "half":
            with staged.open("r+b") as file:
                file.write(b"what is this")
        elif change == "more":
            staged.write_bytes(os.urandom(300_000))
        lines = install(board, server)
    assert board.files() == content(2, big_bin=big)
    received = int(next(line for line in lines if line.startswith("downloaded")).split(" ")[1])
    assert (received < 200_000) == (change is None)
    assert ("big.bin: what was here of it is of no use: fetching it anew" in lines) == (change == "half")


def test_a_compressed_file_goes_on_at_a_chunk(board, publish):
    text = b"".join(b"%d %d\n" % (n, n * n % 1000) for n in range(60_000))
    path = publish(2, {"app.py": b"VERSION = 2\n", "big.txt": text})
    stored = path.stat().st_size - _length(path)
    interrupt(board, publish, path, stored // 2)
    with Server(publish.folder) as server:
        here = (board.root / "big.txt.ota-new").stat().st_size
        assert here > 4096
        assert here % 4096 == 0
        lines = install(board, server)
    assert (board.root / "big.txt").read_bytes() == text
    received = int(next(line for line in lines if line.startswith("downloaded")).split(" ")[1])
    assert received < 0.7 * stored


@pytest.mark.parametrize(("lacks", "cut"), [(("REST",), 50_000), ((), 3_000)])
def test_a_server_that_always_cuts_at_the_same_byte_is_given_up(board, publish, lacks, cut):
    # In the first case nothing new comes behind that byte, in the second never a whole chunk.
    text = b"".join(b"%d %d\n" % (n, n * n % 1000) for n in range(60_000))
    path = publish(2, {"app.py": b"VERSION = 2\n", "big.txt": text})

    def before(command, argument):
        if command == "EPSV" and server.count("RETR"):
            server.cut_off([cut])

    with Server(publish.folder, lacks=lacks, before=before) as server:
        lines = board.run(server, attempts=3, retry_delay=0)
    assert lines[-1] == "False"
    assert "given up until the next check" in lines[-2]
    assert server.fetched() == [path.name] * server.count("RETR")
    assert server.count("RETR") < 20


def test_a_server_that_ignores_rest_is_found_out_and_read_from_the_start(board, publish, tmp_path):
    path = publish(2, content(2))
    data = path.read_bytes()

    def retr(session, argument):
        with session.begin() as connection, contextlib.suppress(OSError):
            connection.sendall(data)
        session.rest = 0
        session.say("226 done")

    with ScriptedServer({path.name: data}, RETR=retr) as server:
        install(board, server)
    assert board.files() == content(2)


def test_a_file_that_is_replaced_during_the_download_is_noticed(board, publish, tmp_path):
    path = publish(2, content(2, lib__noise_bin=os.urandom(300_000)))
    old = path.read_bytes()
    new = publish(2, content(2, lib__noise_bin=os.urandom(300_000))).read_bytes()
    path.write_bytes(old)
    replaced = []

    def during(name, sent):
        if sent > _length(path) + 100_000 and not replaced:
            replaced.append(True)
            path.with_name(".x").write_bytes(new)
            os.replace(path.with_name(".x"), path)

    with Server(publish.folder, during=during, cuts=[150_000] * 2) as server:
        lines = install(board, server)
    assert any("was replaced on the server during the download: starting over" in line for line in lines), lines
    assert (board.root / "lib" / "noise.bin").read_bytes() in new


def test_a_release_that_is_withdrawn_leaves_nothing_of_its_download(board, publish):
    path = publish(2, content(2))
    interrupt(board, publish, path, 20_000)
    with Server(publish.folder) as server:
        assert any(name.name.endswith(".ota-new") for name in board.root.rglob("*"))
        path.unlink()
        board.run(server)
    assert board.files() == {}
    assert board.state() == []


def test_the_percentage_rises_and_ends_at_100(board, publish):
    path = publish(2, content(2))
    with Server(publish.folder, cuts=[_length(path) + 20_000]) as server:
        lines = board.run(
            server,
            """
            seen = []
            updater = make(message=None, progress=lambda done, total: seen.append((done, total)))
            print(await updater.update())
            print(seen[0][0], all(a <= b for a, b in zip(seen, seen[1:])), seen[-1][0] == seen[-1][1], updater.percent)
            """,
        )
    assert lines[0] == "True"
    assert lines[1].endswith("True True 100")


def test_a_flash_that_is_too_full_is_said_before_anything_is_fetched(board, publish):
    path = publish(2, content(2))
    with Server(publish.folder) as server:
        lines = board.run(
            server,
            "print(await make().update())",
            """
            import otalink.space
            otalink.space.space_of = lambda root: (4096, 20)
            """,
        )
    assert lines[-1] == "False"
    assert lines[-2].startswith("the flash is too full: the update needs ")
    assert server.fetched() == [path.name]
    assert board.files() == {}
    assert board.state() == []


def test_a_thousand_files_take_no_more_memory_than_ten(board, publish):
    def files(count, version):
        return {f"data/{number:04}.txt": b"%d" % version for number in range(count)}

    peaks = []
    for count in (10, 1000):
        publish(count, files(count, count))
        with Server(publish.folder) as server:
            lines = board.run(
                server,
                """
                found = [0]
                def look(*_):
                    gc.collect()
                    found[0] = max(found[0], gc.mem_alloc())
                print(await make(message=look, progress=look).update())
                print(found[0])
                """,
            )
        assert lines[0] == "True"
        assert board.files() == files(count, count)
        peaks.append(int(lines[1]))
    assert peaks[1] < peaks[0] + 2048, peaks


def test_finer_steps_work_for_a_release_file_too(board, publish, signer, known):
    publish(2, content(2), signer)
    with Server(publish.folder) as server:
        lines = board.run(
            server,
            """
            updater = make(message=None)
            release = await updater.check()
            print(release.label, release.files)
            await attempt(updater.check())
            await updater.download(release)
            await updater.apply()
            await attempt(updater.download(release))
            """,
            keys=json.loads(json.dumps(known)),
        )
    assert lines[0] == "app 1.0.0.2 None"
    assert lines[-1].startswith("InstallError an update waits for a restart")
    assert board.files() == content(2)


# A server that means ill, and a board without a key, so that nothing but the form of a release stands in its way

SHARE = 4096


def _deflated(data, last=True):
    compressor = zlib.compressobj(9, zlib.DEFLATED, -10)
    return compressor.compress(data) + compressor.flush(zlib.Z_FINISH if last else zlib.Z_SYNC_FLUSH)


def _chunks(*chunks, flags=0):
    return b"".join(struct.pack(">H", len(data) | flags) for data in chunks) + b"".join(chunks)


def forge(path, entries, name="app", version=2):
    """Writes a release file with the files `entries`: (path, content, stored bytes, encoding); nothing is checked."""
    lines = [f"name {name}\nversion 1.0.0.{version}\n".encode()]
    for target, data, stored, encoding in entries:
        lines.append(f"file {digest(data)} {len(data)} {len(stored)} {encoding} {target}\n".encode())
    data = b"".join(lines)
    length = next(n for n in range(len(data), len(data) + 40) if len(f"otalink 1 {n}\n") + len(data) == n)
    path.write_bytes(f"otalink 1 {length}\n".encode() + data + b"".join(stored for _, _, stored, _ in entries))


def refuses(board, server, reason, **changes):
    """The board says one line with `reason`, and has nothing of it on its flash."""
    before, state = board.files(), board.state()
    lines = board.run(server, **changes)
    assert lines[-1] == "False", lines
    assert reason in lines[-2], lines
    assert board.files() == before
    assert board.state() == state
    return lines


TEXT_CHUNK = TEXT[:SHARE]
BAD_CONTENT = {
    "inflates to a little more": (_chunks(_deflated(TEXT[: SHARE + 1])), "holds too much"),
    "inflates to a hundred times its share": (_chunks(_deflated(bytes(100 * SHARE))), "holds too much"),
    "goes on with nonsense": (_chunks(_deflated(TEXT_CHUNK[:4000], False) + b"\7"), "is not what was compressed"),
    "has nonsense behind its share": (_chunks(_deflated(TEXT_CHUNK, False) + b"\7"), "is not what was compressed"),
    "has no end": (_chunks(_deflated(TEXT_CHUNK, False)), "is not what was compressed"),
    "inflates to less": (_chunks(_deflated(TEXT[: SHARE - 1])), "is not what was compressed"),
    "is empty": (_chunks(_deflated(b"")), "is not what was compressed"),
    "is no deflate stream": (_chunks(b"\7" * 50), "is not what was compressed"),
    "reaches back before its beginning": (_chunks(b"\x4b\x04\x63\x00"), "is not what was compressed"),
    "has no bytes": (b"\0\0" + b"x" * 10, "cannot be stored in 0"),
    "has too many bytes": (b"\x10\x01" + b"x" * 4000, "cannot be stored in 4097"),
    "is stored short": (_chunks(TEXT_CHUNK[:-1], flags=0x8000), "cannot be stored in 4095"),
    "leaves bytes over": (_chunks(_deflated(TEXT_CHUNK)) + b"more", "its table does not fit its size"),
    "is cut off": (_chunks(_deflated(TEXT_CHUNK))[:-1], "its table does not fit its size"),
}


@pytest.mark.parametrize("kind", BAD_CONTENT)
@pytest.mark.parametrize("where", ["first", "last"])
def test_compressed_content_that_lies_is_refused(board, publish, kind, where):
    publish(1, content(1))
    with Server(publish.folder) as server:
        install(board, server)
        path = publish.folder / "app_1.0.0.2.ota"
        stored, reason = BAD_CONTENT[kind]
        bad = ("text", TEXT_CHUNK, stored, "deflate")
        good = [("a.bin", NOISE, NOISE, "raw"), ("z.bin", NOISE[::-1], NOISE[::-1], "raw")]
        forge(path, [bad, good[1]] if where == "first" else [good[0], bad])
        refuses(board, server, reason)


def _header(*lines, length=None):
    data = b"".join(line + b"\n" for line in lines)
    if length is None:
        length = next(n for n in range(len(data), len(data) + 40) if len(f"otalink 1 {n}\n") + len(data) == n)
    return f"otalink 1 {length}\n".encode() + data


def _file(path, size=2, stored=None, encoding=b"raw"):
    return b"file %s %d %d %s %s" % (b"0" * 64, size, size if stored is None else stored, encoding, path)


HEAD = b"name app", b"version 1.0.0.2"
LONG = b"x" * 1_000_000
BAD_HEADERS = {
    "first line without end": (LONG, "is no release file"),
    "first line of zeros": (bytes(1000), "is no release file"),
    "length that is none": (b"otalink 1 -5\n" + LONG, "is no release file"),
    "length of nothing": (b"otalink 1 3\n" + LONG, "is no release file"),
    "length over a megabyte": (b"otalink 1 1048577\n" + LONG, "is no release file"),
    "length with zeros": (_header(*HEAD, length=b"00000048".decode()) + LONG, "length is no number"),
    "line without end": (_header(LONG), "it is cut off, or a line is too long"),
    "path without end": (_header(*HEAD, _file(LONG)), "it is cut off, or a line is too long"),
    "boards without end": (_header(*HEAD, b"board " + b"x " * 400_000), "it is cut off, or a line is too long"),
    "length within a line": (_header(*HEAD, length=40) + LONG, "it is cut off, or a line is too long"),
    "length behind the end": (_header(*HEAD, length=500) + LONG, "it is cut off, or a line is too long"),
    "number without end": (_header(*HEAD, b"file %s %s 2 raw a" % (b"0" * 64, b"9" * 500)), "size is no number"),
    "size over what there is": (_header(*HEAD, _file(b"a", 4294967296)), "size is over"),
    "not UTF-8": (_header(*HEAD, _file(b"\xff\xfe")), "it is not UTF-8"),
    "another format": (b"otalink 2" + _header(*HEAD)[9:], "format '2' is not known here"),
    "nothing but lines": (_header(*[b""] * 10_000), "an empty line"),
    "a line of its own": (_header(*HEAD, b"run rm -rf /"), "a line that is not understood"),
    "unsorted": (_header(*HEAD, _file(b"b"), _file(b"a")), "a is out of order or comes twice"),
    "twice": (_header(*HEAD, _file(b"a"), _file(b"a")), "a is out of order or comes twice"),
    "file and folder": (_header(*HEAD, _file(b"a"), _file(b"a/b")), "a is both a file and a folder"),
    "chunks out of nothing": (_header(*HEAD, _file(b"a", 4294967295, 1, b"deflate")), "cannot be stored in 1"),
    "sign without end": (_header(*HEAD, b"sign " + b"0" * 16 + b" " + LONG), "it is cut off, or a line is too long"),
    "sign in the middle": (_header(*HEAD, b"sign " + b"0" * 16 + b" eA==", _file(b"a")), "sign is not its last line"),
}


@pytest.mark.parametrize("kind", BAD_HEADERS)
def test_a_header_that_is_none_is_refused_in_little_memory(board, publish, kind):
    publish(1, content(1))
    with Server(publish.folder) as server:
        install(board, server)
        data, reason = BAD_HEADERS[kind]
        (publish.folder / "app_1.0.0.2.ota").write_bytes(data)
        refuses(board, server, reason, heap="256k")


@pytest.mark.parametrize(
    "path",
    [
        "/main.py",
        "../main.py",
        "lib/../../main.py",
        "lib/..",
        "./main.py",
        "lib//main.py",
        "lib/",
        "lib\\main.py",
        "main\x01.py",
        ".otalink",
        ".otalink/installed",
        ".otalink/committed",
        "otalink.json",
        "otalink.json/x",
        ".OTALINK/x",
        "main.py.ota-new",
        "boot.py.ota-old",
        "lib.ota-new/x",
        "x" * 241,
        "é" * 121,
    ],
)
def test_a_path_that_no_release_may_name_is_refused(board, publish, path):
    publish(1, content(1))
    with Server(publish.folder) as server:
        install(board, server)
        forge(publish.folder / "app_1.0.0.2.ota", [(path, b"mine", b"mine", "raw")])
        lines = refuses(board, server, "header: path")
    assert len(lines[-2].encode()) < 400
    assert sorted(os.listdir(board.root.parent)) == ["board", "otalink.json", "script.py", "served", "source"]


def test_what_would_fill_the_flash_is_refused_before_it_comes(board, publish):
    path = publish.folder / "app_1.0.0.2.ota"
    stored = _chunks(*[b"x"] * 100)
    data = _header(*HEAD, _file(b"a", 4294967295, 3 * 1048576, b"deflate"))
    path.write_bytes(data + stored)
    os.truncate(path, len(data) + 3 * 1048576)
    small = "import otalink.space\notalink.space.space_of = lambda root: (4096, 512)\n"
    with Server(publish.folder) as server:
        lines = refuses(board, server, "the flash is too full: the update needs", prelude=small)
    assert server.fetched() == [path.name], lines


@pytest.mark.parametrize("told", [1, 100, 10_000_000], ids=["within the first line", "within the header", "too much"])
def test_a_listing_that_lies_about_the_size_is_no_reason_to_go_on(board, publish, told):
    path = publish(2, content(2))
    data = path.read_bytes()

    def mlsd(session, argument):
        with session.begin() as connection:
            connection.sendall(f"type=file;size={told}; {path.name}\r\n".encode())
        session.say("226 done")

    with ScriptedServer({path.name: data}, MLSD=mlsd) as server:
        lines = board.run(server, attempts=2)
    assert lines[-1] == "False"
    assert board.files() == {}
    assert board.state() == []


def test_a_header_that_grows_after_the_check_is_noticed(board, publish):
    path = publish(2, content(2, big_bin=os.urandom(200_000)))
    whole = path.read_bytes()
    grown = whole.replace(b"otalink 1 %d\n" % _length(path), b"otalink 1 1048576\n", 1) + bytes(2_000_000)
    replaced = []

    def during(name, sent):
        if server.count("REST") and not replaced:
            replaced.append(True)
            path.with_name(".x").write_bytes(grown)
            os.replace(path.with_name(".x"), path)
            server.cut_off([50_000])

    with Server(publish.folder, during=during) as server:
        lines = board.run(server, heap="256k")
    assert any("was replaced on the server during the download: starting over" in line for line in lines), lines
    assert lines[-1] == "False"
    assert lines[-2].startswith("header: "), lines
    assert board.files() == {}
    assert board.state() == []


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ({"a/b": b"1"}, {"a": b"2"}, "a is a folder on the board and a file of the release: remove one of them"),
        ({"a": b"1"}, {"a/b": b"2"}, "a is a file on the board and a folder of the release: remove one"),
        ({"a/b/c": b"1", "z": b"1"}, {"a/b": b"2"}, "a/b is a folder on the board and a file of the release"),
        ({"a/b": b"1"}, {"a/b/c/d": b"2"}, "a/b is a file on the board and a folder of the release: remove one"),
    ],
)
def test_a_path_that_turns_from_file_to_folder_or_back_is_refused(board, publish, old, new, reason):
    publish(1, old)
    with Server(publish.folder) as server:
        install(board, server)
        publish(2, {"0.txt": NOISE, **new})
        refuses(board, server, reason)
        # In two steps it goes.
        publish(3, {"other": b""})
        install(board, server)
        publish(4, new)
        install(board, server)
    assert board.files() == new


@pytest.mark.parametrize("count", [2, 60])
def test_a_flash_that_is_too_full_is_left_as_it_was_however_full_it_is(board, publish, count):
    files = {f"{number:03}": b"" for number in range(count)} | {"a/b/noise.bin": NOISE, "text.txt": TEXT}
    publish(2, files)
    with Server(publish.folder) as server:
        lines = board.run(
            server,
            """
            for free in (45, 34, 32, 30, 20, 10, 8, 7, 6, 5, 4, 3, 2, 1, 0):
                vfs.VfsLfs2.mkfs(chip)
                vfs.mount(vfs.VfsLfs2(chip), "/flash")
                os.mkdir("/flash/.otalink")
                with open("/flash/boot.py", "w") as file:
                    file.write(open("board/boot.py").read())
                with open("/flash/otaswap.py", "w") as file:
                    file.write(open("board/otaswap.py").read())
                with open("/flash/own.bin", "wb") as file:
                    try:
                        while os.statvfs("/flash")[3] > free:
                            file.write(bytes(4096))
                            file.flush()
                    except OSError:
                        pass
                before = tree("/flash"), os.statvfs("/flash")[3]
                updater = make(root="/flash", message=None)
                done = await updater.update()
                print(done, (tree("/flash"), os.statvfs("/flash")[3]) == before, updater.messages[-1])
                vfs.umount("/flash")
            """,
            """
            import os, vfs

            class Chip:
                data = bytearray(4096 * 100)
                def readblocks(self, block, buf, offset=0):
                    start = block * 4096 + offset
                    buf[:] = memoryview(self.data)[start : start + len(buf)]
                def writeblocks(self, block, buf, offset=0):
                    start = block * 4096 + offset
                    self.data[start : start + len(buf)] = buf
                def ioctl(self, operation, argument):
                    if operation == 4:
                        return len(self.data) // 4096
                    if operation == 5:
                        return 4096
                    if operation == 6:
                        self.data[argument * 4096 : argument * 4096 + 4096] = bytes(4096)
                    return 0

            chip = Chip()

            def tree(folder):
                found = []
                for entry in os.ilistdir(folder):
                    path = folder + "/" + entry[0]
                    if entry[1] & 0x4000:
                        found += tree(path) + [(path, None)]
                    else:
                        found.append((path, os.stat(path)[6]))
                return sorted(found)
            """,
            heap="4m",
        )
    assert lines[0].startswith("True False ")
    assert all("is full" in line or "is too full" in line for line in lines[3:])
    assert all(line.startswith("False True ") for line in lines[3:]), lines
