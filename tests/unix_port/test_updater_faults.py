"""What goes wrong with an update: servers, networks, folders, settings. One clear line, and the old release stays."""

import os
import re
import threading
import time

import pytest
from scripted_server import ScriptedServer
from test_updater import FLAT, FLAT_TWO, ONE, TWO, make_big, on_flash
from updater_support import Server, digest, publish, sums, wait_for, write

OLD = {"app.py": b"old", "display.py": b"old", "lib/font.bin": b"old"}


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "served"
    publish(folder, ONE)
    return folder


@pytest.fixture
def refused(board):
    """Updates from a server, which must fail: gives what was said last. The board has what it had, and nothing else."""

    def update(server, **keywords):
        before = board.files()
        lines = board.run(server, **keywords)
        assert lines[-1] == "False", lines
        assert board.files() == before
        assert "incoming" not in board.state()
        assert not any("starting over" in line for line in lines)
        return lines[-2]

    return update


# Broken connections


@pytest.mark.parametrize("with_sums", [True, False])
def test_a_download_goes_on_at_the_byte_where_it_was_cut(board, folder, with_sums):
    files = make_big(folder, 3, 60000, with_sums=with_sums)
    # More cuts than attempts: only those without progress count.
    with Server(folder, cuts=[10000, 1, 9000, 12345, 8000, 20000]) as server:
        lines = board.run(server, attempts=3)
    assert lines[-1] == "True", lines
    assert board.files() == on_flash(files)
    assert sum("going on at byte" in line for line in lines) >= 4
    # What is under way when a connection breaks may be lost, no more.
    assert sum(server.sent[name] for name in files) <= 180000 + 6 * 8192


def test_a_server_without_rest_is_read_from_the_start(board, folder):
    files = make_big(folder, 2, 60000)
    with Server(folder, ("REST", "MLSD"), cuts=[20000, 40000]) as server:
        board.install(server)
    assert board.files() == on_flash(files)


OLD_SERVER = {"MLSD": "500 what?", "SIZE": "502 what?"}


def enter(session, argument):
    # No file can be entered.
    session.say("550 no folder" if "." in argument else "250 there")


@pytest.mark.parametrize("more", [{}, {"MDTM": "500 what?"}], ids=["MDTM", "no MDTM"])
def test_a_server_without_size_that_ignores_rest_is_read_from_the_start(board, more):
    big = bytes(range(256)) * 400

    def cut(session, argument):
        with session.begin() as data:
            data.sendall(session.content(argument)[:30000])
            time.sleep(0.2)  # it arrives before the end
            session.close()

    def whole(session, argument):
        with session.begin() as data:
            data.sendall(session.content(argument))
        session.say("226 done")

    files = {"app_1.0.0.2.py": big, "b.py": b"B = 1\n"}
    with ScriptedServer(files, RETR=[cut, whole], REST="350 go on", CWD=enter, **OLD_SERVER, **more) as server:
        lines = board.run(server)
    assert lines[-1] == "True", lines
    assert any("going on at byte 30000" in line for line in lines)
    assert board.files() == on_flash(files)


def test_a_cut_in_every_part_of_a_session_is_overcome_or_put_off(board, folder):
    make_big(folder, 2, 3000)
    with Server(folder) as server:
        board.run(server, "await make(ask=lambda r: False).update()")
        commands = len(server.commands)
    for path in list(board.files()):
        (board.root / path).unlink()
    for number in range(0, commands, 3):
        seen = []

        def before(command, argument, number=number, seen=seen):
            seen.append(command)
            if len(seen) == number:
                raise ConnectionResetError

        with Server(folder, before=before) as server:
            lines = board.run(server, "print(await make().update())\nprint(await make().update())")
            server.forgive(ConnectionResetError)
        assert "True" in lines[-2:] or lines[-1] == "False", lines
        assert "app.py" in board.files()
        assert not any(path.endswith(".ota-new") for path in board.files())
        for path in [*board.files(), ".otalink/installed"]:
            (board.root / path).unlink()


def test_a_server_that_restarts_in_mid_download_is_waited_for(board, folder):
    files = make_big(folder, 3, 60000)
    downs = []

    def during(name, sent):
        if sent >= 30000 and not downs:
            downs.append(name)
            server.go_down(0.4)

    with Server(folder, during=during) as server:
        lines = board.run(server, retry_delay=0.2)
    assert lines[-1] == "True", lines
    assert downs
    assert board.files() == on_flash(files)
    assert sum(server.sent.values()) <= 180000 + 5000 + 30 * 4096


