"""The commands about keys and release files, as they are typed: what they print, and how they end."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from otalink.record import format_header
from otalink_host.cli import main
from otalink_host.cli_options import PASSPHRASE_VARIABLE

OTALINK = Path(sys.executable).with_name("otalink")
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def application(tmp_path: Path) -> Path:
    application = tmp_path / "application"
    (application / "lib").mkdir(parents=True)
    (application / "boot.py").write_text("try:\n    import otaguard\n    otaguard.boot()\nfinally:\n    pass\n")
    (application / "main.py").write_text("import thermostat\n")
    (application / "thermostat.py").write_text("x = 1\n" * 500)
    (application / "lib" / "font.bin").write_bytes(bytes(range(256)))
    return application


@pytest.fixture
def run_here(application: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command line in this process, beside the application: (exit status, stdout, stderr)."""
    monkeypatch.chdir(application.parent)
    monkeypatch.delenv(PASSPHRASE_VARIABLE, raising=False)

    def command(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main(list(arguments))
        output = capsys.readouterr()
        return status, output.out, output.err

    return command


@pytest.fixture
def run(application: Path) -> Run:
    """Runs the real command beside the application: (exit status, stdout, stderr)."""
    environment = {name: value for name, value in os.environ.items() if name != PASSPHRASE_VARIABLE}

    def command(*arguments: str) -> tuple[int, str, str]:
        completed = subprocess.run(
            [OTALINK, *arguments],
            cwd=application.parent,
            env=environment | {"COLUMNS": "120"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        return completed.returncode, completed.stdout, completed.stderr

    return command


def one_line(error: str) -> str:
    assert error.startswith("otalink: ")
    assert error.count("\n") == 1
    return error.strip()


def test_from_a_key_to_a_published_release_and_back(run: Run, run_here: Run, tmp_path: Path) -> None:
    def ok(*arguments: str) -> str:
        # The ones that matter most as a process of their own; each takes a second to start.
        as_process = arguments[1:2] in (("new",), ("build",), ("verify",))
        status, printed, error = (run if as_process else run_here)(*arguments)
        assert (status, error) == (0, ""), (arguments, error)
        return printed

    ok("init")
    ok("keys", "new")
    ((key, _),) = json.loads(ok("keys", "export"))["keys"].items()

    options = ("--name", "thermostat", "--version", "1.0.0.3", "--board", "esp32", "--board", "rp2")
    built = ok("release", "build", "application", *options)
    assert "thermostat.mpy" in built
    assert built.splitlines()[-1].startswith("Built thermostat_1.0.0.3.ota: 4 files, 1 compiled, 3,337 bytes before, ")
    assert built.splitlines()[-1].endswith(f"signed with key {key}.")

    verified = ok("release", "verify", "thermostat_1.0.0.3.ota")
    assert f"signed  with key {key}" in verified
    assert "for     esp32, rp2" in verified
    assert verified.splitlines()[-1] == "thermostat_1.0.0.3.ota is whole: thermostat 1.0.0.3, 4 files."

    assert "Published thermostat 1.0.0.3 as " in ok("release", "publish", "thermostat_1.0.0.3.ota")
    assert "there was nothing to do" in ok("release", "publish", "thermostat_1.0.0.3.ota")
    (line,) = ok("release", "list").splitlines()[1:]
    assert line.split()[:6] == ["thermostat", "1.0.0.3", "release", "file", key, "(release)"]

    assert "Withdrew thermostat_1.0.0.3.ota" in ok("release", "withdraw", "thermostat", "1.0.0.3")
    assert [path.name for path in (tmp_path / "releases").iterdir()] == [".withdrawn-thermostat_1.0.0.3.ota"]
    assert "release file, withdrawn" in ok("release", "list")
    assert "boards see it again" in ok("release", "withdraw", "thermostat_1.0.0.3.ota", "--undo")
    assert [path.name for path in (tmp_path / "releases").iterdir()] == ["thermostat_1.0.0.3.ota"]


def test_what_is_wrong_is_one_line_and_status_1(run_here: Run, tmp_path: Path) -> None:
    run = run_here

    def wrong(*arguments: str) -> str:
        status, _, error = run(*arguments)
        assert status == 1, error
        return one_line(error)

    options = ("--name", "thermostat", "--version", "1.0.0.3")
    assert "make one with `otalink keys new`, or build with --unsigned" in wrong(
        "release", "build", "application", *options
    )
    assert run("release", "build", "application", *options, "--unsigned")[0] == 0
    assert run("release", "verify", "thermostat_1.0.0.3.ota")[0] == 0
    assert "there is no folder nowhere" in wrong("release", "build", "nowhere", "--unsigned")
    assert "No such file" in wrong("release", "verify", "nowhere_1.0.ota")
    run("keys", "new", "--name", "one")
    run("keys", "new", "--name", "two")
    assert "say which with --key (one, two)" in wrong("release", "build", "application", *options)
    assert "the release is not signed" in wrong("release", "verify", "thermostat_1.0.0.3.ota")
    assert "the release is not signed" in wrong("release", "publish", "thermostat_1.0.0.3.ota", "--to", "releases")
    assert not (tmp_path / "releases").exists()
    assert run("release", "publish", "thermostat_1.0.0.3.ota", "--to", "releases", "--unsigned")[0] == 0
    assert run("release", "build", "application", *options, "--key", "one")[0] == 0
    assert "unknown or retired" in wrong("release", "verify", "thermostat_1.0.0.3.ota", "--key", "keys/two.pub")
    assert "is published already, with other content" in wrong(
        "release", "publish", "thermostat_1.0.0.3.ota", "--to", "releases"
    )
    assert "which boards read" in wrong(
        "release", "publish", "thermostat_1.0.0.3.ota", "--to", "releases", "--keys", "releases/keys"
    )
    assert "is not withdrawn" in wrong("release", "withdraw", "thermostat", "1.0.0.3", "--undo", "--from", "releases")


def test_a_release_never_carries_the_keys(run_here: Run, application: Path) -> None:
    assert run_here("keys", "new", "--keys", "application/keys")[0] == 0
    for signing in (("--keys", "application/keys"), ("--keys", "application/keys", "--unsigned")):
        status, _, error = run_here("release", "build", "application", "--name", "a", "--version", "1.0", *signing)
        assert status == 1
        assert "application/keys lies in application, which boards read" in one_line(error)


def test_a_key_that_signs_is_not_in_what_it_signs(run_here: Run, application: Path) -> None:
    assert run_here("keys", "new", "--keys", "elsewhere")[0] == 0
    (application / "my.pem").write_bytes(Path("elsewhere/release.pem").read_bytes())
    (application / "my.pem").chmod(0o600)
    status, _, error = run_here(
        "release", "build", "application", "--name", "a", "--version", "1.0", "--key", "application/my.pem"
    )
    assert status == 1
    assert "application/my.pem lies in application, which boards read" in one_line(error)


def test_a_release_is_built_beside_the_server_and_not_into_it(run_here: Run, application: Path) -> None:
    assert run_here("init")[0] == 0
    options = ("--name", "a", "--version", "1.0", "--unsigned")
    status, _, error = run_here("release", "build", "application", *options, "--output", "releases")
    assert status == 1
    assert "boards fetch from releases: build it elsewhere, then publish it" in one_line(error)
    assert list(Path("releases").iterdir()) == []
    status, _, error = run_here("release", "build", ".", *options)
    assert status == 1
    assert "otalink.secrets lies in ., which boards read" in one_line(error)
    assert run_here("release", "build", "application", *options)[0] == 0


def test_a_release_that_would_stop_a_board_does_not_verify(run_here: Run, application: Path) -> None:
    boot = b"print(1)\n"
    digest = hashlib.sha256(boot).hexdigest()
    header = format_header("a", (1, 0, 0, 0), [("boot.py", digest, len(boot), len(boot), "raw")])
    Path("a_1.0.ota").write_bytes(b"".join(header) + boot)
    status, _, error = run_here("release", "verify", "a_1.0.ota")
    assert status == 1
    assert "a_1.0.ota: boot.py does not begin by calling the boot guard" in one_line(error)


def test_the_list_does_without_keys(run_here: Run, application: Path) -> None:
    (application.parent / "keys").mkdir()
    (application.parent / "keys" / "certificate.pem").write_text("something else")
    (application.parent / "releases").mkdir()
    status, printed, _ = run_here("release", "list", "releases")
    assert status == 0
    assert "no key is known: keys/certificate.pem is no key in PEM" in printed


@pytest.mark.parametrize(
    "arguments",
    [
        ("release", "build", "application", "--key", "one", "--unsigned"),
        ("release", "build", "application", "--bytecode", "six", "--unsigned"),
        ("release", "publish", "a_1.0.ota", "--to", "releases", "--name", "a"),
        ("release", "publish", "application", "--to", "releases", "--unsigned"),
    ],
)
def test_a_wrong_command_line_is_status_2(run_here: Run, arguments: tuple[str, ...]) -> None:
    status, _, error = run_here(*arguments)
    assert status == 2
    assert "Traceback" not in error


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_a_passphrase_is_asked_for_twice_and_not_shown(run: Run, tmp_path: Path) -> None:
    import pty

    terminal, other = pty.openpty()
    try:
        with subprocess.Popen(
            [OTALINK, "keys", "new", "--passphrase"],
            cwd=tmp_path,
            env={name: value for name, value in os.environ.items() if name != PASSPHRASE_VARIABLE},
            stdin=other,
            stdout=other,
            stderr=other,
            start_new_session=True,
        ) as process:
            os.close(other)
            shown = b""
            for prompt in (b"Passphrase of", b"Repeat"):
                # The space comes once the terminal shows nothing that is typed.
                while prompt not in shown or not shown.endswith(b": "):
                    shown += os.read(terminal, 1000)
                os.write(terminal, b"open sesame\n")
            while b"Next" not in shown:
                shown += os.read(terminal, 1000)
            assert process.wait(10) == 0
    finally:
        os.close(terminal)
    assert b"sesame" not in shown
    assert b"ENCRYPTED" in (tmp_path / "keys" / "release.pem").read_bytes()
    status, _, error = run("release", "build", "application", "--name", "a", "--version", "1.0")
    assert status == 1
    assert "needs a passphrase" in one_line(error)
