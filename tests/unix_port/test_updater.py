"""The update of a board from a plain folder on a real FTP server, as docs/update.md promises it."""

import os
import re

import pytest
from updater_support import GUARD, Server, digest, publish, sums, write

ONE = {"app_1.0.0.1.py": b"VERSION = 1\n", "lib/font.bin": bytes(range(256)) * 40, "display.py": b"print('one')\n"}
TWO = {"app_1.0.0.2.py": b"VERSION = 2\n", "lib/font.bin": bytes(range(256)) * 40, "net.py": b"NET = 2\n"}
FLAT = {"app_1.0.0.1.py": b"VERSION = 1\n", "font.bin": bytes(range(256)) * 40, "display.py": b"print('one')\n"}
FLAT_TWO = {"app_1.0.0.2.py": b"VERSION = 2\n", "font.bin": bytes(range(256)) * 40, "display.py": b"print('two!')\n"}


def on_flash(files):
    """What a release's files are on the board: the versioned one without its version."""
    return {re.sub(r"^(app)_[0-9.]+\.", r"\1.", path): data for path, data in files.items()}


@pytest.fixture
def folder(tmp_path):
    """The server's folder, with release 1.0.0.1 in it."""
    folder = tmp_path / "served"
    publish(folder, ONE)
    return folder


def make_big(folder, count=8, size=25000, version="1.0.0.5", with_sums=True):
    files = {f"part{i}.bin": os.urandom(size) for i in range(count - 1)} | {f"app_{version}.py": os.urandom(size)}
    publish(folder, files, with_sums=with_sums)
    return files


# What an update does


def test_a_release_is_installed_whole_and_recorded_and_nothing_else_is_left(board, folder):
    with Server(folder) as server:
        lines = board.run(server)
    assert lines[-1] == "True"
    assert board.files() == on_flash(ONE)
    expected = {path: (digest(data), len(data)) for path, data in on_flash(ONE).items()}
    assert board.installed() == ("app", (1, 0, 0, 1), expected)
    assert board.state() == ["installed"]


def test_the_next_release_brings_what_differs_and_removes_what_is_gone(board, folder):
    board.put({"settings.json": b"{}", "lib/certificate.der": b"DER", "data/log": b"log"})
    with Server(folder) as server:
        board.install(server)
        publish(folder, TWO)
        server.sent.clear()
        board.install(server)
    others = {"settings.json": b"{}", "lib/certificate.der": b"DER", "data/log": b"log"}
    assert board.files() == on_flash(TWO) | others
    assert board.installed()[1] == (1, 0, 0, 2)
    assert set(server.sent) == {"SHA256SUMS", "app_1.0.0.2.py", "net.py"}


def test_a_folder_that_the_new_release_empties_is_removed(board, folder):
    publish(folder, ONE | {"deep/er/a.py": b"a", "deep/b.py": b"b", "user/c.py": b"c"})
    board.put({"user/own": b"own"})
    with Server(folder) as server:
        board.install(server)
        publish(folder, TWO)
        board.install(server)
    assert sorted(set(os.listdir(board.root)) - set(GUARD)) == [".otalink", "app.py", "lib", "net.py", "user"]
    assert os.listdir(board.root / "user") == ["own"]


def test_a_file_that_no_release_named_is_never_touched_even_where_one_release_has_its_like(board, folder):
    board.put({"display.py": b"mine", "notes.py": b"mine"})
    publish(folder, TWO)
    with Server(folder) as server:
        board.install(server)
    assert board.files()["display.py"] == b"mine"
    assert board.files()["notes.py"] == b"mine"


def test_a_file_of_the_release_that_is_gone_already_is_no_trouble(board, folder):
    with Server(folder) as server:
        board.install(server)
        (board.root / "display.py").unlink()
        publish(folder, TWO)
        board.install(server)
    assert board.files() == on_flash(TWO)


def test_an_equal_file_is_neither_fetched_nor_written(board, folder):
    with Server(folder) as server:
        board.install(server)
        before = (board.root / "lib" / "font.bin").stat()
        publish(folder, TWO)
        server.sent.clear()
        board.install(server)
    after = (board.root / "lib" / "font.bin").stat()
    assert "font.bin" not in server.sent
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_content_decides_and_not_the_record(board, folder):
    with Server(folder) as server:
        board.install(server)
        font = board.root / "lib" / "font.bin"
        font.write_bytes(font.read_bytes()[:-1] + b"!")
        publish(folder, TWO)
        board.install(server)
    assert board.files() == on_flash(TWO)