def test_a_server_that_is_gone_for_good_is_given_up_and_what_is_whole_is_not_fetched_again(board, folder):
    board.put(OLD)
    files = make_big(folder, 3, 60000)

    def during(name, sent):
        if name == "part0.bin" and sent >= 30000:
            server.go_down()

    with Server(folder, during=during) as server:
        lines = board.run(server, attempts=3, retry_delay=0.05)
    assert lines[-1] == "False"
    assert lines[-2].endswith(
        "connection refused: is the server running, and is this its port?; given up until the next check"
    )
    assert sum("going on at byte" in line for line in lines) <= 4
    assert board.files() == OLD | {"app.py.ota-new": files["app_1.0.0.5.py"]}
    with Server(folder) as server:
        board.install(server)
    assert "app_1.0.0.5.py" not in server.sent
    assert board.files() == OLD | on_flash(files)


def test_an_unreachable_server_is_one_line(board, folder):
    with Server(folder) as server:
        port = server.port
    board.put(OLD)
    lines = board.run(server)
    assert lines == [
        f"FTP server 127.0.0.1:{port}: connection refused: is the server running, and is this its port?",
        "False",
    ]
    assert board.files() == OLD


def test_a_network_that_does_not_lead_there_is_one_line_that_says_so(refused, folder):
    # No TCP connection can be made to a broadcast address.
    host = "255.255.255.255"
    with Server(folder) as server:
        line = refused(server, host=host)
        assert re.fullmatch(
            rf"FTP server {host}:{server.port}: cannot be reached \(error \d+\): "
            r"is the network up, and is this its address\?",
            line,
        )


def test_a_wrong_password_is_one_line_without_the_password(refused, folder):
    with Server(folder) as server:
        line = refused(server, password="wr0ng-word")
    assert "refused the login of bob (check user and password): 530" in line
    assert "wr0ng" not in line


def test_a_folder_that_is_not_there_is_one_line(refused, folder):
    with Server(folder) as server:
        assert "refused CWD /nowhere: 550" in refused(server, folder="/nowhere")


def test_an_empty_folder_is_one_line(refused, folder):
    publish(folder, {}, with_sums=False)
    for lacks in ((), ("MLSD",)):
        with Server(folder, lacks) as server:
            assert refused(server) == "no release of app on 127.0.0.1 in /"


# The folder changes under the download


def at_first(kind, change):
    """Calls `change` once, ahead of the first command of that kind."""
    done = []

    def before(command, argument):
        if f"{command} {argument}".strip().startswith(kind) and not done:
            done.append(command)
            change()

    return before


CHANGES = {
    "a file is replaced": lambda folder: write(folder, {"display.py": b"print('replaced')\n"}),
    "a file is added": lambda folder: write(folder, {"added.py": b"added"}),
    "a file is removed": lambda folder: (folder / "display.py").unlink(),
    "a new version": lambda folder: write(folder, {"app_1.0.0.2.py": b"VERSION = 2\n"}),
}


@pytest.mark.parametrize("when", ["RETR app_", "RETR font.bin"])
@pytest.mark.parametrize("lacks", [(), ("MLSD",)], ids=len)
@pytest.mark.parametrize("change", CHANGES)
def test_a_folder_that_changes_during_the_download_is_fetched_anew(board, folder, change, lacks, when):
    publish(folder, FLAT, with_sums=False)
    with Server(folder, lacks, before=at_first(when, lambda: CHANGES[change](folder))) as server:
        lines = board.run(server)
    assert lines[-1] == "True", lines
    assert "the folder on the server changed during the download: starting over" in lines
    now = {path.name: path.read_bytes() for path in folder.iterdir()}
    if "app_1.0.0.2.py" in now:
        del now["app_1.0.0.1.py"]
    assert board.files() == on_flash(now)
    assert board.state() == ["installed"]


@pytest.mark.parametrize("when", ["RETR app_", "RETR display.py", "RETR lib/font.bin"])
def test_another_release_that_is_published_during_the_download_is_taken_whole(board, folder, when):
    change = at_first(when, lambda: publish(folder, TWO | {"lib/font.bin": b"new"}))
    with Server(folder, before=change) as server:
        lines = board.run(server)
    assert lines[-1] == "True", lines
    assert "the folder on the server changed during the download: starting over" in lines
    assert board.files() == on_flash(TWO | {"lib/font.bin": b"new"})
    assert board.installed()[1] == (1, 0, 0, 2)


