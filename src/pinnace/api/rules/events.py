"""`events.k8s.io`: the same Events as the core group's, by other names; stored as those."""

import dataclasses

from pinnace.api import selectable
from pinnace.api.rules import base, core

Object = base.Object

_RENAMES = (
    ("note", "message"),
    ("regarding", "involvedObject"),
    ("reportingController", "reportingComponent"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
)
_TO_CORE = dict(_RENAMES)
_FROM_CORE = {old: new for new, old in _RENAMES}


def _to_core(obj: Object) -> Object:
    return {**{_TO_CORE.get(name, name): value for name, value in obj.items()}, "apiVersion": "v1"}


def _from_core(obj: Object) -> Object:
    return {**{_FROM_CORE.get(name, name): value for name, value in obj.items()}, "apiVersion": "events.k8s.io/v1"}


_CONVERTER = base.Functions({"v1": _to_core, "events.k8s.io/v1": _from_core})
_FIELDS = selectable.Fields(
    core.EVENT_FIELDS.readers,
    aliases={
        **{f"regarding.{step}": f"involvedObject.{step}" for step in core.EVENT_REFERENCE},
        "reportingController": "reportingComponent",
    },
    hidden=frozenset({"reportingComponent", *(f"involvedObject.{step}" for step in core.EVENT_REFERENCE)}),
)

V1: base.Rows = (
    base.Row(
        "Event",
        "events",
        base.NAMESPACED,
        "ev",
        rules=dataclasses.replace(core.EVENT, fields=_FIELDS, stored=base.Stored("", "v1", _CONVERTER)),
    ),
)
