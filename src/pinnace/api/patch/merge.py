"""Merge patch (RFC 7386)."""

from typing import Any

from pinnace.api import errors


def apply(obj: dict[str, Any], patch: Any) -> dict[str, Any]:
    """`obj` with `patch` merged into it: null deletes, objects merge, everything else replaces. Raises StatusError (400)."""
    if not isinstance(patch, dict):
        raise errors.bad_request("Invalid JSON Patch")
    return merge(obj, patch)


def merge(target: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    merged = dict(target)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
            continue
        current = merged.get(key)
        if isinstance(value, dict) and isinstance(current, dict):
            merged[key] = merge(current, value)
        else:
            merged[key] = without_nulls(value)
    return merged


def without_nulls(value: Any) -> Any:
    """`value` without the keys that are null, at any depth: there is nothing they could delete."""
    if isinstance(value, dict):
        return {key: without_nulls(child) for key, child in value.items() if child is not None}
    if isinstance(value, list):
        return [without_nulls(child) for child in value]
    return value
