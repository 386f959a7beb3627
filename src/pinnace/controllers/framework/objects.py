"""Questions that many controllers ask of objects. Pure."""

import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pinnace.api import conditions, pods, resources, selectors
from pinnace.client import cache
from pinnace.kit import clock

Object = dict[str, Any]
Key = cache.Key

key_of = cache.key_of


def labels_of(obj: Object) -> Mapping[str, str]:
    return obj["metadata"].get("labels") or {}


def annotations_of(obj: Object) -> Mapping[str, str]:
    return obj["metadata"].get("annotations") or {}


def finalizers_of(obj: Object) -> Sequence[str]:
    return obj["metadata"].get("finalizers") or ()


def is_deleting(obj: Object) -> bool:
    return bool(obj["metadata"].get("deletionTimestamp"))


def uid_of(obj: Object) -> str:
    return str(obj["metadata"].get("uid", ""))


def name_of(obj: Object) -> str:
    return str(obj["metadata"]["name"])


def namespace_of(obj: Object) -> str:
    return str(obj["metadata"].get("namespace", ""))


def status_of(obj: Object) -> Object:
    return obj.get("status") or {}


def created(obj: Object) -> datetime.datetime:
    """A made-up object without a timestamp counts as the oldest."""
    stamp = obj["metadata"].get("creationTimestamp")
    return clock.parse_rfc3339(stamp) if stamp else datetime.datetime.min.replace(tzinfo=datetime.UTC)


def seconds_since(stamp: str, now: datetime.datetime) -> float:
    return (now - clock.parse_rfc3339(stamp)).total_seconds()


# -- ownership


def controller_of(obj: Object) -> Object | None:
    """The owner reference with `controller: true`."""
    for reference in obj["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            return dict(reference)
    return None


def is_controlled_by(obj: Object, owner: Object) -> bool:
    reference = controller_of(obj)
    return reference is not None and reference.get("uid") == uid_of(owner)


def owner_reference(owner: Object, resource: resources.Resource) -> Object:
    """As metav1.NewControllerRef makes it."""
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "name": name_of(owner),
        "uid": uid_of(owner),
        "controller": True,
        "blockOwnerDeletion": True,
    }


def index_by_controller(obj: Object) -> Iterable[str]:
    reference = controller_of(obj)
    return [reference["uid"]] if reference else ()


def index_orphans(obj: Object) -> Iterable[str]:
    """Namespaces of what nobody controls."""
    return () if controller_of(obj) else [namespace_of(obj)]


def selector_of(obj: Object) -> selectors.LabelSelector:
    """`spec.selector` of a workload."""
    return selectors.from_object(obj["spec"].get("selector"))


# -- conditions


def condition(obj: Object, kind: str) -> Object | None:
    found: Object | None = conditions.find(status_of(obj).get("conditions"), kind)
    return found


# -- pods


def is_pod_terminal(pod: Object) -> bool:
    return pods.is_terminal(pod)


def is_pod_active(pod: Object) -> bool:
    return not is_pod_terminal(pod) and not is_deleting(pod)


def is_pod_ready(pod: Object) -> bool:
    return pods.is_ready(pod)


def is_pod_available(pod: Object, min_ready_seconds: int, now: datetime.datetime) -> bool:
    return seconds_until_available(pod, min_ready_seconds, now) == 0


def seconds_until_available(pod: Object, min_ready_seconds: int, now: datetime.datetime) -> float | None:
    """0 when it is available, None when time alone will not make it so."""
    if not is_pod_ready(pod):
        return None
    if not min_ready_seconds:
        return 0.0
    found = condition(pod, "Ready") or {}
    if not found.get("lastTransitionTime"):
        return None
    return max(0.0, min_ready_seconds - seconds_since(found["lastTransitionTime"], now))


def pod_from_template(template: Object, owner: Object, resource: resources.Resource, prefix: str = "") -> Object:
    """A new pod that `owner` controls; its name is given by the API server."""
    metadata = template.get("metadata") or {}
    made: Object = {
        "generateName": prefix or f"{name_of(owner)}-",
        "ownerReferences": [owner_reference(owner, resource)],
    }
    for field in ("labels", "annotations", "finalizers"):
        if metadata.get(field):
            made[field] = metadata[field]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": made, "spec": template["spec"]}


# -- values that are a number or a percentage


def scaled_value(value: int | str | None, total: int, *, round_up: bool) -> int:
    """An IntOrString: 3, or "25%" of `total`."""
    if value is None:
        return 0
    if isinstance(value, int):
        return value
    hundredths = int(value.rstrip("%")) * total
    return -(-hundredths // 100) if round_up else hundredths // 100


def is_same(left: Any, right: Any) -> bool:
    """Equal but for what is empty: a field that is absent, null, "" or [] means the same (Semantic.DeepEqual)."""
    return bool(_without_empty(left) == _without_empty(right))


def _without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        stripped = {key: _without_empty(member) for key, member in value.items()}
        return {key: member for key, member in stripped.items() if member not in (None, "", [], {})}
    if isinstance(value, list):
        return [_without_empty(member) for member in value]
    return value


def is_same_status(left: Object, right: Object | None) -> bool:
    """`is_same` for statuses, where a count of 0 means absence as well."""
    return bool(_without_zero(left) == _without_zero(right or {}))


def _without_zero(status: Object) -> Any:
    return {key: value for key, value in _without_empty(status).items() if value != 0 or isinstance(value, bool)}
