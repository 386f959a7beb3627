"""The middle of every deletion: graceful or at once, with or without dependents, never past a finalizer.

`plan` decides and touches nothing; `delete` carries it out, again with the newer state when someone else was faster.
"""

import dataclasses
import datetime
from collections.abc import Mapping
from typing import Any, Literal

import orjson

from pinnace.api import errors, kinds
from pinnace.apiserver import context as contexts
from pinnace.apiserver.admission import attributes as admission
from pinnace.apiserver.http import bodies, query
from pinnace.apiserver.storage import conversion, objects
from pinnace.kit import clock

Object = dict[str, Any]
Policy = Literal["", "Background", "Foreground", "Orphan"]

ORPHAN = "orphan"
FOREGROUND = "foregroundDeletion"
_POLICIES = ("Background", "Foreground", "Orphan")


@dataclasses.dataclass(frozen=True, slots=True)
class Options:
    """meta/v1 DeleteOptions."""

    grace_period_seconds: int | None = None
    policy: Policy = ""
    orphan_dependents: bool | None = None
    uid: str = ""
    resource_version: str = ""
    dry_run: bool = False

    def to_json(self) -> Object:
        made: Object = {"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1"}
        if self.grace_period_seconds is not None:
            made["gracePeriodSeconds"] = self.grace_period_seconds
        versions = {"uid": self.uid, "resourceVersion": self.resource_version}
        if any(versions.values()):
            made["preconditions"] = {name: value for name, value in versions.items() if value}
        if self.orphan_dependents is not None:
            made["orphanDependents"] = self.orphan_dependents
        if self.policy:
            made["propagationPolicy"] = self.policy
        return made | {"dryRun": ["All"]} if self.dry_run else made


@dataclasses.dataclass(frozen=True, slots=True)
class Deleted:
    value: bytes
    """The object as it was last, or as it waits to go."""
    is_gone: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Mark:
    """The object stays, marked: `obj` is its new state."""

    obj: Object


@dataclasses.dataclass(frozen=True, slots=True)
class Remove:
    """Nothing keeps the object."""


@dataclasses.dataclass(frozen=True, slots=True)
class Nothing:
    """It is on its way already, and no sooner."""


Action = Mark | Remove | Nothing


async def options(context: contexts.Context) -> Options:
    """From the body, or else from the query. Raises 400, 422."""
    data = await bodies.read(context)
    return from_object(_from_body(context, data) if data.strip() else _from_query(context.query))


def from_object(values: Mapping[str, Any]) -> Options:
    """From a DeleteOptions object. Raises 422."""
    preconditions = values.get("preconditions") or {}
    dry_run = values.get("dryRun") or []
    found = Options(
        grace_period_seconds=values.get("gracePeriodSeconds"),
        policy=values.get("propagationPolicy") or "",
        orphan_dependents=values.get("orphanDependents"),
        uid=preconditions.get("uid") or "",
        resource_version=preconditions.get("resourceVersion") or "",
        dry_run=bool(dry_run),
    )
    _check(found, dry_run)
    return found


def _from_body(context: contexts.Context, data: bytes) -> Mapping[str, Any]:
    parsed = bodies.parsed(context, data, "DeleteOptions")
    if parsed.get("kind", "DeleteOptions") != "DeleteOptions":
        raise errors.bad_request(f"expected DeleteOptions, got {parsed.get('kind')}")
    _check_types(parsed)
    return parsed


_TYPES: Mapping[str, type] = {
    "gracePeriodSeconds": int,
    "propagationPolicy": str,
    "orphanDependents": bool,
    "preconditions": dict,
    "dryRun": list,
}


def _check_types(parsed: Mapping[str, Any]) -> None:
    for field, wanted in _TYPES.items():
        found = parsed.get(field)
        if found is not None and (not isinstance(found, wanted) or (wanted is int and isinstance(found, bool))):
            raise errors.bad_request(f"json: cannot unmarshal DeleteOptions.{field}: expected {wanted.__name__}")


def _from_query(found: query.Query) -> Mapping[str, Any]:
    values: dict[str, Any] = {
        "gracePeriodSeconds": found.number("gracePeriodSeconds"),
        "propagationPolicy": found.text("propagationPolicy"),
        "orphanDependents": found.maybe_flag("orphanDependents"),
        "dryRun": [value for value in found.all("dryRun") if value],
    }
    return values


def _check(found: Options, dry_run: list[str]) -> None:
    causes = []
    if found.policy and found.orphan_dependents is not None:
        causes.append(
            errors.Cause(
                "FieldValueInvalid",
                f'Invalid value: "{found.policy}": orphanDependents and deletionPropagation cannot be both set',
                "propagationPolicy",
            )
        )
    elif found.policy and found.policy not in _POLICIES:
        listed = ", ".join(f'"{policy}"' for policy in (*sorted(_POLICIES), "nil"))
        causes.append(
            errors.Cause(
                "FieldValueNotSupported",
                f'Unsupported value: "{found.policy}": supported values: {listed}',
                "propagationPolicy",
            )
        )
    if any(value != "All" for value in dry_run):
        causes.append(
            errors.Cause(
                "FieldValueNotSupported", f'Unsupported value: {dry_run[0]!r}: supported values: "All"', "dryRun"
            )
        )
    if causes:
        raise errors.invalid("meta.k8s.io", "DeleteOptions", "", causes)


async def delete(context: contexts.Context, wanted: Options) -> Deleted:
    """Delete the named object. Raises NotFound, Conflict, and what admission raises."""

    async def attempt(present: objects.Stored) -> Deleted:
        return await _attempt(context, present, wanted)

    return await context.services.objects.guaranteed(context.kind, context.namespace, context.name, attempt)


