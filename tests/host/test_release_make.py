"""`otalink release make`: a release of what git holds, in one go; whatever is wrong, nothing is built or published."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from otalink.errors import ReleaseError
from otalink_host.cli import main
from otalink_host.cli_options import PASSPHRASE_VARIABLE
from otalink_host.errors import UserError
from otalink_host.keys import create, for_boards, load_all
from otalink_host.release_file import unpack, verify
from otalink_host.release_make import check_changelog

Run = Callable[..., tuple[int, str, str]]
PASSES = f"\"{sys.executable}\" -c \"open('tested', 'w')\""
FAILS = f'"{sys.executable}" -c "raise SystemExit(3)"'


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.org")
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, encoding="utf-8", check=True)
    return done.stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A working tree with an application; keys and the folder that boards read lie beside it."""
    root = tmp_path / "checkout"
    (root / "application" / "lib").mkdir(parents=True)
    (root / "application" / "main.py").write_text("import thermostat\n")
    (root / "application" / "thermostat.py").write_text("x = 1\n")
    (root / "application" / "lib" / "font.bin").write_bytes(bytes(range(256)))
    (root / "CHANGELOG.md").write_text("# Changes\n\n## 1.0.0.3 (2026-11-25)\n\n- Warmer.\n\n## 1.0.0.2\n\n- First.\n")
    (root / ".gitignore").write_text("tested\n*.log\n")
    git(root, "init", "--quiet")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "A thermostat")
    create(tmp_path / "keys", "release")
    return root


@pytest.fixture
def releases(tmp_path: Path) -> Path:
    return tmp_path / "releases"


