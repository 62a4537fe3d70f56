"""Publishing a plain folder, and listing what is published."""

import hashlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from otalink.plain import parse_sums_line
from otalink_host.errors import UserError
from otalink_host.repository import JOURNAL_NAME, LOCK_NAME, PART_PREFIX, list_releases, publish
from otalink_host.server import BackgroundServer
from otalink_host.settings import Account, Settings

Files = dict[str, str]
Make = Callable[..., Path]
Takes = Callable[..., tuple[str, dict[str, bytes]] | None]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Makes a source folder that holds the files given, and only those."""

    def folder(files: Files, name: str = "source") -> Path:
        return fill(tmp_path / name, files)

    return folder


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "releases"


def fill(folder: Path, files: Files) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content)
    return folder


def content(folder: Path) -> Files:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def without_sums(folder: Path) -> Files:
    return {path: text for path, text in content(folder).items() if path != "SHA256SUMS"}


def complaint(source: Path, target: Path, **options: Any) -> str:
    """The one line that refuses to publish; the target must stay as it was."""
    before = content(target) if target.exists() else None
    with pytest.raises(UserError) as error:
        publish(source, target, **options)
    assert (content(target) if target.exists() and before is not None else before) == before
    assert not target.exists() or before is not None or content(target) == {}
    message = str(error.value)
    assert "\n" not in message
    return message


TWO = {"thermostat_1.0.0.2.py": "two", "lib/sensor.py": "sensor", "lib/old.py": "old", "config.json": "{}"}
THREE = {"thermostat_1.0.0.3.py": "three", "lib/sensor.py": "sensor 3", "config.json": "{}", "new/x.mpy": "x"}


# --- what is published


def test_a_published_folder_holds_the_files_and_their_sums(target: Path, tmp_path: Path) -> None:
    done = publish(fill(tmp_path / "source", TWO), target)
    assert without_sums(target) == TWO
    assert (done.name, done.version, done.versioned) == ("thermostat", (1, 0, 0, 2), "thermostat_1.0.0.2.py")
    # The versioned file is the last: it is what makes it a release.
    assert done.written == ["config.json", "lib/old.py", "lib/sensor.py", "SHA256SUMS", "thermostat_1.0.0.2.py"]
    assert (done.size, done.written_size) == (14, 14)


def test_the_sums_are_sorted_and_sha256sum_accepts_them(target: Path, tmp_path: Path) -> None:
    publish(fill(tmp_path / "source", {**TWO, "with space.txt": "", "Ünicode.txt": "ü", "-dash": ""}), target)
    lines = (target / "SHA256SUMS").read_bytes().splitlines()
    entries = [parse_sums_line(line) for line in lines]
    assert entries == sorted(entries)
    checked = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=target, capture_output=True, text=True, check=False)
    assert checked.returncode == 0
    assert checked.stdout.count(": OK\n") == 7


def test_a_main_file_without_a_version_is_published_with_the_one_given(target: Path, make: Make) -> None:
    source = make({"thermostat.py": "main", "lib/sensor.py": "sensor"})
    done = publish(source, target, name="thermostat", version="1.2")
    assert done.version == (1, 2, 0, 0)
    assert without_sums(target) == {"thermostat_1.2.0.0.py": "main", "lib/sensor.py": "sensor"}
    assert content(source) == {"thermostat.py": "main", "lib/sensor.py": "sensor"}


def test_a_compiled_main_file_is_published_too(target: Path, make: Make) -> None:
    publish(make({"thermostat.mpy": "main"}), target, name="thermostat", version="1.0.0.2")
    assert "thermostat_1.0.0.2.mpy" in content(target)
    publish(make({"thermostat_1.0.0.3.mpy": "main"}), target)
    assert list(without_sums(target)) == ["thermostat_1.0.0.3.mpy"]


def test_an_empty_file_is_published(target: Path, make: Make) -> None:
    publish(make({"thermostat_1.0.py": "", "lib/__init__.py": ""}), target)
    assert without_sums(target) == {"thermostat_1.0.py": "", "lib/__init__.py": ""}


def test_a_name_with_a_number_is_an_ordinary_file_beside_the_application(target: Path, make: Make) -> None:
    files = {"thermostat_1.0.py": "", "font_8.py": "", "wifi_manager.py": "", "logo_2.bin": ""}
    publish(make(files), target)
    assert without_sums(target) == files


def test_junk_is_left_out_and_said(target: Path, tmp_path: Path) -> None:
    junk = {
        "__pycache__/a.pyc": "",
        "lib/__pycache__/b.pyc": "",
        ".git/config": "",
        ".hidden": "",
        "a.py~": "",
        "#a.py#": "",
        "a.py.bak": "",
        "SHA256SUMS": "mine",
        "thermostat_1.0.0.1.ota": "",
    }
    done = publish(fill(tmp_path / "source", {**TWO, **junk}), target)
    assert without_sums(target) == TWO
    assert done.skipped == [
        "skipped .git/",
        "skipped __pycache__/",
        "skipped #a.py#",
        "skipped .hidden",
        "skipped SHA256SUMS (the published folder gets one of its own)",
        "skipped a.py.bak",
        "skipped a.py~",
        "skipped thermostat_1.0.0.1.ota (release files do not belong to a plain folder)",
        "skipped lib/__pycache__/",
    ]


def test_a_link_inside_of_the_source_is_published_as_the_file(target: Path, make: Make) -> None:
    source = make({"thermostat_1.0.py": "", "a.py": "a"})
    (source / "b.py").symlink_to("a.py")
    publish(source, target)
    assert not (target / "b.py").is_symlink()
    assert (target / "b.py").read_text() == "a"


def test_a_py_that_hides_an_mpy_on_the_board_is_said(target: Path, make: Make) -> None:
    done = publish(make({"thermostat_1.0.py": "", "lib/a.py": "", "lib/a.mpy": ""}), target)
    assert done.notes == ["lib/a.py hides lib/a.mpy on the board: MicroPython imports the .py of two"]


def test_the_progress_ends_at_all_of_the_bytes(target: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    publish(fill(tmp_path / "source", TWO), target, progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1] == (28, 28)  # read once to hash it, once to copy it


# --- the next release


def test_the_next_release_takes_the_place_of_the_one_before(target: Path, tmp_path: Path) -> None:
    publish(fill(tmp_path / "source", TWO), target)
    done = publish(fill(tmp_path / "source", THREE), target)
    assert without_sums(target) == THREE
    assert done.removed == ["lib/old.py", "thermostat_1.0.0.2.py"]
    assert done.unchanged == ["config.json"]
    assert done.written == ["lib/sensor.py", "new/x.mpy", "SHA256SUMS", "thermostat_1.0.0.3.py"]


def test_a_folder_that_becomes_empty_goes_too(target: Path, make: Make) -> None:
    publish(make({"thermostat_1.0.py": "", "deep/er/x.py": ""}), target)
    publish(make({"thermostat_1.1.py": ""}), target)
    assert not (target / "deep").exists()


def test_a_file_that_is_the_same_is_not_written_again(target: Path, tmp_path: Path) -> None:
    publish(fill(tmp_path / "source", TWO), target)
    before = {path: (target / path).stat().st_ino for path in without_sums(target)}
    publish(fill(tmp_path / "source", THREE), target)
    assert (target / "config.json").stat().st_ino == before["config.json"]
    assert (target / "lib/sensor.py").stat().st_ino != before["lib/sensor.py"]


def test_the_same_release_again_is_nothing_to_do(target: Path, tmp_path: Path) -> None:
    publish(fill(tmp_path / "source", TWO), target)
    before = {path: path.stat().st_mtime_ns for path in target.rglob("*") if path.is_file()}
    done = publish(fill(tmp_path / "source", TWO), target)
    assert (done.written, done.removed) == ([], [])
    assert {path: path.stat().st_mtime_ns for path in target.rglob("*") if path.is_file()} == before


def test_the_same_version_with_other_content_is_refused(target: Path, tmp_path: Path) -> None:
    publish(fill(tmp_path / "source", TWO), target)
    for changed in ({**TWO, "lib/sensor.py": "changed"}, {**TWO, "more.py": ""}, {"thermostat_1.0.0.2.py": "two"}):
        message = complaint(fill(tmp_path / "source", changed), target)
        assert "thermostat 1.0.0.2 is published already, with other content: give the new one a higher" in message


def test_the_same_version_in_another_spelling_is_refused(target: Path, make: Make) -> None:
    publish(make({"thermostat_1.2.py": "a"}), target)
    message = complaint(make({"thermostat_1.2.0.0.py": "a"}), target)
    assert "thermostat 1.2.0.0 is published already, as thermostat_1.2.py: name the file so" in message
    assert "is published already" in complaint(make({"thermostat_1.2.mpy": "a"}), target)


def test_an_older_version_is_refused_unless_it_is_asked_for(target: Path, tmp_path: Path) -> None:
    publish(fill(tmp_path / "source", THREE), target)
    older = fill(tmp_path / "source", TWO)
    assert "thermostat 1.0.0.2 is older than 1.0.0.3" in complaint(older, target)
    assert "--allow-older" in complaint(older, target)
    publish(older, target, allow_older=True)
    assert without_sums(target) == TWO


def test_versions_are_compared_by_number(target: Path, make: Make) -> None:
    publish(make({"thermostat_1.0.0.9.py": ""}), target)
    publish(make({"thermostat_1.0.0.10.py": ""}), target)
    assert list(without_sums(target)) == ["thermostat_1.0.0.10.py"]


def test_a_folder_made_by_hand_becomes_a_published_one(target: Path, tmp_path: Path) -> None:
    fill(target, {"thermostat_1.0.0.1.py": "one", "thermostat_1.0.0.2.py": "two", "notes.txt": "mine"})
    done = publish(fill(tmp_path / "source", TWO), target)
    assert without_sums(target) == {**TWO, "notes.txt": "mine"}
    assert done.removed == ["thermostat_1.0.0.1.py"]
    assert done.notes == ["notes.txt is in the folder, but not part of this release"]


def test_a_folder_made_by_hand_is_not_changed_under_the_same_version(target: Path, tmp_path: Path) -> None:
    fill(target, {"thermostat_1.0.0.2.py": "two", "config.json": "other"})
    assert "published already, with other content" in complaint(fill(tmp_path / "source", TWO), target)


def test_release_files_of_the_same_name_stay(target: Path, make: Make) -> None:
    fill(target, {"thermostat_1.0.0.1.ota": "ota"})
    publish(make({"thermostat_1.0.0.2.py": ""}), target)
    assert "thermostat_1.0.0.1.ota" in content(target)


# --- what is refused


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (["thermostat_1.0.0.1.py", "thermostat_1.0.0.2.py"], "two versions, thermostat_1.0.0.1.py and"),
        (["thermostat_1.0.0.2.mpy", "thermostat_1.0.0.2.py"], "are the same version: leave one of them"),
        (["thermostat_1.0.py", "pump_2.0.py"], "two applications, pump_2.0.py and thermostat_1.0.py: give each"),
        (["main.py", "lib/sensor.py"], "no versioned file: rename the main one, as in thermostat_1.0.0.2.py"),
        ([], "no versioned file"),
        (["lib/thermostat_1.0.py"], "no versioned file"),
        (["my_thermostat_1.0.0.2.py"], "my_thermostat_1.0.0.2.py: a release name has exactly one underscore"),
        (["thermostat_1.0.py", "my_pump_1.0.py"], "my_pump_1.0.py: a release name has exactly one underscore"),
        (["thermostat_1.0.0.2b.py"], "each field must be a number, as in 1.0.0.2"),
        (["thermostat_v1.0.py"], "each field must be a number"),
        (["thermostat_1.0.0.65536.py"], "a field is over 65535"),
        (["thermostat_1.2.3.4.5.py"], "more than four fields"),
        (["thermostat_1.0.py", "thermostat_new.txt"], "thermostat_new.txt: version new: each field must be"),
        (["thermostat_1.0.py", "thermostat_b.py"], "thermostat_b.py: version b: each field must be a number"),
        (["thermostat_1.0.py", "thermostat_0.9.txt"], "two versions, thermostat_0.9.txt and thermostat_1.0.py"),
        (["thermostat_1.0.py", "thermostat.py"], "are both thermostat.py on the board: leave one of them"),
        (["thermostat_1.0.py", "thermostat.py/x.py"], "thermostat.py is both a file and a folder of the release"),
        (["thermostat_1.0.py", "otalink.json"], "/otalink.json and /.otalink belong to the board"),
        (["thermostat_1.0.py", "a.ota-new"], ".ota-new and .ota-old are otalink's own"),
        (["thermostat_1.0.py", "lib/a.ota-old"], ".ota-new and .ota-old are otalink's own"),
        (["thermostat_1.0.py", "a\\b.py"], "control characters and backslashes are not allowed"),
        (["thermostat_1.0.py", "a\nb.py"], "control characters and backslashes are not allowed"),
        (["thermostat_1.0.py", "x/" + "y" * 239], "it must have 1 to 240 bytes"),
    ],
)
def test_a_source_that_is_no_clear_release_is_refused_in_one_line(
    make: Make, target: Path, files: list[str], said: str
) -> None:
    assert said in complaint(make(dict.fromkeys(files, "x")), target)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"name": "thermostat"}, "or give --version as well"),
        ({"version": "1.0"}, "--version says nothing without --name"),
        ({"name": "pump", "version": "1.0"}, "neither pump.py nor pump.mpy: --name names the main file"),
        ({"name": "my_app", "version": "1.0"}, "only letters, digits, . and - may stand in it"),
        ({"name": "", "version": "1.0"}, "a release needs a name before the underscore"),
        ({"name": "thermostat", "version": "1.0b"}, "each field must be a number"),
        ({"name": "thermostat", "version": "1.70000"}, "a field is over 65535"),
    ],
)
def test_a_name_and_a_version_that_make_no_release_are_refused(
    make: Make, target: Path, options: dict[str, str], said: str
) -> None:
    assert said in complaint(make({"thermostat.py": ""}), target, **options)


def test_another_application_beside_the_named_one_is_refused(make: Make, target: Path) -> None:
    source = make({"thermostat.py": "", "pump_1.0.py": ""})
    message = complaint(source, target, name="thermostat", version="1.0")
    assert "holds two applications, thermostat and pump: give each a folder of its own" in message


def test_a_version_that_contradicts_the_files_name_is_refused(make: Make, target: Path) -> None:
    source = make({"thermostat_1.0.py": ""})
    assert "leave --version out" in complaint(source, target, name="thermostat", version="2.0")
    publish(source, target, name="thermostat", version="1.0.0.0")


def test_two_main_files_of_one_name_are_refused(make: Make, target: Path) -> None:
    source = make({"thermostat.py": "", "thermostat.mpy": ""})
    assert "leave the one that boards are to run" in complaint(source, target, name="thermostat", version="1.0")


def test_a_version_of_one_field_is_enough_for_the_only_application(make: Make, target: Path) -> None:
    source = make({"thermostat_2.py": "", "display.py": ""})
    assert publish(source, target).versioned == "thermostat_2.py"
    assert [release.version for release in list_releases(target).releases] == [(2, 0, 0, 0)]


def test_beside_a_certain_application_a_version_of_one_field_is_an_ordinary_file(make: Make, target: Path) -> None:
    source = make({"thermostat_1.0.py": "", "font_8.py": ""})
    assert publish(source, target).versioned == "thermostat_1.0.py"


def test_two_applications_with_one_version_field_are_refused_until_one_is_named(make: Make, target: Path) -> None:
    source = make({"thermostat_2.py": "", "font_8.py": ""})
    assert "two applications, font_8.py and thermostat_2.py" in complaint(source, target)
    assert publish(source, target, name="thermostat").versioned == "thermostat_2.py"


def test_an_application_that_is_no_module_is_refused(make: Make, target: Path) -> None:
    source = make({"thermostat_1.0.bin": ""})
    assert "its name ends in .py or .mpy" in complaint(source, target, name="thermostat")


def test_another_application_in_the_target_is_refused(make: Make, target: Path) -> None:
    publish(make({"thermostat_1.0.py": ""}), target)
    message = complaint(make({"pump_1.0.py": ""}), target)
    assert "holds another application, thermostat: give each a folder of its own" in message


@pytest.mark.parametrize("link", ["../outside", "../source2/x.py"])
def test_a_link_that_leads_out_of_the_source_is_refused(make: Make, target: Path, link: str) -> None:
    make({"x.py": "x"}, "source2")
    source = make({"thermostat_1.0.py": ""})
    (source.parent / "outside").write_text("secret")
    (source / "x.py").symlink_to(link)
    assert "x.py is a link that leads out of" in complaint(source, target)


def test_a_link_to_a_folder_and_a_broken_one_are_refused(make: Make, target: Path) -> None:
    source = make({"thermostat_1.0.py": "", "lib/a.py": ""})
    (source / "more").symlink_to("lib")
    assert "more is a link to a folder: put the folder itself there" in complaint(source, target)
    (source / "more").unlink()
    (source / "gone.py").symlink_to("nothing")
    assert "gone.py is no regular file" in complaint(source, target)


def test_a_named_pipe_in_the_source_is_refused(make: Make, target: Path) -> None:
    source = make({"thermostat_1.0.py": ""})
    os.mkfifo(source / "pipe")
    assert "pipe is no regular file" in complaint(source, target)


def test_folders_that_lie_inside_of_each_other_are_refused(make: Make, tmp_path: Path) -> None:
    source = make({"thermostat_1.0.py": ""})
    assert "lies inside of the other: keep them apart" in complaint(source, source / "releases")
    assert "lies inside of the other: keep them apart" in complaint(source, tmp_path)
    assert "keep the sources in another" in complaint(source, source)
    (tmp_path / "alias").symlink_to(source)
    assert "keep the sources in another" in complaint(source, tmp_path / "alias")


def test_a_source_that_is_not_there_and_a_target_that_is_a_file_are_refused(make: Make, tmp_path: Path) -> None:
    assert "there is no folder" in complaint(tmp_path / "nowhere", tmp_path / "releases")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is no folder: name the one that releases are published to"):
        publish(make({"thermostat_1.0.py": ""}), tmp_path / "file")


def test_a_path_that_turns_from_file_to_folder_or_back_is_refused(make: Make, target: Path) -> None:
    publish(make({"thermostat_1.0.py": "", "data": "", "lib/x.py": ""}), target)
    message = complaint(make({"thermostat_1.1.py": "", "data/x": "", "lib/x.py": ""}), target)
    assert "data is a folder in the release and a file in" in message
    message = complaint(make({"thermostat_1.1.py": "", "lib": ""}), target)
    assert "lib is a file in the release and a folder in" in message


def test_a_link_in_the_target_is_not_followed_out_of_it(make: Make, target: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    target.mkdir()
    (target / "lib").symlink_to(tmp_path / "elsewhere")
    (target / "a.py").symlink_to(tmp_path / "elsewhere" / "a.py")
    assert "is a link that leads out of" in complaint(make({"thermostat_1.0.py": "", "lib/a.py": ""}), target)
    publish(make({"thermostat_1.0.py": "", "a.py": "a"}), target)
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert not (target / "a.py").is_symlink()


def test_two_publishes_into_one_folder_do_not_meet(make: Make, target: Path) -> None:
    source = make({"thermostat_1.0.py": ""})
    said: list[str] = []

    def again(done: int, total: int) -> None:
        # Called while the folder is locked too: the file is copied then.
        if (target / LOCK_NAME).exists():
            said.append(complaint_of_second(source, target))

    source = make({"thermostat_1.0.py": "x"})
    publish(source, target, progress=again)
    assert said == [f"another publish into {target} is under way: wait for it, then publish again"]
    assert list(without_sums(target)) == ["thermostat_1.0.py"]


def complaint_of_second(source: Path, target: Path) -> str:
    with pytest.raises(UserError) as error:
        publish(source, target)
    return str(error.value)


def test_a_source_that_changes_while_it_is_published_is_refused(make: Make, target: Path) -> None:
    source = make({"thermostat_1.0.py": "first"})

    def change(done: int, total: int) -> None:
        (source / "thermostat_1.0.py").write_text("other")

    assert "changed while it was published: publish again" in complaint_of_changing(source, target, change)
    assert "thermostat_1.0.py" not in content(target)


def complaint_of_changing(source: Path, target: Path, change: Callable[[int, int], None]) -> str:
    with pytest.raises(UserError) as error:
        publish(source, target, progress=change)
    return str(error.value)


NAMES = st.sampled_from(["a.py", "b.mpy", "lib/a.py", "lib/deep/b.py", "data/x", "font_8.py", "text.txt", "e"])
RELEASE = st.dictionaries(NAMES, st.text("xyz", max_size=3), max_size=6)


@hypothesis_settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)
@given(releases=st.lists(RELEASE, min_size=1, max_size=4))
def test_whatever_was_published_before_the_folder_is_the_last_release(tmp_path: Path, releases: list[Files]) -> None:
    target = tmp_path / "releases"
    shutil.rmtree(target, ignore_errors=True)
    for number, files in enumerate(releases, 1):
        release = {**files, f"thermostat_1.0.0.{number}.py": "main"}
        publish(fill(tmp_path / "source", release), target)
        assert without_sums(target) == release
        assert (target / "SHA256SUMS").read_text() == "".join(
            f"{hashlib.sha256(text.encode()).hexdigest()}  {path}\n" for path, text in sorted(release.items())
        )


# --- killed, and read, in the middle of it


def killed_at(step: int, source: Path, target: Path, allow_older: bool) -> bool:
    """Publishes in a process that ends at its `step`th change of the disk; False when it ended before that."""
    child = os.fork()
    if child == 0:
        left = step

        def count(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal left
            writes = event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir")
            if writes or (event == "open" and str(arguments[0]).startswith(str(target)) and arguments[1] != "r"):
                left -= 1
                if left == 0:
                    os._exit(9)

        try:
            sys.addaudithook(count)
            publish(source, target, allow_older=allow_older)
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) in (0, 9)
    return os.waitstatus_to_exitcode(status) == 9


@pytest.mark.parametrize(("before", "after", "older"), [(TWO, THREE, False), (THREE, TWO, True), ({}, TWO, False)])
def test_killed_at_any_step_no_board_takes_a_mixture_and_the_next_publish_completes_it(
    tmp_path: Path, target: Path, board_takes: Takes, before: Files, after: Files, older: bool
) -> None:
    old, new = fill(tmp_path / "old", before), fill(tmp_path / "new", after)
    steps = 0
    while True:
        steps += 1
        shutil.rmtree(target, ignore_errors=True)
        if before:
            publish(old, target)
        finished = not killed_at(steps, new, target, older)
        if target.exists():
            taken = board_takes(sorted(entry.name for entry in target.iterdir()), reader(target), "thermostat")
            if taken is not None:
                files = {path: text.decode() for path, text in taken[1].items()}
                assert files in ([after] if finished else [before, after]), steps
        publish(new, target, allow_older=older)
        # Nothing stray either: no hidden name, no file of the release before.
        assert without_sums(target) == after, steps
        if finished:
            break
    assert steps > 10


def test_killed_at_any_step_a_publish_can_be_taken_back_without_a_trace(tmp_path: Path, target: Path) -> None:
    old, new = fill(tmp_path / "old", TWO), fill(tmp_path / "new", THREE)
    step = 1
    while True:
        shutil.rmtree(target, ignore_errors=True)
        publish(old, target)
        (target / "notes.txt").write_text("mine")
        if not killed_at(step, new, target, False):
            break
        publish(old, target, allow_older=True)
        assert without_sums(target) == {**TWO, "notes.txt": "mine"}, step
        step += 1


def test_what_a_killed_publish_left_is_cleaned(make: Make, target: Path) -> None:
    publish(make({"thermostat_1.0.py": ""}), target)
    (target / f"{PART_PREFIX}0123").write_text("half")
    (target / LOCK_NAME).write_text("")
    (target / JOURNAL_NAME).write_text("../outside\n/etc/x\nlib/gone.py\n\0\n")
    (target.parent / "outside").write_text("mine")
    publish(make({"thermostat_1.0.py": ""}), target)
    assert sorted(content(target)) == ["SHA256SUMS", "thermostat_1.0.py"]
    assert (target.parent / "outside").read_text() == "mine"


def reader(folder: Path) -> Callable[[str], bytes | None]:
    def fetch(path: str) -> bytes | None:
        try:
            return (folder / path).read_bytes()
        except OSError:
            return None

    return fetch


def test_a_board_that_fetches_all_the_time_gets_whole_releases_and_no_half_file(
    tmp_path: Path, target: Path, board_takes: Takes, connect: Callable[..., Any]
) -> None:
    sources = []
    for number in range(1, 21):
        # Of different sizes, so that half a file and a mixed one would both show.
        text = f"{number:03}" * (number * 4000 % 50_000)
        files = {f"thermostat_1.0.0.{number}.py": text, "lib/sensor.py": text, "config.json": text}
        sources.append(fill(tmp_path / f"source{number}", files))
    publish(sources[0], target)
    taken: list[tuple[str, dict[str, bytes]]] = []
    halves: list[str] = []
    stop = threading.Event()

    def board(client: Any) -> None:
        def fetch(path: str) -> bytes | None:
            try:
                got: bytes = client.fetch(path)
            except OSError:
                raise
            except Exception:
                return None
            if path != "SHA256SUMS" and (not got or len({got[i : i + 3] for i in range(0, len(got), 3)}) != 1):
                halves.append(path)
            return got

        while not stop.is_set():
            release = board_takes(client.nlst("/"), fetch, "thermostat")
            if release is not None:
                taken.append(release)

    with BackgroundServer(Settings((Account("board", target),), passive_ports=None), {"board": "x"}) as server:
        client = connect(server, None)
        client.login("board", "x")
        client.voidcmd("TYPE I")
        thread = threading.Thread(target=board, args=(client,))
        thread.start()
        for source in sources[1:]:
            publish(source, target)
            # The last one is the only one that a board need not miss.
            seen = len(taken)
            while source is sources[-1] and len(taken) == seen and thread.is_alive():
                time.sleep(0.01)
        stop.set()
        thread.join()
        client.close()
    assert halves == []
    assert len(taken) > 1
    for versioned, files in taken:
        assert set(files) == {versioned, "lib/sensor.py", "config.json"}
        assert len(set(files.values())) == 1, versioned
    assert taken[-1][0] == "thermostat_1.0.0.20.py"


# --- what is listed


def test_a_published_release_is_listed(tmp_path: Path, target: Path) -> None:
    publish(fill(tmp_path / "source", TWO), target)
    listing = list_releases(target)
    (release,) = listing.releases
    assert (release.name, release.version, release.files, release.size) == ("thermostat", (1, 0, 0, 2), 4, 14)
    assert release.has_sums
    assert release.when == (target / "thermostat_1.0.0.2.py").stat().st_mtime
    assert listing.notes == []


def test_each_folder_in_the_folder_is_listed_with_its_own_application(make: Make, target: Path) -> None:
    publish(make({"thermostat_1.0.py": "", "lib/x_1.0.py": ""}), target / "thermostat")
    publish(make({"pump_2.0.py": ""}), target / "pump")
    listing = list_releases(target)
    assert [(release.name, release.folder.name) for release in listing.releases] == [
        ("pump", "pump"),
        ("thermostat", "thermostat"),
    ]
    assert listing.notes == []


def test_an_empty_folder_lists_nothing(target: Path) -> None:
    target.mkdir()
    assert list_releases(target).releases == []
    assert list_releases(target).notes == []


def test_a_folder_that_is_not_there_is_one_line(target: Path) -> None:
    with pytest.raises(UserError, match="there is no folder"):
        list_releases(target)


def test_a_folder_made_by_hand_is_listed_without_sums(target: Path) -> None:
    fill(target, {"thermostat_1.0.0.2.py": "22", "lib.py": "333", "old.ota": "4444", ".hidden": "1"})
    (release,) = list_releases(target).releases
    assert (release.has_sums, release.files, release.size) == (False, 2, 5)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"thermostat_1.0.py": "", "pump_1.0.py": ""}, "two applications, pump and thermostat: give each a folder"),
        ({"thermostat_1.1.py": "", "thermostat_1.0.py": ""}, "passed over thermostat_1.0.py: thermostat_1.1.py is"),
        ({"thermostat_1.1.py": "", "thermostat_x.py": ""}, "passed over thermostat_x.py: version x: each field"),
        ({"thermostat_1.0.py": "", "thermostat_1.0.mpy": ""}, "are the same version"),
        ({"thermostat_1.0.ota": ""}, "thermostat_1.0.ota: header: it is cut off"),
        ({"thermostat_1.0.py": "", "SHA256SUMS": "junk\n"}, "not a line of sha256sum: publish again"),
        ({"thermostat_1.0.py": "", "SHA256SUMS": ""}, "SHA256SUMS does not list thermostat_1.0.py, so boards wait"),
        (
            {"thermostat_1.0.py": "", "SHA256SUMS": f"{'0' * 64}  thermostat_1.0.py\n{'0' * 64}  lib/gone.py\n"},
            "lib/gone.py is missing, so boards wait",
        ),
        ({"thermostat_1.0.b.py": ""}, "passed over thermostat_1.0.b.py: version 1.0.b: each field must be a number"),
        ({"thermostat_1.0.0.70000.py": ""}, "passed over thermostat_1.0.0.70000.py: version 1.0.0.70000: "),
        ({"my_app_1.0.0.2.py": ""}, "passed over my_app_1.0.0.2.py: a release name has exactly one underscore"),
        (
            {"thermostat_1.0.0.2.1.mpy": ""},
            "passed over thermostat_1.0.0.2.1.mpy: version 1.0.0.2.1: more than four fields",
        ),
        ({"thermostat_1.0.py": "", "pump_1.0.b.py": ""}, "passed over pump_1.0.b.py: version 1.0.b: each field"),
        ({"thermostat_1.0.py": "", "thermostat_1.0.b.py": ""}, "passed over thermostat_1.0.b.py: version 1.0.b: each"),
    ],
)
def test_what_the_list_passes_over_is_said_with_the_reason(target: Path, files: Files, said: str) -> None:
    notes = list_releases(fill(target, files)).notes
    assert len(notes) == 1
    assert said in notes[0]
