"""Installed files against offered ones."""

from support import raised

from otalink.errors import ReleaseError
from otalink.layout import parents
from otalink.plan import REMOVE, WANT, check_folders, hidden_by, steps


def files(*paths):
    return [(path, "digest", 1) for path in paths]


def planned(installed, offered):
    return [(step, file[0]) for step, file in steps(files(*installed), files(*offered))]


def test_every_offered_file_is_wanted_and_what_is_no_longer_offered_is_removed():
    assert planned("abd", "bcd") == [(REMOVE, "a"), (WANT, "b"), (WANT, "c"), (WANT, "d")]
    assert planned("", "ab") == [(WANT, "a"), (WANT, "b")]
    assert planned("ab", "") == [(REMOVE, "a"), (REMOVE, "b")]
    assert planned("", "") == []
    assert planned("xyz", "a") == [(WANT, "a"), (REMOVE, "x"), (REMOVE, "y"), (REMOVE, "z")]


def test_a_wanted_file_is_given_as_it_is_offered():
    assert list(steps([("a", "old", 1)], [("a", "new", 2)])) == [(WANT, ("a", "new", 2))]


def test_both_sides_are_read_in_one_pass():
    assert [step for step, _ in steps(iter(files("a", "b")), iter(files("b")))] == [REMOVE, WANT]


def test_the_folders_of_a_path_come_from_the_outermost():
    assert parents("a/b/c.py") == ["a", "a/b"]
    assert parents("a.py") == []


def test_a_path_that_is_a_file_and_a_folder_is_refused():
    check_folders(["a", "b/a", "b/c/a"])
    for paths in (["a", "a/b"], ["a/b", "a/b/c/d"], ["a", "a.b", "a/b"]):
        assert "both a file and a folder" in str(raised(ReleaseError, check_folders, paths))


def test_a_compiled_file_is_hidden_by_its_source():
    assert hidden_by("lib/x.mpy") == "lib/x.py"
    assert hidden_by("x.py") is None
