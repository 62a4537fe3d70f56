"""Errors of the flash, translated where they arise."""

from micropython import const

from otalink.errors import InstallError

# littlefs numbers its errors by itself: this is no space, whatever the port.
_NO_SPACE = const(28)


def on_flash(path, what, function, *arguments):
    """Calls `function`; its OSError becomes an InstallError which says that `path` cannot be `what`."""
    try:
        return function(*arguments)
    except OSError as error:
        reason = "the flash is full" if error.errno == _NO_SPACE else f"the flash failed with error {error.errno}"
        raise InstallError(f"/{path} cannot be {what}: {reason}", error.errno)