def test_sums_that_are_replaced_during_the_download_are_read_again(board, folder):
    more = ONE | {"more.py": b"more"}

    def change():
        write(folder, {"more.py": b"more", "SHA256SUMS": sums(more)})

    with Server(folder, before=at_first("RETR lib/font.bin", change)) as server:
        board.install(server)
    assert board.files() == on_flash(more)


def test_a_file_that_is_replaced_in_mid_transfer_is_never_mixed(board, folder):
    files = make_big(folder, 2, 60000, with_sums=False)
    other = files | {"part0.bin": os.urandom(70000)}
    replaced = []

    def during(name, sent):
        if name == "part0.bin" and sent >= 30000 and not replaced:
            replaced.append(name)
            publish(folder, other, with_sums=False)

    with Server(folder, cuts=[60000, 40000], during=during) as server:
        lines = board.run(server)
    assert lines[-1] == "True", lines
    assert board.files() == on_flash(other)


def test_a_folder_that_changes_all_the_time_is_given_up_until_the_next_check(board, folder):
    number = [0]

    def before(command, argument):
        if command == "RETR" and argument.startswith("lib/"):
            number[0] += 1
            publish(folder, ONE | {"lib/font.bin": b"%d" % number[0]})

    board.put(OLD)
    with Server(folder, before=before) as server:
        lines = board.run(server)
    assert lines[-2:] == ["the folder on the server changes all the time: given up until the next check", "False"]
    assert sum("starting over" in line for line in lines) == 3
    assert {path: data for path, data in board.files().items() if not path.endswith(".ota-new")} == OLD


# The folder is wrong


def test_sums_without_the_versioned_file_mean_that_it_is_being_published(refused, board, folder):
    write(folder, {"app_1.0.0.2.py": TWO["app_1.0.0.2.py"]})
    with Server(folder) as server:
        line = refused(server)
        assert line == "SHA256SUMS does not list app_1.0.0.2.py: the folder is being published, or left half done"
        publish(folder, TWO)
        board.install(server)
    assert board.files() == on_flash(TWO)


@pytest.mark.parametrize("name", ["app_1.0.0.1.py", "display.py", "lib/font.bin"])
def test_a_file_that_does_not_match_its_sum_is_refused_and_nothing_of_the_release_stays(refused, board, folder, name):
    board.put(OLD)
    write(folder, {name: ONE[name][:-1] + b"?"})
    with Server(folder) as server:
        line = refused(server)
    target = name.replace("_1.0.0.1", "")
    assert line == f"{target}: its SHA-256 is not the promised one: publish {name} again"
    assert board.files() == OLD


def test_a_listed_file_that_is_missing_is_named(board, folder):
    (folder / "display.py").unlink()
    with Server(folder) as server:
        lines = board.run(server)
    assert lines[-2] == "display.py belongs to the release and is not on the server: publish it again"


ZERO = digest(b"")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (f"{ZERO}  ../x", "path ../x: it must be relative"),
        (f"{ZERO}  lib/../../x", "it must be relative"),
        (f"{ZERO}  /etc/x", "path /etc/x: it must be relative"),
        (f"{ZERO}  otalink.json", "/otalink.json and /.otalink belong to the board"),
        (f"{ZERO}  .otalink/installed", "/otalink.json and /.otalink belong to the board"),
        (f"{ZERO}  ./.otalink/x", "/otalink.json and /.otalink belong to the board"),
        (f"{ZERO}  x.ota-new", ".ota-new and .ota-old are otalink's own"),
        (f"{ZERO}  a.ota-old/x", ".ota-new and .ota-old are otalink's own"),
        (f"{ZERO}  a//x", "without empty parts"),
        (f"{ZERO}  a\\x", "backslashes"),
        (f"{ZERO}  {'x' * 241}", "1 to 240 bytes"),
        (f"{ZERO}  display.py", "SHA256SUMS lists display.py twice"),
        (f"{ZERO}  app.py", "would both be app.py on the board: remove one"),
        (f"{ZERO}  lib", "lib is both a file and a folder of the release"),
        (f"{ZERO[1:]}  y", "not a line of sha256sum"),
        (f"{'g' * 64}  y", "64 lower-case hexadecimal digits"),
        (f"SHA256 (y) = {ZERO}", "not a line of sha256sum"),
        ("x" * 5000, "SHA256SUMS is no list of files"),
        (b"\xff\xfe" + f"{ZERO}  y".encode("utf-16-le"), "SHA256SUMS: it is not UTF-8"),
        (f"{ZERO}  ".encode() + b"\xe9.py", "SHA256SUMS: it is not UTF-8"),
    ],
)
def test_sums_that_are_wrong_are_refused_with_the_reason(refused, board, folder, line, reason):
    board.put(OLD)
    data = line if isinstance(line, bytes) else line.encode()
    write(folder, {"SHA256SUMS": sums(ONE) + data + b"\n"})
    with Server(folder) as server:
        assert reason in refused(server)


