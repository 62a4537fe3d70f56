"""The heap that is free as more and more of otalink runs; heap.py has to be run before."""

import asyncio

import otalink

tell("imported")


async def run():
    link = otalink.Link.from_config(message=lambda line: None)
    updater = otalink.Updater(message=None)
    otalink.Reporter(link, updater)
    tell("ready")
    tasks = asyncio.create_task(link.run()), asyncio.create_task(updater.run())
    if given["network"]:
        await asyncio.wait_for(link.connected.wait(), 30)
        await asyncio.sleep(2)  # a check is over by then
        tell("running")
    for task in tasks:
        task.cancel()


asyncio.run(run())
