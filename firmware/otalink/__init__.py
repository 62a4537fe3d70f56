"""otalink on the board: updates from an FTP server, and a link to a host.

Names are loaded when they are used: a board that needs one part does not pay for the others.
"""

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    # MicroPython asks here before it looks for the submodule that `from otalink import ftp` means.
    home = name.lower() if name in ("Updater", "Link", "Reporter") else "errors" if name.endswith("Error") else name
    try:
        module = __import__("otalink." + home, None, None, (name,))
    except ImportError:
        raise AttributeError(name)
    return module if home == name else getattr(module, name)
