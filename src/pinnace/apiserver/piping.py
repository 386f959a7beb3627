"""Two connections made one: bytes both ways until either ends."""

import asyncio

from pinnace.web import messages


async def pipe(near: messages.Duplex, far: messages.Duplex) -> None:
    """Ends, and closes both, when either side is gone."""
    ways = [asyncio.ensure_future(_copy(near, far)), asyncio.ensure_future(_copy(far, near))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        await far.close()
        await near.close()


async def _copy(source: messages.Duplex, target: messages.Duplex) -> None:
    try:
        while data := await source.read():
            await target.write(data)
    except messages.Disconnected:
        return
