# The board test's own: it may be overwritten.
import asyncio

import boardtest

asyncio.run(boardtest.main())
