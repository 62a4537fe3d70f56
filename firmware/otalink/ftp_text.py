"""Text and numbers in what an FTP server says. Pure: no sockets, no clock."""


def text_of(line: bytes) -> str:
    """`line` as text; where it is not UTF-8, its bytes beyond ASCII as "?"."""
    try:
        return bytes(line).decode()
    except UnicodeError:
        found = bytearray(line)
        for i in range(len(found)):
            if found[i] > 127:
                found[i] = 63
        return found.decode()


def is_number(text: str, digits_max: int) -> bool:
    """True when `text` is a decimal number of at most so many digits."""
    # Not isdigit(): CPython's takes digits of every script.
    return 0 < len(text) <= digits_max and not text.strip("0123456789")
