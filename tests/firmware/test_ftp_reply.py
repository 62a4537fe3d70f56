"""FTP replies, addresses of data connections, listings: what is understood and what is refused."""

from support import raised

from otalink.errors import ProtocolError
from otalink.ftp_facts import parse_mdtm, parse_mlsd_line, parse_nlst_line, parse_pasv, parse_size
from otalink.ftp_reply import (
    LINE_MAX,
    REPLY_MAX,
    TEXT_MAX,
    LineSplitter,
    ReplyParser,
    check_argument,
    parse_epsv,
)
from otalink.ftp_text import text_of


def replies(*pieces):
    parser = ReplyParser()
    found = []
    for piece in pieces:
        parser.hear(piece)
        reply = parser.next()
        while reply is not None:
            found.append(reply)
            reply = parser.next()
    return found


def test_lines_end_with_lf_or_crlf_wherever_they_are_cut():
    splitter = LineSplitter()
    assert splitter.feed(b"a\r\nb\nc") == [b"a", b"b"]
    assert splitter.feed(memoryview(b"d\r")) == []
    assert splitter.feed(b"\n\n") == [b"cd", b""]
    assert splitter.end() is None


def test_the_last_line_of_a_stream_needs_no_line_end():
    splitter = LineSplitter()
    splitter.feed(b"a\nb\r")
    assert splitter.end() == b"b"
    assert splitter.end() is None


def test_a_line_over_the_limit_is_refused_whole_or_in_pieces():
    longest = b"x" * LINE_MAX
    assert LineSplitter().feed(longest + b"\n") == [longest]
    raised(ProtocolError, LineSplitter().feed, longest + b"x\n")
    splitter = LineSplitter()
    splitter.feed(longest[1:])
    assert f"{LINE_MAX} bytes" in str(raised(ProtocolError, splitter.feed, b"xx"))


def test_a_reply_is_a_code_and_a_text():
    assert replies(b"220 ready\r\n") == [(220, "ready")]
    assert replies(b"220 ready\n") == [(220, "ready")]
    assert replies(b"220\r\n") == [(220, "")]
    assert replies(b"220 \r\n") == [(220, "")]
    assert replies(b"550  two  spaces \r\n") == [(550, " two  spaces ")]


def test_a_reply_over_several_lines_is_one():
    assert replies(b"220-one\r\n220-two\r\n220 three\r\n") == [(220, "one\ntwo\nthree")]
    assert replies(b"220-one\r\n two\r\n\r\n221 not yet\r\n2200\r\n220 three\r\n") == [
        (220, "one\n two\n\n221 not yet\n2200\nthree")
    ]


def test_replies_come_out_one_by_one_and_in_order():
    assert replies(b"150 here\r\n226 done\r\n", b"200 fine\r\n") == [(150, "here"), (226, "done"), (200, "fine")]


def test_a_reply_may_be_cut_anywhere():
    whole = b"220-one\r\n two\r\n220 three\r\n331 four\n"
    for cut in range(len(whole) + 1):
        assert replies(whole[:cut], whole[cut:]) == [(220, "one\n two\nthree"), (331, "four")]


def test_a_parser_is_idle_between_replies_only():
    parser = ReplyParser()
    assert parser.is_idle()
    for piece in (b"2", b"20-a\r\n", b"220 b", b"\r\n"):
        parser.hear(piece)
        assert not parser.is_idle(), piece
    assert parser.next() == (220, "a\nb")
    assert parser.is_idle()
    assert parser.next() is None


def test_what_is_no_reply_is_refused_with_what_came():
    for line in (b"", b"2", b"22", b"2200", b"220x", b"x220 a", b" 220 a", b"22a b", b"020 a", b"620 a", b"-22 a"):
        error = str(raised(ProtocolError, ReplyParser().hear, line + b"\r\n"))
        assert line.decode() in error, line
        assert "\n" not in error
    raised(ProtocolError, ReplyParser().hear, b"\xb2\xb2\xb2 a\r\n")


def test_a_reply_without_end_is_refused():
    for line in (b"a" * 1000 + b"\r\n", b"a\r\n", b"\n"):
        parser = ReplyParser()
        parser.hear(b"220-\r\n")
        fed = 0
        while fed <= REPLY_MAX:
            fed += len(line.rstrip()) + 1
            if fed + 5 > REPLY_MAX:
                assert str(REPLY_MAX) in str(raised(ProtocolError, parser.hear, line))
                break
            parser.hear(line)
    raised(ProtocolError, ReplyParser().hear, b"2" * (LINE_MAX + 1))


def test_the_text_of_a_long_reply_is_cut_but_for_its_last_line():
    ((code, text),) = replies(b"220-a\r\n" + b"x" * 99 + b"\r\n", b"y" * 500 + b"\r\n", b"220 end\r\n")
    assert code == 220
    assert text == "a\n" + "x" * 99 + "\nend"
    assert len(text) < TEXT_MAX


