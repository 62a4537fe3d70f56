"""otalink on the board: updates from an FTP server.

Names are loaded when they are used: a board that needs one part does not pay for the others.
"""

__version__ = "0.1.0"

_HOME = {
    "Updater": "otalink.updater",
    "OtaError": "otalink.errors",
    "TransferError": "otalink.errors",
    "FtpError": "otalink.errors",
    "FolderChangedError": "otalink.errors",
    "ProtocolError": "otalink.errors",
    "ReleaseError": "otalink.errors",
    "InstallError": "otalink.errors",
}


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(__import__(_HOME[name], None, None, (name,)), name)
    # MicroPython asks here before it looks for the submodule that `from otalink import ftp` means.
    try:
        return __import__("otalink." + name, None, None, (name,))
    except ImportError:
        raise AttributeError(name)
