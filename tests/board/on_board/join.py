"""Brings the board into the Wi-Fi network of its settings, if they name one."""

import json

with open("/otalink.json") as file:
    wifi = json.load(file).get("wifi")
if wifi is not None:
    import asyncio

    from otalink.board import join

    if not asyncio.run(join(wifi)):
        raise OSError("the Wi-Fi network {} cannot be joined: is it there, is its password right?".format(wifi["ssid"]))
