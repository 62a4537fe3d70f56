"""A process that sends back what clients send: otalink's peer, a bare asyncio protocol, or one with the codec alone."""

import asyncio
import gc
import os
import sys
import time
from pathlib import Path

from bench.children import end_with_parent
from otalink.frame import FrameDecoder, encode_frame
from otalink_host.connection import LinkOptions
from otalink_host.peer import Client, Handler, Peer

CLIENTS = 5000


class Echo(Handler):
    """Sends each text back."""

    def text(self, client: Client, text: str) -> None:
        client.send(text)


class Bare(asyncio.Protocol):
    """Sends back what comes, whatever it is: the least that a server on asyncio can do."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)


class Codec(asyncio.BufferedProtocol):
    """Sends back the frames that come, and does nothing else: the least that a server of frames can do."""

    profile = "utf-16-le"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._decoder = FrameDecoder(8192, self.profile)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._decoder.space()

    def buffer_updated(self, nbytes: int) -> None:
        self._decoder.received(nbytes)
        while (text := self._decoder.next_text()) is not None:
            self._transport.write(encode_frame(text, self.profile))


def report() -> dict[str, float]:
    """The processor time that was used, in seconds, and the memory that is, in bytes."""
    gc.collect()
    try:
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        resident = 0
    return {"cpu": time.process_time(), "resident": resident}


async def serve(kind: str, profile: str) -> None:
    if kind != "otalink":
        Codec.profile = profile
        made = Bare if kind == "bare" else Codec
        server = await asyncio.get_running_loop().create_server(made, "127.0.0.1", 0, backlog=1024)
        print(server.sockets[0].getsockname()[1], flush=True)
    else:
        peer = Peer(Echo(), address="127.0.0.1", port=0, clients=CLIENTS, options=LinkOptions(profile))
        await peer.start()
        print(peer.port, flush=True)
    end_with_parent(report)
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))
