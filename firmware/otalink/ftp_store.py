"""The FTP client's upload."""

import asyncio

from micropython import const

from otalink.phase import run

# How often a full connection is tried again.
_FULL_MS = const(5)


async def store(session, path, source, buffer, is_asked=True):
    # With `is_asked`, the server is asked for the size of what it has then.
    await session._open_data()
    line = "STOR " + path
    final = await session._command(line, (1, 2))
    data = session._data
    view = memoryview(buffer)
    sent = 0
    while True:
        size = source.readinto(buffer)
        if not size:
            break
        # From here on, and after every piece: neither a slow source nor a slow reader is a stall.
        session._arm(session._stall_ms)
        start = 0
        while start < size:
            try:
                n = data.write(view[start:size])
            except OSError as error:
                raise await run("ftp_errors.broken_data", session, line, error)
            if n:
                start += n
                session._arm(session._stall_ms)
            await asyncio.sleep_ms(0 if n else _FULL_MS)
        sent += size
    if not sent and hasattr(data, "readable"):
        raise ValueError(f"{path} has no bytes, and without any MicroPython begins no TLS: it cannot be stored")
    await session._finish(line, final)
    size = await session._fact("SIZE", path) if is_asked else sent
    if size is not None and size != sent:
        raise session._failure("not all", path, size, sent)
    return sent
