"""The restart of a board, and what the last one came from. See board.py."""

# What machine calls a cause, and what it is called here.
_CAUSES = (
    ("PWRON", "power-on"),
    ("HARD", "hard"),
    ("WDT", "watchdog"),
    ("DEEPSLEEP", "deepsleep"),
    ("SOFT", "soft"),
)


def find_restart(kind):
    """The function that restarts the board, and does not return: "reset" as its button does, "soft" keeps the network.

    Raises AttributeError or ImportError where the board has no such restart.
    """
    import machine

    return machine.soft_reset if kind == "soft" else machine.reset


def restart(kind):
    """Restarts the board as `find_restart` has it. Does not return."""
    find_restart(kind)()


def cause():
    """Why the board started: "power-on", "hard", "watchdog", "deepsleep" or "soft", as far as its port tells.

    "unknown" where it tells nothing, as on the Unix port. The rp2 calls machine.reset() "watchdog", and a soft reset
    what the hard one before it was; the ESP8266 calls machine.reset() "soft".
    """
    try:
        import machine

        found = machine.reset_cause()
    except (ImportError, AttributeError):
        return "unknown"
    for name, word in _CAUSES:
        if getattr(machine, name + "_RESET", None) == found:
            return word
    return "unknown"
