"""Versions, release names, the choice among files, the policies."""

from support import raised

from otalink.version import (
    choose,
    format_release_name,
    format_version,
    is_wanted,
    other_application,
    parse_release_name,
    parse_version,
)


def test_a_version_has_one_to_four_fields_and_missing_ones_count_as_0():
    assert parse_version("1") == (1, 0, 0, 0)
    assert parse_version("1.2") == (1, 2, 0, 0)
    assert parse_version("1.2.3") == (1, 2, 3, 0)
    assert parse_version("1.2.3.65535") == (1, 2, 3, 65535)


def test_versions_compare_by_number():
    assert parse_version("1.0.0.10") > parse_version("1.0.0.9")
    assert parse_version("2") > parse_version("1.65535.65535.65535")
    assert parse_version("1.2") == parse_version("1.2.0.0")


def test_what_is_no_version_is_refused_with_the_reason():
    for text, reason in (
        ("", "number"),
        ("1.", "number"),
        (".1", "number"),
        ("1..2", "number"),
        ("1.a", "number"),
        ("1.-2", "number"),
        ("1.+2", "number"),
        ("1. 2", "number"),
        ("1.2_3", "number"),
        ("1.²", "number"),
        ("1.2.3.4.5", "four"),
        ("1.65536", "65535"),
        ("9" * 100, "65535"),
    ):
        assert reason in str(raised(ValueError, parse_version, text)), text


def test_a_formatted_version_reads_back():
    assert format_version((1, 0, 0, 2)) == "1.0.0.2"
    assert parse_version(format_version((0, 65535, 1, 0))) == (0, 65535, 1, 0)


def test_a_release_name_is_name_underscore_version_dot_extension():
    assert parse_release_name("thermostat_1.0.0.2.py") == ("thermostat", (1, 0, 0, 2), "py")
    assert parse_release_name("my-app.x_3.mpy") == ("my-app.x", (3, 0, 0, 0), "mpy")
    assert parse_release_name("a_1.2.mp3") == ("a", (1, 2, 0, 0), "mp3")
    assert parse_release_name("SmartFTPUpdate_1.0.0.2.exe")[2] == "exe"


def test_what_is_no_release_name_is_refused_with_its_name_and_the_reason():
    for filename, reason in (
        ("thermostat.py", "underscore"),
        ("thermo_stat_1.0.0.2.py", "underscore"),
        ("thermostat__1.0.py", "underscore"),
        ("_1.0.py", "before the underscore"),
        ("thermostat_1.0.0.2", "extension"),
        ("thermostat_.py", "extension"),
        ("thermostat_1.0.py3-", "extension"),
        ("thermostat_1.0b.py", "number"),
        ("thermostat_1.70000.py", "65535"),
        ("thermo stat_1.0.py", "letters"),
        ("thermostat_1.tar.gz", "number"),
        ("wifi_manager.py", "number"),
    ):
        message = str(raised(ValueError, parse_release_name, filename))
        assert filename in message, message
        assert reason in message, message


def test_a_formatted_release_name_reads_back():
    filename = format_release_name("thermostat", (1, 0, 0, 2), "ota")
    assert filename == "thermostat_1.0.0.2.ota"
    assert parse_release_name(filename) == ("thermostat", (1, 0, 0, 2), "ota")
    raised(ValueError, format_release_name, "thermo_stat", (1, 0, 0, 2), "ota")


def test_the_newest_of_several_files_is_chosen():
    names = ["a_1.0.0.9.py", "a_1.0.0.10.py", "a_1.0.0.2.py", "b_7.py", "a.py", "readme.txt"]
    assert choose(names, "a") == ("a_1.0.0.10.py", (1, 0, 0, 10), [])


def test_release_files_and_plain_files_are_chosen_apart():
    names = ["a_1.0.py", "a_2.0.ota"]
    assert choose(names, "a")[0] == "a_1.0.py"
    assert choose(names, "a", ("ota",))[0] == "a_2.0.ota"


def test_what_begins_with_the_name_and_is_no_release_is_passed_over_with_a_message():
    chosen, version, passed_over = choose(["a_config.json", "a_1.0.py", "a_b_1.py", "ab_x.py"], "a")
    assert (chosen, version) == ("a_1.0.py", (1, 0, 0, 0))
    assert len(passed_over) == 2
    assert "a_config.json" in passed_over[0]
    assert "a_b_1.py" in passed_over[1]


def test_no_release_in_the_folder_is_no_error():
    assert choose(["readme.txt"], "a") == (None, None, [])


def test_two_files_of_the_newest_version_are_refused():
    message = str(raised(ValueError, choose, ["a_1.0.py", "a_1.0.mpy", "a_0.9.py"], "a"))
    assert "a_1.0.py" in message
    assert "a_1.0.mpy" in message
    assert choose(["a_1.0.py", "a_1.0.mpy", "a_2.py"], "a")[0] == "a_2.py"


def test_another_application_in_the_folder_is_seen_but_no_ordinary_file_with_a_number():
    assert other_application(["a_1.0.py", "heater_1.0.py"], "a") == "heater"
    assert other_application(["a_1.0.py", "font_8.py", "wifi_manager.py", "icons_16.2.bin", "a_2.0.mpy"], "a") is None


def test_newer_goes_up_only_and_differs_goes_anywhere_else():
    old, new = (1, 0, 0, 9), (1, 0, 0, 10)
    assert is_wanted("newer", old, new)
    assert not is_wanted("newer", new, old)
    assert not is_wanted("newer", new, new)
    assert is_wanted("differs", old, new)
    assert is_wanted("differs", new, old)
    assert not is_wanted("differs", new, new)
    assert is_wanted("newer", None, old)
    assert "newer or differs" in str(raised(ValueError, is_wanted, "older", old, new))
