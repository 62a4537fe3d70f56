"""The application of the board test: it updates itself, and tells the host by a connection what happens.

A line a message, as on a console, but one that needs no cable and that no reset of the board takes away.
"""

import json
import os
import socket

import machine

import otalink

VERSION = "1.0.0.1"
CONSOLE = ("127.0.0.1", 0)
FAULT = ""
# While this file is there the board resets once, when so many percent of a download have come.
RESET, PERCENT = "/board-test.reset", 40

console = None


def say(*lines):
    global console
    for line in lines:
        print(line)
        try:
            if console is None:
                console = socket.socket()
                console.settimeout(5)
                console.connect(socket.getaddrinfo(*CONSOLE)[0][-1])
            console.send(line.encode() + b"\n")
        except OSError:
            console = None


def reset_once(done, total):
    if 100 * done < PERCENT * total:
        return
    try:
        os.remove(RESET)
    except OSError:
        return
    say(f"reset at {100 * done // total} %")
    machine.reset()


async def main():
    with open("/otalink.json") as file:
        wifi = json.load(file).get("wifi")
    if wifi:
        from otalink.board import join

        await join(wifi)
    say("runs " + VERSION)
    if FAULT:
        raise ValueError(FAULT)
    updater = otalink.Updater(progress=reset_once, message=say)
    await updater.run()