def test_huge_sums_are_refused_in_bounded_memory(refused, board, folder):
    board.put(OLD)
    write(folder, {"SHA256SUMS": sums(ONE) * 5000})
    with Server(folder) as server:
        assert "SHA256SUMS is over 32768 bytes" in refused(server)
        write(folder, {"SHA256SUMS": b"".join(f"{ZERO}  d/{n}\n".encode() for n in range(30000))})
        assert "SHA256SUMS is over 32768 bytes" in refused(server)
        write(folder, {"SHA256SUMS": b"".join(f"{ZERO}  d/{n}\n".encode() for n in range(400))})
        assert "the memory is too small" in refused(server, heap="160k")


@pytest.mark.parametrize("with_sums", [True, False])
def test_two_applications_in_a_folder_are_refused(refused, board, folder, with_sums):
    board.put(OLD)
    publish(folder, FLAT | {"heater_1.0.py": b""}, with_sums=with_sums)
    with Server(folder) as server:
        line = refused(server)
    assert line == "the folder holds two applications, app and heater: give each a folder of its own"


def test_a_folder_of_another_application_alone_is_named(refused, folder):
    publish(folder, {"heater_1.0.py": b""})
    with Server(folder) as server:
        assert refused(server) == "the folder holds heater and no release of app: check the name and the folder"


def test_two_files_of_the_same_version_are_refused(refused, folder):
    write(folder, {"app_1.0.0.1.mpy": b"", "app_1.0.0.mpy": b""})
    with Server(folder) as server:
        line = refused(server)
    assert line == "app_1.0.0.1.mpy and app_1.0.0.1.py are the same version: leave one of them in the folder"


@pytest.mark.parametrize("name", ["app_1_0.py", "app_1.0a.py", "app_1.65536.py", "app_1.py.part", "app_"])
def test_a_misnamed_release_alone_is_named_with_the_reason(refused, folder, name):
    publish(folder, {name: b""}, with_sums=False)
    with Server(folder) as server:
        line = refused(server)
    assert line.startswith(f"no release of app in the folder: passed over {name}: ")


@pytest.mark.parametrize("with_sums", [True, False])
@pytest.mark.parametrize(
    ("here", "line"),
    [
        ({"display.py/x": b""}, "display.py is a folder on the board and a file of the release: remove one of them"),
        ({"app.py/x": b""}, "app.py is a folder on the board and a file of the release: remove one of them"),
    ],
)
def test_a_file_in_a_folders_place_is_refused(refused, board, folder, here, line, with_sums):
    board.put(here)
    publish(folder, FLAT, with_sums=with_sums)
    with Server(folder) as server:
        assert refused(server) == line


def test_a_folder_in_a_files_place_is_refused(refused, board, folder):
    board.put({"lib": b"a file"})
    with Server(folder) as server:
        assert refused(server) == "lib is a file on the board and a folder of the release: remove one"


@pytest.mark.parametrize("with_sums", [True, False])
def test_a_release_without_the_main_py_that_it_would_remove_is_refused_before_anything_is_fetched(
    refused, board, folder, with_sums
):
    publish(folder, FLAT | {"main.py": b"import app\n"}, with_sums=with_sums)
    with Server(folder) as server:
        board.install(server)
        publish(folder, FLAT_TWO, with_sums=with_sums)
        before = written(board.root)
        for _ in range(2):
            server.commands.clear()
            assert refused(server) == (
                "the release has no main.py, and would remove the one that starts the application: "
                "publish main.py with it"
            )
            assert server.fetched() == (["SHA256SUMS"] if with_sums else [])
        assert written(board.root) == before
        publish(folder, FLAT_TWO | {"main.py": b"import app\n"}, with_sums=with_sums)
        board.install(server)
    assert board.files() == on_flash(FLAT_TWO) | {"main.py": b"import app\n"}


