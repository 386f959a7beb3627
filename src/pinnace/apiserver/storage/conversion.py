"""Kinds that are served in several versions but stored in one.

Nearly every object is stored as it is served: its stored bytes are its answer. Kinds whose rules say `stored` are converted where an
object lies in another version than is asked for: all of a list or of a batch of events at once, because the converter may be somebody
else's server. Built-in: events.k8s.io/v1 Event is stored as v1 Event, autoscaling/v1 HorizontalPodAutoscaler as v2, as upstream does.
"""

from collections.abc import Sequence
from typing import Any

import orjson

from pinnace.api import decode, kinds
from pinnace.apiserver.storage import envelope
from pinnace.store import interface

Object = dict[str, Any]


async def encode(kind: kinds.Kind, obj: Object) -> bytes:
    """The bytes to store. `obj` is not changed."""
    stored = kind.rules.stored
    if stored is None or stored.api_version == kind.api_version:
        return envelope.encode(obj)
    (made,) = await stored.converter.convert([obj], stored.api_version)
    return envelope.encode(made)


def encode_dry(obj: Object, revision: int = 0) -> bytes:
    """What a dry run answers: the object as it would be, with the resourceVersion that it has (none when it would be new)."""
    data = envelope.encode(obj)
    return envelope.stamp(data, revision) if revision else data


async def value(kind: kinds.Kind, data: bytes) -> bytes:
    """Stored bytes as `kind` serves them."""
    return data if kind.rules.stored is None else (await values(kind, (data,)))[0]


async def values(kind: kinds.Kind, stored: Sequence[bytes]) -> Sequence[bytes]:
    """The same for many, converted together."""
    rules = kind.rules.stored
    if rules is None:
        return stored
    # What is stored begins with its apiVersion.
    head = b'{"apiVersion":"%b",' % kind.api_version.encode()
    others = [position for position, data in enumerate(stored) if not data.startswith(head)]
    if not others:
        return stored
    made = list(stored)
    found = await rules.converter.convert([orjson.loads(stored[position]) for position in others], kind.api_version)
    for position, obj in zip(others, found, strict=True):
        made[position] = decode.encode(obj)
    return made


async def parse(kind: kinds.Kind, record: interface.Record) -> Object:
    """A fresh object in the version of `kind`, the caller's to change."""
    obj = envelope.parse(record)
    rules = kind.rules.stored
    if rules is None or obj["apiVersion"] == kind.api_version:
        return obj
    (made,) = await rules.converter.convert([obj], kind.api_version)
    return made
