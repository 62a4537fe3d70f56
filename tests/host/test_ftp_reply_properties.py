"""The reply parser against whatever a server may send, cut wherever the network cuts it."""

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st

from otalink.errors import ProtocolError
from otalink.ftp_facts import parse_mdtm, parse_mlsd_line, parse_nlst_line, parse_pasv, parse_size
from otalink.ftp_reply import (
    LINE_MAX,
    REPLY_MAX,
    TEXT_MAX,
    LineSplitter,
    ReplyParser,
    parse_epsv,
)
from otalink.ftp_text import text_of

# Bytes as they come, and bytes that look like replies now and then.
LOOKALIKES = st.sampled_from(
    [b"220 ", b"220-", b"226", b"\r\n", b"\n", b"\r", b"(|||1|)", b"1,2,3,4,5,6", b"\xe9", b";"]
)
STREAMS = st.one_of(st.binary(max_size=300), st.lists(LOOKALIKES | st.binary(max_size=8), max_size=60).map(b"".join))
SIZES = st.lists(st.integers(1, 40), max_size=40)
WORDS = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=20)

# A busy machine is no fault.
unhurried = settings(deadline=None)


def pieces(data, sizes):
    for size in sizes:
        yield data[:size]
        data = data[size:]
    yield data


def parse(data, sizes):
    parser = ReplyParser()
    found = []
    for piece in pieces(data, sizes):
        parser.hear(piece)
        while (reply := parser.next()) is not None:
            found.append(reply)
    return found


@unhurried
@given(STREAMS, SIZES)
def test_anything_is_a_reply_or_a_protocol_error(data, sizes):
    with contextlib.suppress(ProtocolError):
        for code, text in parse(data, sizes):
            assert 100 <= code <= 599
            assert isinstance(text, str)


@unhurried
@given(STREAMS, SIZES)
def test_the_cuts_change_nothing(data, sizes):
    def outcome(cuts):
        try:
            return parse(data, cuts)
        except ProtocolError as error:
            return str(error)

    assert outcome(sizes) == outcome([])


@unhurried
@given(
    st.lists(st.tuples(st.integers(100, 599), st.lists(WORDS, min_size=1, max_size=4)), max_size=6),
    SIZES,
    st.sampled_from(["\r\n", "\n"]),
)
def test_well_formed_replies_come_out_once_whatever_the_cuts(expected, sizes, end):
    data = "".join(
        f"{code}{' ' if line is lines[-1] and number == len(lines) - 1 else '-'}{line}{end}"
        for code, lines in expected
        for number, line in enumerate(lines)
    )
    assert parse(data.encode(), sizes) == [(code, "\n".join(lines)) for code, lines in expected]


@unhurried
@given(st.binary(min_size=1, max_size=50), st.booleans())
def test_what_is_kept_of_an_endless_stream_is_bounded(chunk, opened):
    parser = ReplyParser()
    if opened:
        parser.hear(b"220-\n")
    with contextlib.suppress(ProtocolError):
        for _ in range(REPLY_MAX * 2 // len(chunk)):
            parser.hear(chunk)
            while parser.next() is not None:
                pass
    assert len(parser._rest) <= LINE_MAX + len(chunk)
    assert sum(map(len, parser._text)) + len(parser._text) <= TEXT_MAX + LINE_MAX


@unhurried
@given(st.binary(max_size=300), SIZES)
def test_lines_come_out_once_whatever_the_cuts(data, sizes):
    splitter = LineSplitter()
    lines = [line for piece in pieces(data, sizes) for line in splitter.feed(piece)]
    last = splitter.end()
    *whole, rest = data.split(b"\n")
    assert lines == [line.rstrip(b"\r") for line in whole]
    assert last == (rest.rstrip(b"\r") or None)


@unhurried
@given(st.binary(max_size=100) | STREAMS)
def test_any_line_of_a_listing_is_a_name_or_nothing_or_a_protocol_error(line):
    name = parse_nlst_line(line)
    assert name is None or (name and not set(name) & set("/\r\0"))
    with contextlib.suppress(ProtocolError):
        entry = parse_mlsd_line(line)
        assert entry is None or (entry[0] and not set(entry[0]) & set("/\r\0"))


@unhurried
@given(st.text(max_size=80) | STREAMS.map(text_of))
def test_any_text_is_understood_or_a_protocol_error(text):
    for parser in (parse_epsv, parse_pasv):
        with contextlib.suppress(ProtocolError):
            assert 0 < parser(text) < 65536
    with contextlib.suppress(ProtocolError):
        assert parse_size(text) >= 0
    with contextlib.suppress(ProtocolError):
        assert len(parse_mdtm(text)) == 14


@unhurried
@given(st.integers(1, 65535), st.text(st.characters(exclude_characters="(", exclude_categories=["Cs"]), max_size=20))
def test_every_port_comes_through_epsv_and_pasv(port, words):
    assert parse_epsv(f"{words} (|||{port}|)") == port
    assert parse_pasv(f"Entering Passive Mode (0,0,0,0,{port >> 8},{port & 255})") == port
