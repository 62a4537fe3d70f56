"""CRC-32 as zlib's, for boards whose `binascii` has none (ESP8266). Pure."""

# Of each value of four bits: 64 bytes of table suffice.
_TABLE = (
    0x00000000,
    0x1DB71064,
    0x3B6E20C8,
    0x26D930AC,
    0x76DC4190,
    0x6B6B51F4,
    0x4DB26158,
    0x5005713C,
    0xEDB88320,
    0xF00F9344,
    0xD6D6A3E8,
    0xCB61B38C,
    0x9B64C2B0,
    0x86D3D2D4,
    0xA00AE278,
    0xBDBDF21C,
)


def crc32(data: "bytes | memoryview", value: int = 0) -> int:
    """The CRC-32 of `data`, 0 to 0xFFFFFFFF; of what had the CRC-32 `value`, and `data` behind it."""
    table = _TABLE
    value ^= 0xFFFFFFFF
    for byte in data:
        value ^= byte
        value = value >> 4 ^ table[value & 15]
        value = value >> 4 ^ table[value & 15]
    return value ^ 0xFFFFFFFF
