"""Collects the tests in this folder, which are written once, for both runtimes: an item each.

They are plain functions with plain asserts; `support` has what they share. No pytest, no typing: MicroPython has none.
"""

import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from otalink_host.micropython import find_micropython

HERE = Path(__file__).parent
FIRMWARE = HERE.parents[1] / "firmware"


class SharedTest(pytest.Item):
    """One test function on one runtime."""

    def __init__(self, *, runtime: str, test_name: str, **keywords: object) -> None:
        super().__init__(name=f"{test_name}[{runtime}]", **keywords)  # type: ignore[arg-type]
        self.runtime = runtime
        self.test_name = test_name

    def runtest(self) -> None:
        interpreter = sys.executable if self.runtime == "cpython" else find_micropython()
        completed = subprocess.run(
            [interpreter, HERE / "run_one.py", FIRMWARE, self.path.stem, self.test_name],
            cwd=HERE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            encoding="utf-8",
            timeout=60,
            check=False,
        )
        # MicroPython exits with 0 for much that went wrong: only the last line proves that the test ran to its end.
        if completed.returncode != 0 or not completed.stdout.endswith(f"PASSED {self.test_name}\n"):
            raise SharedTestError(completed.stdout)

    def repr_failure(self, excinfo: "pytest.ExceptionInfo[BaseException]", style: object = None) -> str:
        if isinstance(excinfo.value, SharedTestError):
            return f"on {self.runtime}:\n{excinfo.value}"
        return str(super().repr_failure(excinfo))

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, self.name


class SharedTestError(Exception):
    pass


class SharedTestFile(pytest.File):
    def collect(self) -> Iterator[SharedTest]:
        namespace: dict[str, object] = {"__name__": self.path.stem}
        sys.path.insert(0, str(HERE))
        try:
            exec(compile(self.path.read_text(), self.path, "exec"), namespace)
        finally:
            sys.path.remove(str(HERE))
        for name, value in namespace.items():
            if name.startswith("test_") and inspect.isfunction(value):
                for runtime in ("cpython", "micropython"):
                    yield SharedTest.from_parent(self, runtime=runtime, test_name=name)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    return SharedTestFile.from_parent(parent, path=module_path) if module_path.parent == HERE else None
