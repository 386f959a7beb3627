"""Kinds that are served in several versions but stored in one.

Nearly every kind is stored as it is served: its stored bytes are its answer. The few whose rules say `stored` are parsed and converted
on each read, and stored as upstream stores them: events.k8s.io/v1 Event as v1 Event, autoscaling/v1 HorizontalPodAutoscaler as v2.
"""

from typing import Any

import orjson

from pinnace.api import decode, kinds
from pinnace.apiserver.storage import envelope
from pinnace.store import interface

Object = dict[str, Any]


def encode(kind: kinds.Kind, obj: Object) -> bytes:
    """The bytes to store."""
    stored = kind.rules.stored
    return envelope.encode(obj if stored is None else stored.to_storage(obj))


def encode_dry(kind: kinds.Kind, obj: Object, revision: int = 0) -> bytes:
    """What a dry run answers: the object as it would be, with the resourceVersion that it has (none when it would be new)."""
    data = envelope.encode(obj)
    return envelope.stamp(data, revision) if revision else data


def value(kind: kinds.Kind, record: interface.Record) -> bytes:
    """The record's bytes as `kind` serves them."""
    return served(kind, record.value)


def last_value(kind: kinds.Kind, event: interface.Event) -> bytes:
    return served(kind, event.last_value)


def served(kind: kinds.Kind, data: bytes) -> bytes:
    stored = kind.rules.stored
    return data if stored is None else decode.encode(stored.from_storage(orjson.loads(data)))


def is_converted(kind: kinds.Kind) -> bool:
    return kind.rules.stored is not None


def parse(kind: kinds.Kind, record: interface.Record) -> Object:
    """A fresh object in the version of `kind`, the caller's to change."""
    obj = envelope.parse(record)
    stored = kind.rules.stored
    return obj if stored is None else stored.from_storage(obj)


def storage_kind(registry: kinds.Registry, kind: kinds.Kind) -> kinds.Kind:
    """The kind as which objects of `kind` are stored."""
    stored = kind.rules.stored
    return (registry.by_kind(stored.group, stored.version, kind.kind) if stored is not None else None) or kind
