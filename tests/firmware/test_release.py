"""The release header, its paths and digests."""

from io import BytesIO

from support import raised

from otalink.errors import ReleaseError
from otalink.paths import check_digest, check_path
from otalink.release import Header, format_header

DIGEST = "0123456789abcdef" * 4
FILES = [("app.py", DIGEST, 5), ("lib/a font.bin", DIGEST, 0), ("ä.py", DIGEST, 4000000000)]


def made(*arguments):
    return b"".join(format_header(*arguments))


def read(data):
    header = Header(BytesIO(data))
    return header.name, header.version, list(header.files())


def test_a_header_reads_back_with_its_files_sorted():
    assert read(made("app", (1, 2, 3, 4), list(reversed(FILES)))) == ("app", (1, 2, 3, 4), FILES)
    assert read(made("app", (1, 2, 3, 4), [])) == ("app", (1, 2, 3, 4), [])


def test_a_header_begins_with_its_own_length_and_is_text():
    for count in range(14):
        data = made("app", (1, 0, 0, 0), [(f"f{i:02}", DIGEST, i) for i in range(count)])
        lines = data.split(b"\n")
        assert lines[0] == f"otalink 1 {len(data)}".encode()
        assert lines[1:3] == [b"name app", b"version 1.0.0.0"]
        assert lines[-1] == b""
        assert Header(BytesIO(data)).length == len(data)


def test_a_header_is_read_no_further_than_its_length():
    stream = BytesIO(made("app", (1, 0, 0, 0), FILES) + b"the files' bytes")
    assert len(list(Header(stream).files())) == 3
    assert stream.read() == b"the files' bytes"


def test_a_header_that_is_cut_anywhere_is_refused():
    data = made("app", (1, 0, 0, 0), FILES)
    for end in range(len(data)):
        raised(ReleaseError, read, data[:end])


def test_what_is_no_header_is_refused_with_the_reason():
    good = made("app", (1, 0, 0, 0), FILES).decode()
    for old, new, reason in (
        ("otalink 1 ", "otalinx 1 ", "does not begin with otalink"),
        ("otalink 1 ", "otalink 2 ", "release format 2 is not known here: update otalink first"),
        ("otalink 1 ", "otalink 1 x", "length is no number"),
        ("otalink 1 ", "otalink 1 -", "length is no number"),
        ("otalink 1 ", "otalink 1 99999999999", "length is no number"),
        ("name app", "nome app", "name is missing"),
        ("name app", "name a_b", "only letters"),
        ("version 1", "vorsion 1", "version is missing"),
        ("version 1.0.0.0", "version x", "number"),
        ("file 0", "film 0", "a line that is not understood: film"),
        ("file 0", "file g", "64 lower-case hexadecimal digits"),
        ("file 0", "file 00", "64 lower-case hexadecimal digits"),
        (" 5 5 raw", " 5 raw", "a line that is not understood"),
        (" 5 5 raw", " x x raw", "size is no number"),
        (" 5 5 raw", " 5 4 raw", "app.py is stored in an unknown way"),
        (" 5 5 raw", " 5 5 deflate", "app.py is stored in an unknown way"),
        ("app.py", "../x", "must be relative"),
        ("app.py", "zz.py", "out of order or comes twice"),
        ("app.py", "lib/a font.bin", "out of order or comes twice"),
    ):
        assert old in good, old
        changed = good.replace(old, new, 1)
        # The length is that of the changed text, where that is not the point.
        if not old.startswith("otalink"):
            rest = changed[changed.find("\n") + 1 :].encode()
            changed = f"otalink 1 {len(rest) + 14}\n" + changed[changed.find("\n") + 1 :]
        message = str(raised(ReleaseError, read, changed.encode()))
        assert reason in message, (message, reason)


def test_a_line_that_is_not_utf_8_or_too_long_is_refused():
    data = made("app", (1, 0, 0, 0), FILES)
    assert "not UTF-8" in str(raised(ReleaseError, read, data.replace(b"app.py", b"ap\xff.py")))
    assert "too long" in str(raised(ReleaseError, read, b"otalink 1 " + b"9" * 100000))


def test_a_header_is_never_written_with_what_none_may_hold():
    for arguments in (
        ("a_b", (1, 0, 0, 0), []),
        ("app", (1, 0, 0, 0), [("../x", DIGEST, 1)]),
        ("app", (1, 0, 0, 0), [("x", DIGEST[1:], 1)]),
        ("app", (1, 0, 0, 0), [("x", DIGEST, 1), ("x", DIGEST, 1)]),
    ):
        raised(ValueError, made, *arguments)


def test_a_path_may_be_any_relative_one():
    for path in (
        "a",
        "lib/x.mpy",
        "a b",
        "ä/ö",
        "boot.py",
        "..x",
        ".hidden",
        "otalink.json.txt",
        "otalinks/x",
        "x" * 240,
    ):
        check_path(path)


def test_a_path_that_no_release_may_name_is_refused_with_the_reason():
    for path, reason in (
        ("", "1 to 240 bytes"),
        ("x" * 241, "1 to 240 bytes"),
        ("ä" * 121, "1 to 240 bytes"),
        ("/etc/x", "relative"),
        ("a/", "relative"),
        ("a//b", "relative"),
        ("./a", "relative"),
        ("a/../b", "relative"),
        ("..", "relative"),
        ("a\nb", "control characters"),
        ("a\0b", "control characters"),
        ("a\x7fb", "control characters"),
        ("a\\b", "backslashes"),
        ("x.ota-new", "otalink's own"),
        ("d.ota-old/x", "otalink's own"),
        ("otalink.json", "belong to the board"),
        (".otalink", "belong to the board"),
        (".otalink/installed", "belong to the board"),
    ):
        assert reason in str(raised(ValueError, check_path, path)), path


def test_a_digest_is_64_lower_case_hexadecimal_digits():
    check_digest(DIGEST)
    for text in ("", DIGEST[1:], DIGEST + "0", DIGEST.upper(), DIGEST[1:] + "g", DIGEST[1:] + "²"):
        raised(ValueError, check_digest, text)
