"""Whether the release file whose header was brought to the flash may be installed."""

from otalink.admission import check
from otalink.board import bytecode, platform
from otalink.errors import OtaError, TransferError
from otalink.files import remove
from otalink.flash import on_flash
from otalink.layout import INCOMING, NEW_SUFFIX
from otalink.release import Header


def admit(job):
    """Raises ReleaseError unless the board may install the release file `job.found`; TransferError while it is being
    published.

    Its signature is verified here, before anything else that the header says is made use of.
    """
    release = job.found
    root = job.root + "/"
    path = INCOMING + NEW_SUFFIX
    try:
        with on_flash(path, "read", open, root + path, "rb") as file:
            header = Header(file)
            size = header.length
            for found in header.files():
                size += found[3]
            check(header, release.name, platform(), bytecode(), job.config.keys, release.versioned)
        if release.size not in (None, size):
            raise TransferError(
                f"{release.versioned} has {release.size} bytes and must have {size}: it is being published, or cut off"
            )
    except OtaError:
        remove(root, path)
        raise
    release.size = size
