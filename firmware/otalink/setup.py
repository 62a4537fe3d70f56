"""What an Updater begins with: its settings, and the memory that it keeps."""

import gc

from micropython import const

from otalink.phase import call

# Bytes of the buffer that all data goes through. With less of the heap free than that, memory counts more than speed.
_BUFFER = const(4096)
_SMALL_BUFFER = const(512)
_SMALL_HEAP = const(98304)


def set_up(job, config):
    """Gives the Config, and why there is none: `config` is as Updater has it, and `job` gets it, and a buffer.

    Raises ValueError for a dict that cannot be used.
    """
    if isinstance(config, str):
        try:
            config = call("config.load", config)
        except ValueError as error:
            return None, f"{error}; no updates until then"
    elif isinstance(config, dict):
        config = call("config.configure", config)
    job.config = config
    # First of all, while the heap is in one piece.
    gc.collect()
    free = gc.mem_free()
    job.buffer = bytearray(config.buffer or (_BUFFER if free > _SMALL_HEAP else _SMALL_BUFFER))
    if config.unknown:
        job.say("settings that this otalink does not know: {}".format(", ".join(config.unknown)))
    return config, None
