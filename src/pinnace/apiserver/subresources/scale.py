"""The scale subresource: how many replicas are wanted, in a form that is the same for all kinds that have them."""

from typing import Any

import orjson

from pinnace.api import decode, errors, kinds, selectors
from pinnace.api.patch import json_patch, merge, strategic
from pinnace.api.rules import autoscaling
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
    """autoscaling/v1 Scale of an object."""
    metadata = obj["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    scale: Object = {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {field: metadata[field] for field in kept if field in metadata},
        "spec": {"replicas": spec.get("replicas", 0)},
        "status": {"replicas": status.get("replicas", 0)},
    }
    selector = (
        selectors.from_labels(spec.get("selector")) if _is_plain(kind) else selectors.from_object(spec.get("selector"))
    )
    if str(selector):
        scale["status"]["selector"] = str(selector)
    return scale


def _is_plain(kind: kinds.Kind) -> bool:
    """A ReplicationController selects by labels alone."""
    return (kind.group, kind.plural) == ("", "replicationcontrollers")


async def get(context: contexts.Context) -> messages.Answer:
    return _answer(context, conversion.parse(context.kind, context.record()))


async def update(context: contexts.Context) -> messages.Answer:
    options = query.write_options(context.query, "UpdateOptions")
    scale = bodies.decoded(context, await bodies.read(context), options, kind=KIND)
    bodies.check_name(context, scale)
    written = await writing.update(context, lambda present: _scaled(present, scale), options, retries=True)
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
        shown = of(context.kind, present)
        if media == patches.JSON:
            changed = json_patch.apply(shown, change)
        elif media == patches.STRATEGIC:
            changed = strategic.apply(shown, change, KIND.schema)
        else:
            changed = merge.apply(shown, change)
        found = decode.convert(changed, KIND, field_validation=options.field_validation)
        bodies.check_name(context, found.obj)
        return _scaled(present, found.obj)

    written = await writing.update(context, make, options, retries=True)
    return _answer(context, orjson.loads(written.value))


def _scaled(present: Object, scale: Object) -> Object:
    """`present` (changed in place) with the replicas of `scale`, at the resourceVersion that it names. Raises 422."""
    replicas = (scale.get("spec") or {}).get("replicas", 0)
    if replicas < 0:
        why = f"Invalid value: {replicas}: must be greater than or equal to 0"
        cause = errors.Cause("FieldValueInvalid", why, "spec.replicas")
        raise errors.invalid("autoscaling", "Scale", present["metadata"]["name"], [cause])
    metadata = scale.get("metadata") or {}
    if metadata.get("uid"):
        present["metadata"]["uid"] = metadata["uid"]
    if metadata.get("resourceVersion"):
        present["metadata"]["resourceVersion"] = metadata["resourceVersion"]
    present.setdefault("spec", {})["replicas"] = replicas
    return present


def _answer(context: contexts.Context, obj: Object) -> messages.Answer:
    return views.made(context, of(context.kind, obj), KIND)