@pytest.mark.parametrize("lacks", [(), ("MLSD",), ("MLSD", "SIZE"), ("MLSD", "SIZE", "MDTM")], ids=len)
def test_without_sums_all_is_fetched_and_only_what_differs_is_written(board, folder, lacks):
    publish(folder, FLAT, with_sums=False)
    with Server(folder, lacks) as server:
        board.install(server)
        assert board.files() == on_flash(FLAT)
        font = (board.root / "font.bin").stat()
        publish(folder, FLAT_TWO, with_sums=False)
        server.sent.clear()
        lines = board.run(server)
    assert lines[-1] == "True"
    assert board.files() == on_flash(FLAT_TWO)
    assert set(server.sent) == set(FLAT_TWO)
    assert "font.bin: unchanged" in lines
    assert (board.root / "font.bin").stat().st_mtime_ns == font.st_mtime_ns
    assert (board.root / "font.bin").stat().st_ino == font.st_ino
    expected = {path: (digest(data), len(data)) for path, data in on_flash(FLAT_TWO).items()}
    assert board.installed() == ("app", (1, 0, 0, 2), expected)
    assert board.state() == ["installed"]


def test_without_sums_a_file_of_the_same_size_is_compared_by_content(board, folder):
    publish(folder, FLAT, with_sums=False)
    with Server(folder) as server:
        board.install(server)
        changed = FLAT | {"display.py": b"print('two')\n", "app_1.0.0.2.py": b"VERSION = 2\n"}
        del changed["app_1.0.0.1.py"]
        publish(folder, changed, with_sums=False)
        board.install(server)
    assert board.files() == on_flash(changed)


@pytest.mark.parametrize("lacks", [(), ("MLSD",), ("MLSD", "SIZE")], ids=len)
def test_without_sums_folders_are_passed_over_with_a_message(board, folder, lacks):
    publish(folder, FLAT | {"lib/x.py": b"x", "other/y.py": b"y"}, with_sums=False)
    with Server(folder, lacks) as server:
        lines = board.run(server)
    assert lines[-1] == "True"
    assert board.files() == on_flash(FLAT)
    assert "passed over lib: folders need a SHA256SUMS beside them" in lines
    assert "passed over other: folders need a SHA256SUMS beside them" in lines


@pytest.mark.parametrize("where", ["served", "./served/", "/served", "//served//"])
def test_a_folder_may_be_given_absolute_relative_or_with_doubled_slashes(board, folder, where):
    publish(folder, FLAT | {"lib/x.py": b"x"}, with_sums=False)
    for lacks in ((), ("MLSD",)):
        with Server(folder.parent, lacks) as server:
            board.install(server, folder=where)
        assert board.files() == on_flash(FLAT)
        (board.root / ".otalink" / "installed").unlink()


def test_sums_bring_subfolders_from_a_server_that_knows_only_names(board, folder):
    for lacks in (("MLSD",), ("MLSD", "SIZE", "MDTM", "REST"), ("EPSV", "MLSD", "SIZE")):
        with Server(folder, lacks) as server:
            board.install(server)
        assert board.files() == on_flash(ONE)
        for path in ("app.py", "lib/font.bin", ".otalink/installed"):
            (board.root / path).unlink()


def test_other_files_beside_are_ordinary_or_ignored(board, folder):
    publish(folder, FLAT | {"wifi_manager.py": b"wifi", "font_8.py": b"font"}, with_sums=False)
    write(folder, {"other_9.0.ota": b"ota", "other_1.0.ota": b"ota", ".upload": b"half", "app_0.9.py": b"old"})
    with Server(folder) as server:
        board.install(server)
    assert board.files() == on_flash(FLAT) | {"wifi_manager.py": b"wifi", "font_8.py": b"font"}
    assert board.installed()[1] == (1, 0, 0, 1)


def test_what_begins_with_the_name_and_is_no_release_is_passed_over_with_a_message(board, folder):
    publish(folder, ONE)
    write(folder, {"app_settings.json": b"{}", "app_1.0.b.py": b"", "app_1.0_2.py": b"", "app_70000.py": b""})
    with Server(folder) as server:
        lines = board.run(server)
        again = board.run(server)
    assert board.files() == on_flash(ONE)
    for name, reason in (("settings.json", "number"), ("1.0.b.py", "number"), ("1.0_2.py", "exactly one underscore")):
        assert any(f"passed over app_{name}" in line and reason in line for line in lines)
        assert any(f"passed over app_{name}" in line for line in again)  # whoever misnamed a release finds out
    assert any("app_70000.py" in line and "65535" in line for line in lines)


