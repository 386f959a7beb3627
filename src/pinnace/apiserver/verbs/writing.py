"""The middle of every write: from a decoded object to stored bytes.

`create` and `update` are the only roads into the store for objects of clients; verbs and subresources differ in how they
come to the object. Order, as upstream: mutating admission, the kind's strategy, validating admission, managed fields, one
commit. Whatever a plug-in reserved is given back when the commit does not happen.
"""

import dataclasses
import uuid
from collections.abc import Callable
from typing import Any

from pinnace.api import errors, kinds, managed_fields, strategy
from pinnace.apiserver import context as contexts
from pinnace.apiserver.admission import attributes as admission
from pinnace.apiserver.http import query
from pinnace.apiserver.storage import conversion, memo, objects
from pinnace.kit import clock

Object = dict[str, Any]

# Without vowels and look-alikes, as upstream's names of pods are.
_SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_SUFFIX_LENGTH = 5
_LONGEST_BASE = 63 - _SUFFIX_LENGTH
_NAME_ATTEMPTS = 8


@dataclasses.dataclass(frozen=True, slots=True)
class Written:
    """What a write answers: the bytes as every reader sees them, and whether the object is new."""

    value: bytes
    is_created: bool = False


def required_name(kind: kinds.Kind, obj: Object) -> str:
    return str(obj["metadata"].get("name") or "")


async def create(
    context: contexts.Context, obj: Object, options: query.WriteOptions, *, tracks_fields: bool = True
) -> Written:
    """Store a new object. `tracks_fields` False: managed fields are there already (server-side apply)."""
    kind, services = context.kind, context.services
    _begin_life(context, obj, keep_managed=not tracks_fields)
    if tracks_fields:
        _track_new(context, obj, options)
    attributes = _attributes(context, "CREATE", obj, None, options)
    landed = False
    try:
        await services.admission.mutate(attributes)
        obj = attributes.written
        strategy.prepare_create(kind, obj)
        verdict = _judge_new(context, obj)
        _raise_invalid(kind, required_name(kind, obj), verdict.wrong)
        context.warnings += verdict.warnings
        await services.admission.validate(attributes)
        value = await _insert(context, obj, options, attributes.claims)
        landed = not options.dry_run
        return Written(value, is_created=True)
    finally:
        await attributes.settle(landed=landed)


def _begin_life(context: contexts.Context, obj: Object, *, keep_managed: bool) -> None:
    """What only the server may say about a new object."""
    metadata = obj.setdefault("metadata", {})
    if metadata.get("resourceVersion"):
        raise errors.StatusError(500, "", "resourceVersion should not be set on objects to be created")
    adopt_namespace(context, obj)
    for field in ("resourceVersion", "selfLink", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"):
        metadata.pop(field, None)
    if not keep_managed:
        metadata.pop("managedFields", None)
    if not metadata.get("name") and metadata.get("generateName"):
        metadata["name"] = _generated_name(context, metadata["generateName"])
    metadata["uid"] = str(uuid.UUID(int=context.services.rng.getrandbits(128), version=4))
    metadata["creationTimestamp"] = clock.rfc3339(context.services.clock.now())


def adopt_namespace(context: contexts.Context, obj: Object) -> None:
    """The namespace of the path is the object's. Raises 400 when the object says another."""
    metadata = obj["metadata"]
    if not context.kind.namespaced:
        metadata.pop("namespace", None)
    elif not metadata.get("namespace"):
        metadata["namespace"] = context.namespace
    elif metadata["namespace"] != context.namespace:
        raise errors.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )


def _generated_name(context: contexts.Context, base: str) -> str:
    suffix = "".join(context.services.rng.choices(_SUFFIX_LETTERS, k=_SUFFIX_LENGTH))
    return base[:_LONGEST_BASE] + suffix


