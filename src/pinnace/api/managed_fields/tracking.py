"""The two ways in which an object gets its `metadata.managedFields`: it was written (update), or a configuration was applied."""

import dataclasses
from typing import Any

import orjson

from pinnace.api import errors, gojson
from pinnace.api import schema as schemas
from pinnace.api.managed_fields import entries, fieldset, merge, walk

Object = dict[str, Any]

BEFORE_FIRST_APPLY = "before-first-apply"
KUBECTL = "kubectl"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
# Beyond this, all annotations of an object together would be refused.
MAX_LAST_APPLIED_BYTES = 256 * 1024

# Never tracked: set by the server, or the identity of the object itself.
_UNTRACKED_META = frozenset(
    [
        "name",
        "namespace",
        "creationTimestamp",
        "selfLink",
        "uid",
        "clusterName",
        "generation",
        "managedFields",
        "resourceVersion",
    ]
)
_STATUS: fieldset.FieldSet = {"f:status": {}}
_SPEC: fieldset.FieldSet = {"f:spec": {}}
_NOTHING: fieldset.FieldSet = {}


def update(
    old: Object | None,
    new: Object,
    schema: schemas.Schema,
    *,
    manager: str,
    operation: str = entries.UPDATE,
    now: str,
    api_version: str,
    subresource: str = "",
    ignored: fieldset.FieldSet | None = None,
) -> Object:
    """`new` with the managed fields that it has after `manager` wrote it over `old` (None: created it).

    `now` is RFC 3339. `ignored` are the fields that a write through `subresource` cannot change; by default `status` without a
    subresource, and `spec` through `status`. Tracking never fails a write: fields that cannot be told apart keep the owners they had.
    """
    previous = old["metadata"].get("managedFields") if old is not None else None
    requested = new["metadata"].get("managedFields")
    managers = _managers_of(previous, requested, is_subresource=bool(subresource))
    if old is not None and not managers:
        return _with_entries(new, None)
    try:
        changed, removed = _changes(old, new, schema)
    except walk.Unkeyed:
        return _with_entries(new, previous)
    if not changed and not removed and requested is not None and requested == previous:
        return new
    ignored = _ignored(schema, subresource) if ignored is None else ignored
    writer = entries.Entry(manager or "unknown", operation, api_version, subresource, {}, now)
    tracked = _after_write(
        managers,
        writer,
        fieldset.recursive_difference(changed, ignored),
        fieldset.recursive_difference(removed, ignored),
    )
    return _with_entries(new, entries.dump(entries.capped(tracked)) or None)


def apply(
    live: Object | None,
    config: Object,
    schema: schemas.Schema,
    *,
    manager: str,
    force: bool,
    now: str,
    api_version: str,
    subresource: str = "",
    ignored: fieldset.FieldSet | None = None,
) -> Object:
    """`live` (None: it does not exist yet) after `manager` applied `config`; defaults are the caller's to fill in.

    The caller has checked that `config` names this object and version. Raises StatusError: 409 with a cause per field that someone
    else manages, unless `force`; 400 for a configuration with managed fields; 500 (as upstream) for one that does not fit the schema.
    """
    if config.get("apiVersion") != api_version:
        raise errors.bad_request(
            "Incorrect version specified in apply patch. "
            f"Specified patch version: {config.get('apiVersion')}, expected: {api_version}"
        )
    if (config.get("metadata") or {}).get("managedFields") is not None:
        raise errors.bad_request("metadata.managedFields must be nil")
    _check_typed(config, schema)
    base = _untracked(live) if live is not None else {}
    managers = entries.parse(live["metadata"].get("managedFields") if live is not None else None, is_trusted=True) or {}
    if live is not None and not managers:
        managers = _before_first_apply(base, schema, api_version, now)
    applier = entries.Entry(manager, entries.APPLY, api_version, subresource, {})
    ignored = _ignored(schema, subresource) if ignored is None else ignored
    try:
        merged = merge.merge(base, config, schema, managers, applier, ignored)
    except walk.Unkeyed as error:
        raise errors.StatusError(500, "", f"failed to merge config: {error}") from error
    if merged.conflicts and not force:
        _check_conflicts(merged.conflicts, live or {}, schema, manager, api_version)
    obj = merged.obj
    if manager == KUBECTL and LAST_APPLIED in ((obj.get("metadata") or {}).get("annotations") or {}):
        obj = _with_last_applied(obj, config)
    tracked = dict(merged.managers)
    _stamp(tracked, managers, applier.identity, now, is_changed=obj != base)
    return _with_entries(obj, entries.dump(tracked) or None)


def _managers_of(previous: Any, requested: Any, *, is_subresource: bool) -> entries.Managers:
    """The entries to start from: those of the request where it brings some (a client may edit them), else the object's own."""
    if not is_subresource and requested is not None and requested != previous:
        if entries.is_reset(requested):
            return {}
        edited = entries.parse(requested)
        if edited:
            return edited
    return entries.parse(previous, is_trusted=True) or {}


def _changes(old: Object | None, new: Object, schema: schemas.Schema) -> tuple[fieldset.FieldSet, fieldset.FieldSet]:
    """(new or changed fields, removed fields) without those that are never tracked."""
    if old is not None:
        return walk.compare(_trackable(old), _trackable(new), schema)
    changed = walk.added(_trackable(new), schema, existed_empty=True) or {}
    return _without_untracked(changed), _NOTHING


def _trackable(obj: Object) -> Object:
    metadata = obj.get("metadata") or {}
    found = {key: value for key, value in obj.items() if key not in ("apiVersion", "kind")}
    # Never absent, so that `metadata` itself is neither added nor removed.
    found["metadata"] = {key: value for key, value in metadata.items() if key not in _UNTRACKED_META}
    return found


