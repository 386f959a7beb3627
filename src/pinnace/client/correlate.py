"""What becomes of an event before it is written: counted into an earlier one, merged with similar ones, or dropped.

Pure but for its memory; the limits are those of client-go's correlator (tools/record/events_cache.go).
"""

import collections
import dataclasses
import datetime
import hashlib
from collections.abc import Callable
from typing import Any, TypeVar

from pinnace.kit import clock

# More than this many messages for one (object, reason) within the interval become one event.
SIMILAR_EVENTS = 10
SIMILAR_SECONDS = 600.0
# A source may write so many events about one object at once, and one more each five minutes.
BURST = 25
REFILL_SECONDS = 300.0
CACHE_SIZE = 4096
# An event that was not repeated for so long has expired in the API as well: the next one like it is a new one.
WRITTEN_SECONDS = 3600.0
COMBINED = "(combined from similar events): "

Event = dict[str, Any]
Key = bytes
"""A digest: what is remembered of an event is as small for the longest messages and names."""
KEY_BYTES = 16
T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True)
class Write:
    """Create `event`, or when `is_repeat` patch the one of that name with its count, time and message."""

    event: Event
    is_repeat: bool


@dataclasses.dataclass(slots=True)
class _Written:
    """What a repeat needs of an event that was written."""

    name: str
    namespace: str
    first: str
    count: int
    last: float


@dataclasses.dataclass(slots=True)
class _Similar:
    messages: set[Key]
    last: float


@dataclasses.dataclass(slots=True)
class _Bucket:
    tokens: float
    last: float

    def at(self, moment: float) -> float:
        """Tokens that it has by then."""
        return min(BURST, self.tokens + (moment - self.last) / REFILL_SECONDS)


class Correlator:
    def __init__(self) -> None:
        self._written: collections.OrderedDict[Key, _Written] = collections.OrderedDict()
        self._similar: collections.OrderedDict[Key, _Similar] = collections.OrderedDict()
        self._buckets: collections.OrderedDict[Key, _Bucket] = collections.OrderedDict()

    def observe(self, event: Event, moment: float) -> Write | None:
        """`moment` in monotonic seconds. None: one source writes too much about one object, drop it."""
        self._forget(moment)
        similar_key = _digest(_similar_parts(event))
        key = _digest((*_similar_parts(event), event["message"]))
        if self._is_one_too_many(similar_key, key, moment):
            key = similar_key
            event = {**event, "message": COMBINED + event["message"]}
        if not self._may_write(_digest(_object_parts(event)), moment):
            return None
        earlier = self._written.get(key)
        if earlier is not None:
            event = {
                **event,
                "metadata": {"name": earlier.name, "namespace": earlier.namespace},
                "firstTimestamp": earlier.first,
                "count": earlier.count + 1,
            }
        metadata = event["metadata"]
        written = _Written(metadata["name"], metadata["namespace"], event["firstTimestamp"], event["count"], moment)
        _remember(self._written, key, written)
        return Write(event, earlier is not None)

    def _forget(self, moment: float) -> None:
        """What makes no difference any more: most objects that events are about are long gone."""
        _forget(self._written, lambda written: moment - written.last > WRITTEN_SECONDS)
        _forget(self._similar, lambda similar: moment - similar.last > SIMILAR_SECONDS)
        _forget(self._buckets, lambda bucket: bucket.at(moment) >= BURST)

    def _is_one_too_many(self, key: Key, message: Key, moment: float) -> bool:
        similar = self._similar.get(key)
        if similar is None or moment - similar.last > SIMILAR_SECONDS:
            similar = _Similar(set(), moment)
        similar.last = moment
        _remember(self._similar, key, similar)
        similar.messages.add(message)
        if len(similar.messages) < SIMILAR_EVENTS:
            return False
        similar.messages.pop()
        return True

    def _may_write(self, key: Key, moment: float) -> bool:
        bucket = self._buckets.get(key) or _Bucket(BURST, moment)
        _remember(self._buckets, key, bucket)
        bucket.tokens = bucket.at(moment)
        bucket.last = moment
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True


def make_event(
    regarding: dict[str, Any],
    kind: str,
    reason: str,
    message: str,
    *,
    field_path: str,
    component: str,
    host: str,
    now: datetime.datetime,
    name_suffix: int,
) -> Event:
    """A core/v1 Event; `kind` is `Normal` or `Warning`, `name_suffix` nanoseconds that make its name unique."""
    metadata = regarding["metadata"]
    involved = {
        "kind": regarding.get("kind", ""),
        "namespace": metadata.get("namespace", ""),
        "name": metadata["name"],
        "uid": metadata.get("uid", ""),
        "apiVersion": regarding.get("apiVersion", ""),
        "resourceVersion": metadata.get("resourceVersion", ""),
        "fieldPath": field_path,
    }
    stamp = clock.rfc3339(now)
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{metadata['name']}.{name_suffix:x}",
            "namespace": metadata.get("namespace") or "default",
        },
        "involvedObject": {key: value for key, value in involved.items() if value},
        "reason": reason,
        "message": message,
        "source": {"component": component, "host": host} if host else {"component": component},
        "firstTimestamp": stamp,
        "lastTimestamp": stamp,
        "count": 1,
        "type": kind,
        "eventTime": None,
        "reportingComponent": component,
        "reportingInstance": host,
    }


def _digest(parts: tuple[Any, ...]) -> Key:
    return hashlib.blake2b(repr(parts).encode(errors="surrogatepass"), digest_size=KEY_BYTES).digest()


def _object_parts(event: Event) -> tuple[Any, ...]:
    involved, source = event["involvedObject"], event["source"]
    return (
        source["component"],
        source.get("host"),
        *(involved.get(field) for field in ("kind", "namespace", "name", "uid", "apiVersion")),
    )


def _similar_parts(event: Event) -> tuple[Any, ...]:
    return (*_object_parts(event), event["involvedObject"].get("fieldPath"), event["type"], event["reason"])


def _remember(cache: collections.OrderedDict[Key, Any], key: Key, value: Any) -> None:
    cache[key] = value
    cache.move_to_end(key)
    if len(cache) > CACHE_SIZE:
        cache.popitem(last=False)


def _forget(cache: collections.OrderedDict[Key, T], is_over: Callable[[T], bool]) -> None:
    """From the one that was not touched for the longest time on, up to the first that still matters."""
    while cache and is_over(next(iter(cache.values()))):
        cache.popitem(last=False)
