"""Fair shares: no client starves the rest.

At most `limit` requests are worked on at once. Beyond that each user has a queue of their own, and places that become free go
round the users, so that one who sends ten thousand waits behind their own and not in front of others. A full queue answers 429.

A place is for work: a request takes one once its body is there. How many of a user's bodies may be on their way says `Arrivals`.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterator

from pinnace.api import errors
from pinnace.apiserver import users

_RETRY_AFTER_SECONDS = 1


_TOO_MANY = "The server has received too many requests and has asked us to try again later"


class Arrivals:
    """Requests whose bodies are on their way, by user."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._counts: dict[str, int] = {}

    @contextlib.contextmanager
    def one(self, user: users.UserInfo) -> Iterator[None]:
        """Raises 429 when too many of this user's are on their way already."""
        count = self._counts.get(user.name, 0)
        if count >= self._limit and users.MASTERS not in user.groups:
            raise errors.too_many_requests(_TOO_MANY, _RETRY_AFTER_SECONDS)
        self._counts[user.name] = count + 1
        try:
            yield
        finally:
            self._counts[user.name] -= 1
            if not self._counts[user.name]:
                del self._counts[user.name]


class FlowControl:
    def __init__(self, limit: int, max_queued_per_user: int) -> None:
        self._limit = limit
        self._max_queued = max_queued_per_user
        self._queues: dict[str, deque[asyncio.Future[None]]] = {}
        self.in_flight = 0

    @property
    def queued(self) -> int:
        return sum(map(len, self._queues.values()))

    def try_enter(self, user: users.UserInfo) -> bool:
        """Take a place at once where one is free, or for those who must always get through (the cluster's masters)."""
        if self.in_flight < self._limit and not self._queues:
            self.in_flight += 1
            return True
        if users.MASTERS in user.groups:
            self.in_flight += 1
            return True
        return False

    async def enter(self, user: users.UserInfo) -> None:
        """Take a place, waiting for it. Raises 429 when too many of this user's requests wait already."""
        if self.try_enter(user):
            return
        queue = self._queues.setdefault(user.name, deque())
        if len(queue) >= self._max_queued:
            raise errors.too_many_requests(_TOO_MANY, _RETRY_AFTER_SECONDS)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            self._give_up(user.name, turn)
            raise

    def leave(self) -> None:
        self.in_flight -= 1
        while self._queues and self.in_flight < self._limit:
            # The first user's next request, and the user goes to the end of the round.
            name, queue = next(iter(self._queues.items()))
            del self._queues[name]
            turn = queue.popleft()
            if queue:
                self._queues[name] = queue
            if not turn.done():
                self.in_flight += 1
                turn.set_result(None)

    def _give_up(self, name: str, turn: asyncio.Future[None]) -> None:
        if turn.done() and not turn.cancelled():
            self.leave()
            return
        queue = self._queues.get(name)
        if queue is not None and turn in queue:
            queue.remove(turn)
            if not queue:
                del self._queues[name]
