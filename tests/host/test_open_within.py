"""Files are opened in their folder or not at all, whatever becomes of the path between the look and the opening."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from otalink_host.open_within import open_within


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder, with a secret beside it."""
    for folder in ("root/sub/deep", "beside/deep"):
        (tmp_path / folder).mkdir(parents=True)
    for place, content in (("root/sub/deep", b"open"), ("beside/deep", b"SECRET")):
        (tmp_path / place / "file").write_bytes(content)
    return tmp_path / "root"


def test_a_file_is_opened_through_links_that_stay_inside(root: Path) -> None:
    (root / "link").symlink_to("sub/deep/file")
    (root / "folder").symlink_to(root / "sub")
    for path in ("sub/deep/file", "link", "folder/deep/file"):
        with open_within(str(root / path), [str(root)]) as file:
            assert file.read() == b"open"
            # By this name the client called it.
            assert file.name == str(root / path)


def test_what_leads_out_or_is_no_file_is_refused(root: Path) -> None:
    (root / "out").symlink_to("../beside")
    os.mkfifo(root / "pipe")
    for path, error in (
        *(("out/deep/file", PermissionError), ("../beside/deep/file", PermissionError), ("sub", IsADirectoryError)),
        *(("pipe", IsADirectoryError), ("nothing", FileNotFoundError)),
    ):
        with pytest.raises(error):
            open_within(str(root / path), [str(root)])


def file_becomes_a_link(root: Path) -> None:
    (root / "sub" / "deep" / "file").unlink()
    (root / "sub" / "deep" / "file").symlink_to(root.parent / "beside" / "deep" / "file")


def folder_becomes_a_link(root: Path) -> None:
    (root / "sub" / "deep").rename(root / "old")
    (root / "sub" / "deep").symlink_to(root.parent / "beside" / "deep")


def folder_above_becomes_a_link(root: Path) -> None:
    (root / "sub").rename(root / "old")
    (root / "sub").symlink_to(root.parent / "beside")


def file_becomes_a_pipe(root: Path) -> None:
    (root / "sub" / "deep" / "file").unlink()
    os.mkfifo(root / "sub" / "deep" / "file")


@pytest.mark.parametrize(
    "change", [file_becomes_a_link, folder_becomes_a_link, folder_above_becomes_a_link, file_becomes_a_pipe]
)
def test_a_link_that_was_put_in_the_way_is_not_followed(
    root: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None]
) -> None:
    resolve = os.path.realpath

    def resolved_a_moment_before(path: str) -> str:
        found = resolve(path)
        change(root)
        return found

    monkeypatch.setattr(os.path, "realpath", resolved_a_moment_before)
    with pytest.raises(OSError, match=r"symbolic links|directory|Not a directory"):
        open_within(str(root / "sub" / "deep" / "file"), [str(root)])
