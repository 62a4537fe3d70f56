"""What mip installs is what lies in firmware/, and every place that tells the version tells the same one."""

import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from otalink import __version__

ROOT = Path(__file__).parents[2]
FIRMWARE = ROOT / "firmware"


def read(path: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads(path.read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("folder", ["", "guard"])
def test_package_json_is_as_make_package_json_writes_it(folder: str, tmp_path: Path) -> None:
    committed = FIRMWARE / folder / "package.json"
    script = tmp_path / "host" / "make_package.py"
    script.parent.mkdir()
    script.write_bytes((ROOT / "host" / "make_package.py").read_bytes())
    for source in [*FIRMWARE.rglob("*.py")]:
        copy = tmp_path / source.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.touch()
    subprocess.run([sys.executable, script], check=True)
    fresh = tmp_path / committed.relative_to(ROOT)
    assert committed.read_bytes() == fresh.read_bytes(), "run `make package-json`"


@pytest.mark.parametrize(
    ("folder", "modules"),
    [
        ("", {f"otalink/{path.name}" for path in (FIRMWARE / "otalink").iterdir() if path.suffix == ".py"}),
        ("guard", {"boot.py", "otaguard.py", "otaswap.py"}),
    ],
)
def test_it_lists_every_module_and_each_is_where_it_says(folder: str, modules: set[str]) -> None:
    package = read(FIRMWARE / folder / "package.json")
    assert package.keys() == {"urls", "deps", "version"}
    urls = package["urls"]
    assert isinstance(urls, list)
    assert {target for target, _ in urls} == modules
    assert len(urls) == len(modules)
    for _, url in urls:
        # Relative, with forward slashes, and not out of the folder: a tag's package.json brings that tag's files.
        assert re.fullmatch(r"([a-z_]+/)*[a-z0-9_]+\.py", url)
        assert (FIRMWARE / folder / url).is_file()
    assert package["deps"] == []


def test_every_place_tells_the_same_version() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)
    heading = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert heading is not None
    assert heading[1] == __version__
    for folder in ("", "guard"):
        assert read(FIRMWARE / folder / "package.json")["version"] == __version__
    printed = subprocess.run(
        [Path(sys.executable).with_name("otalink"), "--version"], capture_output=True, encoding="utf-8", check=True
    )
    assert printed.stdout == f"otalink {__version__}\n"
    assert version("otalink") == __version__, "run `make clean setup`: otalink is installed in another version"
