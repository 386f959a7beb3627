"""Watch events on the wire."""

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


Pieces = tuple[bytes, ...]
_HEADS = {kind: b'{"type":"%b","object":' % kind for kind in (b"ADDED", b"MODIFIED", b"DELETED")}
_TAIL = b"}\n"


def pieces(event: interface.Event, kind_of_event: bytes) -> Pieces:
    """An event's frame around the stored bytes themselves: shared by all watchers and by the store, encoded by nobody."""
    return _HEADS[kind_of_event], content(event, kind_of_event), _TAIL


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
