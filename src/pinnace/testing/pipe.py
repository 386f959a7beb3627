"""A connection in memory: two `messages.Duplex` ends, with bounded buffers and no sockets."""

import asyncio

from pinnace.web import messages

HELD_BYTES = 64 * 1024


class End:
    """One end. `received` is what the other end wrote and nobody has read yet."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.is_closed = False
        self._peer = self
        self._is_ended = False
        self._changed = asyncio.Condition()

    async def read(self) -> bytes:
        async with self._changed:
            await self._changed.wait_for(lambda: self.received or self._is_ended or self.is_closed)
            data = bytes(self.received)
            self.received.clear()
            self._changed.notify_all()
            return data

    async def write(self, data: bytes) -> None:
        peer = self._peer
        async with peer._changed:
            if peer.is_closed or self.is_closed or peer._is_ended:
                raise messages.Disconnected("the connection is closed")
            peer.received += data
            peer._changed.notify_all()
            await peer._changed.wait_for(lambda: len(peer.received) <= HELD_BYTES or peer.is_closed)

    async def end(self) -> None:
        async with self._peer._changed:
            self._peer._is_ended = True
            self._peer._changed.notify_all()

    async def close(self) -> None:
        self.is_closed = True
        async with self._changed:
            self._changed.notify_all()
        await self.end()


def pair() -> tuple[End, End]:
    left, right = End(), End()
    left._peer, right._peer = right, left
    return left, right
