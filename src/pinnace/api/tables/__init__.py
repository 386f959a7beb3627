"""Tables: what `kubectl get` shows of each kind (meta.k8s.io/v1 Table). Pure; the time is an argument.

Each kind's columns and cells are its `rules.printer`.
"""

import datetime
from collections.abc import Iterable, Mapping
from typing import Any

from pinnace.api.tables import printers

Object = Mapping[str, Any]


def table(
    printer: printers.Printer,
    objects: Iterable[Object],
    now: datetime.datetime,
    include_object: str = "Metadata",
    *,
    resource_version: str = "",
) -> dict[str, Any]:
    """A whole table; `include_object` is `Metadata` (as PartialObjectMetadata), `Object` or `None`."""
    rows = []
    for obj in objects:
        found: dict[str, Any] = {"cells": printer.cells(obj, now)}
        if printer.conditions is not None and (conditions := printer.conditions(obj)):
            found["conditions"] = conditions
        found["object"] = _included(obj, include_object)
        rows.append(found)
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": resource_version} if resource_version else {},
        "columnDefinitions": [column.to_json() for column in printer.columns],
        "rows": rows,
    }


def _included(obj: Object, include: str) -> Object | None:
    if include == "Object":
        return obj
    if include == "None":
        return None
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}
