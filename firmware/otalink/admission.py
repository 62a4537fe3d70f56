"""Whether a board may install the release that a header describes. Pure."""

from otalink.errors import ReleaseError
from otalink.plain import parse_release_name
from otalink.release import Header
from otalink.signature import decode, decode_key, verify
from otalink.version import format_version


def check(
    header: Header,
    name: str,
    platform: str,
    bytecode: tuple[int, int] | None,
    keys: dict[str, str],
    filename: str | None = None,
) -> None:
    """Reads the rest of `header` and raises ReleaseError unless this board may install the release.

    `name` is the application that the board runs, `platform` its sys.platform, `bytecode` the version that it loads as
    (major, minor), or None; `keys` are as in `/otalink.json`, and `filename` is what the release file is called.
    """
    check_signature(header, keys)
    if header.name != name:
        raise ReleaseError(f"the release is {header.name}, and this board runs {name}")
    if filename is not None:
        check_filename(header, filename)
    if header.boards and platform not in header.boards:
        raise ReleaseError(f"the release is for {' '.join(header.boards)}, and this board is {platform}")
    if header.bytecode is not None:
        major, minor = header.bytecode
        if bytecode is None or major != bytecode[0] or minor not in (0, bytecode[1]):
            own = "none" if bytecode is None else f"{bytecode[0]}.{bytecode[1]}"
            raise ReleaseError(f"the release is bytecode {major}.{minor}, and this board loads {own}: build it anew")


def check_signature(header: Header, keys: dict[str, str]) -> None:
    """Reads the rest of `header` and raises ReleaseError unless one of `keys` signed it. Without keys all will do."""
    for _ in header.files():
        pass
    if not keys:
        return
    if header.signature is None:
        raise ReleaseError(f"the release is not signed, and there is a key: sign it with {' or '.join(sorted(keys))}")
    identity, text = header.signature
    if identity not in keys:
        raise ReleaseError(f"the release is signed with key {identity}, which is unknown or retired here")
    try:
        modulus = decode_key(identity, keys[identity])
    except ValueError as error:
        raise ReleaseError(str(error))
    try:
        signature = decode(text)
    except ValueError:
        raise ReleaseError("header: sign: the signature is no base64: publish the release again")
    if not verify(modulus, header.digest, signature):
        raise ReleaseError(f"the signature is wrong: the release was changed after key {identity} signed it")


def check_filename(header: Header, filename: str) -> None:
    """Raises ReleaseError unless `filename` is a name for the release file with this `header`."""
    try:
        named, version, extension = parse_release_name(filename)
    except ValueError as error:
        raise ReleaseError(str(error))
    if (named, version, extension) != (header.name, header.version, "ota"):
        raise ReleaseError(f"{filename} holds {header.name} {format_version(header.version)}: its name must say so")