def test_what_is_not_utf_8_is_text_all_the_same():
    assert text_of(b"plain") == "plain"
    assert text_of("größe".encode()) == "größe"
    assert text_of(b"caf\xe9!") == "caf?!"
    assert text_of(b"\xff\xfe") == "??"
    assert text_of(memoryview(b"a")) == "a"
    assert replies(b"220 caf\xe9\r\n") == [(220, "caf?")]


def test_what_would_begin_a_second_command_is_refused_and_not_repeated():
    for text in ("a\rb", "a\nb", "a\0b", "\n"):
        error = str(raised(ValueError, check_argument, text))
        assert text not in error
    check_argument("größe [1] 100% -x")


def test_epsv_gives_the_port():
    for text in (
        "Entering Extended Passive Mode (|||6446|)",
        "(!!!6446!)",
        "ok (|||6446|).",
        "|||6446|",
        "(|1|::1|6446|)",
    ):
        assert parse_epsv(text) == 6446, text


def test_epsv_without_a_port_is_refused():
    for text in ("", "(", "()", "(|", "(|||", "(||||)", "no port", "(|||x|)", "(|||-1|)", "(|||0|)", "(|||65536|)"):
        error = str(raised(ProtocolError, parse_epsv, text))
        assert "port" in error, text
    raised(ProtocolError, parse_epsv, "(|||²|)")
    assert "\n" not in str(raised(ProtocolError, parse_epsv, "a\nb"))


def test_pasv_gives_the_port_whatever_surrounds_it():
    for text in (
        "Entering Passive Mode (127,0,0,1,10,20).",
        "Entering Passive Mode 127,0,0,1,10,20",
        "=127,0,0,1,10,20",
        "Entering Passive Mode, 4 you:(0,0,0,0,10,20)",
        "one\nEntering (10,0,0,1,010,020)",
    ):
        assert parse_pasv(text) == 2580, text


def test_pasv_without_a_port_is_refused():
    for text in (
        "",
        "no port",
        "(127,0,0,1,10)",
        "(127,0,0,1,10,20,30)",
        "(127,0,0,1,10,256)",
        "(256,0,0,1,10,20)",
        "(127,0,0,1,,20)",
        "(127,0,0,1,-1,20)",
        "(127,0,0,1,0,0)",
        "(127,0,0,1,0010,20)",
        "(127.0.0.1.10.20)",
    ):
        assert "port" in str(raised(ProtocolError, parse_pasv, text)), text


def test_size_is_a_number():
    assert parse_size("0") == 0
    assert parse_size(" 4294967296 ") == 4294967296
    for text in ("", "-1", "+1", "1.5", "1 2", "x", "²", "1" * 13, "0x10"):
        assert "SIZE" in str(raised(ProtocolError, parse_size, text)), text


def test_mdtm_is_a_time():
    assert parse_mdtm("20200102030405") == "20200102030405"
    assert parse_mdtm(" 20200102030405.678") == "20200102030405"
    for text in ("", "2020010203040", "2020-01-02 03:04", "x"):
        assert "MDTM" in str(raised(ProtocolError, parse_mdtm, text)), text


def test_a_line_of_mlsd_is_name_type_size_and_time():
    assert parse_mlsd_line(b"type=file;size=3;modify=20200102030405; a b") == ("a b", "file", 3, "20200102030405")
    assert parse_mlsd_line(b"Type=DIR;Perm=el; sub") == ("sub", "dir", None, "")
    assert parse_mlsd_line(b" bare") == ("bare", "file", None, "")
    assert parse_mlsd_line(b"size=x;size=-1;=;;a=b=c; odd") == ("odd", "file", None, "")
    assert parse_mlsd_line("size=1; größe".encode()) == ("größe", "file", 1, "")
    assert parse_mlsd_line(b"type=file;  leading") == (" leading", "file", None, "")
    assert parse_mlsd_line(b"type=file; /a/b") == ("b", "file", None, "")


def test_a_line_of_mlsd_that_names_no_file_is_left_out():
    for line in (b"", b"type=cdir; .", b"type=pdir; ..", b"type=dir; a/", b"type=file; a\0b"):
        assert parse_mlsd_line(line) is None, line


def test_a_line_of_mlsd_that_is_not_understood_is_refused():
    for line in (b"a", b"type=file;", b"type=file a", b"total 5", b"-rw-r--r-- 1 a b 5 f", b"type=file; "):
        assert "listing" in str(raised(ProtocolError, parse_mlsd_line, line)), line


def test_a_line_of_nlst_is_a_name_or_a_path():
    for line, name in ((b"a", "a"), (b"/x/y/a", "a"), (b"./a", "a"), (b"a b", "a b"), (b" a", " a"), (b"...", "...")):
        assert parse_nlst_line(line) == name
    for line in (b"", b".", b"..", b"empty/.", b"empty/..", b"a/", b"a\0b", b"a\rb"):
        assert parse_nlst_line(line) is None, line