async def _insert(context: contexts.Context, obj: Object, options: query.WriteOptions, claims: objects.Claims) -> bytes:
    """One commit; a generated name that is taken is generated anew."""
    kind, stored, metadata = context.kind, context.services.objects, obj["metadata"]
    is_generated = bool(metadata.get("generateName")) and not context.name
    for attempt in range(_NAME_ATTEMPTS):
        if attempt:
            metadata["name"] = _generated_name(context, metadata["generateName"])
        name = metadata["name"]
        if options.dry_run:
            if stored.find(kind, context.namespace, name) is None:
                return conversion.encode_dry(obj)
        else:
            try:
                record = await stored.create(kind, context.namespace, name, obj, claims)
                return await conversion.value(kind, record.value)
            except errors.StatusError as error:
                if error.reason != "AlreadyExists" or error.kind != kind.plural:
                    raise
        if not is_generated:
            break
    if is_generated:
        raise errors.StatusError(
            409,
            "AlreadyExists",
            f'{errors.qualified(kind.group, kind.plural)} "{metadata["name"]}" already exists, '
            "the server was not able to generate a unique name for the object",
            name=metadata["name"],
            group=kind.group,
            kind=kind.plural,
        )
    raise errors.already_exists(kind.group, kind.plural, metadata["name"])


Make = Callable[[Object], Object | None]
"""The present object (the callee's to change) -> the wanted one, or None for nothing to do."""


async def update(
    context: contexts.Context,
    make: Make,
    options: query.WriteOptions,
    *,
    retries: bool,
    tracks_fields: bool = True,
    resource_version: str | None = None,
) -> Written:
    """Replace the named object by `make` of it.

    When someone else was faster: again with the newer state if `retries` (unless the wanted object names a resourceVersion),
    else Conflict. Raises NotFound.
    """

    async def attempt(record: objects.Stored) -> Written:
        old = await conversion.parse(context.kind, record)
        new = make(await conversion.parse(context.kind, record) if retries else old)
        if new is None:
            return Written(await conversion.value(context.kind, record.value))
        _check_preconditions(context, record, new, old)
        return await _replace(context, record, new, old, options, tracks_fields=tracks_fields)

    return await context.services.objects.guaranteed(context.kind, context.namespace, context.name, attempt)


def _check_preconditions(context: contexts.Context, record: objects.Stored, new: Object, old: Object) -> None:
    version = new["metadata"].get("resourceVersion") or ""
    uid, known = new["metadata"].get("uid"), old["metadata"].get("uid")
    if uid and uid != known:
        raise context.conflict(f"Precondition failed: UID in precondition: {uid}, UID in object meta: {known}")
    if version and version != "0":
        if version != str(record.mod_revision):
            raise context.conflict()
    elif context.kind.rules.is_conditional_only:
        cause = errors.Cause(
            "FieldValueInvalid", "Invalid value: 0: must be specified for an update", "metadata.resourceVersion"
        )
        raise errors.invalid(context.kind.group, context.kind.kind, context.name, [cause])


async def _replace(
    context: contexts.Context,
    record: objects.Stored,
    new: Object,
    old: Object,
    options: query.WriteOptions,
    *,
    tracks_fields: bool,
) -> Written:
    """Raises Overtaken."""
    kind, services = context.kind, context.services
    _carry_over(new, old)
    if tracks_fields:
        new = _track(context, old, new, options)
    attributes = _attributes(context, "UPDATE", new, old, options)
    landed = False
    try:
        await services.admission.mutate(attributes)
        new = attributes.written
        strategy.prepare_update(kind, new, old, context.subresource)
        _raise_invalid(kind, context.name, strategy.validate_update(kind, new, old, context.subresource))
        context.warnings += kind.rules.warnings(new, old, context.subresource)
        await services.admission.validate(attributes)
        if is_unchanged(new, old):
            return Written(await conversion.value(kind, record.value))
        if options.dry_run:
            return Written(conversion.encode_dry(new, record.mod_revision))
        if is_finished(kind, new, old):
            # Whoever claims sees a deletion.
            attributes.obj = None
            last = await services.objects.remove(kind, record, attributes.claims)
            landed = True
            return Written(await conversion.value(kind, last))
        written = await services.objects.replace(kind, record, new, attributes.claims)
        landed = True
        return Written(await conversion.value(kind, written.value))
    finally:
        await attributes.settle(landed=landed)