def test_with_sums_files_beside_it_do_not_count(board, folder):
    write(folder, {"readme.txt": b"not listed", "lib/more.py": b"not listed"})
    with Server(folder) as server:
        board.install(server)
    assert board.files() == on_flash(ONE)


def test_sums_may_be_written_by_any_tool(board, folder):
    by_sha256sum, by_find, in_capitals = sums(ONE).decode().splitlines()
    digits, _, name = in_capitals.partition("  ")
    lines = [by_sha256sum.replace("  ", " *"), by_find.replace("  ", "  ./"), "", f"{digits.upper()}  {name}"]
    text = "\r\n".join(lines)
    write(folder, {"SHA256SUMS": text.encode()})
    with Server(folder) as server:
        lines = board.run(server)
    assert lines[-1] == "True", lines
    assert board.files() == on_flash(ONE)


# Versions


def test_the_latest_version_is_left_alone(board, folder):
    with Server(folder) as server:
        board.install(server)
        server.commands.clear()
        lines = board.run(server)
    assert lines == ["app 1.0.0.1 is the latest version", "False"]
    assert server.fetched() == []


def test_newer_never_goes_back_and_differs_does(board, folder):
    publish(folder, TWO)
    with Server(folder) as server:
        board.install(server)
        publish(folder, ONE)
        assert board.run(server) == ["the server offers app 1.0.0.1, older than 1.0.0.2 here", "False"]
        assert board.files() == on_flash(TWO)
        board.install(server, policy="differs")
        assert board.files() == on_flash(ONE)
        assert board.run(server, policy="differs") == ["app 1.0.0.1 is the latest version", "False"]


def test_versions_compare_by_number(board, folder):
    publish(folder, {"app_1.0.0.9.py": b"9"})
    with Server(folder) as server:
        board.install(server)
        publish(folder, {"app_1.0.0.10.py": b"10"})
        board.install(server)
    assert board.files() == {"app.py": b"10"}


def test_a_record_of_another_application_is_no_version_of_this_one_and_its_files_go(board, folder):
    publish(folder, {"old_7.0.py": b"old", "old.txt": b"old"})
    with Server(folder) as server:
        board.install(server, name="old")
        publish(folder, ONE)
        board.install(server)
    assert board.files() == on_flash(ONE)
    assert board.installed()[0] == "app"


def test_a_source_that_hides_a_compiled_file_is_said(board, folder):
    board.put({"app.py": b"by hand"})
    publish(folder, {"app_1.0.mpy": b"M"})
    with Server(folder) as server:
        lines = board.run(server)
    assert "app.py hides app.mpy: MicroPython imports the source; remove it" in lines
    assert board.files() == {"app.py": b"by hand", "app.mpy": b"M"}


def test_from_source_to_compiled_the_old_file_goes(board, folder):
    with Server(folder) as server:
        board.install(server)
        publish(folder, {"app_2.0.mpy": b"M"})
        lines = board.run(server)
    assert board.files() == {"app.mpy": b"M"}
    assert not any("hides" in line for line in lines)


# What the user sees and decides


@pytest.mark.parametrize("with_sums", [True, False])
@pytest.mark.parametrize("lacks", [(), ("MLSD", "SIZE")], ids=len)
def test_the_percentage_rises_and_ends_at_100(board, folder, with_sums, lacks):
    make_big(folder, 3, with_sums=with_sums)
    board.put({"part0.bin": (folder / "part0.bin").read_bytes()[:-1] + b"!"})
    with Server(folder, lacks, cuts=[30000 if not lacks else 20000]) as server:
        lines = board.run(
            server,
            """
            seen = []
            updater = make(message=None, progress=lambda done, total: seen.append((done, total, updater.percent)))
            print(await updater.update())
            print(all(0 <= done <= total for done, total, _ in seen))
            percents = [percent for _, _, percent in seen]
            print(percents == sorted(percents), percents[-1], updater.percent, percents.count(100))
            print(len(percents))
            """,
        )
    assert lines[:3] == ["True", "True", "True 100 100 1"]
    assert 1 <= int(lines[3]) <= 101
    if not lacks:
        assert int(lines[3]) > 10


