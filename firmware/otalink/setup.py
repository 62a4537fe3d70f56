"""What an Updater begins with: its settings, and the memory that it keeps."""

import gc

from micropython import const

from otalink.phase import call, forget, loaded

# Bytes of the buffer that all data goes through. With less of the heap free than that, memory counts more than speed.
_BUFFER = const(4096)
_SMALL_BUFFER = const(512)
_SMALL_HEAP = const(98304)
# With less than the one, names must not take more than they do; with more than the other, they always find a place.
_LEARN_MIN = const(53248)
_LEARN_MAX = const(196608)


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
    if _LEARN_MIN < free < _LEARN_MAX:
        # What any update imports, and one by a release file or from a plain folder.
        _learn("listing offer begin ready commit trial apply check fetch retry ftp_errors")
        _learn("unpack header admit differ" if config.keys else "folder download prepare record space")
    if config.unknown:
        job.say("settings that this otalink does not know: {}".format(", ".join(config.unknown)))
    return config, None


def _learn(names):
    # Imports modules and forgets them: the names in them stay, as names always do, and lie side by side. Learnt in the
    # course of an update they would lie scattered among what is in memory only for a while, and the table of them,
    # which MicroPython doubles in one piece, might find no place.
    for name in names.split(" "):
        there = loaded()
        try:
            __import__("otalink." + name)
        finally:
            forget(there)
