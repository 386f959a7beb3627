"""Events are news, not records: each goes an hour after it was last seen, as upstream lets them.

`is_expired` decides; `Expiry.run` looks every few minutes.
"""

import datetime
from typing import Any

from pinnace.api import resources
from pinnace.apiserver.storage import envelope, objects
from pinnace.kit import clock

Object = dict[str, Any]

LIFE = datetime.timedelta(hours=1)
_LOOK_SECONDS = 300.0


def last_seen(event: Object) -> datetime.datetime | None:
    """The newest of the moments that an event names."""
    texts = (
        event["metadata"].get("creationTimestamp"),
        event.get("firstTimestamp"),
        event.get("lastTimestamp"),
        event.get("eventTime"),
        (event.get("series") or {}).get("lastObservedTime"),
    )
    return max((clock.parse_rfc3339(text) for text in texts if text), default=None)


def is_expired(event: Object, now: datetime.datetime) -> bool:
    moment = last_seen(event)
    return moment is not None and now - moment > LIFE


class Expiry:
    def __init__(self, stored: objects.Objects, time: clock.Clock) -> None:
        self._objects = stored
        self._clock = time

    async def run(self) -> None:
        while True:
            await self._clock.sleep(_LOOK_SECONDS)
            await self.sweep()

    async def sweep(self) -> None:
        """Delete what has expired; what changes meanwhile stays."""
        now = self._clock.now()
        for record in self._objects.records(resources.EVENTS):
            if is_expired(envelope.parse(record), now):
                await self._objects.delete(self._objects.kind(resources.EVENTS), record)
