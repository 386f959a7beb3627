"""Objects that are stored and on which nothing acts yet (`docs/known-limits.md`): whoever makes one shall not wait for it to work."""

from collections.abc import Mapping
from typing import Any

Object = Mapping[str, Any]


def kind(new: Object, old: Object | None, subresource: str) -> list[str]:
    """For every object of a kind."""
    if old is not None:
        return []
    return [f"{new.get('kind', '')}: the object is stored, but nothing in this cluster acts on it yet"]


def aggregated(new: Object, old: Object | None, subresource: str) -> list[str]:
    """For APIServices that name a server of their own."""
    return kind(new, old, subresource) if (new.get("spec") or {}).get("service") else []
