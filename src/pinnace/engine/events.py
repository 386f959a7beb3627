"""Events of containers to everybody who listens."""

import asyncio
from typing import Literal

from pinnace.engine import interface

EventType = Literal["create", "start", "die", "oom", "remove"]


class Subscription:
    """An async iterator, registered from its construction on: no event between `events()` and the first `anext` is missed."""

    def __init__(self, subscribers: set["Subscription"]) -> None:
        self._queue: asyncio.Queue[interface.ContainerEvent] = asyncio.Queue()
        self._subscribers = subscribers
        subscribers.add(self)

    def __aiter__(self) -> "Subscription":
        return self

    async def __anext__(self) -> interface.ContainerEvent:
        return await self._queue.get()

    async def aclose(self) -> None:
        self._subscribers.discard(self)

    def put(self, event: interface.ContainerEvent) -> None:
        self._queue.put_nowait(event)


class Bus:
    def __init__(self) -> None:
        self._subscribers: set[Subscription] = set()

    def subscribe(self) -> Subscription:
        return Subscription(self._subscribers)

    def publish(self, event: interface.ContainerEvent) -> None:
        for subscriber in self._subscribers:
            subscriber.put(event)
