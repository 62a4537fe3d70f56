"""How quick the board is at what an update and a link do; each figure in bytes a second, or in seconds."""

import gc
import hashlib
import io
import json
import os
from binascii import a2b_base64, hexlify
from time import ticks_diff, ticks_us

PATH = "/board-test.bin"
PIECE = 4096
TEXT = "21.5;" * 20


def timed(work, rounds):
    # Seconds of one round.
    gc.collect()
    started = ticks_us()
    for _ in range(rounds):
        work()
    return ticks_diff(ticks_us(), started) / 1000000 / rounds


def tell(name, value):
    print(json.dumps({name: value}))


def write():
    with open(PATH, "wb") as file:
        for _ in range(16):
            file.write(piece)


def read():
    with open(PATH, "rb") as file:
        while file.readinto(buffer):
            pass


def inflate():
    stream = deflate.DeflateIO(io.BytesIO(stored), deflate.RAW, WINDOW_BITS)
    if stream.readinto(buffer) != PIECE:
        raise ValueError("deflate gives too little")


def decode():
    decoder.space()[: len(wire)] = wire
    decoder.received(len(wire))
    if decoder.next_text() != TEXT:
        raise ValueError("a frame comes out otherwise than it went in")


piece = bytes(range(256)) * (PIECE // 256)
digest = hashlib.sha256()
tell("sha256", PIECE / timed(lambda: digest.update(piece), 64))
buffer = bytearray(PIECE)
try:
    tell("flash_write", 16 * PIECE / timed(write, 1))
    tell("flash_read", 16 * PIECE / timed(read, 1))
finally:
    os.remove(PATH)
from otalink.frame import FrameDecoder, crc32, encode_frame

tell("crc32", PIECE / timed(lambda: crc32(piece), 64))
wire = encode_frame(TEXT)
decoder = FrameDecoder(2 * len(wire))
tell("frame_encode", timed(lambda: encode_frame(TEXT), 50))
tell("frame_decode", timed(decode, 50))
import deflate

from otalink.chunks import WINDOW_BITS

stored = a2b_base64(given["deflated"])
tell("deflate", PIECE / timed(inflate, 8))
if hexlify(hashlib.sha256(buffer).digest()).decode() != given["sha256"]:
    raise ValueError("deflate gives other bytes than went in")
