"""The FTP client's upload, loaded when it is used."""

import asyncio

# How often a full connection is tried again.
_FULL_MS = 5


async def store(client, path, source, buffer):
    await client._open_data()
    line = "STOR " + path
    final = await client._start(line)
    data = client._data
    view = memoryview(buffer)
    sent = 0
    while True:
        size = source.readinto(buffer)
        if not size:
            break
        # From here on, and after every piece: neither a slow source nor a slow reader is a stall.
        client._arm(client._stall_ms)
        start = 0
        while start < size:
            try:
                n = data.write(view[start:size])
            except OSError as error:
                raise await client._broken_data(line, error)
            if n:
                start += n
                client._arm(client._stall_ms)
            await asyncio.sleep_ms(0 if n else _FULL_MS)
        sent += size
    await client._finish(line, final)
    size = await client._size(path)
    if size is not None and size != sent:
        raise client._failure(f"{path} has {size} bytes there although {sent} were sent")
    return sent
