"""The board's FTP client, on MicroPython, with the FTP servers that others wrote."""

import os
import time

import pytest
from board_client import CONTENT, digest, script
from servers import STARTERS

MODIFIED = time.strptime("2026-01-31 11:58:12", "%Y-%m-%d %H:%M:%S")


@pytest.fixture(params=STARTERS)
def kind(request):
    """The name of the server."""
    return request.param


@pytest.fixture
def run_client(on_board, kind, folder):
    """Runs `body` on MicroPython, with `client` for the server, which serves `folder`; gives the lines it printed."""

    def run(body, password=None):
        with STARTERS[kind](folder) as server:
            return on_board(script(server, body, password)).lines

    return run


def put(folder, name, content):
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    moment = time.mktime(MODIFIED) - time.timezone
    os.utime(path, (moment, moment))


def test_a_board_logs_in_and_is_told_when_its_password_is_wrong(run_client):
    assert run_client("await attempt(client.noop())") == ["gave None"]
    (line,) = run_client("await attempt(client.noop())", password="mistaken")
    assert line.startswith("FtpError 530 ")
    assert "(check user and password)" in line
    assert "mistaken" not in line


def test_a_folder_is_listed_by_its_names_and_by_mlsd_where_there_is_one(run_client, folder, kind):
    names = ["größe.py", "thermostat_1.0.0.2.py", "two words.py"]
    for name in names:
        put(folder, name, b"12345")
    put(folder, "lib/inner.py", b"1")
    plain, facts = run_client(
        """
        print(sorted(await client.nlst()))
        try:
            print(sorted((name, kind, size if kind == "file" else 0) for name, kind, size, _ in await client.mlsd()))
        except FtpError as error:
            print(error.code)
        """
    )
    assert plain == ascii(sorted([*names, "lib"]))
    with_facts = ascii(sorted([(name, "file", 5) for name in names] + [("lib", "dir", 0)]))
    assert facts == {"vsftpd": "500"}.get(kind, with_facts)


def test_an_empty_folder_lists_nothing(run_client, folder, kind):
    (folder / "empty").mkdir()
    lines = run_client("await client.cwd('/empty')\nawait attempt(client.nlst())\nawait attempt(client.mlsd())")
    assert lines[0] == "gave []"
    assert lines[1].startswith("FtpError 500 " if kind == "vsftpd" else "gave []")


def test_size_and_time_are_those_of_the_file(run_client, folder):
    put(folder, "f", CONTENT)
    lines = run_client("await attempt(client.size('f'))\nawait attempt(client.mdtm('f'))")
    assert lines == [f"gave {len(CONTENT)}", "gave 20260131115812"]


def test_files_come_whole_one_after_the_other_in_one_session(run_client, folder):
    contents = [b"", b"1", CONTENT[:4096], CONTENT]
    for number, content in enumerate(contents):
        put(folder, f"lib/f{number}", content)
    lines = run_client(
        f"""
        await client.cwd("/lib")
        for number in range({len(contents)}):
            got = Hash()
            await attempt(client.retrieve("f%d" % number, buffer, got))
            print(got.hash.digest())
        """
    )
    expected = [[f"gave {len(content)}", digest(content)] for content in contents]
    assert lines == [line for pair in expected for line in pair]


def test_a_file_goes_on_at_any_byte(run_client, folder):
    put(folder, "f", CONTENT)
    offsets = [1, 4096, 3_000_001, len(CONTENT) - 1, len(CONTENT)]
    lines = run_client(
        f"""
        for offset in {offsets}:
            got = Hash()
            await client.retrieve("f", buffer, got, offset)
            print(got.count, got.hash.digest())
        await attempt(client.retrieve("f", buffer, got, {len(CONTENT) + 1}))
        """
    )
    assert lines[:-1] == [f"{len(CONTENT) - offset} {digest(CONTENT[offset:])}" for offset in offsets]
    # vsftpd would say 226 to it, with nothing.
    assert lines[-1].startswith("ResumeError ")


def test_a_transfer_that_the_board_stops_on_purpose_leaves_a_session_that_works(run_client, folder):
    put(folder, "f", CONTENT)
    lines = run_client(
        """
        def enough(view):
            got(view)
            return got.count >= 8192

        await client.connect()
        control = client._control
        print(await client.retrieve("f", buffer, enough) == got.count < 20000)
        await attempt(client.size("f"))
        await client.retrieve("f", buffer, got, got.count)
        print(got.hash.digest(), client._control is control)
        """
    )
    assert lines == ["True", f"gave {len(CONTENT)}", f"{digest(CONTENT)} True"]


def test_what_is_not_there_is_an_error_and_the_session_goes_on(run_client, folder):
    put(folder, "f", b"12345")
    lines = run_client(
        """
        await attempt(client.retrieve("missing", buffer, got))
        await attempt(client.retrieve("missing", buffer, got, 0, 5))
        await attempt(client.cwd("/missing"))
        await attempt(client.size("missing"))
        await attempt(client.retrieve("f", buffer, got))
        """
    )
    assert [line[:13] for line in lines] == ["FtpError 550 "] * 4 + ["gave 5"]
