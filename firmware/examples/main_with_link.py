import asyncio

import thermostat

import otalink


async def main():
    updater = otalink.Updater(progress=thermostat.show_progress)  # reads /otalink.json
    link = otalink.Link.from_config()  # its object "link"
    otalink.Reporter(link, updater)  # tells the host, and does what it asks
    asyncio.create_task(link.run())
    asyncio.create_task(updater.run())
    await thermostat.run(updater.installed())


asyncio.run(main())
