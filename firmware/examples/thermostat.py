"""An example application: it counts, and goes on counting while a release downloads."""

import asyncio

import display

count = 0


async def run(version):
    """Runs for ever; `version` is what otalink has installed, four ints."""
    global count
    print("thermostat", ".".join(str(field) for field in version or ()), display.GREETING)
    while True:
        count += 1
        await asyncio.sleep_ms(2)


def show_progress(done, total):
    percent = 100 * done // total if total else 100
    if percent % 10 == 0:
        print(f"download {percent} %, count {count}")
