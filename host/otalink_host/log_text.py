"""Text that clients send, for the log."""


def printable(text: str) -> str:
    """`text` from a client, fit for one line of a log."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text[:200])
