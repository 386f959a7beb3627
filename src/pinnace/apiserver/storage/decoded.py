"""What the events of a watch show: the bytes for those far away, decoded objects for those within this process."""

import asyncio
from typing import Any

import orjson

from pinnace.api import kinds
from pinnace.apiserver.storage import envelope
from pinnace.store import interface


def content(event: interface.Event, kind_of_event: bytes) -> bytes:
    """The object that an event of this type shows. One that has left a watcher's selection shows its last state inside it,
    at the revision at which it left."""
    if kind_of_event != b"DELETED":
        assert event.record is not None
        return event.record.value
    if event.record is None:
        return event.last_value
    assert event.previous is not None
    return envelope.stamp(event.previous.value, event.revision)


class Decoded:
    """Events as objects, for the watchers within this process: each is decoded once for all of them, or not at all where its writer is in
    this process too and has offered the object that it encoded.

    They are all woken in the same turn of the loop, so what was decoded is forgotten right after it: nothing is kept for those who
    never come, and a watcher that lags decodes for itself."""

    def __init__(self) -> None:
        self._objects: dict[tuple[str, str, int, bytes], Any] = {}
        self._offers: dict[str, tuple[bytes, Any]] = {}

    def offer(self, key: str, value: bytes, obj: Any) -> None:
        """`obj` is about to be stored as `value`, and will not be changed by anyone any more."""
        self._offers[key] = (value, obj)

    def withdraw(self, key: str) -> None:
        self._offers.pop(key, None)

    def get(self, kind: kinds.Kind, event: interface.Event, kind_of_event: bytes) -> Any:
        """Shared: never to be changed."""
        # ADDED and MODIFIED show the same object; DELETED may show another one.
        key = (kind.group, kind.version, event.revision, kind_of_event if kind_of_event == b"DELETED" else b"")
        found = self._objects.get(key)
        if found is None:
            if not self._objects:
                asyncio.get_running_loop().call_soon(self._objects.clear)
            found = self._offered(kind, event) if kind_of_event != b"DELETED" else None
            if found is None:
                found = orjson.loads(content(event, kind_of_event))
            self._objects[key] = found
        return found

    def _offered(self, kind: kinds.Kind, event: interface.Event) -> Any:
        """Only what was offered with the very bytes that were stored: of two writers of a key one may have lost."""
        value, obj = self._offers.get(event.key, (b"", None))
        if obj is None or event.record is None or obj.get("apiVersion") != kind.api_version:
            return None
        if envelope.stamp(value, event.revision) != event.record.value:
            return None
        return {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(event.revision)}}
