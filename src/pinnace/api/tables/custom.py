"""Columns of custom resources: what their definition says in `additionalPrinterColumns`."""

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from pinnace.api.tables import duration, jsonpath, printers


def printer(columns: Sequence[Mapping[str, Any]] | None) -> printers.Printer:
    """The printer for `additionalPrinterColumns`; name and age where there are none."""
    if not columns:
        return printers.NAME_AND_AGE
    shown = tuple(
        printers.Column(
            column.get("name", ""),
            type=column.get("type", "string"),
            format=column.get("format", ""),
            description=column.get("description", ""),
            priority=column.get("priority", 0),
        )
        for column in columns
    )

    def cells(obj: printers.Object, now: datetime.datetime) -> printers.Cells:
        return [printers.name(obj), *(_cell(obj, column, now) for column in columns)]

    return printers.Printer((printers.NAME, *shown), cells)


def _cell(obj: printers.Object, column: Mapping[str, Any], now: datetime.datetime) -> Any:
    """The first value that the column's path leads to, in the column's type; None where there is none."""
    try:
        found = jsonpath.find(obj, column.get("jsonPath", ""))
    except ValueError:
        return None
    if not found or found[0] is None:
        return None
    value = found[0]
    match column.get("type"):
        case "string":
            return _text(value)
        case "integer":
            return int(value) if isinstance(value, int | float) else None
        case "number":
            return float(value) if isinstance(value, int | float) else None
        case "boolean":
            return value if isinstance(value, bool) else None
        case "date":
            return (
                duration.since(value, now) if duration.parse(value if isinstance(value, str) else "") else "<invalid>"
            )
        case _:
            return None


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return orjson.dumps(value).decode()
