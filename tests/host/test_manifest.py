"""firmware/manifest.py by MicroPython's rules for manifests (its documentation, "MicroPython manifest files")."""

from pathlib import Path

import pytest

FIRMWARE = Path(__file__).parents[2] / "firmware"


class Manifest:
    """Executes a manifest as the documentation says that it is: the functions, their arguments, paths relative to it.

    `frozen` are the files, by their path among the frozen modules, and their levels of optimisation.
    """

    def __init__(self, path: Path) -> None:
        self.folder = path.parent
        self.frozen: dict[str, tuple[Path, int | None]] = {}
        self.described: dict[str, str] | None = None
        functions = {name: getattr(self, name) for name in ("metadata", "package", "module")}
        exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), functions)

    def metadata(
        self,
        description: str | None = None,
        version: str | None = None,
        license: str | None = None,
        author: str | None = None,
    ) -> None:
        # Packages that are included stand beside others: the tool takes one metadata() of all of them, and a package
        # must begin with it.
        assert self.described is None, "metadata() is called once"
        assert not self.frozen, "metadata() comes first"
        given = {"description": description, "version": version, "license": license, "author": author}
        self.described = {name: text for name, text in given.items() if text is not None}

    def package(
        self, package_path: str, files: tuple[str, ...] | None = None, base_path: str = ".", opt: int | None = None
    ) -> None:
        base = self.folder / base_path
        folder = base / package_path
        assert folder.is_dir(), f"{folder} is no folder"
        # By default all that lies in the folder and below.
        chosen = [folder / name for name in files] if files is not None else folder.rglob("*.py")
        for file in chosen:
            self._add(file, file.relative_to(base).as_posix(), opt)

    def module(self, module_path: str, base_path: str = ".", opt: int | None = None) -> None:
        self._add(self.folder / base_path / module_path, module_path, opt)

    def _add(self, file: Path, path: str, opt: int | None) -> None:
        assert self.described is not None, "metadata() comes first"
        assert file.is_file(), f"{file} is not there"
        assert opt in (None, 0, 1, 2, 3)
        assert path not in self.frozen, f"{path} comes twice"
        self.frozen[path] = file, opt


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    return Manifest(FIRMWARE / "manifest.py")


def test_every_module_of_otalink_is_frozen_and_nothing_else(manifest: Manifest) -> None:
    sources = {f"otalink/{path.name}": path for path in (FIRMWARE / "otalink").iterdir() if path.suffix == ".py"}
    assert {path: file for path, (file, _) in manifest.frozen.items()} == sources


def test_the_files_that_an_update_replaces_in_the_root_are_not_frozen(manifest: Manifest) -> None:
    # MicroPython runs a frozen boot.py in the place of the file.
    assert not {"boot.py", "main.py", "otaguard.py", "otaswap.py"} & manifest.frozen.keys()


def test_it_is_compiled_as_flash_compiles_it(manifest: Manifest) -> None:
    assert {opt for _, opt in manifest.frozen.values()} == {3}


def test_it_gives_no_version_which_would_go_into_every_module(manifest: Manifest) -> None:
    assert manifest.described is not None
    assert manifest.described.keys() == {"description", "license"}
