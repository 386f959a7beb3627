"""Watches: who is told of which change.

`Hub.publish` is called on the loop with each committed batch and hands every watcher the events of its prefix; nothing waits
there. A watcher that starts in the past first reads history by itself, at its own pace and without a copy, and joins the hub when it
has caught up.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence

from pinnace.store import interface, state

REPLAY_CHUNK = 1000
"""Changes of history looked at between two turns of the loop."""


class Hub:
    def __init__(self, current: state.State) -> None:
        self.state = current
        # Dictionaries for their order: who watches longest is told first, in every run alike.
        self._by_length: dict[int, dict[str, dict[Watcher, None]]] = {}
        self._all: dict[Watcher, None] = {}
        self._ended: interface.StoreError | None = None
        self._is_closed = False

    def open(self, prefix: str, after_revision: int, max_bytes: int) -> "Watcher":
        self.state.check_revision(after_revision)
        return Watcher(self, prefix, after_revision, max_bytes)

    def publish(self, events: Sequence[interface.Event]) -> None:
        """Each event costs as many lookups as there are different lengths of watched prefixes, however many watchers there are."""
        batches: dict[str, list[interface.Event]] = {}
        for event in events:
            for length, groups in self._by_length.items():
                prefix = event.key[:length]
                if prefix in groups:
                    batches.setdefault(prefix, []).append(event)
        for prefix, batch in batches.items():
            size = sum(map(_size, batch))
            for watcher in tuple(self._by_length[len(prefix)][prefix]):
                watcher.push(batch, size)

    def end(self, error: interface.StoreError | None) -> None:
        """All watches end: with `error`, or quietly when the store is closed."""
        self._ended, self._is_closed = error, True
        for watcher in tuple(self._all):
            watcher.wake()

    def add(self, watcher: "Watcher") -> None:
        self._all[watcher] = None

    def join(self, watcher: "Watcher") -> None:
        self._by_length.setdefault(len(watcher.prefix), {}).setdefault(watcher.prefix, {})[watcher] = None

    def leave(self, watcher: "Watcher") -> None:
        self._all.pop(watcher, None)
        groups = self._by_length.get(len(watcher.prefix), {})
        group = groups.get(watcher.prefix, {})
        group.pop(watcher, None)
        if not group:
            groups.pop(watcher.prefix, None)
        if not groups:
            self._by_length.pop(len(watcher.prefix), None)

    def raise_if_ended(self) -> None:
        if self._ended is not None:
            raise self._ended
        if self._is_closed:
            raise StopAsyncIteration


class Watcher:
    """`interface.Watch`."""

    def __init__(self, hub: Hub, prefix: str, after_revision: int, max_bytes: int) -> None:
        self.prefix = prefix
        self._hub = hub
        self._cursor = after_revision
        self._max_bytes = max_bytes
        self._is_live = False
        self._queue: deque[Sequence[interface.Event]] = deque()
        self._queued_bytes = 0
        self._overrun = False
        self._waiter: asyncio.Future[None] | None = None

    async def __aenter__(self) -> "Watcher":
        self._hub.add(self)
        self._maybe_join()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._hub.leave(self)

    def __aiter__(self) -> AsyncIterator[Sequence[interface.Event]]:
        return self

    async def __anext__(self) -> Sequence[interface.Event]:
        while True:
            self._hub.raise_if_ended()
            if self._overrun:
                raise interface.WatcherTooSlow(f"more than {self._max_bytes} bytes of {self.prefix!r} waited unread")
            if self._queue:
                return self._take()
            if self._is_live:
                await self._wait_woken()
            elif batch := self._replay():
                return batch
            elif not self._is_live:
                await asyncio.sleep(0)

    @property
    def progress(self) -> int:
        if self._queue:
            return self._queue[0][0].revision - 1
        return self._hub.state.revision if self._is_live and not self._overrun else self._cursor

    def push(self, batch: Sequence[interface.Event], size: int) -> None:
        """The hub's side: more events of the prefix, `size` bytes of values."""
        if self._queued_bytes + size > self._max_bytes and self._queue:
            self._overrun = True
            self._cursor = self.progress
            self._queue.clear()
            self._hub.leave(self)
        else:
            self._queue.append(batch)
            self._queued_bytes += size
        self.wake()

    def wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _wait_woken(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _take(self) -> Sequence[interface.Event]:
        self._queued_bytes = 0
        if len(self._queue) == 1:
            return self._queue.popleft()
        batch = [event for part in self._queue for event in part]
        self._queue.clear()
        return batch

    def _replay(self) -> list[interface.Event]:
        """The next events out of history. Raises Compacted when it was dropped meanwhile."""
        chunk = self._hub.state.history_after(self._cursor, REPLAY_CHUNK)
        if chunk:
            self._cursor = chunk[-1].revision
        self._maybe_join()
        return [event for event in chunk if event.key.startswith(self.prefix)]

    def _maybe_join(self) -> None:
        if self._cursor == self._hub.state.revision:
            self._is_live = True
            self._hub.join(self)


def _size(event: interface.Event) -> int:
    return len(event.record.value) if event.record is not None else len(event.last_value)
