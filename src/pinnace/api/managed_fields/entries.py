"""The entries of `metadata.managedFields`: who manages which fields, in which version, through which subresource, since when."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from pinnace.api.managed_fields import fieldset

UPDATE = "Update"
APPLY = "Apply"

MAX_UPDATE_MANAGERS = 10
ANCIENT = "ancient-changes"


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    manager: str
    operation: str
    api_version: str
    subresource: str
    fields: fieldset.FieldSet
    time: str = ""
    """RFC 3339; "" where nobody noted it."""
    is_canonical: bool = dataclasses.field(default=False, compare=False)
    """`fields` are in the order in which they are written down."""

    @property
    def identity(self) -> tuple[str, str, str, str]:
        """Two entries of the same identity are one manager. An applier stays the same whatever version it applies."""
        version = "" if self.operation == APPLY else self.api_version
        return self.manager, self.operation, version, self.subresource

    def to_json(self) -> dict[str, Any]:
        found: dict[str, Any] = {"manager": self.manager, "operation": self.operation, "apiVersion": self.api_version}
        if self.time:
            found["time"] = self.time
        found["fieldsType"] = "FieldsV1"
        found["fieldsV1"] = self.fields if self.is_canonical else fieldset.canonical(self.fields)
        if self.subresource:
            found["subresource"] = self.subresource
        return found

    def __str__(self) -> str:
        """As conflicts name a manager."""
        shown = f'"{self.manager}"'
        if self.subresource:
            shown += f' with subresource "{self.subresource}"'
        return f"{shown} using {self.api_version}" if self.operation == UPDATE else shown


Managers = dict[tuple[str, str, str, str], Entry]


def parse(managed: Iterable[Any] | None, *, is_trusted: bool = False) -> Managers | None:
    """The entries by identity; None when they do not have the form that they must have.

    `is_trusted` for what we wrote ourselves: the fields, the bulk of it, are then not looked through.
    """
    found: Managers = {}
    for item in managed or ():
        if not isinstance(item, Mapping):
            return None
        fields = item.get("fieldsV1") or {}
        if item.get("operation") not in (UPDATE, APPLY) or item.get("fieldsType") != "FieldsV1":
            return None
        if not item.get("apiVersion") or not (is_trusted or fieldset.is_valid(fields)):
            return None
        entry = Entry(
            manager=item.get("manager") or "",
            operation=item["operation"],
            api_version=item["apiVersion"],
            subresource=item.get("subresource") or "",
            fields=fields,
            time=item.get("time") or "",
            is_canonical=is_trusted,
        )
        found[entry.identity] = entry
    return found


def is_reset(managed: Any) -> bool:
    """Whether a client asks for all tracking to be forgotten: an empty list, or one empty entry."""
    if not isinstance(managed, list):
        return False
    return not managed or (len(managed) == 1 and not any((managed[0] or {}).values()))


def dump(managers: Managers) -> list[dict[str, Any]]:
    ordered = sorted(
        managers.values(),
        key=lambda entry: (entry.operation, entry.time, entry.manager, entry.api_version, entry.subresource),
    )
    return [entry.to_json() for entry in ordered]


def capped(managers: Managers) -> Managers:
    """`managers` with the oldest updaters merged into one bucket per version, so that few enough remain."""
    updaters = [entry for entry in managers.values() if entry.operation == UPDATE]
    excess = len(updaters) - MAX_UPDATE_MANAGERS
    if excess <= 0:
        return managers
    left = dict(managers)
    first: dict[str, Entry] = {}
    for entry in sorted(updaters, key=lambda entry: (entry.time, entry.manager, entry.subresource)):
        if excess <= 0:
            break
        oldest = first.setdefault(entry.api_version, entry)
        if oldest is entry:
            continue
        del left[entry.identity]
        left.pop(oldest.identity, None)
        bucket = Entry(
            ANCIENT, UPDATE, entry.api_version, "", fieldset.union(oldest.fields, entry.fields), time=entry.time
        )
        left[bucket.identity] = bucket
        first[entry.api_version] = bucket
        excess -= 1
    return left
