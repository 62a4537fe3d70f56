"""What a folder of sources holds for a release: its files, its application, and the version that it is to have.

The rules for names and paths are the board's (otalink.plain and its like); none is written here anew.
"""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from otalink.paths import check_path
from otalink.plain import SUMS, application_of, format_release_name, other_application, select
from otalink.plan import check_folders
from otalink.version import check_name, parse_version
from otalink_host.errors import UserError
from otalink_host.release_rules import Version, applications, ask_rule, near_miss


@dataclass
class Collected:
    """The files in a folder, by their path in it; `empty` folders; `skipped`, lines about what is left out."""

    files: dict[str, Path] = field(default_factory=dict)
    empty: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def collect(source: Path, ignored: Callable[[str], bool] | None = None) -> Collected:
    """The files of a release in the folder `source`. `ignored` says of a path (a folder's ends in /) to leave it out.

    Raises UserError for links that lead out, and for what no release may name.
    """
    found = Collected()
    files, skipped = found.files, found.skipped
    root = source.resolve()
    for place, folders, names in os.walk(source, onerror=_raise):
        here = Path(place)
        if not folders and not names and here != source:
            found.empty.append(here.relative_to(source).as_posix())
        for name in sorted(folders):
            path = (here / name).relative_to(source).as_posix()
            if name == "__pycache__" or name.startswith("."):
                skipped.append(f"skipped {path}/")
                folders.remove(name)
            elif ignored is not None and ignored(f"{path}/"):
                skipped.append(f"skipped {path}/ (ignored)")
                folders.remove(name)
            elif (here / name).is_symlink():
                raise UserError(f"{here / name} is a link to a folder: put the folder itself there")
        folders.sort()
        for name in sorted(names):
            file = here / name
            path = file.relative_to(source).as_posix()
            why = _why_skipped(name, path)
            if why is not None:
                skipped.append(f"skipped {path}{why}")
                continue
            if ignored is not None and ignored(path):
                skipped.append(f"skipped {path} (ignored)")
                continue
            if not file.resolve().is_relative_to(root):
                raise UserError(f"{file} is a link that leads out of {source}: put the file itself there")
            if not file.exists() or not stat.S_ISREG(file.stat().st_mode):
                raise UserError(f"{file} is no regular file: move it away")
            try:
                check_path(path)
            except UnicodeError:
                raise UserError(f"{source}: {path!a}: its name is not UTF-8: rename it") from None
            except ValueError as error:
                raise UserError(f"{source}: no release may hold this: {error}") from None
            files[path] = file
    return found


def _why_skipped(name: str, path: str) -> str | None:
    if name.startswith(".") or name.endswith(("~", ".swp", ".bak", ".pyc")) or (name[0] == name[-1] == "#"):
        return ""
    if path == SUMS:
        return " (the published folder gets one of its own)"
    if path.endswith(".ota"):
        return " (release files do not belong to a plain folder)"
    return None


def find_name(source: Path, top: list[str]) -> str:
    """The name of the one application among the files `top`."""
    names = applications(top)
    if len(names) > 1:
        first, second = sorted(names.values())[:2]
        raise UserError(f"{source} holds two applications, {first} and {second}: give each a folder of its own")
    if names:
        return next(iter(names))
    for path in top:
        _refuse_near_miss(source, path)
    raise UserError(
        f"{source} holds no versioned file: rename the main one, as in thermostat_1.0.0.2.py, "
        f"or give --name thermostat --version 1.0.0.2"
    )


def application_in(
    source: Path, files: dict[str, Path], name: str | None, version: str | None
) -> tuple[str, str, Version, dict[str, Path]]:
    """What is published: (name, versioned file, version, files). The main file has its version in the name then."""
    top = [path for path in files if "/" not in path]
    if version is not None and name is None:
        raise UserError("--version says nothing without --name: give both, or neither")
    if name is not None:
        ask_rule(check_name, name)
    wanted: Version | None = ask_rule(parse_version, version) if version is not None else None
    if name is None:
        name = find_name(source, top)
    other = other_application(top, name)
    if other is not None:
        raise UserError(f"{source} holds two applications, {name} and {other}: give each a folder of its own")
    versioned, number, notes = ask_rule(select, top, name, place=source)
    if notes:
        raise UserError(f"{source}: {notes[0].removeprefix('passed over ')}: rename it, or move it away")
    for path in top:
        _refuse_near_miss(source, path)
    if versioned is None:
        versioned, files = _with_version(source, files, name, wanted)
        number = wanted
    elif wanted not in (None, number):
        raise UserError(f"{source} holds {versioned}, and --version says {version}: leave --version out")
    rivals = [path for path in top if path != versioned and path.startswith(f"{name}_")]
    if rivals:
        raise UserError(f"{source} holds two versions, {rivals[0]} and {versioned}: leave one of them there")
    if application_of(versioned) is None:
        raise UserError(f"{source}: {versioned} is no application: its name ends in .py or .mpy")
    assert number is not None
    return name, versioned, number, files


def _with_version(
    source: Path, files: dict[str, Path], name: str, version: Version | None
) -> tuple[str, dict[str, Path]]:
    """The files with the main one, `name`.py or .mpy, under its versioned name."""
    mains = [path for path in (f"{name}.py", f"{name}.mpy") if path in files]
    if version is None:
        raise UserError(f"{source} holds no {name}_VERSION.py: rename the main file so, or give --version as well")
    if not mains:
        raise UserError(f"{source} holds neither {name}.py nor {name}.mpy: --name names the main file")
    if len(mains) > 1:
        raise UserError(f"{source} holds {mains[0]} and {mains[1]}: leave the one that boards are to run")
    versioned = format_release_name(name, version, mains[0].rpartition(".")[2])
    return versioned, {versioned if path == mains[0] else path: file for path, file in files.items()}


def check_targets(targets: dict[str, str]) -> None:
    """Refuses two files that become one on the board, and a file that becomes a folder there as well."""
    seen: dict[str, str] = {}
    for path, target in targets.items():
        if target in seen:
            raise UserError(f"{seen[target]} and {path} are both {target} on the board: leave one of them there")
        seen[target] = path
    # By name, so that looking one up does not go through all of them.
    check_folders(dict.fromkeys(sorted(seen)))


def _refuse_near_miss(source: Path, path: str) -> None:
    """Refuses a file that was meant to be versioned, by its looks, and that no board would take for it."""
    wrong = near_miss(path)
    if wrong is not None:
        raise UserError(f"{source}: {wrong}: rename it")


def _raise(error: OSError) -> None:
    raise error
