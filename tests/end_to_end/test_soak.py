"""Note 70's acceptance test between `otalink peer --soak` and a virtual board: a thousand frames each way."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from flashed import Flashed

from otalink_host.server import FtpServer
from otalink_host.vboard import VirtualBoard

COUNT = 1000
SIZE = 1500
# Counts what comes, and sends as many of its own; it says when it has both.
MAIN = f"""
import asyncio, otalink

async def send(link):
    for number in range(1, {COUNT} + 1):
        head = "soak %d of {COUNT} " % number
        await link.send(head + "x" * ({SIZE} - len(head)))

async def main():
    # Few at a time: so many texts of this size may lie in memory each way.
    link = otalink.Link.from_config(limit={SIZE}, queue=4)
    asyncio.create_task(link.run())
    asyncio.create_task(send(link))
    numbers = []
    while len(numbers) < {COUNT}:
        text = await link.receive()
        if len(text) == {SIZE}:
            numbers.append(int(text.split()[1]))
    await link.flush(30)
    counts = link.counts
    print("soaked", len(numbers), numbers == list(range(1, {COUNT} + 1)), counts["in"], counts["out"])
    while True:
        await asyncio.sleep(1)

asyncio.run(main())
"""


def test_a_thousand_frames_each_way_arrive_at_a_board_and_from_it(
    board: VirtualBoard, server: FtpServer, release: Callable[..., Path], tmp_path: Path
) -> None:
    command = [Path(sys.executable).with_name("otalink"), "peer", "--address", "127.0.0.1", "--port", "0"]
    command += ["--soak", str(COUNT), "--interval", "1", "--size", str(SIZE)]
    peer = subprocess.Popen(
        command, cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert peer.stdout is not None
        line = peer.stdout.readline()
        port = re.search(r"port (\d+)", line)
        assert port is not None, line
        link = {"host": "127.0.0.1", "port": int(port[1]), "retry": [0.1, 0.5]}
        flashed = Flashed(board, server, release("1.0.0.1", "one", MAIN), link=link)
        # What came, each once and in order, and as note 70 numbers the results: none of them wrong.
        flashed.sees(rf"soaked {COUNT} True \[{COUNT}, 0, 0, 0\] {COUNT}\b")
        output, _ = peer.communicate(timeout=60)
    finally:
        peer.kill()
        peer.wait()
        peer.stdout.close()
    assert f"sent {COUNT:,}, received {COUNT:,} good: equal" in output
    assert peer.returncode == 0
