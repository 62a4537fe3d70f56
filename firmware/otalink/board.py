"""The hardware: the only file that imports machine or network."""

RESTARTS = ("reset", "soft", "none")


def restart(kind):
    """Restarts the board: "reset" as its button does, "soft" keeping the network up. Does not return.

    Raises AttributeError or ImportError where the board has no such restart.
    """
    import machine

    if kind == "soft":
        machine.soft_reset()
    machine.reset()


def check_restart(kind):
    """Raises ValueError unless `kind` is one of RESTARTS."""
    if kind not in RESTARTS:
        raise ValueError(f"restart must be reset, soft or none, not {kind!r}")
