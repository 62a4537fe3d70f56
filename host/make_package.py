"""Writes the package.json files that mip installs otalink from: make_package.py, or `make package-json`.

firmware/package.json holds the package otalink, which goes to /lib, and firmware/guard/package.json the boot guard's
files, which go to the root (mip's option --target /). They list what lies there; the version is otalink.__version__.
"""

import json
import sys
from pathlib import Path

from otalink import __version__

FIRMWARE = Path(__file__).resolve().parents[1] / "firmware"
# The folder that mip reads a package.json from, and the folder below it whose files it installs.
PACKAGES = ((FIRMWARE, "otalink"), (FIRMWARE / "guard", "."))


def main() -> int:
    for folder, below in PACKAGES:
        # The same bytes on every system.
        (folder / "package.json").write_bytes(package_json(folder, below).encode())
    return 0


def package_json(folder: Path, below: str) -> str:
    """The text of `folder`/package.json, which installs the modules in the folder `below` it.

    The places that files are fetched from are relative to package.json's own (MicroPython's documentation, "Package
    management"), so that a tag's files come from that tag.
    """
    modules = sorted(path.relative_to(folder).as_posix() for path in (folder / below).rglob("*.py"))
    urls = [[module, module] for module in modules if module != "__init__.py"]
    lines = ",\n".join(f"    {json.dumps(url)}" for url in urls)
    return f'{{\n  "urls": [\n{lines}\n  ],\n  "deps": [],\n  "version": {json.dumps(__version__)}\n}}\n'


if __name__ == "__main__":
    sys.exit(main())
