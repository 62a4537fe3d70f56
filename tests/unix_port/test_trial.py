"""A release on trial, as docs/update.md promises it: who confirms it, and what is not done meanwhile."""

import pytest
from updater_support import Server, publish

from otalink.record import format_header

ONE = {"app_1.0.0.1.py": b"VERSION = 1\n"}
TWO = {"app_1.0.0.2.py": b"VERSION = 2\n"}
THREE = {"app_1.0.0.3.py": b"VERSION = 3\n"}
RUN = """
    updater = make()
    task = asyncio.create_task(updater.run())
    for _ in range(400):
        await asyncio.sleep_ms(10)
        if any({end!r} in line for line in updater.messages):
            break
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        pass
"""


@pytest.fixture
def folder(tmp_path):
    """The server's folder, with release 1.0.0.1 in it."""
    folder = tmp_path / "served"
    publish(folder, ONE)
    return folder


def put_on_trial(board, server, files, folder):
    publish(folder, files)
    lines = board.run(server, settle=False)
    assert lines[-1] == "True"
    board.restart()
    assert board.is_on_trial()


def test_run_confirms_a_release_once_it_has_run_and_the_server_was_reached(board, folder):
    with Server(folder) as server:
        put_on_trial(board, server, ONE, folder)
        lines = board.run(server, RUN.format(end="is confirmed"), confirm_after=0.2, jitter=0)
    assert lines[:3] == ["app 1.0.0.1 is on trial", "app 1.0.0.1 is the latest version", "app 1.0.0.1 is confirmed"]
    assert board.state() == ["confirmed", "installed"]


@pytest.mark.parametrize("form", ["a release file that is cut off", "a plain folder that is half there"])
def test_what_somebody_left_half_published_does_not_keep_a_release_from_being_confirmed(board, folder, form):
    with Server(folder) as server:
        put_on_trial(board, server, ONE, folder)
        if form == "a release file that is cut off":
            header = format_header("app", (1, 0, 0, 2), [("app.py", "0" * 64, 5)])
            (folder / "app_1.0.0.2.ota").write_bytes(b"".join(header))
        else:
            (folder / "app_1.0.0.2.py").write_bytes(b"VERSION = 2\n")
        lines = board.run(server, RUN.format(end="is confirmed"), confirm_after=0.2, jitter=0)
    assert lines[-1] == "app 1.0.0.1 is confirmed", lines
    assert board.state() == ["confirmed", "installed"]


def test_nothing_is_downloaded_while_a_release_is_on_trial(board, folder):
    with Server(folder) as server:
        put_on_trial(board, server, ONE, folder)
        publish(folder, TWO)
        server.sent.clear()
        lines = board.run(
            server, "updater = make()\nrelease = await updater.check()\nawait attempt(updater.download(release))"
        )
        assert lines[-1].startswith("InstallError a release is on trial: confirm it")
        assert "app_1.0.0.2.py" not in server.sent
        lines = board.run(server, confirm_after=0)
        assert "app_1.0.0.2.py" not in server.sent
        assert lines[-2:] == ["app 1.0.0.1 is confirmed", "False"]
        board.install(server)
    assert board.installed()[1] == (1, 0, 0, 2)


def test_update_confirms_only_after_the_time_that_a_release_has_to_run(board, folder):
    with Server(folder) as server:
        put_on_trial(board, server, ONE, folder)
        lines = board.run(
            server,
            """
            updater = make()
            print(await updater.update(), updater.on_trial())
            await asyncio.sleep_ms(400)
            print(await updater.update(), updater.on_trial())
            """,
            confirm_after=0.4,
        )
    assert lines == [
        "app 1.0.0.1 is on trial",
        "app 1.0.0.1 is confirmed when it has run for 0.4 s",
        "False True",
        "app 1.0.0.1 is the latest version",
        "app 1.0.0.1 is confirmed",
        "False False",
    ]


