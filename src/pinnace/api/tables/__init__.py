"""Tables: what `kubectl get` shows of each kind (meta.k8s.io/v1 Table). Pure; the time is an argument."""

import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pinnace.api import kinds
from pinnace.api.tables import access, cluster, custom, network, pods, printers, workloads

Object = Mapping[str, Any]
PrinterColumns = Sequence[Mapping[str, Any]]

_PRINTERS: dict[tuple[str, str], printers.Printer] = {
    **pods.PRINTERS,
    **workloads.PRINTERS,
    **network.PRINTERS,
    **cluster.PRINTERS,
    **access.PRINTERS,
}


def columns(kind: kinds.Kind, extra: PrinterColumns = ()) -> list[dict[str, Any]]:
    """The column definitions of a kind; `extra` are a custom resource's `additionalPrinterColumns`."""
    return [column.to_json() for column in _printer(kind, extra).columns]


def row(kind: kinds.Kind, obj: Object, now: datetime.datetime, extra: PrinterColumns = ()) -> list[Any]:
    """The cells of one object, in the order of `columns`."""
    return _printer(kind, extra).cells(obj, now)


def table(
    kind: kinds.Kind,
    objects: Iterable[Object],
    now: datetime.datetime,
    include_object: str = "Metadata",
    *,
    resource_version: str = "",
    extra: PrinterColumns = (),
) -> dict[str, Any]:
    """A whole table; `include_object` is `Metadata` (as PartialObjectMetadata), `Object` or `None`."""
    printer = _printer(kind, extra)
    is_pod = (kind.group, kind.kind) == ("", "Pod")
    rows = []
    for obj in objects:
        found: dict[str, Any] = {"cells": printer.cells(obj, now)}
        if is_pod and (conditions := pods.row_conditions(obj)):
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


def _printer(kind: kinds.Kind, extra: PrinterColumns) -> printers.Printer:
    known = _PRINTERS.get((kind.group, kind.kind))
    if known is not None:
        return known
    return access.CREATED if kind.definition else custom.printer(extra)


def _included(obj: Object, include: str) -> Object | None:
    if include == "Object":
        return obj
    if include == "None":
        return None
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}
