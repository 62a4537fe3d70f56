"""The release header: its form, its signature, and which board may install what it heads."""

import gc
import io
import sys
from binascii import a2b_base64

from signature_vectors import HEADER, SIGN, VECTORS
from support import raised

from otalink.admission import check, check_signature
from otalink.chunks import CHUNK, chunk, chunk_count
from otalink.errors import ReleaseError
from otalink.paths import check_digest, check_path
from otalink.record import format_header
from otalink.release import Header
from otalink.signature import key_id

DIGEST = "49bc20df15e412a64472421e13fe86ff1c5165e18b2afccf160d4dc19fe68a14"
MODULUS = VECTORS[1][0]
KEY = key_id(a2b_base64(MODULUS))
KEYS = {KEY: MODULUS}
BOARD = ("thermostat", "esp32", (6, 3))


def header(data):
    return Header(io.BytesIO(data))


def read(data):
    found = header(data)
    return found, list(found.files())


def refusal(data):
    return str(raised(ReleaseError, read, data))


def check_signed(data):
    check_signature(header(data), KEYS)


def build(*lines):
    """A header of these lines, its length put right."""
    body = "".join(line + "\n" for line in lines)
    length = len(body.encode()) + len("otalink 1 \n")
    length += len(str(length + len(str(length))))
    return f"otalink 1 {length}\n{body}".encode()


def with_files(*lines):
    return build("name a", "version 1.0", *lines)


def line(path="x", digest=DIGEST, size="5", stored="5", encoding="raw"):
    return f"file {digest} {size} {stored} {encoding} {path}"


def test_a_header_is_read_line_by_line():
    found, files = read(HEADER + SIGN)
    assert (found.name, found.version) == ("thermostat", (1, 0, 0, 3))
    assert found.boards == ("esp32", "unix")
    assert found.bytecode == (6, 3)
    assert found.length == len(HEADER + SIGN)
    assert files == [
        ("lib/data.bin", DIGEST, 30000, 17344, "deflate"),
        ("thermostat.py", "9678681f" * 8, 15, 15, "raw"),
    ]
    assert found.signature == (KEY, SIGN[22:-1].decode())


def test_what_is_optional_may_be_missing():
    found, files = read(b"".join(format_header("a", (1, 0, 0, 0), [("x", DIGEST, 5)])))
    assert (found.boards, found.bytecode, found.signature) == ((), None, None)
    assert files == [("x", DIGEST, 5, 5, "raw")]
    found, files = read(b"".join(format_header("a", (1, 0, 0, 0), [])))
    assert files == []


def test_a_stream_is_read_up_to_the_end_of_the_header_and_no_further():
    stream = io.BytesIO(HEADER + SIGN + b"stored bytes")
    for _ in Header(stream).files():
        pass
    assert stream.read() == b"stored bytes"


def test_a_formatted_header_reads_back_sorted():
    files = [("é", DIGEST, 9000, 20, "deflate"), ("a-b", DIGEST, 0, 0, "raw"), ("a/b c", DIGEST, 1, 1, "raw")]
    data = b"".join(format_header("a", (1, 0, 0, 2), files, ("rp2",), (6, 0)))
    found, again = read(data)
    assert found.length == len(data)
    assert (found.boards, found.bytecode) == (("rp2",), (6, 0))
    assert again == [files[1], files[2], files[0]]


def test_the_length_counts_its_own_digits():
    for size in range(1, 200):
        data = b"".join(format_header("a" * size, (1, 0, 0, 0), []))
        assert header(data).length == len(data)


def test_a_header_that_no_board_would_read_is_not_written():
    for files, reason in (
        ([("x", DIGEST, 1), ("x", DIGEST, 1)], "twice"),
        ([("x", "0" * 63, 1)], "SHA-256"),
        ([("../x", DIGEST, 1)], ".."),
    ):
        assert reason in str(raised(ValueError, format_header, "a", (1, 0, 0, 0), files))
    raised(ValueError, format_header, "a_b", (1, 0, 0, 0), [])


def test_forbidden_paths_are_refused():
    for path in (
        "",
        "/x",
        "x/",
        "a//b",
        ".",
        "..",
        "a/../b",
        "a/./b",
        "a\\b",
        "a\tb",
        "a\x7f",
        "x.ota-new",
        "x.ota-old",
        "x.ota-old/y",
        "otalink.json",
        ".otalink",
        ".otalink/installed",
        "x" * 241,
        "é" * 121,
    ):
        raised(ValueError, check_path, path)
        refusal(with_files(line(path)))
    for path in ("x", "a/b c", "x.ota", "lib/otalink.json", ".otalinks", "é" * 120, "..x", "a..b"):
        check_path(path)
        assert read(with_files(line(path)))[1][0][0] == path


