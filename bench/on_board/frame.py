"""The frame codec beside its floor and its peers, in turns; on MicroPython and, as it is, on CPython."""
# MicroPython's modules have no type hints:
# mypy: ignore-errors

import gc
import json
import struct
import sys
from binascii import crc32

# By their names, so that mypy does not follow them to the board's modules.
frame = __import__("otalink.frame", None, None, ("FrameDecoder",))

IS_MICROPYTHON = sys.implementation.name == "micropython"

if IS_MICROPYTHON:
    from array import array
    from time import ticks_diff, ticks_us

    def timed(work, number):
        started = ticks_us()
        work(number)
        return ticks_diff(ticks_us(), started) / number

    def to_utf16(text):
        raw = text.encode()
        if len(raw) != len(text):
            raise ValueError
        return bytes(array("H", memoryview(raw)))

    def from_utf16(data):
        units = array("H", data)
        text = bytes(iter(units)).decode()
        if len(text) != len(units):
            raise ValueError
        return text

    def from_utf8(data):
        text = data.decode()
        if len(text) != len(data):
            raise ValueError
        return text

    def to_utf8(text):
        raw = text.encode()
        if len(raw) != len(text):
            raise ValueError
        return raw

else:
    from codecs import utf_16_le_decode, utf_16_le_encode
    from time import perf_counter_ns

    def timed(work, number):
        started = perf_counter_ns()
        work(number)
        return (perf_counter_ns() - started) / 1000 / number

    def to_utf16(text):
        return utf_16_le_encode(text)[0]

    def from_utf16(data):
        return utf_16_le_decode(data, "strict", True)[0]

    def from_utf8(data):
        return data.decode()

    def to_utf8(text):
        return text.encode()


def floor(data, text, encode, decode):
    def encoding(number):
        for _ in range(number):
            crc32(encode(text))

    def decoding(number):
        for _ in range(number):
            crc32(data)
            decode(data)

    return encoding, decoding, len(data)


def otalink(text, profile):
    wire = frame.encode_frame(text, profile)
    size = len(wire)
    decoder = frame.FrameDecoder(2 * size, profile)
    encode = frame.encode_frame

    def encoding(number):
        for _ in range(number):
            encode(text, profile)

    def decoding(number):
        for _ in range(number):
            decoder.space()[:size] = wire
            decoder.received(size)
            if decoder.next_text() is None:
                raise ValueError

    def viewing(number):
        for _ in range(number):
            decoder.space()[:size] = wire
            decoder.received(size)
            if decoder.next_frame() is None:
                raise ValueError

    return encoding, decoding, size, viewing


def peer(text, encode, decode):
    wire = encode(text)
    size = len(wire)
    buffer = bytearray(2 * size)
    view = memoryview(buffer)

    def encoding(number):
        for _ in range(number):
            encode(text)

    def decoding(number):
        for _ in range(number):
            view[:size] = wire
            if len(decode(buffer, view, size)) != len(text):
                raise ValueError

    return encoding, decoding, size


def prefix_encode(text):
    data = text.encode()
    return struct.pack("<II", len(data), crc32(data)) + data


def prefix_decode(buffer, view, end):
    if end < 8:
        return None
    size, crc = struct.unpack_from("<II", buffer, 0)
    if end < 8 + size:
        return None
    data = view[8 : 8 + size]
    if crc32(data) != crc:
        raise ValueError
    return str(data, "utf-8")


def cobs_encode(text):
    data = text.encode()
    data += struct.pack("<I", crc32(data))
    out = []
    for part in data.split(b"\0"):
        at = 0
        while len(part) - at >= 254:
            out.append(b"\xff")
            out.append(part[at : at + 254])
            at += 254
        out.append(bytes((len(part) - at + 1,)))
        out.append(part[at:])
    out.append(b"\0")
    return b"".join(out)


def cobs_decode(buffer, view, end):
    stop = buffer.find(b"\0", 0, end)
    if stop < 0:
        return None
    out = []
    at = 0
    while at < stop:
        code = buffer[at]
        out.append(bytes(view[at + 1 : at + code]))
        at += code
        if code < 255 and at < stop:
            out.append(b"\0")
    data = b"".join(out)
    if crc32(data[:-4]) != struct.unpack("<I", data[-4:])[0]:
        raise ValueError
    return data[:-4].decode()


def lines_encode(text):
    return json.dumps(text).encode() + b"\n"


def lines_decode(buffer, view, end):
    stop = buffer.find(b"\n", 0, end)
    if stop < 0:
        return None
    return json.loads(str(view[:stop], "utf-8"))


def heap(work):
    """What a call allocates, at the least: other things may happen in between."""
    used = []
    for _ in range(5):
        gc.collect()
        gc.disable()
        before = gc.mem_alloc()
        work(1)
        used.append(gc.mem_alloc() - before)
        gc.enable()
    return min(used)


wanted = json.loads(sys.stdin.readline())
text = wanted["text"]
works = {
    "floor utf-16-le": floor(frame.encode_text(text), text, to_utf16, from_utf16),
    "otalink utf-16-le": otalink(text, "utf-16-le"),
    "floor utf-8": floor(text.encode(), text, to_utf8, from_utf8),
    "otalink utf-8": otalink(text, "utf-8"),
    "struct": peer(text, prefix_encode, prefix_decode),
    "cobs": peer(text, cobs_encode, cobs_decode),
    "lines": peer(text, lines_encode, lines_decode),
}
found = {name: {"wire": work[2], "times": []} for name, work in works.items()}
for name, work in works.items():
    # So many that a turn takes a few milliseconds.
    found[name]["number"] = max(1, int(4000 / max(1, timed(work[0], 20) + timed(work[1], 20))))
for _ in range(wanted["rounds"]):
    for name in wanted["order"]:
        work = works[name]
        times = []
        for function in work[:2] + work[3:]:
            gc.collect()
            times.append(timed(function, found[name]["number"]))
        found[name]["times"].append(times)
if IS_MICROPYTHON:
    for name in ("otalink utf-16-le", "otalink utf-8"):
        work = works[name]
        found[name]["heap"] = [heap(function) for function in (work[0], work[1], work[3])]
print(json.dumps(found))
