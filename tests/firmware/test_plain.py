"""The plain folder: what belongs to a release, under which path, and what SHA256SUMS says."""

from support import raised

from otalink.errors import ReleaseError
from otalink.plain import format_sums_line, is_ordinary, parse_sums_line, select, target_path

DIGEST = "0123456789abcdef" * 4


def test_the_newest_versioned_file_is_selected_and_what_is_none_is_said():
    names = ["app_1.0.py", "app_1.1.mpy", "app_x.py", "SHA256SUMS", "wifi_manager.py", "app_9.0.ota"]
    versioned, version, messages = select(names, "app")
    assert (versioned, version) == ("app_1.1.mpy", (1, 1, 0, 0))
    assert len(messages) == 1
    assert "passed over app_x.py" in messages[0]


def test_a_folder_without_a_release_is_no_error():
    assert select(["readme.txt", "app_1.0.ota", "app.py"], "app") == (None, None, [])


def test_a_folder_that_does_not_say_clearly_what_is_offered_is_refused():
    for names, reason in (
        (["app_1.0.py", "other_1.0.py"], "two applications, app and other: give each a folder of its own"),
        (["other_1.0.py"], "holds other and no release of app: check the name and the folder"),
        (["app_1.0.py", "app_1.mpy"], "the same version: leave one of them"),
    ):
        assert reason in str(raised(ReleaseError, select, names, "app"))


def test_the_versioned_file_loses_its_version_and_the_others_keep_their_names():
    assert target_path("app_1.0.0.2.py", "app_1.0.0.2.py") == "app.py"
    assert target_path("my-app.x_3.mpy", "my-app.x_3.mpy") == "my-app.x.mpy"
    assert target_path("wifi_manager.py", "app_1.0.0.2.py") == "wifi_manager.py"
    assert target_path("lib/app_1.0.py", "app_1.0.py") == "lib/app_1.0.py"


def test_a_target_that_no_release_may_name_is_refused():
    raised(ReleaseError, target_path, "otalink_1.0.json", "otalink_1.0.json")
    raised(ReleaseError, target_path, "otalink.json", "app_1.0.py")
    raised(ReleaseError, target_path, "x.ota-new", "app_1.0.py")


def test_ordinary_files_are_all_but_hidden_ones_release_files_sums_and_other_versions():
    for name in ("wifi_manager.py", "font_8.py", "apps_1.py", "x.txt", "lib/x.py", "README"):
        assert is_ordinary(name, "app"), name
    for name in (".upload", "SHA256SUMS", "x.ota", "app_1.0.py", "app_settings.json"):
        assert not is_ordinary(name, "app"), name


def test_a_line_of_any_tool_that_writes_sums_is_read():
    expected = ("lib/x y.py", DIGEST)
    for line in (
        f"{DIGEST}  lib/x y.py",
        f"{DIGEST} *lib/x y.py",
        f"{DIGEST}  ./lib/x y.py",
        f"{DIGEST.upper()}  lib/x y.py",
        f"{DIGEST}  lib/x y.py\r\n",
        f"{DIGEST}  lib/x y.py\n",
    ):
        assert parse_sums_line(line.encode()) == expected, line
    assert parse_sums_line(b"") is None
    assert parse_sums_line(b"\r\n") is None


def test_a_line_that_is_wrong_is_refused_with_its_file():
    for line, reason in (
        (b"\xff", "not UTF-8"),
        (f"{DIGEST} x.py".encode(), "not a line of sha256sum"),
        (f"{DIGEST[1:]}  x.py".encode(), "not a line of sha256sum"),
        (f"{DIGEST[1:]}g  x.py".encode(), "64 lower-case hexadecimal digits"),
        (f"{DIGEST}  ".encode(), "1 to 240 bytes"),
        (f"{DIGEST}  ../x".encode(), "path ../x"),
        (f"{DIGEST}  /x".encode(), "path /x"),
        (f"{DIGEST}  .//x".encode(), "path /x"),
        (f"{DIGEST}  otalink.json".encode(), "otalink.json"),
        (b"hello", "hello: not a line of sha256sum"),
    ):
        message = str(raised(ReleaseError, parse_sums_line, line))
        assert message.startswith("SHA256SUMS: "), message
        assert reason in message, message
        assert "\n" not in message


def test_a_formatted_line_reads_back():
    line = format_sums_line("lib/ä.py", DIGEST)
    assert line == f"{DIGEST}  lib/ä.py\n".encode()
    assert parse_sums_line(line) == ("lib/ä.py", DIGEST)
    raised(ValueError, format_sums_line, "../x", DIGEST)
    raised(ValueError, format_sums_line, "x", "0")
