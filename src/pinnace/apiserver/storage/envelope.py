"""Stored bytes: what is written, what is read, and the little that is spliced between.

A stored value is the object's JSON without `metadata.resourceVersion`, with `apiVersion`, `kind` and `metadata` first. The store
stamps it at the moment its revision is known. Readers are handed the stamped bytes as they are.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import orjson

from pinnace.api import decode, kinds
from pinnace.store import interface

Object = dict[str, Any]

_MARK = b'"metadata":{'
_STAMPED = b'"resourceVersion":"'


def stamp(value: bytes, revision: int) -> bytes:
    """`value` with `"resourceVersion":"<revision>"` as the first member of its metadata, which is never empty; a value that is
    stamped already (the last state of what is deleted) gets the new revision instead."""
    head, mark, tail = value.partition(_MARK)
    if tail.startswith(_STAMPED):
        _, _, tail = tail[len(_STAMPED) :].partition(b'",')
    return b'%b%b"resourceVersion":"%d",%b' % (head, mark, revision, tail)


def encode(obj: Object) -> bytes:
    """`obj` as it is stored; the resourceVersion that it may carry is left out, `obj` is not changed."""
    metadata = obj["metadata"]
    if "resourceVersion" in metadata:
        obj = {**obj, "metadata": {key: value for key, value in metadata.items() if key != "resourceVersion"}}
    return decode.encode(obj)


@dataclasses.dataclass(slots=True)
class Derived:
    """What readers computed from a record's value: kept beside it for as long as the record is current."""

    object: Object | None = None
    labels: dict[str, str] | None = None
    fields: dict[str, str] | None = None
    readers: Mapping[str, Any] | None = None
    """What `fields` were read with: kinds change, and one kind is served in several versions."""


def _derived(record: interface.Record) -> Derived:
    if record.derived is None:
        record.derived = Derived()
    found: Derived = record.derived
    return found


def parse(record: interface.Record) -> Object:
    """A fresh object, the caller's to change."""
    obj: Object = orjson.loads(record.value)
    return obj


def shared(record: interface.Record) -> Object:
    """The object, parsed once for all readers: never change it. For small kinds that every request looks at."""
    derived = _derived(record)
    if derived.object is None:
        derived.object = orjson.loads(record.value)
    return derived.object


def labels(record: interface.Record) -> dict[str, str]:
    # Called for every record of a list that is filtered: what is there already is found without another call.
    derived: Derived = record.derived or _derived(record)
    if derived.labels is None:
        obj = derived.object or orjson.loads(record.value)
        derived.labels = obj["metadata"].get("labels") or {}
    return derived.labels


def fields(kind: kinds.Kind, record: interface.Record) -> dict[str, str]:
    """What field selectors see."""
    derived = _derived(record)
    readers = kind.rules.fields.readers
    if derived.fields is None or derived.readers is not readers:
        obj = derived.object or orjson.loads(record.value)
        derived.labels = obj["metadata"].get("labels") or {}
        derived.fields = kind.rules.fields.of(obj)
        derived.readers = readers
    return derived.fields
