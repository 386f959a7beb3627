"""The scale subresource: how many replicas are wanted, in a form that is the same for all kinds that have them."""

from typing import Any

import orjson

from pinnace.api import decode, errors, kinds
from pinnace.api.patch import json_patch, merge, strategic
from pinnace.api.rules import autoscaling, base
from pinnace.apiserver import context as contexts
from pinnace.apiserver.http import bodies, negotiate, query, views
from pinnace.apiserver.storage import conversion
from pinnace.apiserver.verbs import patch as patches
from pinnace.apiserver.verbs import writing
from pinnace.web import messages

Object = dict[str, Any]

KIND = kinds.Kind(
    "autoscaling", "v1", "Scale", "", "", True, definition="io.k8s.api.autoscaling.v1.Scale", rules=autoscaling.SCALE
)


def of(kind: kinds.Kind, obj: Object) -> Object:
    """autoscaling/v1 Scale of an object. Raises 500 for a custom object that does not say how many it wants."""
    shown = _shown(kind, obj)
    if "replicas" not in shown["spec"]:
        raise errors.internal(f"the spec replicas field {_path(kind)} does not exist")
    return shown


def _shown(kind: kinds.Kind, obj: Object) -> Object:
    """The same, without `spec.replicas` where the object lacks the number and must state it."""
    rules = _rules(kind)
    metadata = obj["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    wanted = _number(obj, rules.spec_replicas)
    if wanted is None and not rules.requires_replicas:
        wanted = 0
    selector = rules.selector(obj)
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {field: metadata[field] for field in kept if field in metadata},
        "spec": {} if wanted is None else {"replicas": wanted},
        "status": {
            "replicas": _number(obj, rules.status_replicas) or 0,
            **({"selector": selector} if selector else {}),
        },
    }


def _rules(kind: kinds.Kind) -> base.Scale:
    rules = kind.rules.scale
    assert rules is not None, kind
    return rules


def _path(kind: kinds.Kind) -> str:
    return f'".{".".join(_rules(kind).spec_replicas)}"'


def _number(obj: Object, path: tuple[str, ...]) -> int | None:
    value: Any = obj
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    return value if isinstance(value, int) else None


async def get(context: contexts.Context) -> messages.Answer:
    return _answer(context, await conversion.parse(context.kind, context.record()))


async def update(context: contexts.Context) -> messages.Answer:
    options = query.write_options(context.query, "UpdateOptions")
    scale = bodies.decoded(context, await bodies.read(context), options, kind=KIND)
    bodies.check_name(context, scale)
    written = await writing.update(
        context, lambda present: _scaled(context.kind, present, scale), options, retries=True
    )
    return _answer(context, orjson.loads(written.value))


async def patch(context: contexts.Context) -> messages.Answer:
    options = query.write_options(context.query, "PatchOptions")
    media = context.request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media not in (patches.JSON, patches.MERGE, patches.STRATEGIC, patches.APPLY):
        raise negotiate.unsupported((patches.JSON, patches.MERGE, patches.APPLY, patches.STRATEGIC))
    is_yaml = media == patches.APPLY
    change, _ = decode.parse(
        await bodies.read(context), "Scale", look_for_duplicates=False, content_type="yaml" if is_yaml else "json"
    )

    def make(present: Object) -> Object:
        shown = _shown(context.kind, present)
        if media == patches.JSON:
            changed = json_patch.apply(shown, change)
        elif media == patches.STRATEGIC:
            changed = strategic.apply(shown, change, KIND.schema)
        else:
            changed = merge.apply(shown, change)
        found = decode.convert(changed, KIND, field_validation=options.field_validation)
        bodies.check_name(context, found.obj)
        return _scaled(context.kind, present, found.obj)

    written = await writing.update(context, make, options, retries=True)
    return _answer(context, orjson.loads(written.value))


def _scaled(kind: kinds.Kind, present: Object, scale: Object) -> Object:
    """`present` (changed in place) with the replicas of `scale`, at the resourceVersion that it names. Raises 400, 422."""
    rules, spec = _rules(kind), scale.get("spec") or {}
    if "replicas" not in spec and rules.requires_replicas and _number(present, rules.spec_replicas) is None:
        raise errors.bad_request(f"the spec replicas field {_path(kind)} cannot be empty")
    replicas = spec.get("replicas", 0)
    if replicas < 0:
        why = f"Invalid value: {replicas}: must be greater than or equal to 0"
        cause = errors.Cause("FieldValueInvalid", why, "spec.replicas")
        raise errors.invalid("autoscaling", "Scale", present["metadata"]["name"], [cause])
    metadata = scale.get("metadata") or {}
    for name in ("uid", "resourceVersion"):
        if metadata.get(name):
            present["metadata"][name] = metadata[name]
    owner = present
    for step in rules.spec_replicas[:-1]:
        inner = owner.setdefault(step, {})
        if not isinstance(inner, dict):
            raise errors.internal(f"the spec replicas field {_path(kind)} is inside of something that is no object")
        owner = inner
    owner[rules.spec_replicas[-1]] = replicas
    return present


def _answer(context: contexts.Context, obj: Object) -> messages.Answer:
    return views.made(context, of(context.kind, obj), KIND)
