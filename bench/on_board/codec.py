"""The frame codec alone, with the CRC-32 in Python, since an ESP8266's binascii has none: texts encoded and decoded."""
# MicroPython's modules have no type hints:
# mypy: ignore-errors

import binascii
import json
import sys

wanted = json.loads(sys.stdin.readline())
sys.modules["binascii"] = type("binascii", (), {"hexlify": binascii.hexlify})
# By its name, so that mypy does not follow it to the board's modules.
frame = __import__("otalink.frame", None, None, ("FrameDecoder", "encode_frame"))
assert "otalink.crc32" in sys.modules

text = "x" * wanted["length"]
decoder = frame.FrameDecoder(wanted["length"] + frame.OVERHEAD, wanted["profile"])
came = 0
for _ in range(wanted["count"]):
    encoded = frame.encode_frame(text, wanted["profile"])
    decoder.space()[: len(encoded)] = encoded
    decoder.received(len(encoded))
    came += decoder.next_text() == text
print(json.dumps({"came": came}))