def written(folder):
    # What says whether anything was written: an empty folder, or a name for a moment, counts too.
    found = {}
    for path in [folder, *folder.rglob("*")]:
        status = path.stat()
        found[str(path)] = status.st_ino, status.st_size, status.st_mtime_ns
    return found


def test_a_main_py_that_no_release_brought_or_that_is_gone_already_is_no_reason_to_refuse(board, folder):
    board.put({"main.py": b"by hand"})
    with Server(folder) as server:
        board.install(server)
        publish(folder, TWO | {"main.py": b"import app\n"})
        board.install(server)
        (board.root / "main.py").unlink()
        publish(folder, {"app_1.0.0.3.py": b"VERSION = 3\n"})
        board.install(server)
    assert board.files() == {"app.py": b"VERSION = 3\n"}


def names(*raw):
    """What NLST answers: the files, and names that are none."""

    def answer(session, argument):
        with session.begin() as data:
            data.sendall(session.listing("NLST") + b"".join(name + b"\r\n" for name in raw))
        session.say("226 done")

    return answer


@pytest.mark.parametrize("name", [b"a\rb.txt", b"a\0b.txt", b"app_2.0\r.py"])
def test_a_name_that_no_command_can_carry_is_passed_over(board, name):
    files = {"app_1.0.0.2.py": b"VERSION = 2\n", "b.py": b"B = 1\n"}
    with ScriptedServer(files, MLSD="500 what?", NLST=names(name), CWD=enter) as server:
        lines = board.run(server)
    assert lines[-1] == "True", lines
    assert board.files() == on_flash(files)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (b"caf\xe9.txt", "caf?.txt in the listing has a name that is not UTF-8: rename it"),
        (b"b?.txt", "b?.txt is in the listing and cannot be read: check its permissions"),
        ("é.txt".encode(), "é.txt is in the listing and cannot be read: check its permissions"),
    ],
)
def test_a_name_in_the_listing_that_the_server_does_not_know_is_refused_with_the_reason(refused, name, reason):
    with ScriptedServer({"app_1.0.0.2.py": b""}, MLSD="500 what?", NLST=names(name), CWD=enter) as server:
        assert refused(server) == reason


def test_a_release_that_is_a_folder_is_refused(refused, folder):
    publish(folder, {})
    publish(folder, {"app_1.0.0.1.py/x": b"", "y": b""}, with_sums=False)
    with Server(folder) as server:
        assert refused(server) == "no release of app on 127.0.0.1 in /"
    with Server(folder, ("MLSD",)) as server:
        assert refused(server) == "app_1.0.0.1.py is a folder: a release is a file of that name"


# The board's own state


@pytest.mark.parametrize(
    "record",
    [b"", b"otalink 1 9\n", b"\xff\xfe\x00", b"otalink 2 10\nx\n", os.urandom(5000), b"otalink 1 999999999999\n", None],
)
def test_a_broken_record_is_said_and_the_next_update_mends_it(board, folder, record):
    board.put({"own.txt": b"own"})
    with Server(folder) as server:
        board.install(server)
        path = board.root / ".otalink" / "installed"
        path.write_bytes(path.read_bytes()[:150] if record is None else record)
        lines = board.run(server)
        if record is not None:
            assert "/.otalink/installed cannot be read" in lines[0]
            assert lines[-1] == "True"
        publish(folder, TWO)
        board.install(server)
    assert board.files().items() >= (on_flash(TWO) | {"own.txt": b"own"}).items()
    assert board.installed()[1] == (1, 0, 0, 2)


