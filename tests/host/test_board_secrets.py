"""The file with the boards' secrets: made where there is none, and never lost a secret."""

import stat
import sys
from pathlib import Path

import pytest

from otalink_host.board_secrets import load_board_secrets, secret_of
from otalink_host.errors import UserError


def test_a_board_gets_a_secret_of_its_own_and_keeps_it(tmp_path: Path) -> None:
    path = tmp_path / "boards.secrets"
    first, second = secret_of(path, "shop-1"), secret_of(path, 'a "board" \\ with @;= in its näme')
    assert first != second
    assert min(len(first), len(second)) >= 20
    assert secret_of(path, "shop-1") == first
    assert load_board_secrets(path) == {"shop-1": first, 'a "board" \\ with @;= in its näme': second}


@pytest.mark.skipif(sys.platform == "win32", reason="modes are those of POSIX")
def test_nobody_else_can_read_the_file(tmp_path: Path) -> None:
    path = tmp_path / "boards.secrets"
    secret_of(path, "shop-1")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    with pytest.raises(UserError, match=r"chmod 600"):
        secret_of(path, "shop-1")


def test_what_stands_in_the_file_already_stays(tmp_path: Path) -> None:
    path = tmp_path / "boards.secrets"
    path.write_text('# mine\n[board]\nshop-1 = "uMBC6mXLdA3MPk1aWxgVqQ"')
    path.chmod(0o600)
    secret = secret_of(path, "shop-2")
    assert path.read_text().startswith('# mine\n[board]\nshop-1 = "uMBC6mXLdA3MPk1aWxgVqQ"\n')
    assert load_board_secrets(path) == {"shop-1": "uMBC6mXLdA3MPk1aWxgVqQ", "shop-2": secret}


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 65])
def test_a_name_that_no_board_can_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="a board's name must be"):
        secret_of(tmp_path / "boards.secrets", name)
    assert not (tmp_path / "boards.secrets").exists()


def test_a_file_that_is_something_else_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "boards.secrets"
    path.write_text("[password]\nboard = 'x'\n")
    path.chmod(0o600)
    with pytest.raises(UserError, match=r"\[board\]"):
        secret_of(path, "shop-1")
    assert path.read_text() == "[password]\nboard = 'x'\n"


def test_a_place_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be written"):
        secret_of(tmp_path / "nowhere" / "boards.secrets", "shop-1")
