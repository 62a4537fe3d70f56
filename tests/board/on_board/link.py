"""Sends texts over a link and gets each back; half way the host closes the connection, and the link makes another."""

import asyncio
import gc
import json
from time import ticks_diff, ticks_us

import otalink

PATIENCE = 30  # seconds


async def exchange(link, first, count):
    for number in range(first, first + count):
        text = f"{number}: " + "\u00b0 21.5;@" * 5
        await link.send(text)
        if await link.receive() != text:
            raise ValueError("a text came back otherwise than it went")


async def main():
    link = otalink.Link.from_config(message=lambda line: print(json.dumps({"said": line})))
    otalink.Reporter(link, otalink.Updater(message=None))
    gc.collect()  # what is needed next should find a small heap in one piece
    half = given["frames"] // 2
    running = asyncio.create_task(link.run())
    await asyncio.wait_for(link.connected.wait(), PATIENCE)
    started = ticks_us()
    await asyncio.wait_for(exchange(link, 0, half), PATIENCE)
    taken = ticks_diff(ticks_us(), started) / 1000000
    await link.send("close")
    while link.connected.is_set():
        await asyncio.sleep_ms(10)
    await asyncio.wait_for(link.connected.wait(), PATIENCE)
    await asyncio.wait_for(exchange(link, half, half), PATIENCE)
    counts = link.counts
    await link.close()
    await running
    print(json.dumps({"in": counts["in"], "connections": counts["connections"], "seconds": taken / half}))


asyncio.run(main())
