"""Every error that otalink raises. The text is one line: what happened and what to do.

    OtaError
      TransferError     the network or the server failed; trying again may help
        FtpError        the server refused, with its reply code
        ResumeError     what was written of a file cannot be continued: start that file over
        FolderChangedError  the folder on the server changed during the download: check and download again
      ProtocolError     the peer broke the rules of its protocol
      ReleaseError      a name, header, signature, size or hash is wrong; trying again does not help
      InstallError      the flash failed; the release that ran still runs

A caller's own mistake is a ValueError. `OSError` is translated where it arises and its number kept in `errno`
(MicroPython cannot derive a class from two exceptions, so these are no OSErrors).
"""


class OtaError(Exception):
    """The root of the tree. `errno` is the number of the OSError behind it, or None."""

    def __init__(self, message: str, errno: int | None = None) -> None:
        super().__init__(message)
        self.errno = errno


class TransferError(OtaError):
    pass


class FtpError(TransferError):
    """The server's reply `code` (RFC 959 section 4.2), an int from 400 to 599."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class ResumeError(TransferError):
    pass


class FolderChangedError(TransferError):
    pass


class ProtocolError(OtaError):
    pass


class ReleaseError(OtaError):
    pass


class InstallError(OtaError):
    pass