def test_download_reports_to_the_callable_it_was_given(board, folder):
    with Server(folder) as server:
        lines = board.run(
            server,
            """
            updater = make(message=None, progress=lambda *done: print("wrong"))
            release = await updater.check()
            print(release.name, release.version)
            await updater.download(release, progress=lambda done, total: print(done == total))
            await updater.apply(restart="none")
            """,
        )
    assert lines[0] == "app (1, 0, 0, 1)"
    assert lines[-1] == "True"
    assert "wrong" not in lines
    assert board.files() == on_flash(ONE)


def test_the_last_ten_messages_are_kept_and_each_goes_to_the_callable(board, folder):
    publish(folder, {f"f{i}.py": b"%d" % i for i in range(30)} | {"app_1.0.py": b""})
    with Server(folder) as server:
        lines = board.run(
            server,
            """
            said = []
            updater = make(message=said.append)
            await updater.update()
            print(len(said) > 30, len(updater.messages), updater.messages == said[-10:])
            print(said[-1])
            """,
        )
    assert lines == ["True 10 True", "app 1.0.0.0 is committed: it takes effect when the board restarts"]


@pytest.mark.parametrize("ask", ["lambda release: False", "later"])
@pytest.mark.parametrize("with_sums", [True, False])
def test_an_update_is_put_off_until_the_user_agrees_and_is_not_fetched_again(board, folder, ask, with_sums):
    files = make_big(folder, 3, with_sums=with_sums)
    prelude = "async def later(release):\n    await asyncio.sleep(0)\n    return False\nimport asyncio\n"
    with Server(folder) as server:
        lines = board.run(server, f"print(await make(ask={ask}).update())", prelude)
        assert lines[-2:] == ["app 1.0.0.5 is put off until the next check", "False"]
        assert not any(path.endswith((".py", ".bin")) for path in board.files())
        assert server.total >= 75000
        server.sent.clear()
        lines = board.run(server, "print(await make(ask=lambda r: r.version == (1, 0, 0, 5)).update())")
    assert lines[-1] == "True"
    assert set(server.sent) == ({"SHA256SUMS"} if with_sums else set(files))
    assert board.files() == on_flash(files)
    assert board.state() == ["installed"]


def test_what_was_put_off_can_be_applied_by_hand(board, folder):
    with Server(folder) as server:
        board.run(server, "updater = make(ask=lambda r: False)\nawait updater.update()\nawait updater.apply()")
    assert board.files() == on_flash(ONE)


def test_a_release_that_is_withdrawn_leaves_nothing_of_its_download(board, folder):
    with Server(folder) as server:
        board.install(server)
        publish(folder, TWO)
        board.run(server, "await make(ask=lambda r: False).update()")
        assert "net.py.ota-new" in board.files()
        publish(folder, ONE)
        board.run(server)
    assert board.files() == on_flash(ONE)
    assert board.state() == ["installed"]


def test_what_was_staged_and_is_of_no_use_now_is_removed(board, folder):
    with Server(folder) as server:
        board.install(server)
        publish(folder, TWO | {"lib/font.bin": b"changed", "new/x.py": b"x"})
        board.run(server, "await make(ask=lambda r: False).update()")
        assert "lib/font.bin.ota-new" in board.files()
        publish(folder, TWO)
        board.install(server)
    assert board.files() == on_flash(TWO)
    assert not (board.root / "new").exists()


@pytest.mark.parametrize(("restart", "called"), [("reset", "reset"), ("soft", "soft_reset")])
def test_the_board_restarts_as_configured_after_the_delay_and_the_commit(board, folder, restart, called):
    prelude = """
        import os, sys
        class machine:
            def reset(): print("reset", sorted(os.listdir("board"))); raise SystemExit
            def soft_reset(): print("soft_reset", sorted(os.listdir("board"))); raise SystemExit
        sys.modules["machine"] = machine
    """
    body = """
        start = time.ticks_ms()
        try:
            await make().update()
        except SystemExit:
            print(time.ticks_diff(time.ticks_ms(), start) >= 300)
    """
    with Server(folder) as server:
        lines = board.run(server, body, prelude, restart=restart, start_delay=0.3)
    assert lines[-4:] == [
        "applying app 1.0.0.1 in 0.3 s",
        "app 1.0.0.1 is committed; restarting",
        f"{called} {sorted(['.otalink', 'app.py.ota-new', 'display.py.ota-new', 'lib', *GUARD])}",
        "True",
    ]