def test_what_is_not_in_the_form_is_refused():
    good = with_files(line())
    assert len(read(good)[1]) == 1
    for lines in (
        ("version 1.0", "name a"),
        ("name a",),
        ("name a_b", "version 1.0"),
        ("name a", "version 1.0.0.0.0"),
        ("name a", "version v1"),
        ("name  a", "version 1.0"),
        ("name a ", "version 1.0"),
        ("name a", "name a", "version 1.0"),
        ("name a", "version 1.0", ""),
        ("name a", "version 1.0", "board "),
        ("name a", "version 1.0", "board a  b"),
        ("name a", "version 1.0", "board a "),
        ("name a", "version 1.0", "board a\tb"),
        ("name a", "version 1.0", "board a", "board b"),
        ("name a", "version 1.0", "mpy 6"),
        ("name a", "version 1.0", "mpy 6."),
        ("name a", "version 1.0", "mpy 6.3.1"),
        ("name a", "version 1.0", "mpy 06.3"),
        ("name a", "version 1.0", "mpy 6.3", "board a"),
        ("name a", "version 1.0", "comment x"),
        ("name a", "version 1.0", line(), "mpy 6.3"),
        ("name a", "version 1.0", line() + "\r"),
        ("name a", "version 1.0", " " + line()),
        ("name a", "version 1.0", "file"),
        ("name a", "version 1.0", "file " + DIGEST),
        ("name a", "version 1.0", line(digest=DIGEST.upper())),
        ("name a", "version 1.0", line(digest=DIGEST[1:])),
        ("name a", "version 1.0", line(size="05", stored="5")),
        ("name a", "version 1.0", line(size="-5", stored="-5")),
        ("name a", "version 1.0", line(size="+5")),
        ("name a", "version 1.0", line(size="4294967296", stored="4294967296")),
        ("name a", "version 1.0", line(size="9" * 30)),
        ("name a", "version 1.0", line(stored="6")),
        ("name a", "version 1.0", line(encoding="Raw")),
        ("name a", "version 1.0", line(encoding="gzip")),
        ("name a", "version 1.0", line(encoding="")),
        ("name a", "version 1.0", line(stored="2", encoding="deflate")),
        ("name a", "version 1.0", line(stored="4099", encoding="deflate")),
        ("name a", "version 1.0", line(size="4097", stored="5", encoding="deflate")),
    ):
        refusal(build(*lines))


def test_the_length_must_be_right():
    body = "name a\nversion 1.0\n" + line() + "\n"
    whole = len(body) + len("otalink 1 123\n")
    assert len(read(f"otalink 1 {whole}\n{body}".encode())[1]) == 1
    for length in ("", "x", "0", "1", "14", "0123", "99999999999", str(whole - 1), str(whole + 1), str(whole + 50)):
        refusal(f"otalink 1 {length}\n{body}".encode())
    refusal(f"otalink 1 {whole} \n{body}".encode())
    refusal(f"otalink 1 {whole}\n{body}"[:-1].encode())


def test_other_files_and_later_formats_are_told_apart():
    for data in (b"", b"\n", b"\0" * 2000, b"PK\3\4", b"import machine\n", b"\xff\xfe\n"):
        refusal(data)
    assert "update otalink first" in refusal(b"otalink 2 99\nname a\n")
    refusal(b"otalink\n")


def test_files_are_in_bytewise_order_and_none_comes_twice():
    for first, second in (("b", "a"), ("a", "a"), ("a/b", "a-b"), ("é", "z"), ("\U0001f600", "\uffee")):
        assert "out of order" in refusal(with_files(line(first), line(second)))
    read(with_files(line("Z"), line("a"), line("a-b"), line("ab"), line("\uffee"), line("\U0001f600")))


def test_a_path_is_no_file_and_folder_at_once():
    for paths in (("a", "a/b"), ("a", "a-b", "a-c", "a/b/c"), ("a/b", "a/b.py", "a/b/c"), ("x", "x-", "x-/y", "x/y")):
        assert "both a file and a folder" in refusal(with_files(*[line(path) for path in paths]))
    read(with_files(*[line(path) for path in ("a-b", "a/b", "a/c", "ab", "ab.py", "abc/d")]))


