"""Makes a release of an application in one go: what a release must hold is checked, then it is built and published.

All that can be refused is refused before anything is built: what git does not hold, a version that is not newer, a
changelog that does not tell it, tests that fail. Nothing is tagged: that is the user's.
"""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from otalink.version import format_version, parse_version
from otalink_host import repository, source_folder
from otalink_host.build import Built, build, ignored
from otalink_host.compiler import Bytecode
from otalink_host.errors import UserError
from otalink_host.keys import Signer, for_boards
from otalink_host.place import Place
from otalink_host.release_file import Progress, Version

CHANGELOG_NAME = "CHANGELOG.md"
# A version in a heading: no part of a date, a name or a longer number.
_VERSION = re.compile(r"(?<![\w.-])v?([0-9]+(?:\.[0-9]+){0,3})(?![\w.-])")


@dataclass(frozen=True)
class Checkout:
    """A clean working tree: its top folder, and the commit that it is, shortened."""

    root: Path
    commit: str


@dataclass(frozen=True)
class Made:
    """What `make` did."""

    built: Built
    published: repository.PublishedFile


def checkout_of(source: Path) -> Checkout:
    """The working tree that the folder `source` is in. Raises UserError when it has changes, or there is none."""
    if not source.is_dir():
        raise UserError(f"there is no folder {source}: name the one that holds the release's files")
    if shutil.which("git") is None:
        raise UserError("git is not here: install it, or use `otalink release build` and `publish`")
    root = Path(_git(source, "rev-parse", "--show-toplevel").rstrip("\r\n"))
    changes = _git(root, "status", "--porcelain", "-z", "--untracked-files=all").split("\0")
    if changes[0]:
        raise UserError(f"{root} has changes that are not committed, such as {changes[0][3:]}: commit or stash them")
    return Checkout(root, _git(root, "rev-parse", "--short", "HEAD").strip())


def check_tracked(source: Path) -> None:
    """Raises UserError when a file that a release of `source` would hold is none of git's, such as an ignored one."""
    tracked = set(_git(source, "ls-files", "-z").split("\0"))
    for path in sorted(source_folder.collect(source, ignored(source)).files):
        if path not in tracked:
            raise UserError(
                f"{source / path} would be in the release, and git does not hold it: commit it, or name it in "
                f"{source / '.otaignore'}"
            )


def tag_of(checkout: Checkout, name: str, version: Version) -> str:
    """What the release's tag is to be called. Raises UserError when there is one."""
    tag = f"{name}-{format_version(version)}"
    if _git(checkout.root, "tag", "--list", tag):
        raise UserError(f"the tag {tag} is there already: give the release a higher version")
    return tag


def check_changelog(path: Path, version: Version) -> None:
    """Raises UserError unless the changelog `path` has a heading with `version`, and text under it.

    A heading is a line that begins with #, or that is underlined with = or -.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise UserError(
            f"there is no {path}: write one, name another with --changelog, or give --no-changelog"
        ) from None
    except UnicodeError:
        raise UserError(f"{path} is not UTF-8: save it as that") from None
    text = format_version(version)
    headings = [index for index, line in enumerate(lines) if _is_heading(lines, index)]
    for index in headings:
        if any(_same(found, version) for found in _VERSION.findall(lines[index])):
            end = next((later for later in headings if later > index), len(lines))
            if any(re.search(r"\w", line) for line in lines[index + 1 : end]):
                return
            raise UserError(f"{path} says nothing under the heading of {text}: say there what is new")
    raise UserError(f"{path} has no heading for {text}: say there what is new, under a line such as `## {text}`")


def run_tests(command: str, folder: Path) -> None:
    """Runs the shell command `command` in `folder`. Raises UserError when its exit status is not 0."""
    status = subprocess.run(command, shell=True, cwd=folder, check=False).returncode
    if status:
        raise UserError(f"the tests failed, so that nothing was made: {command} ended with exit status {status}")


def make(
    source: Path,
    folder: Path | Place,
    *,
    signer: Signer | None,
    name: str,
    version: Version,
    boards: Sequence[str] = (),
    compiled: bool = True,
    bytecode: Bytecode | None = None,
    progress: Progress | None = None,
) -> Made:
    """Builds a release file of `source` as `build` does, verifies it, and publishes it into `folder`.

    Raises UserError; nothing is published then, and no file is left.
    """
    with tempfile.TemporaryDirectory(prefix="otalink-release-") as work:
        built = build(
            source,
            signer=signer,
            name=name,
            version=format_version(version),
            boards=boards,
            compiled=compiled,
            bytecode=bytecode,
            output=Path(work),
            progress=progress,
        )
        keys = for_boards([signer.key]) if signer is not None else {}
        return Made(built, repository.publish_file(built.path, folder, keys, unsigned=signer is None))


def _is_heading(lines: list[str], index: int) -> bool:
    underline = lines[index + 1] if index + 1 < len(lines) else ""
    underlined = re.fullmatch(r"(=+|-+)\s*", underline) is not None and lines[index].strip() != ""
    return lines[index].startswith("#") or underlined


def _same(text: str, version: Version) -> bool:
    try:
        return bool(parse_version(text) == version)
    except ValueError:
        return False


def _git(folder: Path, *arguments: str) -> str:
    """What git prints about the working tree that `folder` is in. Raises UserError with what it complains about."""
    done = subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, encoding="utf-8", errors="replace", check=False
    )
    if done.returncode:
        complaint = (done.stderr.strip().splitlines() or ["it failed and did not say why"])[0]
        raise UserError(
            f"git says of {folder}: {complaint.removeprefix('fatal: ')}: a release is made of what git holds"
        )
    return done.stdout
