"""How a release file stores compressed content: in chunks; docs/release-format.md is its specification. Pure."""

from otalink.errors import ReleaseError

# Content is compressed in pieces of so many bytes, each by itself: one buffer, on a board.
CHUNK = 4096
# They look back 1,024 bytes at the most: a window of 4,096 would save 3 % more, and take that much of a board's heap.
WINDOW_BITS = 10


def chunk_count(size: int) -> int:
    """How many chunks `size` bytes of content have: so many entries of two bytes has their table."""
    return (size + CHUNK - 1) // CHUNK


def chunk(table: bytes, index: int, size: int) -> tuple[int, int, bool]:
    """Chunk `index` of a file of `size` bytes as (stored bytes, bytes of content, whether it is compressed).

    `table` is the whole table that stands before the chunks. Raises ReleaseError when it cannot be one.
    """
    entry = table[2 * index] << 8 | table[2 * index + 1]
    share = min(CHUNK, size - index * CHUNK)
    # The highest bit says that the chunk is stored as it is.
    stored = entry & 0x7FFF
    compressed = entry < 0x8000
    if not 1 <= stored <= CHUNK or (stored != share and not compressed):
        raise ReleaseError(f"chunk {index}: {share} bytes cannot be stored in {stored}")
    return stored, share, compressed
