"""LimitRanger: a namespace's defaults and bounds for what its containers, pods and claims may ask for."""

from collections.abc import Iterator, Mapping
from typing import Any

from pinnace.api import errors, pods, quantity, resources
from pinnace.apiserver.admission import attributes as admission
from pinnace.apiserver.storage import objects

Object = dict[str, Any]
Amounts = Mapping[str, str]

_NOTE = "kubernetes.io/limit-ranger"


class LimitRanger:
    def __init__(self, stored: objects.Objects) -> None:
        self._objects = stored

    async def mutate(self, attributes: admission.Attributes) -> None:
        if attributes.operation != "CREATE" or attributes.resource != ("", "pods"):
            return
        assert attributes.obj is not None
        for limits in self._objects.all(resources.LIMIT_RANGES, attributes.namespace):
            for item in (limits.get("spec") or {}).get("limits") or ():
                if item.get("type") == "Container":
                    _set_defaults(attributes.obj, item)

    async def validate(self, attributes: admission.Attributes) -> None:
        assert attributes.obj is not None
        wrong = []
        for limits in self._objects.all(resources.LIMIT_RANGES, attributes.namespace):
            for item in (limits.get("spec") or {}).get("limits") or ():
                if attributes.resource == ("", "pods"):
                    wrong += list(_pod_violations(attributes.obj, item))
                elif item.get("type") == "PersistentVolumeClaim":
                    wrong += list(_claim_violations(attributes.obj, item))
        if wrong:
            shown = wrong[0] if len(wrong) == 1 else "[" + ", ".join(wrong) + "]"
            raise errors.forbidden("", attributes.kind.plural, attributes.name, shown)


def _set_defaults(pod: Object, item: Object) -> None:
    """What a container leaves open; a request is at most its limit."""
    notes = []
    spec = pod.get("spec") or {}
    for field, label in (("containers", "container"), ("initContainers", "init container")):
        for container in spec.get(field) or ():
            resources = container.setdefault("resources", {})
            set_limits = _fill(resources, "limits", item.get("default") or {})
            set_requests = _fill(resources, "requests", item.get("defaultRequest") or {})
            for what, names in (("request", set_requests), ("limit", set_limits)):
                if names:
                    notes.append(f"{', '.join(names)} {what} for {label} {container.get('name')}")
    if notes:
        annotations = pod["metadata"].setdefault("annotations", {})
        annotations[_NOTE] = "LimitRanger plugin set: " + "; ".join(notes)


def _fill(resources: Object, field: str, defaults: Amounts) -> list[str]:
    present = resources.get(field) or {}
    missing = sorted(name for name in defaults if name not in present)
    if missing:
        resources[field] = {**present, **{name: defaults[name] for name in missing}}
    return missing


def _pod_violations(pod: Object, item: Object) -> Iterator[str]:
    spec = pod.get("spec") or {}
    if item.get("type") == "Container":
        for container in pods.containers(spec):
            resources = container.get("resources") or {}
            yield from _violations(item, "Container", resources.get("requests") or {}, resources.get("limits") or {})
    elif item.get("type") == "Pod":
        asked, bounded = pods.requests(spec, with_overhead=False), pods.limits(spec, with_overhead=False)
        yield from _violations(item, "Pod", _shown(asked), _shown(bounded))


def _shown(amounts: pods.Amounts) -> Amounts:
    return {name: quantity.render(amount) for name, amount in amounts.items()}


def _claim_violations(claim: Object, item: Object) -> Iterator[str]:
    requests = ((claim.get("spec") or {}).get("resources") or {}).get("requests") or {}
    for name, bound in (item.get("min") or {}).items():
        if name in requests and quantity.compare(requests[name], bound) < 0:
            yield f"minimum {name} usage per PersistentVolumeClaim is {bound}, but request is {requests[name]}"
    for name, bound in (item.get("max") or {}).items():
        if name in requests and quantity.compare(requests[name], bound) > 0:
            yield f"maximum {name} usage per PersistentVolumeClaim is {bound}, but request is {requests[name]}"


def _violations(item: Object, what: str, requests: Amounts, limits: Amounts) -> Iterator[str]:
    for name, bound in sorted((item.get("min") or {}).items()):
        if name not in requests:
            yield f"minimum {name} usage per {what} is {bound}.  No request is specified"
        elif quantity.compare(requests[name], bound) < 0:
            yield f"minimum {name} usage per {what} is {bound}, but request is {requests[name]}"
        elif name in limits and quantity.compare(limits[name], bound) < 0:
            yield f"minimum {name} usage per {what} is {bound}, but limit is {limits[name]}"
    for name, bound in sorted((item.get("max") or {}).items()):
        if name not in limits:
            yield f"maximum {name} usage per {what} is {bound}.  No limit is specified"
        elif quantity.compare(limits[name], bound) > 0:
            yield f"maximum {name} usage per {what} is {bound}, but limit is {limits[name]}"
        elif name in requests and quantity.compare(requests[name], bound) > 0:
            yield f"maximum {name} usage per {what} is {bound}, but request is {requests[name]}"
    yield from _ratios(item, what, requests, limits)


def _ratios(item: Object, what: str, requests: Amounts, limits: Amounts) -> Iterator[str]:
    for name, bound in sorted((item.get("maxLimitRequestRatio") or {}).items()):
        request, limit = requests.get(name), limits.get(name)
        if not request or quantity.parse(request) == 0:
            yield f"{name} max limit to request ratio per {what} is {bound}, but no request is specified or request is 0"
        elif not limit or quantity.parse(limit) == 0:
            yield f"{name} max limit to request ratio per {what} is {bound}, but no limit is specified or limit is 0"
        else:
            ratio = quantity.parse(limit) / quantity.parse(request)
            if ratio > quantity.parse(bound):
                yield f"{name} max limit to request ratio per {what} is {bound}, but provided ratio is {ratio:.6f}"