def test_a_server_that_cannot_be_reached_delays_the_confirmation(board, folder):
    with Server(folder) as server:
        put_on_trial(board, server, ONE, folder)
    body = "updater = make()\nawait updater.update()\nprint(updater.on_trial())"
    lines = board.run(server, body, confirm_after=0)
    assert "connection refused" in lines[-2]
    assert lines[-1] == "True"
    with Server(folder) as server:
        assert board.run(server, body, confirm_after=0)[-1] == "False"


def test_a_server_with_a_bad_release_has_been_reached(board, folder):
    with Server(folder) as server:
        put_on_trial(board, server, ONE, folder)
        publish(folder, ONE | {"heater_1.0.py": b""})
        lines = board.run(server, "updater = make()\nawait updater.update()", confirm_after=0)
    assert lines[-2:] == [
        "the folder holds two applications, app and heater: give each a folder of its own",
        "app 1.0.0.1 is confirmed",
    ]


def test_an_application_can_confirm_by_itself(board, folder):
    with Server(folder) as server:
        put_on_trial(board, server, ONE, folder)
        lines = board.run(server, "updater = make()\nprint(updater.confirm(), updater.confirm(), updater.on_trial())")
    assert lines == ["app 1.0.0.1 is confirmed", "True False False"]


def test_a_release_that_is_never_confirmed_goes_back_and_is_not_tried_again_until_another_is_offered(board, folder):
    with Server(folder) as server:
        board.install(server)
        put_on_trial(board, server, TWO, folder)
        for _ in range(3):
            board.restart()
        assert board.files() == {"app.py": ONE["app_1.0.0.1.py"]}
        server.sent.clear()
        for _ in range(2):
            assert board.run(server) == [
                "the board went back from app 1.0.0.2: not tried again until another is offered",
                "False",
            ]
        assert "app_1.0.0.2.py" not in server.sent
        publish(folder, THREE)
        board.install(server)
    assert board.files() == {"app.py": THREE["app_1.0.0.3.py"]}


def test_rollback_brings_the_release_before_back_with_what_was_deleted(board, folder):
    publish(folder, ONE | {"gone.py": b"gone"})
    with Server(folder) as server:
        board.install(server)
        put_on_trial(board, server, TWO, folder)
        lines = board.run(
            server,
            """
            updater = make()
            await attempt(updater.rollback())
            updater.confirm()
            await updater.rollback()
            await attempt(updater.rollback())
            """,
        )
        assert lines == [
            "InstallError there is no release to go back to",
            "app 1.0.0.2 is confirmed",
            "going back from app 1.0.0.2: it takes effect when the board restarts",
            "InstallError there is no release to go back to",
        ]
        board.restart()
        assert board.files() == {"app.py": ONE["app_1.0.0.1.py"], "gone.py": b"gone"}
        assert "not tried again" in board.run(server)[0]


def test_a_committed_release_waits_for_the_restart(board, folder):
    with Server(folder) as server:
        board.run(server, settle=False)
        lines = board.run(server, settle=False)
        assert lines == ["an update waits for a restart: restart the board", "False"]
        assert server.count("PASS") == 2
        board.restart()
    assert board.files() == {"app.py": ONE["app_1.0.0.1.py"]}


@pytest.mark.parametrize("body", ["await make().update()", RUN.format(end="latest")], ids=["update", "run"])
def test_an_application_that_comes_as_far_as_its_updater_has_started(board, folder, body):
    with Server(folder) as server:
        board.install(server)
        board.put({".otalink/crash-2": b""})
        board.run(server, body, jitter=0)
    assert board.state() == ["installed"]


def test_the_deadline_of_the_settings_is_that_of_the_plan(board, folder):
    with Server(folder) as server:
        board.run(server, settle=False, trial_deadline=77)
    assert b"\ndeadline 77\n" in (board.root / ".otalink" / "committed").read_bytes()


def test_a_release_whose_settings_cannot_be_read_is_not_confirmed(board, folder):
    with Server(folder) as server:
        put_on_trial(board, server, ONE, folder)
        board.run(server, 'updater = make(config="nowhere.json")\nprint(await updater.update())')
    assert board.is_on_trial()
