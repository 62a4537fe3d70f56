"""The source distribution and the wheel: what is in them, and that the wheel works where the project is not.

`make package` does the same with an environment that takes everything from the package index; here what otalink needs
is that of the environment that the tests run in.
"""

import importlib.util
import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from email.parser import HeaderParser
from pathlib import Path
from types import ModuleType

import pytest

from otalink import __version__
from otalink_host.micropython import find_micropython

PROJECT = Path(__file__).parents[2]


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


package = load(PROJECT / "host" / "package.py")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The source distribution, and the wheel that was built from it."""
    work = tmp_path_factory.mktemp("work")
    found: tuple[Path, Path] = package.build(work / "build", work)
    return found


@pytest.fixture(scope="module")
def installed(built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment in which the wheel is installed."""
    folder = tmp_path_factory.mktemp("environment")
    python: Path = package.make_environment(folder)
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps"]
    subprocess.run([*install, built[1]], check=True)
    (site,) = folder.glob("Lib/site-packages" if os.name == "nt" else "lib/python*/site-packages")
    # Such a file names folders that are searched last; the .pth files in them count for nothing, and so the project,
    # which is installed in place there, does not come this way.
    (site / "beside.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return python


def names(archive: Path) -> set[str]:
    """The files in an archive; in a source distribution, those below its one folder."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return set(wheel.namelist())
    with tarfile.open(archive) as source:
        return {member.name.split("/", 1)[1] for member in source.getmembers() if member.isfile()}


def test_the_source_distribution_is_the_project_no_file_less_and_none_more(built: tuple[Path, Path]) -> None:
    made = {"PKG-INFO", "setup.cfg", *(name for name in names(built[0]) if name.startswith("otalink.egg-info/"))}
    assert names(built[0]) - made == set(package.files()) - made
    # What the tests and the build cannot do without, lest .gitignore name it.
    assert {"pyproject.toml", "Makefile", "requirements.lock", "host/make-venv.sh", "tests/conftest.py"} < names(
        built[0]
    )


def test_the_wheel_holds_every_module_and_nothing_of_the_tests(built: tuple[Path, Path]) -> None:
    folders = {"otalink": "firmware/otalink", "otalink_guard": "firmware/guard", "otalink_host": "host/otalink_host"}
    folders["otalink_examples"] = "firmware/examples"
    found = names(built[1])
    for module, folder in folders.items():
        sources = {
            f"{module}/{path.relative_to(PROJECT / folder).as_posix()}" for path in (PROJECT / folder).rglob("*.py")
        }
        assert {name for name in found if name.startswith(f"{module}/") and name.endswith(".py")} == sources
    assert "otalink_host/py.typed" in found
    tops = {name.split("/")[0] for name in found}
    assert all(top.startswith("otalink") for top in tops), tops


def test_the_tree_gives_the_same_wheel_as_the_source_distribution(built: tuple[Path, Path], tmp_path: Path) -> None:
    package.copy(tmp_path / "copy")
    again = package.run_backend("build_wheel", tmp_path / "copy", tmp_path)
    assert names(again) == names(built[1])
    with zipfile.ZipFile(again) as one, zipfile.ZipFile(built[1]) as other:
        for name in names(again):
            if not name.endswith("/RECORD"):
                assert one.read(name) == other.read(name), name


def test_both_tell_otalinks_version(built: tuple[Path, Path]) -> None:
    source, wheel = built
    assert source.name == f"otalink-{__version__}.tar.gz"
    assert wheel.name == f"otalink-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        metadata = HeaderParser().parsestr(archive.read(f"otalink-{__version__}.dist-info/METADATA").decode())
    assert metadata["Version"] == __version__


def test_what_is_installed_is_the_wheels_and_not_the_projects(installed: Path, tmp_path: Path) -> None:
    asked = "import otalink, otalink_host.cli, otalink_guard, otalink_examples, importlib.metadata as m\n"
    asked += "print(m.version('otalink'))\n"
    asked += "for module in (otalink, otalink_host, otalink_guard, otalink_examples): print(module.__file__)"
    done = subprocess.run([installed, "-c", asked], cwd=tmp_path, capture_output=True, encoding="utf-8", check=True)
    found_version, *files = done.stdout.split("\n")[:-1]
    assert found_version == __version__
    root = installed.parents[1].resolve()
    assert [Path(file).resolve().is_relative_to(root) for file in files] == [True] * 4, files
    command = [installed.with_name("otalink"), "--version"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8", check=True)
    assert done.stdout == f"otalink {__version__}\n"


@pytest.mark.skipif(sys.platform != "linux", reason="the virtual board needs Linux")
def test_the_demo_runs_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [installed.with_name("otalink"), "demo"],
        cwd=tmp_path,
        env=os.environ | {"MICROPYTHON": str(find_micropython())},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "│ NO " not in done.stdout
