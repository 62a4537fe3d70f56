"""How a transfer ends that is cut short on purpose. Loaded for it alone; see phase.py."""

import asyncio

from micropython import const

from otalink.errors import OtaError

# How long the reply is waited for.
_LAST_WORD_MS = const(2000)


async def stop(session, final):
    """Ends the data of an FtpSession; `final` is the reply that began it, as (code, text)."""
    # Servers say so in one reply, each with a code of its own, Pure-FTPd with another 150; without it the session is
    # worth nothing any more, but what came is.
    session._data.close()
    session._data = None
    session._arm(min(session._timeout_ms, _LAST_WORD_MS))
    try:
        if final[0] < 200:
            await session._reply()
        return
    except OtaError:
        pass
    except asyncio.CancelledError:
        if session._stopped is None:
            raise
    session._control.close()
    session._control = None
