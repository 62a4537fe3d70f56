"""The hardware: the only file that imports machine or network."""


def restart(kind):
    """Restarts the board: "reset" as its button does, "soft" keeping the network up. Does not return."""
    import machine

    if kind == "soft":
        machine.soft_reset()
    machine.reset()
