"""docs/security.md says of each defence which test shows it: that test exists."""

import ast
import re
from pathlib import Path

PROJECT = Path(__file__).parents[2]
PAGE = PROJECT / "docs" / "security.md"


def functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_each_test_that_is_named_exists() -> None:
    files = {path.stem: path for path in (PROJECT / "tests").rglob("test_*.py")}
    named = re.findall(r"`(\w+): (\w+)`", PAGE.read_text(encoding="utf-8"))
    assert len(named) > 50
    wrong = [(file, test) for file, test in named if file not in files or test not in functions(files[file])]
    assert not wrong
