"""Refuses imports that MicroPython on a board does not have: lint_boards.py [FILE …], by default all that boards run.

It says what boards have, since what they lack is all the rest. Names that a module of theirs lacks are refused in
pyproject.toml (banned-api). Inside of the package otalink, only board.py and board_*.py may import hardware.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
FIRMWARE, TESTS, BOARD_TEST = PROJECT / "firmware", PROJECT / "tests" / "firmware", PROJECT / "tests" / "board"
# What the ESP32, RP2 and Unix ports have built in or frozen in, and the hardware's own on the two boards.
_NAMES = """
_thread array asyncio binascii builtins cmath collections cryptolib deflate errno framebuf gc hashlib heapq io json
math micropython os platform random re select socket ssl struct sys time uctypes vfs
"""
HARDWARE = frozenset(("esp32", "machine", "network"))
BOARDS = frozenset(_NAMES.split()) | HARDWARE


def main(arguments: list[str]) -> int:
    files = [Path(name) for name in arguments] or [
        path
        for path in sorted([*FIRMWARE.rglob("*.py"), *TESTS.glob("*.py"), *_board_test()])
        if path.name != "conftest.py"
    ]
    own = {".".join(module) for module in _modules()}
    found = [
        (path, line, reason) for path in files for line, name in _imports(path) if (reason := _fault(path, name, own))
    ]
    for path, line, reason in found:
        print(f"{path}:{line}: {reason}", file=sys.stderr)
    return 1 if found else 0


def needed_modules() -> set[str]:
    """Those of BOARDS that otalink and its boot guard import, apart from hardware that not every board has."""
    files = [*(FIRMWARE / "otalink").rglob("*.py"), *(FIRMWARE / "guard").rglob("*.py")]
    return {name for path in files for _, name in _imports(path)} & (BOARDS - HARDWARE | {"machine"})


def _fault(path: Path, name: str, own: set[str]) -> str | None:
    """What is wrong with importing `name` in the file `path`; None: nothing."""
    if name not in BOARDS | own:
        return f"{name} is no module that boards have (host/lint_boards.py lists those)"
    inside = path.resolve().parent == FIRMWARE / "otalink"
    if inside and name in HARDWARE and path.stem != "board" and not path.stem.startswith("board_"):
        return f"{name} is hardware, which only board.py and board_*.py import: put a function there"
    return None


def _modules() -> Iterator[tuple[str, ...]]:
    """The modules of ours that may be imported: the package otalink's, and those that lie beside an application."""
    for path in FIRMWARE.rglob("*.py"):
        parts = path.relative_to(FIRMWARE).with_suffix("").parts
        inside = parts if parts[0] == "otalink" else parts[-1:]
        yield inside[:-1] if inside[-1] == "__init__" else inside
    yield from ((path.stem,) for path in (*TESTS.glob("*.py"), *(BOARD_TEST / "application").glob("*.py")))


def _board_test() -> Iterator[Path]:
    """What `make board-test` runs on boards."""
    for folder in ("application", "on_board"):
        yield from (BOARD_TEST / folder).glob("*.py")


def _imports(path: Path) -> Iterator[tuple[int, str]]:
    """The line and the name of each module that a board would import, wherever in the file: a line that says
    "only on CPython" stands where none comes."""
    source = path.read_text(encoding="utf-8")
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source, str(path))):
        names = _imported(node)
        if names and not lines[node.lineno - 1].endswith("# only on CPython"):  # type: ignore[attr-defined]
            yield from ((node.lineno, name) for name in names)  # type: ignore[attr-defined]


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [node.module or "."]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "__import__":
        return [each.value for each in node.args[:1] if isinstance(each, ast.Constant) and isinstance(each.value, str)]
    return []


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
