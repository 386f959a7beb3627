"""Writers and watchers over TLS that note what they were told, for campaigns of faults (`api_history` judges the notes)."""

import asyncio
import collections
import contextlib
import random
from collections.abc import Callable
from typing import Any

from pinnace.api import resources
from pinnace.client import client
from pinnace.testing import api_history

RETRY_SECONDS = 0.02
NAMES_PER_WRITER = 3


def revision_of(obj: dict[str, Any]) -> int:
    return int(obj["metadata"]["resourceVersion"])


class Load:
    """All writers and watchers of one run, in one namespace of its own."""

    def __init__(self, api_of: Callable[[], client.Client], namespace: str) -> None:
        self.history = api_history.History()
        self.namespace = namespace
        self.stopping = False
        self.last_revision = 0
        self.expired = 0
        self._api_of = api_of
        self._tasks: list[asyncio.Task[None]] = []
        self._watchers: list[asyncio.Task[None]] = []

    async def start(self, writers: int, watchers: int, seed: int) -> None:
        self.api = self._api_of()
        start = int((await self.api.list(resources.CONFIG_MAPS, self.namespace)).resource_version)
        for number in range(writers):
            rng = random.Random(f"{seed} writer {number}")  # noqa: S311 - repeatable, not secret
            self._tasks.append(asyncio.create_task(self._write(number, rng)))
        for number in range(watchers):
            rng = random.Random(f"{seed} watcher {number}")  # noqa: S311
            self._watchers.append(asyncio.create_task(self._watch(start, rng)))

    async def finish(self, seconds: float = 60) -> api_history.History:
        """Stop the writers, list what is there, and let every watcher read up to that."""
        self.stopping = True
        async with asyncio.timeout(seconds):
            await asyncio.gather(*self._tasks)
            listed = await patiently(lambda: self.api.list(resources.CONFIG_MAPS, self.namespace))
            self.history.final_revision = int(listed.resource_version)
            found = [item for item in listed.items if "n" in item.get("data", {})]
            names = collections.Counter(item["metadata"]["name"] for item in found)
            self.history.listed_twice = frozenset(name for name, count in names.items() if count > 1)
            self.history.final = {item["metadata"]["name"]: int(item["data"]["n"]) for item in found}
            self.last_revision = max([0, *(write.revision for write in self.history.writes)])
            await asyncio.gather(*self._watchers)
        await self.api.close()
        return self.history

    async def _write(self, number: int, rng: random.Random) -> None:
        api = self._api_of()
        values = [0] * NAMES_PER_WRITER
        while not self.stopping:
            which = rng.randrange(NAMES_PER_WRITER)
            values[which] += 1
            await self._change(api, f"w{number}-{which}", values[which], rng)
        await api.close()

    async def _change(self, api: client.Client, name: str, value: int, rng: random.Random) -> None:
        """One create, replace or delete of `name`, whichever is possible."""
        current = await patiently(lambda: _find(api, self.namespace, name))
        target = value
        begun = next(self.history.order)
        acknowledged, revision = False, 0
        data = {"n": str(value)}
        try:
            if current is None:
                body = {"metadata": {"name": name}, "data": data}
                revision = revision_of(await api.create(resources.CONFIG_MAPS, self.namespace, body))
            elif rng.random() < 0.2:
                target = api_history.GONE
                await api.delete(
                    resources.CONFIG_MAPS, self.namespace, name, resource_version=current["metadata"]["resourceVersion"]
                )
            else:
                revision = revision_of(await api.update(resources.CONFIG_MAPS, {**current, "data": data}))
            acknowledged = True
        except client.Unavailable:
            await asyncio.sleep(RETRY_SECONDS)
        write = api_history.Write(name, target, begun, next(self.history.order), acknowledged, revision)
        self.history.writes.append(write)

    async def _watch(self, start: int, rng: random.Random) -> None:
        """Reads until the last acknowledged revision; cuts its connection now and then, and reads slowly at times."""
        api = self._api_of()
        segment = api_history.Segment(start, start)
        self.history.segments.append(segment)
        while not self._is_done(segment):
            try:
                await self._read(api, segment, rng.randrange(20, 400), rng)
            except client.Expired:
                self.expired += 1
                listed = await patiently(lambda: api.list(resources.CONFIG_MAPS, self.namespace))
                segment = api_history.Segment(int(listed.resource_version), int(listed.resource_version))
                self.history.segments.append(segment)
            except client.Unavailable:
                await asyncio.sleep(RETRY_SECONDS)
        await api.close()

    def _is_done(self, segment: api_history.Segment) -> bool:
        return self.stopping and 0 < self.last_revision <= segment.end

    async def _read(self, api: client.Client, segment: api_history.Segment, count: int, rng: random.Random) -> None:
        events = api.watch(resources.CONFIG_MAPS, self.namespace, resource_version=str(segment.end))
        is_slow = rng.random() < 0.1
        with contextlib.suppress(TimeoutError):
            async with contextlib.aclosing(events), asyncio.timeout(5):
                async for event in events:
                    revision = revision_of(event.object)
                    if event.type != "BOOKMARK" and "n" in event.object.get("data", {}):
                        segment.events.append(_seen(event, revision))
                    segment.end = max(segment.end, revision)
                    count -= 1
                    if count <= 0 or self._is_done(segment):
                        return
                    if is_slow:
                        await asyncio.sleep(0.01)


def _seen(event: client.WatchEvent, revision: int) -> api_history.Seen:
    value = api_history.GONE if event.type == "DELETED" else int(event.object["data"]["n"])
    return api_history.Seen(event.type, event.object["metadata"]["name"], revision, value)


async def _find(api: client.Client, namespace: str, name: str) -> dict[str, Any] | None:
    try:
        return await api.get(resources.CONFIG_MAPS, namespace, name)
    except client.NotFound:
        return None


async def patiently(ask: Callable[[], Any]) -> Any:
    """Until the server answers."""
    while True:
        try:
            return await ask()
        except client.Unavailable:
            await asyncio.sleep(RETRY_SECONDS)