def test_a_line_has_1024_bytes_at_most():
    boards = "board " + "b" * (1024 - len("board \n"))
    assert len(header(with_files(boards)).boards[0]) == 1017
    refusal(with_files(boards + "b"))


def test_an_error_stays_an_error():
    found = header(with_files(line("b"), line("a"), line("c")))
    assert next(found.files())[0] == "b"
    for _ in range(3):
        assert "out of order" in str(raised(ReleaseError, next, found.files()))
    found = header(HEADER[:-10])
    for _ in range(3):
        raised(ReleaseError, list, found.files())


def test_sign_comes_last_and_has_one_form():
    for sign in (
        SIGN + SIGN,
        SIGN[:-1],
        SIGN.replace(KEY.encode(), KEY.upper().encode()),
        SIGN.replace(KEY.encode(), KEY[1:].encode()),
        SIGN.replace(b"sign ", b"sign  "),
        b"sign " + KEY.encode() + b"\n",
        SIGN + b"file " + DIGEST.encode() + b" 5 5 raw zz\n",
    ):
        length = len(HEADER) + len(sign)
        data = HEADER.replace(b"otalink 1 803", f"otalink 1 {length}".encode()) + sign
        refusal(data)
    # What it says is looked at when somebody has a key for it.
    for sign in (SIGN[:-2] + b"\n", SIGN[:-1] + b" \n", SIGN[:60] + b"*" + SIGN[60:]):
        length = len(HEADER) + len(sign)
        data = HEADER.replace(b"otalink 1 803", f"otalink 1 {length}".encode()) + sign
        assert read(data)[0].signature is not None
        assert "the signature is no base64" in str(raised(ReleaseError, check_signed, data))


def test_a_header_has_a_mebibyte_at_most():
    assert "over 1048576" in refusal(b"otalink 1 1048577\nname a\n")


def test_a_release_that_a_key_of_the_board_signed_is_taken():
    check(header(HEADER + SIGN), *BOARD, KEYS)
    check(header(HEADER + SIGN), *BOARD, KEYS, "thermostat_1.0.0.3.ota")
    # Without a key a signature is only read.
    check(header(HEADER + SIGN), *BOARD, {})


def test_the_check_reads_what_the_caller_left():
    found = header(HEADER + SIGN)
    assert next(found.files())[0] == "lib/data.bin"
    check(found, *BOARD, KEYS)
    assert list(found.files()) == []


def test_a_release_for_another_is_refused_with_the_reason():
    other = key_id(a2b_base64(VECTORS[0][0]))
    unsigned = HEADER.replace(b"803", str(len(HEADER)).encode())
    for data, board, keys, filename, reason in (
        (unsigned, BOARD, KEYS, None, "not signed"),
        (unsigned, BOARD, KEYS, None, KEY),
        (HEADER + SIGN, BOARD, {other: VECTORS[0][0]}, None, f"{KEY}, which is unknown or retired"),
        (HEADER + SIGN, BOARD, {KEY: VECTORS[0][0]}, None, "another key"),
        (HEADER + SIGN, BOARD, {KEY: "!"}, None, "base64"),
        (HEADER + SIGN, ("heater", "esp32", (6, 3)), KEYS, None, "runs heater"),
        (HEADER + SIGN, ("thermostat", "rp2", (6, 3)), KEYS, None, "this board is rp2"),
        (HEADER + SIGN, ("thermostat", "esp3", (6, 3)), KEYS, None, "this board is esp3"),
        (HEADER + SIGN, ("thermostat", "esp32", (7, 3)), KEYS, None, "this board loads 7.3"),
        (HEADER + SIGN, ("thermostat", "esp32", (6, 2)), KEYS, None, "this board loads 6.2"),
        (HEADER + SIGN, ("thermostat", "esp32", None), KEYS, None, "this board loads none"),
        (HEADER + SIGN, BOARD, KEYS, "thermostat_1.0.0.4.ota", "thermostat 1.0.0.3"),
        (HEADER + SIGN, BOARD, KEYS, "heater_1.0.0.3.ota", "thermostat 1.0.0.3"),
        (HEADER + SIGN, BOARD, KEYS, "thermostat.ota", "underscore"),
        (HEADER + SIGN, BOARD, KEYS, "thermostat_1.0.0.3.py", "must say so"),
    ):
        found = header(data)
        error = str(raised(ReleaseError, check, found, *board, keys, filename))
        assert reason in error, error
        assert "\n" not in error


