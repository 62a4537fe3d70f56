import asyncio

import thermostat

import otalink


async def main():
    updater = otalink.Updater(progress=thermostat.show_progress)  # reads /otalink.json
    asyncio.create_task(updater.run())  # checks, downloads, applies, restarts, confirms
    await thermostat.run(updater.installed())


asyncio.run(main())
