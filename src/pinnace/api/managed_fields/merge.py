"""Server-side apply without the envelope: merging a configuration into an object, and who owns what afterwards."""

import dataclasses
from typing import Any

from pinnace.api import errors
from pinnace.api import schema as schemas
from pinnace.api.managed_fields import entries, fieldset, walk

Conflict = tuple[entries.Entry, tuple[str, ...]]
"""Who already manages a field, and its path."""


@dataclasses.dataclass(frozen=True, slots=True)
class Merged:
    obj: dict[str, Any]
    managers: entries.Managers
    conflicts: tuple[Conflict, ...]


def merge(
    live: dict[str, Any],
    config: dict[str, Any],
    schema: schemas.Schema,
    managers: entries.Managers,
    applier: entries.Entry,
    ignored: fieldset.FieldSet,
) -> Merged:
    """`config` merged into `live` on behalf of `applier` (whose fields are not looked at).

    The result's managers are those that hold if conflicts are overridden. Raises walk.Unkeyed.
    """
    last = managers.get(applier.identity)
    fields = fieldset.recursive_difference(walk.applied(config, schema), ignored)
    managers = {**managers, applier.identity: dataclasses.replace(applier, fields=fields)}
    merged = walk.merge(live, config, schema)
    if last is not None and last.fields:
        merged = _pruned(merged, schema, managers, last.fields)
    merged = without_nulls(merged)
    changed, removed = walk.compare(live, merged, schema)
    changed = fieldset.recursive_difference(changed, ignored)
    removed = fieldset.recursive_difference(removed, ignored)
    conflicts: list[Conflict] = []
    for identity, entry in sorted(managers.items()):
        if identity == applier.identity:
            continue
        lost = fieldset.intersection(entry.fields, changed)
        conflicts.extend((entry, path) for path in fieldset.paths(lost))
        left = fieldset.difference(fieldset.difference(entry.fields, lost), removed)
        if left is not entry.fields:
            managers[identity] = dataclasses.replace(entry, fields=left, is_canonical=False)
    return Merged(merged, {key: entry for key, entry in managers.items() if entry.fields}, tuple(conflicts))


def _pruned(
    merged: dict[str, Any], schema: schemas.Schema, managers: entries.Managers, last: fieldset.FieldSet
) -> dict[str, Any]:
    """`merged` without what the applier had in its last configuration and nobody, the applier included, manages now."""
    had = walk.with_named_parents(last, schema)
    owned: fieldset.FieldSet = {}
    for entry in managers.values():
        owned = fieldset.union(owned, entry.fields)
    everything = walk.with_named_parents(walk.applied(merged, schema), schema)
    pruned = _fields(walk.without(merged, had, schema), schema)
    keep = fieldset.union(pruned, walk.with_named_parents(owned, schema))
    with_owned = _fields(walk.without(merged, fieldset.difference(everything, keep), schema), schema)
    gone = fieldset.intersection(fieldset.difference(everything, with_owned), had)
    return walk.without(merged, gone, schema) or {}


def _fields(obj: Any, schema: schemas.Schema) -> fieldset.FieldSet:
    return walk.with_named_parents(walk.applied(obj or {}, schema), schema)


def without_nulls(value: Any) -> Any:
    """`value` without null fields, which an applied configuration may have; shared where there is none."""
    if isinstance(value, dict):
        kept = {key: without_nulls(child) for key, child in value.items() if child is not None}
        same = len(kept) == len(value) and all(kept[key] is value[key] for key in kept)
        return value if same else kept
    if isinstance(value, list):
        items = [without_nulls(child) for child in value]
        return value if all(map(_is, items, value)) else items
    return value


def _is(a: Any, b: Any) -> bool:
    return a is b


def conflict_error(conflicts: tuple[Conflict, ...]) -> errors.StatusError:
    causes = [
        errors.Cause("FieldManagerConflict", f"conflict with {entry}", fieldset.path_text(path))
        for entry, path in conflicts
    ]
    if len(conflicts) == 1:
        entry, path = conflicts[0]
        message = f"Apply failed with 1 conflict: conflict with {entry}: {fieldset.path_text(path)}"
    else:
        lines = []
        shown = None
        for entry, path in conflicts:
            if entry.identity != shown:
                shown = entry.identity
                lines.append(f"conflicts with {entry}:")
            lines.append(f"- {fieldset.path_text(path)}")
        message = f"Apply failed with {len(conflicts)} conflicts: " + "\n".join(lines)
    return errors.StatusError(409, "Conflict", message, causes=causes)
