"""pods/binding (and bindings): a scheduler puts a pod on a node, once."""

from typing import Any

from pinnace.api import conditions, errors, resources
from pinnace.apiserver import context as contexts
from pinnace.apiserver.http import bodies, query
from pinnace.apiserver.subresources import answers
from pinnace.kit import clock
from pinnace.web import messages

Object = dict[str, Any]


async def bind(context: contexts.Context) -> messages.Answer:
    options = query.write_options(context.query, "CreateOptions")
    data = await bodies.read(context)
    kind = context.services.registry.by_kind("", "v1", "Binding")
    assert kind is not None
    binding = bodies.decoded(context, data, options, kind=kind)
    name = context.name or binding.get("metadata", {}).get("name") or ""
    given = binding.get("metadata", {}).get("name")
    if given and given != name:
        raise errors.bad_request(f"the name of the object ({given}) does not match the name on the URL ({name})")
    _check(binding, name)
    await _bind(context, binding, name, dry_run=options.dry_run)
    return answers.success(context)


def _check(binding: Object, name: str) -> None:
    target = binding.get("target") or {}
    causes = []
    if target.get("kind") not in (None, "", "Node"):
        shown = f'Unsupported value: "{target["kind"]}": supported values: "Node", "<empty>"'
        causes.append(errors.Cause("FieldValueNotSupported", shown, "target.kind"))
    if not target.get("name"):
        causes.append(errors.Cause("FieldValueRequired", "Required value", "target.name"))
    if causes:
        raise errors.invalid("", "Binding", name, causes)


async def _bind(context: contexts.Context, binding: Object, name: str, *, dry_run: bool) -> None:
    """One store write; whoever comes second is told so."""

    def bound(pod: Object) -> Object | None:
        assign(pod, binding, clock.rfc3339(context.services.clock.now()))
        return None if dry_run else pod

    stored = context.services.objects
    await stored.guaranteed_update(stored.kind(resources.PODS), context.namespace, name, bound)


def assign(pod: Object, binding: Object, now: str) -> None:
    """Put `pod` (changed in place) on the binding's target. Raises Conflict."""
    metadata, spec = pod["metadata"], pod.setdefault("spec", {})
    name = metadata["name"]
    wanted = binding.get("metadata") or {}
    if wanted.get("uid") and wanted["uid"] != metadata.get("uid"):
        raise errors.conflict(
            "",
            "pods/binding",
            name,
            f"Precondition failed: UID in precondition: {wanted['uid']}, UID in object meta: {metadata.get('uid')}",
        )
    if wanted.get("resourceVersion") and wanted["resourceVersion"] != metadata.get("resourceVersion"):
        raise errors.conflict("", "pods/binding", name, errors.OBJECT_MODIFIED)
    if metadata.get("deletionTimestamp"):
        raise errors.conflict("", "pods/binding", name, f"pod {name} is being deleted, cannot be assigned to a host")
    if spec.get("nodeName"):
        raise errors.conflict("", "pods/binding", name, f'pod {name} is already assigned to node "{spec["nodeName"]}"')
    if spec.get("schedulingGates"):
        raise errors.conflict("", "pods/binding", name, f"pod {name} has non-empty .spec.schedulingGates")
    spec["nodeName"] = binding["target"]["name"]
    for field in ("annotations", "labels"):
        if wanted.get(field):
            metadata[field] = {**(metadata.get(field) or {}), **wanted[field]}
    set_condition(pod, {"type": "PodScheduled", "status": "True"}, now)
    # A promise of room is kept or forgotten.
    pod["status"].pop("nominatedNodeName", None)


def set_condition(pod: Object, wanted: Object, now: str) -> None:
    """Replace the condition of the same type; its time changes with its status alone."""
    if pod["metadata"].get("generation"):
        wanted = {**wanted, "observedGeneration": pod["metadata"]["generation"]}
    status = pod.setdefault("status", {})
    status["conditions"] = conditions.with_condition(status.get("conditions"), wanted, now)