async def _attempt(context: contexts.Context, record: objects.Stored, wanted: Options) -> Deleted:
    """Raises Overtaken."""
    kind, services = context.kind, context.services
    old = await conversion.parse(kind, record)
    _check_preconditions(context, old, wanted)
    attributes = admission.Attributes(
        operation="DELETE",
        kind=kind,
        subresource="",
        namespace=context.namespace,
        name=context.name,
        user=context.user,
        obj=None,
        old=old,
        dry_run=wanted.dry_run,
        options=wanted.to_json(),
        warnings=context.warnings,
    )
    landed = False
    try:
        await services.admission.mutate(attributes)
        await services.admission.validate(attributes)
        action = plan(kind, old, wanted, services.clock.now())
        if isinstance(action, Nothing):
            return Deleted(await conversion.value(kind, record.value), is_gone=False)
        if isinstance(action, Mark):
            if wanted.dry_run:
                return Deleted(conversion.encode_dry(action.obj, record.mod_revision), is_gone=False)
            written = await services.objects.replace(kind, record, action.obj)
            return Deleted(await conversion.value(kind, written.value), is_gone=False)
        if wanted.dry_run:
            return Deleted(await conversion.value(kind, record.value), is_gone=True)
        last = await services.objects.remove(kind, record, attributes.claims)
        landed = True
        return Deleted(await conversion.value(kind, last), is_gone=True)
    finally:
        await attributes.settle(landed=landed)


def _check_preconditions(context: contexts.Context, old: Object, wanted: Options) -> None:
    for shown, asked, found in (
        ("UID", wanted.uid, old["metadata"].get("uid")),
        ("ResourceVersion", wanted.resource_version, old["metadata"].get("resourceVersion")),
    ):
        if asked and asked != found:
            raise context.conflict(
                f"Precondition failed: {shown} in precondition: {asked}, {shown} in object meta: {found}"
            )


def plan(kind: kinds.Kind, obj: Object, wanted: Options, now: datetime.datetime) -> Action:
    """What deleting `obj` comes to."""
    # All that a deletion changes; the rest is shared with `obj`.
    obj = {**obj, "metadata": {**obj["metadata"]}}
    metadata = obj["metadata"]
    before = _essence(obj)
    metadata_finalizers = _finalizers(kind, metadata, wanted)
    if metadata_finalizers:
        metadata["finalizers"] = metadata_finalizers
    else:
        metadata.pop("finalizers", None)
    rules = kind.rules.deletion
    grace = rules.grace(obj, wanted.grace_period_seconds)
    if rules.phase:
        obj["status"] = {**(obj.get("status") or {}), "phase": rules.phase}
    if not metadata_finalizers and not grace and not rules.is_held(obj):
        return Remove()
    _mark(metadata, grace, now)
    if rules.phase:
        metadata.pop("deletionGracePeriodSeconds", None)
    return Nothing() if _essence(obj) == before else Mark(obj)


def _essence(obj: Object) -> tuple[Any, ...]:
    metadata = obj["metadata"]
    return (
        metadata.get("deletionTimestamp"),
        metadata.get("deletionGracePeriodSeconds"),
        tuple(metadata.get("finalizers") or ()),
        (obj.get("status") or {}).get("phase"),
    )


def _mark(metadata: Object, grace: int, now: datetime.datetime) -> None:
    """A grace period that runs is only ever made shorter."""
    if metadata.get("deletionTimestamp") is not None:
        running = metadata.get("deletionGracePeriodSeconds")
        if running is None or grace >= running:
            return
        start = clock.parse_rfc3339(metadata["deletionTimestamp"]) - datetime.timedelta(seconds=running)
        moment = max(start + datetime.timedelta(seconds=grace), now) if grace else now
    else:
        moment = now + datetime.timedelta(seconds=grace)
    metadata["deletionTimestamp"] = clock.rfc3339(moment)
    metadata["deletionGracePeriodSeconds"] = grace
    if metadata.get("generation"):
        metadata["generation"] += 1


def _finalizers(kind: kinds.Kind, metadata: Object, wanted: Options) -> list[str]:
    """The finalizers, with those that stand for a deletion policy put right."""
    present = list(metadata.get("finalizers") or [])
    orphans = _wants_orphans(kind, present, wanted)
    foreground = _wants_foreground(present, wanted)
    kept = [name for name in present if name not in (ORPHAN, FOREGROUND)]
    if orphans:
        kept.append(ORPHAN)
    if foreground:
        kept.append(FOREGROUND)
    return present if sorted(kept) == sorted(present) else kept


def _wants_orphans(kind: kinds.Kind, present: list[str], wanted: Options) -> bool:
    if wanted.orphan_dependents is not None:
        return wanted.orphan_dependents
    if wanted.policy:
        return wanted.policy == "Orphan"
    if ORPHAN in present:
        return True
    return FOREGROUND not in present and kind.rules.deletion.orphans_by_default


def _wants_foreground(present: list[str], wanted: Options) -> bool:
    if wanted.orphan_dependents is not None:
        return False
    if wanted.policy:
        return wanted.policy == "Foreground"
    return FOREGROUND in present


def answer(kind: kinds.Kind, deleted: Deleted, wanted: Options) -> tuple[int, bytes]:
    """(HTTP status, body)."""
    if not deleted.is_gone:
        # Not for policies: upstream says it to those alone who ask in the old way.
        return (202 if wanted.orphan_dependents is False else 200), deleted.value
    if kind.rules.deletion.returns_object:
        return 200, deleted.value
    metadata = orjson.loads(deleted.value)["metadata"]
    details = {"name": metadata["name"], "group": kind.group, "kind": kind.plural, "uid": metadata.get("uid", "")}
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {key: value for key, value in details.items() if value},
    }
    return 200, orjson.dumps(body)
