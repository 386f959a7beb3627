"""Event objects: what `kubectl describe` shows. Recording never waits and never fails its caller."""

import asyncio
import collections
import logging
from typing import Any

from pinnace.api import resources
from pinnace.client import client, correlate
from pinnace.kit import backoff, clock

log = logging.getLogger(__name__)

# Events beyond this many waiting are dropped: they are a courtesy, never worth a process's memory.
QUEUE_LIMIT = 1000
RETRY = backoff.Backoff(first=0.5, limit=10.0)
TRIES = 12
DROPS_SAID_EVERY_SECONDS = 60.0


class EventRecorder:
    """Counts repeats of the same (object, reason, message) into one Event, as upstream's correlator does; writes in the background."""

    def __init__(self, api: client.Client, component: str, time: clock.Clock, *, host: str = "") -> None:
        self._api = api
        self._component = component
        self._clock = time
        self._host = host
        self._correlator = correlate.Correlator()
        self._waiting: collections.deque[correlate.Event] = collections.deque()
        self._recorded = asyncio.Event()
        self._last_suffix = 0
        self._dropped = 0
        self._drops_said_at = float("-inf")

    def normal(self, regarding: dict[str, Any], reason: str, message: str, *, field_path: str = "") -> None:
        """`regarding` is the object itself (apiVersion, kind and metadata are read)."""
        self._record("Normal", regarding, reason, message, field_path)

    def warning(self, regarding: dict[str, Any], reason: str, message: str, *, field_path: str = "") -> None:
        self._record("Warning", regarding, reason, message, field_path)

    async def run(self) -> None:
        """Writes what was recorded; for ever."""
        while True:
            await self._recorded.wait()
            self._recorded.clear()
            await self.flush()

    async def flush(self) -> None:
        """Writes what was recorded until now (before a process exits, say)."""
        while self._waiting:
            await self._write(self._waiting.popleft())

    def _record(self, kind: str, regarding: dict[str, Any], reason: str, message: str, field_path: str) -> None:
        if len(self._waiting) >= QUEUE_LIMIT:
            self._drop(reason, message)
            return
        now = self._clock.now()
        self._last_suffix = max(self._last_suffix + 1, int(now.timestamp() * 1_000_000) * 1000)
        event = correlate.make_event(
            regarding,
            kind,
            reason,
            message,
            field_path=field_path,
            component=self._component,
            host=self._host,
            now=now,
            name_suffix=self._last_suffix,
        )
        self._waiting.append(event)
        self._recorded.set()

    def _drop(self, reason: str, message: str) -> None:
        """Said once in a while: one line for each would be a second flood."""
        self._dropped += 1
        now = self._clock.monotonic()
        if now - self._drops_said_at >= DROPS_SAID_EVERY_SECONDS:
            log.warning("%d are waiting; events dropped: %d, now %s %s", QUEUE_LIMIT, self._dropped, reason, message)
            self._drops_said_at, self._dropped = now, 0

    async def _write(self, event: correlate.Event) -> None:
        write = self._correlator.observe(event, self._clock.monotonic())
        if write is None:
            return
        for failures in range(TRIES):
            try:
                await self._send(write)
            except client.Unavailable as error:
                log.info("event not written yet: %s", error)
                await self._clock.sleep(RETRY.delay(failures))
            except client.ApiError as error:
                # A namespace that is being deleted takes no events; a repeat after a lost answer exists already.
                log.debug("event refused: %s", error)
                return
            else:
                return

    async def _send(self, write: correlate.Write) -> None:
        event = write.event
        metadata = event["metadata"]
        if write.is_repeat:
            changes = {key: event[key] for key in ("count", "lastTimestamp", "message")}
            try:
                await self._api.patch(
                    resources.EVENTS, metadata["namespace"], metadata["name"], changes, kind="strategic"
                )
            except client.NotFound:
                pass  # It expired: write it anew, with the count it has reached.
            else:
                return
        await self._api.create(resources.EVENTS, metadata["namespace"], event)
