"""otalink's own messages: what goes in comes out, on either runtime, and nothing else is taken for one."""

from support import raised

from otalink.message import format_message, is_message, parse_message


def test_what_is_formatted_is_parsed():
    fields = {"board": "shop-1", "percent": 40, "done": True, "reason": None, "data": 'a "quoted"\n line \\ é ✓ 𝄞'}
    assert parse_message(format_message("report", **fields)) == ("report", fields)


def test_a_message_may_have_no_fields():
    assert format_message("ping") == '{"otalink":"ping"}'
    assert parse_message('{"otalink":"ping"}') == ("ping", {})


def test_every_message_is_known_by_its_beginning():
    assert is_message(format_message("hello", board="b"))
    assert is_message(format_message("ping"))
    for text in ("", "{}", '{"otalink"', ' {"otalink":"ping"}', "20 degrees", '{"id": 1, "otalink":"ping"}'):
        assert not is_message(text), text


def test_a_message_holds_neither_stx_nor_etx_of_note_70():
    text = format_message("keep", data="@a;b@;")
    assert "@" not in text
    assert ";" not in text
    assert parse_message(text) == ("keep", {"data": "@a;b@;"})


def test_what_is_no_message_is_a_value_error():
    for text in ('{"otalink":', '{"otalink":7}', '{"otalink":null,"id":1}', '["otalink"]', '"otalink"', "7", "", "{}"):
        raised(ValueError, parse_message, text)


def test_the_other_ends_json_is_understood():
    # As MicroPython writes it, and as CPython does.
    expected = ("ack", {"sequence": "00ff", "id": 3})
    assert parse_message('{"otalink": "ack", "sequence": "00ff", "id": 3}') == expected
    assert parse_message('{"id": 3, "sequence": "00ff", "otalink":"ack"}') == expected


def test_a_message_without_end_is_a_value_error():
    depth = 20000
    raised(ValueError, parse_message, '{"otalink":' + "[" * depth)
    raised(ValueError, parse_message, '{"otalink":' + "[" * depth + "]" * depth + "}")
    raised(ValueError, parse_message, '{"otalink":' + '{"a":' * depth + "1" + "}" * depth + "}")
