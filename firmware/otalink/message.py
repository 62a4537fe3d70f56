"""otalink's own messages over a link: JSON objects in a frame's payload. Pure; docs/link.md is their specification.

Each begins with `{"otalink":"KIND"`, which no other payload may. "@" and ";" in them are escaped, so that they pass
where a receiver of note 70 listens.

    board to host:  hello, proof, report, answer, keep, ping        host to board:  welcome, ask, ack, pong
"""

import json

_BEGIN = '{"otalink":'


def is_message(text: str) -> bool:
    """True when `text` is, or pretends to be, one of otalink's own messages."""
    return text.startswith(_BEGIN)


def format_message(kind: str, **fields: object) -> str:
    """The text of the message `kind`; `fields` are what JSON can hold."""
    head = _BEGIN + json.dumps(kind)
    text = f"{head},{_dumps(fields)[1:]}" if fields else head + "}"
    # They stand in strings only: JSON itself has neither.
    return text.replace("@", "\\u0040").replace(";", "\\u003b")


def parse_message(text: str) -> "tuple[str, dict[str, object]]":
    """The message `text` as (kind, fields). Raises ValueError when it is none."""
    try:
        fields = json.loads(text)
    except (RuntimeError, MemoryError):
        raise ValueError("a message of otalink's is not as deep as that")
    kind = fields.pop("otalink", None) if isinstance(fields, dict) else None
    if not isinstance(kind, str):
        raise ValueError("no message of otalink's")
    return kind, fields


def _dumps(fields: "dict[str, object]") -> str:
    try:
        # As they are: MicroPython takes no character apart in two escapes together again.
        return json.dumps(fields, ensure_ascii=False)
    except TypeError:
        return json.dumps(fields)