def test_a_board_that_cannot_restart_by_itself_says_so(board, folder):
    with Server(folder) as server:
        lines = board.run(server, restart="soft", prelude="import sys\nsys.modules['machine'] = sys\n")
    assert lines[-3:] == [
        "app 1.0.0.1 is committed; restarting",
        "this board cannot restart by soft: restart it by hand",
        "True",
    ]


def test_run_checks_again_and_again_with_jitter_and_installs(board, folder):
    publish(folder, {}, with_sums=False)
    checks = []

    def before(command, argument):
        checks.extend(["check"] if command == "PASS" else ())
        if len(checks) == 6 and command == "PASS":
            publish(folder, ONE)

    with Server(folder, before=before) as server:
        lines = board.run(
            server,
            """
            said = []
            updater = make(message=said.append)
            slept = []
            import otalink.updater as module
            async def sleep(seconds):
                slept.append(seconds)
                await asyncio.sleep(0)
                if len(slept) == 11:
                    raise asyncio.CancelledError
            module._sleep = sleep
            try:
                await updater.run()
            except asyncio.CancelledError:
                pass
            later = slept[1:]
            print(0 <= slept[0] < 2, all(5 <= s < 7 for s in later), len(set(later)) > 5, said[0])
            """,
            interval=5,
            jitter=2,
        )
    assert lines == ["True True True no release of app on 127.0.0.1 in /"]
    assert server.count("PASS") == 7  # six checks and a download; from then on the release waits for a restart
    assert board.files() == on_flash(ONE)


def test_the_application_runs_on_all_the_while(board, folder):
    make_big(folder, 8, 250_000)
    board.put({"part0.bin": b"!" * 2_000_000})
    with Server(folder) as server:
        lines = board.run(
            server,
            """
            ticker = Ticker()
            task = asyncio.create_task(ticker.run())
            updater = make(message=None)
            start = time.ticks_ms()
            for step in ("check", "download", "apply"):
                before = ticker.count
                if step == "check":
                    release = await updater.check()
                elif step == "download":
                    await updater.download(release)
                else:
                    await updater.apply()
                print(step, ticker.count - before)
            took = time.ticks_diff(time.ticks_ms(), start)
            task.cancel()
            print("gap", ticker.gap, took)
            """,
            start_delay=0.05,
        )
    counts = dict(line.split(" ", 1) for line in lines)
    gap, took = map(int, counts["gap"].split())
    assert int(counts["check"]) > 0
    assert int(counts["download"]) > took / 200
    assert int(counts["apply"]) > 0
    assert gap < 1000


# The API


def test_the_settings_file_is_read_and_both_ways_of_import_work(board, folder):
    body = """
        from otalink import Updater, OtaError, FolderChangedError
        updater = Updater("otalink.json", root="board")
        print(Updater is otalink.Updater, issubclass(FolderChangedError, OtaError), updater.config.name)
        print(await updater.update(), updater.installed())
        try:
            otalink.nonsense
        except AttributeError:
            print("no nonsense")
    """
    with Server(folder) as server:
        lines = board.run(server, body)
    assert lines[0] == "True True app"
    assert lines[-2:] == ["True None", "no nonsense"]  # it is installed when the board restarts
    assert board.installed()[1] == (1, 0, 0, 1)


def test_a_second_update_meanwhile_is_refused_and_the_first_goes_on(board, folder):
    with Server(folder) as server:
        lines = board.run(
            server,
            """
            updater = make(message=None)
            first = asyncio.create_task(updater.update())
            await asyncio.sleep_ms(0)
            print(await updater.update(), updater.messages[-1])
            await attempt(updater.check())
            print(await first)
            """,
        )
    assert lines == [
        "False an update is under way already: wait for its end",
        "ValueError an update is under way already: wait for its end",
        "True",
    ]


def test_finer_steps_raise_what_update_only_says(board, folder):
    write(folder, {"display.py": b"another"})
    with Server(folder) as server:
        lines = board.run(
            server,
            """
            updater = make(message=None)
            await attempt(updater.apply())
            release = await updater.check()
            await attempt(updater.download(release))
            await attempt(updater.apply())
            await attempt(updater.apply(restart="Reset"))
            """,
        )
    assert lines == [
        "ValueError nothing to apply: download a release first",
        "ReleaseError display.py: its SHA-256 is not the promised one: publish display.py again",
        "ValueError nothing to apply: download a release first",
        "ValueError restart must be reset, soft or none, not 'Reset'",
    ]


