"""Watch events on the wire, each encoded once for all its watchers."""

import orjson

from pinnace.api import errors, kinds
from pinnace.apiserver import conversion, envelope
from pinnace.store import interface

INITIAL_EVENTS_END = "k8s.io/initial-events-end"


def frame(kind_of_event: bytes, data: bytes) -> bytes:
    return b'{"type":"%b","object":%b}\n' % (kind_of_event, data)


def added(record: interface.Record, kind: kinds.Kind) -> bytes:
    """A synthetic event for what was there when the watch began."""
    return frame(b"ADDED", conversion.value(kind, record))


class Frames:
    """What `Event.derived` holds: the event's frames, each made when the first watcher asks for it."""

    __slots__ = ("_made", "event")

    def __init__(self, event: interface.Event) -> None:
        self.event = event
        self._made: dict[bytes, bytes] = {}

    def get(self, kind_of_event: bytes) -> bytes:
        made = self._made.get(kind_of_event)
        if made is None:
            made = self._made[kind_of_event] = frame(kind_of_event, content(self.event, kind_of_event))
        return made


def of(event: interface.Event) -> Frames:
    if event.derived is None:
        event.derived = Frames(event)
    found: Frames = event.derived
    return found


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


def bookmark(kind: kinds.Kind, revision: int, *, ends_initial: bool = False) -> bytes:
    metadata: dict[str, object] = {"resourceVersion": str(revision), "creationTimestamp": None}
    if ends_initial:
        metadata["annotations"] = {INITIAL_EVENTS_END: "true"}
    body = {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": metadata}
    return frame(b"BOOKMARK", orjson.dumps(body))


def error(failure: errors.StatusError) -> bytes:
    return frame(b"ERROR", orjson.dumps(failure.to_json()))
