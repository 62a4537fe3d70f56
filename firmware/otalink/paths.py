"""What a release may name on a board's flash: paths, and SHA-256 digests. Pure."""

from otalink.layout import CONFIG_PATH, NEW_SUFFIX, OLD_SUFFIX, STATE_FOLDER


def check_path(path: str) -> None:
    """Raises ValueError unless a release may name `path` (relative to the root of the flash, `/` between parts)."""
    # Bounds what a hostile header can make a board hold. littlefs allows 255 bytes a name, and a suffix is added.
    if not path or len(path.encode()) > 240:
        raise ValueError(f"path {path[:40]}: it must have 1 to 240 bytes")
    for byte in path.encode():
        if byte < 32 or byte in (92, 127):
            raise ValueError(f"path {path!r}: control characters and backslashes are not allowed")
    for part in path.split("/"):
        if part in ("", ".", ".."):
            raise ValueError(f"path {path}: it must be relative, without empty parts, . and ..")
        if part.endswith((NEW_SUFFIX, OLD_SUFFIX)):
            raise ValueError(f"path {path}: {NEW_SUFFIX} and {OLD_SUFFIX} are otalink's own")
    # In capitals the folder would pass for that of a FAT file system, which finds names in any letters.
    if path.partition("/")[0].lower() in (CONFIG_PATH, STATE_FOLDER):
        raise ValueError(f"path {path}: /{CONFIG_PATH} and /{STATE_FOLDER} belong to the board")


def check_digest(text: str) -> None:
    """Raises ValueError unless `text` is a SHA-256 as 64 lower-case hexadecimal digits."""
    if len(text) != 64 or text.strip("0123456789abcdef"):
        raise ValueError(f"{text[:70]}: a SHA-256 has 64 lower-case hexadecimal digits")