def test_a_record_that_names_what_no_release_may_removes_nothing(board, folder):
    with Server(folder) as server:
        board.install(server)
        (board.root.parent / "outside").write_bytes(b"outside")
        record = board.root / ".otalink" / "installed"
        text = record.read_text().replace(" display.py", " ../outside").replace("otalink 1 ", "otalink 1 9")
        record.write_text(text)
        publish(folder, TWO)
        board.install(server)
    assert (board.root.parent / "outside").exists()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"name": "app", ', "otalink.json is no JSON: check its commas, quotes and braces"),
        ("", "otalink.json is no JSON: check its commas, quotes and braces"),
        (b"\xff\xfe\x00{", "otalink.json is no JSON: check its commas, quotes and braces"),
        ("[1]", "the settings must be a JSON object"),
        ('{"host": "h"}', "otalink.json: name is missing"),
        ('{"name": "app"}', "otalink.json: host is missing"),
        ('{"name": "a_b", "host": "h"}', "name a_b: only letters"),
        ('{"name": "app", "host": "h", "port": "21"}', "port must be a number from 1 to 65535, not '21'"),
        ('{"name": "app", "host": "h", "password": 5}', "password must be text"),
        ('{"name": "app", "host": "h", "password": "s3cret-P\\n"}', "password must not hold line ends"),
        (None, "otalink.json cannot be read: put it on the board"),
    ],
)
def test_settings_that_cannot_be_used_are_one_line_and_the_application_starts(board, folder, text, reason):
    body = f"""
        text = {text!r}
        os.remove("otalink.json")
        if text is not None:
            with open("otalink.json", "wb") as file:
                file.write(text)
        updater = make(config="otalink.json")
        await updater.run()
        print("the application starts")
        print(await updater.update(), updater.installed())
        await attempt(updater.check())
    """
    with Server(folder) as server:
        lines = board.run(server, body)
    assert reason in lines[0]
    assert lines[0].endswith("; no updates until then")
    assert lines[1:] == ["the application starts", lines[0], "False None", f"ValueError {lines[0]}"]
    assert not any("s3cret" in line for line in lines)


def test_settings_in_a_dict_that_cannot_be_used_are_the_callers_mistake(board, folder):
    body = "try:\n    make(config={'name': 'app'})\nexcept ValueError as error:\n    print(error)"
    with Server(folder) as server:
        lines = board.run(server, body)
    assert lines == ["host is missing"]


def test_a_setting_that_is_not_known_is_a_message_and_no_failure(board, folder):
    with Server(folder) as server:
        lines = board.run(server, intervall=5, colour="red")
    assert lines[0] == "settings that this otalink does not know: colour, intervall"
    assert lines[-1] == "True"


# Whatever else fails


@pytest.mark.parametrize("what", ["progress", "ask", "message"])
@pytest.mark.parametrize("error", ["MemoryError", "ValueError('boom')", "KeyError('boom')", "OSError(5)"])
def test_what_the_application_raises_comes_out_of_no_update(board, folder, what, error):
    board.put(OLD)
    body = f"""
        def fail(*arguments):
            raise {error}
        updater = make(**{{"message": None, {what!r}: fail}})
        print(await updater.update())
        print(updater.messages[-1])
    """
    with Server(folder) as server:
        lines = board.run(server, body)
    if what == "message":
        assert lines[0] == "True"
        return
    assert lines[0] == "False"
    assert len(lines) == 2
    assert "memory" in lines[1] if error == "MemoryError" else "boom" in lines[1] or "OSError" in lines[1]
    assert {path: data for path, data in board.files().items() if not path.endswith(".ota-new")} == OLD


def test_too_small_a_heap_is_one_line_and_nothing_changes(board, folder):
    board.put(OLD)
    make_big(folder, 8, 2000)
    body = """
        updater = make(message=None)
        gc.collect()
        hog = []
        size = 4096
        while size > 64:
            try:
                hog.append(bytearray(size))
            except MemoryError:
                size //= 2
        # A little is left for what the test itself prints.
        for _ in range(8):
            hog.pop()
        ended = await updater.update()
        hog = None
        print(ended, updater.messages[-1])
    """
    with Server(folder) as server:
        lines = board.run(server, body, heap="300k")
    assert lines[-1].startswith("False the memory is too small for the update")
    assert {path: data for path, data in board.files().items() if not path.endswith(".ota-new")} == OLD


def test_a_server_that_comes_back_later_is_found_by_run(board, folder):
    with Server(folder) as server:
        port = server.port
    committed = board.root / ".otalink" / "committed"

    def serve():
        # Not before the board has found nobody there.
        wait_for((board.root / "tried").exists)
        with Server(folder, port=port):
            wait_for(committed.exists)

    thread = threading.Thread(target=serve)
    thread.start()
    lines = board.run(
        server,
        """
        def show(line):
            print(line)
            open("board/tried", "w").close()

        updater = make(message=show)
        task = asyncio.create_task(updater.run())
        for _ in range(2000):
            await asyncio.sleep_ms(10)
            if any("is committed" in line for line in updater.messages):
                break
        task.cancel()
        """,
        interval=1,
        jitter=0,
    )
    thread.join()
    assert "connection refused" in lines[0]
    assert "app 1.0.0.1 is committed: it takes effect when the board restarts" in lines
    assert board.files() == on_flash(ONE) | {"tried": b""}
