"""A message body as it arrives from a socket: pieces in from the parser, bytes out to one reader, bounded in between.

Used for requests by the server and for responses by the client.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

from pinnace.web import messages

HELD_BYTES = 256 * 1024
"""Beyond this the socket is not read until the reader has taken some."""


def nothing() -> None:
    return None


class IncomingBody:
    """`feed`, `finish` and `fail` belong to the parser's side; `read` and `chunks` (`messages.Body`) to the reader.

    `on_change` is called whenever `is_full` may have changed. `on_wanted` is called once, when a reader first waits.
    """

    __slots__ = (
        "_bound", "_error", "_is_discarding", "_is_finished", "_on_change", "_on_wanted", "_pieces", "_size", "_waiter",
        "expected", "is_full", "received",
    )  # fmt: skip

    def __init__(
        self,
        expected: int | None,
        on_change: Callable[[], None] = nothing,
        on_wanted: Callable[[], None] = nothing,
    ) -> None:
        self.expected = expected
        """Content-Length; None when it is not known."""
        self.received = 0
        self.is_full = False
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._bound = HELD_BYTES
        self._is_finished = False
        self._is_discarding = False
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._on_change = on_change
        self._on_wanted = on_wanted

    # ------------------------------------------------------------ the parser's side

    def feed(self, data: bytes) -> None:
        self.received += len(data)
        if self._is_discarding:
            return
        self._pieces.append(data)
        self._size += len(data)
        if self._size > self._bound and not self.is_full:
            self.is_full = True
            self._on_change()
        self._wake()

    def finish(self) -> None:
        self._is_finished = True
        self._wake()

    def fail(self, error: Exception) -> None:
        """No more will come. What arrived before can still be read; then `error` is raised."""
        if not self._is_finished and self._error is None:
            self._error = error
            self._wake()

    def discard(self) -> None:
        """Nobody will read it: drop what is here and what still comes."""
        self._is_discarding = True
        self._pieces.clear()
        self._set_size(0)

    @property
    def is_finished(self) -> bool:
        """Every byte has arrived (it may still wait to be read)."""
        return self._is_finished

    @property
    def is_waiting(self) -> bool:
        """A reader waits for bytes."""
        return self._waiter is not None

    # ------------------------------------------------------------ the reader's side

    async def read(self, limit: int) -> bytes:
        """The whole body; does not suspend when all of it is there. Raises BodyTooLarge, and what `fail` was given."""
        if self.expected is not None and self.expected > limit:
            raise messages.BodyTooLarge(limit)
        if not self._is_finished:
            self._bound = max(limit, HELD_BYTES)
            self._set_size(self._size)
        while not self._is_finished:
            if self._size > limit:
                raise messages.BodyTooLarge(limit)
            if self._error is not None:
                raise self._error
            await self._wait()
        if self._size > limit:
            raise messages.BodyTooLarge(limit)
        pieces = self._pieces
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self._set_size(0)
        return data

    async def chunks(self) -> AsyncIterator[bytes]:
        """Pieces as they arrive. Raises what `fail` was given."""
        while True:
            while self._pieces:
                piece = self._pieces.popleft()
                self._set_size(self._size - len(piece))
                yield piece
            if self._is_finished:
                return
            if self._error is not None:
                raise self._error
            await self._wait()

    def _set_size(self, size: int) -> None:
        self._size = size
        is_full = size > self._bound
        if is_full != self.is_full:
            self.is_full = is_full
            self._on_change()

    async def _wait(self) -> None:
        assert self._waiter is None, "a body has one reader"
        self._on_wanted()
        self._on_wanted = nothing
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
