"""One update as update.py's, beside a link to a host that goes on: what main_with_link.py of the examples does."""
# MicroPython's modules have no type hints:
# mypy: ignore-errors

import asyncio
import gc
import json
import sys
import time

import power_on

CONNECT_MS = 5000


def in_use():
    gc.collect()
    return gc.mem_alloc()


async def chat(link):
    # The application's own use of the link.
    text = "x" * 100
    while True:
        await link.send(text)
        found["came"] += await link.receive() == text
        await asyncio.sleep_ms(10)


async def run():
    # By its name, so that mypy does not follow it to the board's modules.
    otalink = __import__("otalink")
    updater = otalink.Updater(message=None)
    link = otalink.Link.from_config(message=None)
    otalink.Reporter(link, updater)
    tasks = [asyncio.create_task(link.run()), asyncio.create_task(chat(link))]
    began = time.ticks_ms()
    # It would wait for ever where the memory does not suffice to connect.
    while not found["came"]:
        assert time.ticks_diff(time.ticks_ms(), began) < CONNECT_MS, "no text came back"
        await asyncio.sleep_ms(10)
    applied = await updater.update()
    came = found["came"]
    # The link outlasts the update.
    began = time.ticks_ms()
    while found["came"] == came:
        assert time.ticks_diff(time.ticks_ms(), began) < CONNECT_MS, "no text came back after the update"
        await asyncio.sleep_ms(10)
    assert link.connections == 1, "the connection broke"
    found.update({"applied": applied, "messages": updater.messages, "after": in_use()})
    tasks[1].cancel()
    await link.close(1)


def main():
    # What the image's /main.py calls, under the boot guard's eyes.
    asyncio.run(run())


found = {"came": 0}
power_on.mount(json.loads(sys.stdin.readline())["image"])
found["before"] = in_use()
power_on.boot()
# On a board all this is firmware.
for name in ("power_on", "machine"):
    del sys.modules[name]
del power_on
execfile("/main.py", {"main": main})  # noqa: F821 - MicroPython has it
print(json.dumps(found))