@pytest.mark.parametrize("when", [0, 5, 30, 80, 200, 300])
def test_an_update_that_is_cancelled_leaves_nothing_open_and_the_next_one_works(board, folder, when):
    files = make_big(folder, 4, 50000)
    # Ten bytes a piece would take for ever: the cancellation comes somewhere on the way.
    with Server(folder, during=lambda *_: __import__("time").sleep(0.002)) as server:
        lines = board.run(
            server,
            f"""
            updater = make(message=None)
            task = asyncio.create_task(updater.run())
            await asyncio.sleep_ms({when})
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                print("cancelled")
            await asyncio.sleep_ms(1)
            gc.collect()
            print(descriptors())
            print(await updater.update() or updater.messages[-1])
            """,
            jitter=0,
        )
    assert lines[0] == "cancelled"
    assert lines[2] in ("True", "an update waits for a restart: restart the board")
    assert board.files() == on_flash(files)
    assert board.state() == ["installed"]


def test_a_watchdog_is_fed_during_an_update_and_at_no_other_time(board, folder):
    with Server(folder) as server:
        lines = board.run(
            server,
            """
            class Watchdog:
                fed = 0
                def feed(self):
                    self.fed += 1
            watchdog = Watchdog()
            updater = make(watchdog=watchdog, message=None)
            task = asyncio.create_task(updater.run())
            await asyncio.sleep_ms(300)
            before = watchdog.fed
            print(await updater.update(), watchdog.fed - before > 10)
            before = watchdog.fed
            await asyncio.sleep_ms(300)
            print(watchdog.fed - before)
            task.cancel()
            """,
            jitter=3600,
        )
    assert lines == ["True True", "0"]


# Phases


def test_after_an_update_only_what_must_stay_is_in_memory(board, folder):
    with Server(folder) as server:
        lines = board.run(
            server,
            """
            print(await make().update())
            print(sorted(name for name in sys.modules if name.startswith("otalink.")))
            print(sorted(name for name in otalink.__dict__ if not name.startswith("__")))
            print("asyncio.stream" in sys.modules, "stream" in asyncio.__dict__, "StreamReader" in asyncio.__dict__)
            """,
            "import sys",
        )
    assert lines[-4] == "True"
    assert lines[-3] == "['otalink.errors', 'otalink.phase', 'otalink.updater']"
    assert lines[-2] == "['errors', 'phase', 'updater']"
    assert lines[-1] == "False False False"


def test_streams_that_the_application_uses_stay(board, folder):
    with Server(folder) as server:
        lines = board.run(
            server,
            """
            before = asyncio.StreamReader
            print(await make(message=None).update(), asyncio.StreamReader is before)
            """,
        )
    assert lines == ["True True"]


@pytest.mark.parametrize(
    ("taken", "configured", "size"), [(False, {}, 4096), (True, {}, 512), (True, {"buffer": 2048}, 2048)]
)
def test_the_buffer_is_small_where_the_heap_is(board, folder, taken, configured, size):
    with Server(folder) as server:
        lines = board.run(
            server,
            f"""
            gc.collect()
            taken = bytearray(gc.mem_free() - 60000) if {taken} else None
            print(len(make()._job.buffer))
            """,
            **configured,
        )
    assert lines == [str(size)]


def test_what_the_application_imported_stays_the_same_and_can_be_imported_again(board, folder):
    with Server(folder) as server:
        lines = board.run(
            server,
            f"""
            from otalink import ftp, version
            from otalink.errors import FtpError as before
            print(await make(message=None).update())
            from otalink import ftp as again, ftp_reply, plain
            from otalink.errors import FtpError as after
            print(again is ftp, version.format_version((1, 2, 0, 0)), before is after, plain.SUMS)
            client = ftp.FtpClient({server.host!r}, {server.port}, "bob", settings["password"])
            print(await client.size("display.py"))
            client.close()
            """,
        )
    assert lines == ["True", "True 1.2.0.0 True SHA256SUMS", str(len(ONE["display.py"]))]


def test_a_release_with_another_otalink_is_not_met_by_the_one_that_runs(board, folder):
    publish(folder, ONE | {"lib/otalink/extra.py": b"extra"})
    with Server(folder) as server:
        lines = board.run(
            server,
            """
            updater = make()
            print(await updater.update())
            print("extra.py" in os.listdir("board/lib/otalink"))
            await updater.update()
            """,
        )
    assert lines[-3:] == ["True", "False", "an update waits for a restart: restart the board"]
    assert board.files() == on_flash(ONE) | {"lib/otalink/extra.py": b"extra"}
