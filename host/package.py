"""Builds the source distribution and the wheel, and tries that wheel in an empty environment: package.py FOLDER.

The wheel is built from the source distribution, and that from a copy of the project's files, so that nothing of an
earlier build gets in. `make package` runs it; the installation takes what otalink needs from the package index.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
from collections.abc import Iterator
from pathlib import Path

import pathspec

PROJECT = Path(__file__).resolve().parents[1]


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print(__doc__.splitlines()[0], file=sys.stderr)
        return 2
    folder = Path(arguments[0])
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="otalink-package-") as work:
        for built in build(Path(work, "build"), folder.resolve()):
            print(f"Built {built.relative_to(Path.cwd()) if built.is_relative_to(Path.cwd()) else built}")
        environment = Path(work, "environment")
        python = make_environment(environment)
        print("Installing that wheel, and what it needs, in an empty environment ...", flush=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", f"{built}[board]"], check=True)
        return subprocess.run([python.with_name("otalink"), "demo"], cwd=work, check=False).returncode


def files() -> Iterator[str]:
    """The project's files, as paths in it: all that .gitignore does not name."""
    lines = (PROJECT / ".gitignore").read_text(encoding="utf-8").splitlines()
    ignored = pathspec.GitIgnoreSpec.from_lines([*lines, "/.git", "/.git/"])
    for place, folders, names in os.walk(PROJECT):
        here = Path(place).relative_to(PROJECT)
        folders[:] = [name for name in folders if not ignored.match_file(f"{(here / name).as_posix()}/")]
        paths = ((here / name).as_posix() for name in names)
        yield from (path for path in paths if not ignored.match_file(path))


def copy(folder: Path) -> None:
    """Copies the project's files to `folder`, a new one."""
    for path in files():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(PROJECT / path, target)


def build(work: Path, folder: Path) -> tuple[Path, Path]:
    """Builds (source distribution, wheel) into `folder`, the second from the first; `work` is to be a new folder."""
    copy(work / "copy")
    source = run_backend("build_sdist", work / "copy", folder)
    with tarfile.open(source) as archive:
        # The archive is our own.
        archive.extractall(work / "unpacked")
    (unpacked,) = (work / "unpacked").iterdir()
    return source, run_backend("build_wheel", unpacked, folder)


def run_backend(what: str, source: Path, folder: Path) -> Path:
    """Has setuptools build ("build_sdist", "build_wheel") from the folder `source`. Gives the file, in `folder`."""
    # In a process of its own: it works in the current folder, and says much.
    code = f"import setuptools.build_meta; print(setuptools.build_meta.{what}({str(folder)!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        sys.exit(f"{done.stdout}{done.stderr}\npackage.py: {what} failed: see above")
    return folder / done.stdout.split()[-1]


def make_environment(folder: Path) -> Path:
    """Makes an environment with nothing but pip in it. Gives its Python."""
    venv.create(folder, with_pip=True)
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
