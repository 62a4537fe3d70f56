"""The hardware: the only file that imports machine or network."""


def restart(kind):
    """Restarts the board: "reset" as its button does, "soft" keeping the network up. Does not return.

    Raises AttributeError or ImportError where the board has no such restart.
    """
    import machine

    if kind == "soft":
        machine.soft_reset()
    machine.reset()