def _carry_over(new: Object, old: Object) -> None:
    """What an update may leave out and never takes away; changes of it are for validation to refuse."""
    metadata, before = new["metadata"], old["metadata"]
    for field in ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "namespace"):
        if metadata.get(field) is None and field in before:
            metadata[field] = before[field]
    if "generation" in before:
        metadata["generation"] = before["generation"]
    else:
        metadata.pop("generation", None)
    metadata.pop("selfLink", None)
    metadata["resourceVersion"] = before["resourceVersion"]


def is_unchanged(new: Object, old: Object) -> bool:
    """Whether a write would change nothing but the times in managed fields."""
    if new["metadata"].get("managedFields") != old["metadata"].get("managedFields"):
        return _timeless(new) == _timeless(old)
    return new == old


def _timeless(obj: Object) -> Object:
    metadata = dict(obj["metadata"])
    entries = metadata.get("managedFields") or []
    metadata["managedFields"] = [{**entry, "time": None} for entry in entries]
    return {**obj, "metadata": metadata}


def is_finished(kind: kinds.Kind, new: Object, old: Object) -> bool:
    """Whether this update takes away the last thing that kept a deleted object."""
    if new["metadata"].get("finalizers") or old["metadata"].get("deletionTimestamp") is None:
        return False
    return not old["metadata"].get("deletionGracePeriodSeconds") and not kind.rules.deletion.is_held(new)


def _attributes(
    context: contexts.Context,
    operation: admission.Operation,
    obj: Object,
    old: Object | None,
    options: query.WriteOptions,
) -> admission.Attributes:
    return admission.Attributes(
        operation=operation,
        kind=context.kind,
        subresource=context.subresource,
        namespace=context.namespace,
        name=context.name or obj["metadata"].get("name") or "",
        user=context.user,
        obj=obj,
        old=old,
        dry_run=options.dry_run,
        options=options.to_json(context.verb),
        warnings=context.warnings,
    )


def _track(context: contexts.Context, old: Object | None, new: Object, options: query.WriteOptions) -> Object:
    """`new` with managed fields; before admission, so that what plug-ins add is nobody's."""
    return managed_fields.update(
        old,
        new,
        context.kind.schema,
        manager=context.manager(options),
        operation="Update",
        now=clock.rfc3339(context.services.clock.now()),
        api_version=context.kind.api_version,
        subresource=context.subresource,
    )


def _track_new(context: contexts.Context, obj: Object, options: query.WriteOptions) -> None:
    kind, manager = context.kind, context.manager(options)

    def compute() -> list[Object]:
        found: list[Object] = _track(context, None, obj, options)["metadata"].get("managedFields") or []
        return found

    key = (context.services.registry.generation, kind.group, kind.version, kind.kind, manager)
    entries = context.services.fields_of_new.get(key, memo.content(obj), compute)
    if entries:
        now = clock.rfc3339(context.services.clock.now())
        obj["metadata"]["managedFields"] = [{**entry, "time": now} for entry in entries]


def _judge_new(context: contexts.Context, obj: Object) -> contexts.Verdict:
    kind = context.kind
    content = memo.pod_content(obj) if kind.rules.are_alike else None

    def judge() -> contexts.Verdict:
        wrong = strategy.validate_create(kind, obj)
        return contexts.Verdict(wrong, () if wrong else kind.rules.warnings(obj, None, context.subresource))

    return judge() if content is None else context.services.verdicts_on_new.get((), content, judge)


def _raise_invalid(kind: kinds.Kind, name: str, causes: list[errors.Cause]) -> None:
    if causes:
        raise errors.invalid(kind.group, kind.kind, name, causes)