def _untracked(obj: Object) -> Object:
    if "managedFields" not in obj["metadata"]:
        return obj
    metadata = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    return {**obj, "metadata": metadata}


def _after_write(
    managers: entries.Managers, writer: entries.Entry, changed: fieldset.FieldSet, removed: fieldset.FieldSet
) -> entries.Managers:
    """Everyone loses what the writer changed or removed; the writer gains what it changed."""
    left = dict(managers)
    for identity, entry in managers.items():
        fields = fieldset.difference(fieldset.difference(entry.fields, changed), removed)
        if not fields:
            del left[identity]
        elif fields is not entry.fields:
            left[identity] = dataclasses.replace(entry, fields=fields, is_canonical=False)
    if changed:
        own = left.get(writer.identity)
        fields = changed if own is None else fieldset.union(own.fields, changed)
        left[writer.identity] = dataclasses.replace(writer, fields=fields)
    return left


def _ignored(schema: schemas.Schema, subresource: str) -> fieldset.FieldSet:
    if subresource == "status":
        return _SPEC
    return _STATUS if not subresource and "status" in schema.properties else _NOTHING


def _before_first_apply(base: Object, schema: schemas.Schema, api_version: str, now: str) -> entries.Managers:
    """Who wrote an untracked object is unknown: one updater gets all of it, so that an apply meets conflicts, not silence."""
    changed, _ = _changes(None, base, schema)
    entry = entries.Entry(BEFORE_FIRST_APPLY, entries.UPDATE, api_version, "", changed, now)
    return {entry.identity: entry} if changed else {}


def _check_typed(config: Object, schema: schemas.Schema) -> None:
    found = walk.problems(config, schema)
    if found:
        metadata = config.get("metadata") or {}
        group, _, version = str(config.get("apiVersion", "")).rpartition("/")
        kind = f"{group}/{version}, Kind={config.get('kind', '')}"
        shown = found[0] if len(found) == 1 else "errors:\n" + "\n".join(f"  {problem}" for problem in found)
        named = f"{metadata.get('namespace', '')}/{metadata.get('name', '')}; {kind}"
        raise errors.StatusError(500, "", f"failed to create typed patch object ({named}): {shown}")


def _check_conflicts(
    conflicts: tuple[merge.Conflict, ...], live: Object, schema: schemas.Schema, manager: str, api_version: str
) -> None:
    """Raise for the conflicts that count.

    kubectl moving an object from client-side to server-side apply does not conflict with itself: the fields that its
    last-applied annotation still describes are its own.
    """
    allowed = _still_as_last_applied(live, schema, api_version) if manager == KUBECTL else _NOTHING
    left = tuple((entry, path) for entry, path in conflicts if not fieldset.has(allowed, path))
    if left:
        raise merge.conflict_error(left)


def _still_as_last_applied(live: Object, schema: schemas.Schema, api_version: str) -> fieldset.FieldSet:
    text = ((live.get("metadata") or {}).get("annotations") or {}).get(LAST_APPLIED)
    try:
        last = orjson.loads(text or "")
        if not isinstance(last, dict) or last.get("apiVersion") != api_version:
            return _NOTHING
        changed, removed = walk.compare(last, live, schema)
        fields = walk.applied(last, schema)
    except (orjson.JSONDecodeError, walk.Unkeyed):
        return _NOTHING
    return fieldset.difference(fieldset.difference(fields, changed), removed)


def _with_last_applied(obj: Object, config: Object) -> Object:
    """`obj` with the annotation that keeps `kubectl apply` without `--server-side` working, brought up to date."""
    metadata = dict(config.get("metadata") or {})
    stated = metadata.pop("annotations", None) or {}
    rest = {key: value for key, value in stated.items() if key != LAST_APPLIED}
    metadata["annotations"] = rest
    shown = {**config, "metadata": metadata if rest else {k: v for k, v in metadata.items() if k != "annotations"}}
    text = gojson.dumps_map(shown).decode() + "\n"
    annotations = dict(obj["metadata"]["annotations"])
    annotations[LAST_APPLIED] = text if len(text) <= MAX_LAST_APPLIED_BYTES else ""
    return {**obj, "metadata": {**obj["metadata"], "annotations": annotations}}


def _stamp(
    tracked: entries.Managers,
    before: entries.Managers,
    identity: tuple[str, str, str, str],
    now: str,
    *,
    is_changed: bool,
) -> None:
    """Drop from the applier's entry what is never tracked; its time moves only when something did."""
    entry = tracked.get(identity)
    if entry is None:
        return
    fields = _without_untracked(entry.fields)
    previous = before.get(identity)
    if not fields:
        del tracked[identity]
        return
    is_same = previous is not None and previous.fields == fields and not is_changed
    time = previous.time if is_same and previous is not None else now
    tracked[identity] = dataclasses.replace(entry, fields=fields, time=time, is_canonical=False)


def _without_untracked(fields: fieldset.FieldSet) -> fieldset.FieldSet:
    left = {key: node for key, node in fields.items() if key not in ("f:apiVersion", "f:kind")}
    metadata = left.pop("f:metadata", None)
    if metadata:
        kept = {
            key: node for key, node in metadata.items() if key != fieldset.MEMBER and key[2:] not in _UNTRACKED_META
        }
        if kept:
            left["f:metadata"] = kept
    return left


def _with_entries(obj: Object, managed: Any) -> Object:
    metadata = obj["metadata"]
    if metadata.get("managedFields") == managed and ("managedFields" in metadata) is (managed is not None):
        return obj
    if managed is None:
        metadata = {key: value for key, value in metadata.items() if key != "managedFields"}
    else:
        metadata = {**metadata, "managedFields": managed}
    return {**obj, "metadata": metadata}
