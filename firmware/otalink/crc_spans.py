"""The CRC-32 of any span of a buffer, without going through its bytes each time. Pure.

A stream may be made so that thousands of frames seem to begin in it, each promising the largest LENGTH and each wrong:
a CRC over every one of them costs their number times their size. Here the bytes are gone through once, and each
span after that costs four times a BLOCK at most, whatever its length.

The CRC-32 of what comes behind something is found as zlib's crc32_combine finds the whole's: crc(B) is
crc(A then B), without what crc(A) becomes when as many zero bytes follow as B has.
"""

try:
    from binascii import crc32
except ImportError:
    from otalink.crc32 import crc32  # type: ignore[assignment]

BLOCK = 512
_ZEROS = memoryview(bytes(BLOCK))


class CrcSpans:
    """The CRC-32 of spans of `view`. What it has seen of it may move, by whole blocks (`moved`), but not change until
    `forget`."""

    def __init__(self, view: memoryview) -> None:
        self._view = view
        # The CRC from some place on, always the same, to the begin of each block.
        self._crcs = [0]
        # What a CRC is multiplied with when as many blocks of zeros follow; 0x80000000 is 1.
        self._factors = [0x80000000]

    def crc(self, start: int, end: int) -> int:
        """The CRC-32 of the bytes from `start` to `end`."""
        blocks, rest = divmod(end - start, BLOCK)
        factors = self._factors
        while len(factors) <= blocks:
            factors.append(_followed(factors[-1], BLOCK))
        return self._crc_to(end) ^ _multiply(_followed(self._crc_to(start), rest), factors[blocks])

    def moved(self, count: int) -> None:
        """Says that the bytes from `count` on, which is a multiple of BLOCK, are at the begin now."""
        self._crcs = self._crcs[count // BLOCK :] or [0]

    def forget(self) -> None:
        """Says that all bytes may be others now."""
        self._crcs = [0]

    def _crc_to(self, end: int) -> int:
        crcs, view, block = self._crcs, self._view, end // BLOCK
        for known in range(len(crcs), block + 1):
            crcs.append(crc32(view[(known - 1) * BLOCK : known * BLOCK], crcs[-1]))
        return crc32(view[block * BLOCK : end], crcs[block])


def _followed(crc: int, count: int) -> int:
    # What `crc` becomes when `count` zero bytes follow, at most BLOCK.
    return crc32(_ZEROS[:count], crc) ^ crc32(_ZEROS[:count])


def _multiply(one: int, other: int) -> int:
    # Of polynomials over the two numbers 0 and 1, whose highest bit is x to the power of 0; modulo that of the CRC.
    product = 0
    while other:
        if other & 0x80000000:
            product ^= one
        other = other << 1 & 0xFFFFFFFF
        one = one >> 1 ^ 0xEDB88320 if one & 1 else one >> 1
    return product
