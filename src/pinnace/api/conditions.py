"""Conditions of objects (`status.conditions`): finding one, and setting one so that its transition time moves only when its status does."""

from collections.abc import Iterable, Mapping
from typing import Any

Condition = Mapping[str, Any]


def find(conditions: Iterable[Any] | None, kind: str) -> Any:
    """The condition of type `kind`, or None."""
    return next((found for found in conditions or () if found.get("type") == kind), None)


def is_true(obj: Mapping[str, Any], kind: str) -> bool:
    found = find((obj.get("status") or {}).get("conditions"), kind)
    return found is not None and found.get("status") == "True"


def since(present: Condition | None, status: str, stamp: str) -> str:
    """The transition time of a condition that becomes `status` in the place of `present`: `stamp` (RFC 3339) if that is a change."""
    known = present.get("lastTransitionTime") if present is not None and present.get("status") == status else None
    return known or stamp


def stamped(present: Condition | None, wanted: Condition, stamp: str) -> dict[str, Any]:
    """`wanted` with its transition time (see `since`)."""
    return {**wanted, "lastTransitionTime": since(present, wanted["status"], stamp)}


def with_condition(conditions: Iterable[Any] | None, wanted: Condition, stamp: str) -> list[Any]:
    """`conditions` with `wanted` (see `stamped`) in the place of the one of its type, or at the end."""
    kept = list(conditions or ())
    for position, found in enumerate(kept):
        if found.get("type") == wanted["type"]:
            kept[position] = stamped(found, wanted, stamp)
            return kept
    return [*kept, stamped(None, wanted, stamp)]