@pytest.fixture
def make(checkout: Path, releases: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Makes a release in this process, from beside the application: (exit status, stdout, stderr)."""
    monkeypatch.chdir(checkout)
    monkeypatch.delenv(PASSPHRASE_VARIABLE, raising=False)

    def command(*options: str, version: str = "1.0.0.3") -> tuple[int, str, str]:
        capsys.readouterr()
        places = ("--keys", str(checkout.parent / "keys"), "--to", str(releases))
        arguments = ["release", "make", "application", "--name", "thermostat", "--version", version, *places, *options]
        status = main(arguments)
        output = capsys.readouterr()
        return status, output.out, output.err

    return command


@pytest.fixture
def refused(make: Run, checkout: Path, releases: Path) -> Callable[..., str]:
    """Makes a release, which must be refused: with one line, exit status 1, and nothing built, published or tagged."""

    def command(*options: str, version: str = "1.0.0.3") -> str:
        before = sorted(releases.iterdir()) if releases.exists() else None
        tags = git(checkout, "tag")
        status, out, err = make(*options, version=version)
        assert status == 1, (out, err)
        assert err.startswith("otalink: ")
        assert err.count("\n") == 1, err
        assert "Built" not in out
        assert (sorted(releases.iterdir()) if releases.exists() else None) == before
        assert not list(checkout.rglob("*.ota"))
        assert git(checkout, "tag") == tags
        return err

    return command


def test_it_tests_builds_signs_and_publishes_what_git_holds(make: Run, checkout: Path, releases: Path) -> None:
    status, out, err = make("--test", PASSES)
    assert (status, err) == (0, "")
    (published,) = releases.iterdir()
    assert published.name == "thermostat_1.0.0.3.ota"
    assert (checkout / "tested").exists()
    assert verify(published, for_boards(load_all(checkout.parent / "keys"))).key is not None
    key = create(checkout.parent / "other", "other")
    with pytest.raises(ReleaseError, match="unknown"):
        verify(published, for_boards([key]))
    commit = git(checkout, "rev-parse", "--short", "HEAD").strip()
    lines = out.splitlines()
    assert lines[0] == f"Testing: {PASSES}"
    assert lines[1].startswith(f"Built thermostat 1.0.0.3 of commit {commit}: 3 files, 1 compiled, ")
    assert lines[2:] == [
        f"Published it as {published}.",
        f"To mark the commit: git tag thermostat-1.0.0.3 {commit}",
    ]
    assert dict(unpack(published))["lib/font.bin"] == bytes(range(256))
    # It says how to mark it, and leaves that to the user.
    assert git(checkout, "tag") == ""
    assert git(checkout, "status", "--porcelain") == ""


def test_without_tests_it_says_so(make: Run) -> None:
    status, out, _ = make()
    assert status == 0
    assert out.startswith("No tests are run: --test COMMAND runs them.\n")


def test_tests_that_fail_end_it(refused: Callable[..., str]) -> None:
    assert "the tests failed, so that nothing was made" in refused("--test", FAILS)


def test_tests_that_change_the_tree_end_it(refused: Callable[..., str]) -> None:
    code = "open('application/thermostat.py', 'w').write('x = 2')"
    said = refused("--test", f'"{sys.executable}" -c "{code}"')
    assert "has changes that are not committed, such as application/thermostat.py" in said


@pytest.mark.parametrize("where", ["application/thermostat.py", "CHANGELOG.md", "application/new.py", "elsewhere.txt"])
def test_changes_that_are_not_committed_end_it(refused: Callable[..., str], checkout: Path, where: str) -> None:
    with (checkout / where).open("a") as file:
        file.write("\n")
    said = refused("--test", PASSES)
    assert f"has changes that are not committed, such as {where}: commit or stash them" in said
    assert not (checkout / "tested").exists()


def test_a_file_that_git_ignores_gets_into_no_release(make: Run, refused: Callable[..., str], checkout: Path) -> None:
    (checkout / "application" / "passwords.log").write_text("secret\n")
    assert "passwords.log would be in the release, and git does not hold it" in refused()
    (checkout / "application" / ".otaignore").write_text("*.log\n")
    git(checkout, "add", "--all")
    git(checkout, "commit", "--quiet", "--message", "Leave logs out")
    assert make()[0] == 0


def test_a_folder_without_git_ends_it(make: Run, checkout: Path, releases: Path) -> None:
    (checkout / ".git").rename(checkout.parent / "git")
    status, _, err = make("--test", PASSES)
    assert status == 1
    assert "not a git repository" in err
    assert err.count("\n") == 1
    assert not releases.exists()
    assert not (checkout / "tested").exists()


def test_without_git_itself_it_says_so(make: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    status, _, err = make()
    assert status == 1
    assert err == "otalink: git is not here: install it, or use `otalink release build` and `publish`\n"


@pytest.mark.parametrize(
    ("version", "line"),
    [
        ("1.0.0.3", "thermostat 1.0.0.3 is published already, as "),
        ("1.0.0.2", "thermostat 1.0.0.2 is older than 1.0.0.3, as "),
        ("1.0", "thermostat 1.0.0.0 is older than 1.0.0.3, as "),
    ],
)
def test_a_version_that_is_not_newer_ends_it(
    make: Run, refused: Callable[..., str], checkout: Path, version: str, line: str
) -> None:
    assert make()[0] == 0
    assert line in refused("--test", PASSES, version=version)
    assert not (checkout / "tested").exists()


def test_a_plain_folders_version_counts_too(refused: Callable[..., str], releases: Path) -> None:
    releases.mkdir()
    (releases / "thermostat_1.0.0.4.py").touch()
    assert "thermostat 1.0.0.3 is older than 1.0.0.4" in refused()


def test_a_version_that_was_withdrawn_does_not_come_again(
    make: Run, refused: Callable[..., str], releases: Path
) -> None:
    assert make()[0] == 0
    assert main(["release", "withdraw", "thermostat", "1.0.0.3", "--from", str(releases)]) == 0
    assert "thermostat 1.0.0.3 was withdrawn" in refused()


def test_another_applications_folder_ends_it(refused: Callable[..., str], releases: Path) -> None:
    releases.mkdir()
    (releases / "kettle_1.0.0.1.py").touch()
    assert "holds another application, kettle" in refused()


def test_a_tag_of_that_version_ends_it(refused: Callable[..., str], checkout: Path) -> None:
    git(checkout, "tag", "thermostat-1.0.0.3")
    assert "the tag thermostat-1.0.0.3 is there already" in refused()


def test_a_changelog_must_tell_the_version(make: Run, refused: Callable[..., str], checkout: Path) -> None:
    assert "has no heading for 1.0.0.4: say there what is new" in refused(version="1.0.0.4")
    assert make("--no-changelog", version="1.0.0.4")[0] == 0
    git(checkout, "rm", "--quiet", "CHANGELOG.md")
    git(checkout, "commit", "--quiet", "--message", "No changelog")
    assert "write one, name another with --changelog, or give --no-changelog" in refused(version="1.0.0.5")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("## 1.0.0.3\nnew\n", None),
        ("## [v1.0.0.3] - 2026-11-25\r\n\r\n* new\r\n", None),
        ("\ufeff# thermostat 1.0.0.3\nnew\n", None),
        ("1.0.0.3\n-------\nnew\n", None),
        ("## 1.0.0.2, and what 1.0.0.3 brings\nnew\n", None),
        ("## 1.0.0.30\nnew\n## 11.0.0.3\nnew\n", "no heading for 1.0.0.3"),
        ("what 1.0.0.3 brings\n", "no heading for 1.0.0.3"),
        ("## 1.0.0.3\n\n## 1.0.0.2\nnew\n", "says nothing under the heading of 1.0.0.3"),
        ("", "no heading for 1.0.0.3"),
    ],
)
def test_what_a_heading_is(tmp_path: Path, text: str, problem: str | None) -> None:
    path = tmp_path / "CHANGELOG.md"
    path.write_bytes(text.encode())
    if problem is None:
        check_changelog(path, (1, 0, 0, 3))
    else:
        with pytest.raises(UserError, match=problem):
            check_changelog(path, (1, 0, 0, 3))


def test_a_date_is_no_version(tmp_path: Path) -> None:
    path = tmp_path / "CHANGELOG.md"
    path.write_text("## 1.0.0.2 (2026-11-25)\n\nnew\n")
    for version in ((2026, 0, 0, 0), (11, 0, 0, 0), (25, 0, 0, 0)):
        with pytest.raises(UserError, match="no heading"):
            check_changelog(path, version)


def test_without_a_key_it_ends_before_the_tests(refused: Callable[..., str], checkout: Path) -> None:
    for path in (checkout.parent / "keys").iterdir():
        path.unlink()
    assert "make one with `otalink keys new`" in refused("--test", PASSES)
    assert not (checkout / "tested").exists()


def test_what_cannot_be_built_leaves_nothing(refused: Callable[..., str], checkout: Path) -> None:
    (checkout / "application" / "thermostat.py").write_text("x = (\n")
    git(checkout, "commit", "--quiet", "--all", "--message", "A slip")
    assert "thermostat.py" in refused()


@pytest.mark.parametrize(
    "options",
    [("--key", "release", "--unsigned"), ("--changelog", "x", "--no-changelog"), ("--bytecode", "six")],
)
def test_a_wrong_command_line_of_make_is_status_2(make: Run, options: tuple[str, ...]) -> None:
    status, _, error = make(*options)
    assert status == 2
    assert "Traceback" not in error


def test_make_release_is_the_command(tmp_path: Path) -> None:
    project = Path(__file__).parents[2]
    command = [
        "make",
        "--no-print-directory",
        "-n",
        "release",
        "APP=apps/thermostat/",
        "VERSION=1.0.0.3",
        "TEST=pytest -q",
        "ARGS=--unsigned",
    ]
    printed = subprocess.run(command, cwd=project, capture_output=True, encoding="utf-8", check=True).stdout
    words = printed.replace("\\\n", " ").replace('"', "").split()
    at = words.index("release")
    assert words[at - 1].endswith("otalink")
    assert words[at:] == [
        *("release", "make", "apps/thermostat/", "--name", "thermostat", "--version", "1.0.0.3"),
        *("--test", "'pytest", "-q'", "--unsigned"),
    ]
    for missing in ("APP=x", "VERSION=1.0.0.3"):
        done = subprocess.run(
            ["make", "-n", "release", missing], cwd=project, capture_output=True, encoding="utf-8", check=False
        )
        assert done.returncode == 2
