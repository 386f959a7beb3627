"""The course of every write, as far as it is pure: which fields a request may set at all, what the server adds, what is wrong.

The steps are the same for all kinds; what each kind says about them is in its `rules`. uid, name and creationTimestamp are in the
metadata already. `new` and `obj` are changed in place; `old` never is, but parts of it may become parts of `new`.
"""

from typing import Any

from pinnace.api import errors, kinds, omitempty
from pinnace.api.rules import base
from pinnace.api.validation import field

Object = dict[str, Any]


def prepare_create(kind: kinds.Kind, obj: Object) -> None:
    rules = kind.rules
    has_status = kind.subresource("status") is not None
    if has_status and rules.first_status is not base.FirstStatus.GIVEN:
        obj.pop("status", None)
    if rules.generation_of is not None:
        obj["metadata"]["generation"] = 1
    rules.prepare_create(obj)
    if has_status and rules.first_status is not base.FirstStatus.DROPPED:
        # The status that every object has from its first moment.
        rules.defaults(obj)
        omitempty.complete(kind.schema.properties["status"].name, obj["status"])


def prepare_update(kind: kinds.Kind, new: Object, old: Object, subresource: str) -> None:
    """`subresource`: "" for the object itself, else as in the path: what it does not cover stays as it was."""
    _restore_metadata(new, old)
    part = kind.part(subresource)
    if part is kind.rules.update and kind.subresource("status") is not None:
        base.keep(new, old, "status")
    part.prepare(new, old)
    generation_of = kind.rules.generation_of
    if generation_of is not None and subresource != "status" and generation_of(new) != generation_of(old):
        new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1


def _restore_metadata(new: Object, old: Object) -> None:
    metadata, before = new["metadata"], old["metadata"]
    for name in ("creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"):
        if name in before:
            metadata[name] = before[name]
    for name in ("uid", "name", "namespace"):
        if not metadata.get(name) and name in before:
            metadata[name] = before[name]
    metadata.pop("selfLink", None)
    base.keep(metadata, before, "generation")


def validate_create(kind: kinds.Kind, obj: Object) -> list[errors.Cause]:
    """Every cause; an empty list means that the object may be stored."""
    found = field.Causes()
    kind.rules.validate_create(found, obj)
    return _told_once(found)


def validate_update(kind: kinds.Kind, new: Object, old: Object, subresource: str = "") -> list[errors.Cause]:
    found = field.Causes()
    kind.part(subresource).validate(found, new, old)
    return _told_once(found)


def _told_once(found: field.Causes) -> list[errors.Cause]:
    """An update looks at some things twice, as part of the object and as a change."""
    return list(dict.fromkeys(found))
