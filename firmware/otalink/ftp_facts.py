"""What an FTP server says of files and addresses: listings, times, PASV. Pure: no sockets, no clock."""

from otalink.errors import ProtocolError
from otalink.ftp_text import is_number, text_of


def parse_pasv(text: str) -> int:
    """The port in the text of a 227 reply, "(h1,h2,h3,h4,p1,p2)", with or without the parentheses.

    The address in it is left out on purpose: it may be 0.0.0.0, a private one behind a router, or a third party's;
    data connections go to the control connection's peer. Raises ProtocolError.
    """
    from otalink.ftp_reply import check_port

    for piece in "".join([c if c in "0123456789," else " " for c in text]).split():
        fields = piece.strip(",").split(",")
        if len(fields) == 6 and all(is_number(field, 3) and int(field) < 256 for field in fields):
            return check_port(str(int(fields[4]) * 256 + int(fields[5])), text)
    return check_port("", text)


def parse_size(text: str) -> int:
    """The bytes that the text of a 213 reply to SIZE names (RFC 3659 section 4). Raises ProtocolError."""
    digits = text.strip()
    if not is_number(digits, 12):
        raise ProtocolError(f"the server's answer to SIZE is no number: {text[:80]!r}")
    return int(digits)


def parse_mdtm(text: str) -> str:
    """The time in the text of a 213 reply to MDTM (RFC 3659 section 3), as its digits YYYYMMDDHHMMSS, UTC."""
    digits = text.strip()[:14]
    if len(digits) != 14 or not is_number(digits, 14):
        raise ProtocolError(f"the server's answer to MDTM is no time: {text[:80]!r}")
    return digits


def parse_mlsd_line(line: bytes) -> tuple[str, str, int | None, str] | None:
    """One line of MLSD (RFC 3659 section 7.2, bytes) as (name, type, size, modify); None where parse_nlst_line has it.

    `type` is lower case, such as "file" or "dir"; `size` an int or None; `modify` text or "". Raises ProtocolError.
    """
    if not line:
        return None
    facts, _, path = line.partition(b" ")
    if not path or (facts and facts[-1:] != b";"):
        raise ProtocolError(f"the server sent a listing that is not understood: {text_of(line[:80])!r}")
    name = parse_nlst_line(path)
    if name is None:
        return None
    kind, modify = "file", ""
    size = None
    for fact in text_of(facts).split(";"):
        key, _, value = fact.partition("=")
        key = key.lower()
        if key == "type":
            kind = value.lower()
        elif key == "size" and is_number(value, 12):
            size = int(value)
        elif key == "modify":
            modify = value
    return name, kind, size, modify


def parse_nlst_line(line: bytes) -> str | None:
    """The name in one line of NLST (bytes), of which some servers send the whole path.

    None for `.`, `..`, no name at all, and a name that no command can carry.
    """
    text = text_of(line)
    name = text[text.rfind("/") + 1 :]
    return None if name in ("", ".", "..") or "\r" in name or "\0" in name else name