def test_bytecode_without_native_code_loads_on_any_minor_version():
    data = b"".join(format_header("thermostat", (1, 0, 0, 3), [], (), (6, 0)))
    for minor in range(4):
        check(header(data), "thermostat", "rp2", (6, minor), {})
    raised(ReleaseError, check, header(data), "thermostat", "rp2", (5, 0), {})


def test_a_signed_header_that_differs_in_one_bit_is_refused():
    data = HEADER + SIGN
    step, bits = (1, (0, 2, 5, 7)) if sys.implementation.name == "cpython" else (7, (0, 5))
    refused = 0
    for at in range(0, len(data), step):
        for bit in bits:
            changed = bytearray(data)
            changed[at] ^= 1 << bit
            try:
                check_signed(bytes(changed))
            except ReleaseError:
                refused += 1
            else:
                raise AssertionError(f"byte {at}, bit {bit}: {changed!r}")
    assert refused == len(range(0, len(data), step)) * len(bits)


def test_a_signed_header_that_lost_or_won_a_byte_is_refused():
    data = HEADER + SIGN
    for at in range(0, len(data), 3):
        raised(ReleaseError, check_signed, data[:at])
        raised(ReleaseError, check_signed, data[:at] + data[at + 1 :])
        raised(ReleaseError, check_signed, data[:at] + b"0" + data[at:])
        raised(ReleaseError, check_signed, data[:at] + b"\n" + data[at:])


def test_rubbish_raises_release_error_and_nothing_else():
    seed = 12345
    data = HEADER + SIGN
    for _ in range(2000 if sys.implementation.name == "cpython" else 300):
        changed = bytearray(data)
        for _ in range(3):
            seed = (seed * 1103515245 + 12345) & 0x7FFFFFFF
            at = (seed >> 8) % len(changed)
            what = (seed >> 3) % 3
            if what == 0:
                changed[at] = seed >> 16 & 0xFF
            elif what == 1:
                changed = changed[:at] + changed[at + (seed >> 20) % 40 :]
            else:
                changed = changed[:at] + changed[(seed >> 16) % len(changed) :][:60] + changed[at:]
        if bytes(changed) != data:
            raised(ReleaseError, check_signed, bytes(changed))


def test_chunks_are_found_by_their_table():
    table = b"\x00\x05\x90\x00\x80\x01"
    size = 2 * CHUNK + 1
    assert chunk_count(size) == 3
    assert chunk(table, 0, size) == (5, CHUNK, True)
    assert chunk(table, 1, size) == (CHUNK, CHUNK, False)
    assert chunk(table, 2, size) == (1, 1, False)
    assert [chunk_count(size) for size in (0, 1, CHUNK, CHUNK + 1)] == [0, 1, 1, 2]


def test_chunks_of_impossible_lengths_are_refused():
    for entry in (b"\x00\x00", b"\x80\x00", b"\x10\x01", b"\x90\x01", b"\x80\x04", b"\xff\xff", b"\x7f\xff"):
        raised(ReleaseError, chunk, entry, 0, 5)
    assert chunk(b"\x80\x05", 0, 5) == (5, 5, False)


class Lines:
    """A header of `count` files that is made as it is read."""

    def __init__(self, count):
        width = len(line("lib/0000.mpy")) + 1
        first = len("otalink 1 123456\nname thermostat\nversion 1.0.0.0\n")
        length = first + count * width
        self._head = [f"otalink 1 {length:06}\n".encode(), b"name thermostat\n", b"version 1.0.0.0\n"]
        if length < 100000:
            raise ValueError("the first line is to have six digits")
        self._count = count
        self._at = 0

    def readline(self, limit):
        self._at += 1
        if self._at <= 3:
            return self._head[self._at - 1]
        return (line(f"lib/{self._at:04}.mpy") + "\n").encode()


def test_a_thousand_files_need_no_more_memory_than_ten():
    found = Header(Lines(1200))
    files = found.files()
    taken = []
    for count in (10, 1000):
        for _ in range(count):
            next(files)
        gc.collect()
        if hasattr(gc, "mem_alloc"):
            taken.append(gc.mem_alloc())
    for _ in files:
        pass
    if taken:
        assert taken[1] - taken[0] < 512, taken


def test_a_header_that_is_cut_anywhere_is_refused():
    data = HEADER + SIGN
    for end in range(len(data)):
        raised(ReleaseError, read, data[:end])


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


def test_a_digest_is_64_lower_case_hexadecimal_digits():
    check_digest(DIGEST)
    for text in ("", DIGEST[1:], DIGEST + "0", DIGEST.upper(), DIGEST[1:] + "g", DIGEST[1:] + "²"):
        raised(ValueError, check_digest, text)
