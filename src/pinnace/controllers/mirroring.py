"""Endpoints that users write themselves (for Services without a selector) are mirrored into EndpointSlices.

Watches Endpoints, Services and the mirrored slices. Owns slices labelled as managed by it.
"""

import datetime
import ipaddress
from collections.abc import Iterable, Sequence
from typing import Any

from pinnace.api import resources
from pinnace.controllers import endpointslice
from pinnace.controllers.framework import actions, loop, objects
from pinnace.controllers.framework import lister as views

Object = dict[str, Any]

MANAGER = "endpointslicemirroring-controller.k8s.io"
SKIP_LABEL = "endpointslice.kubernetes.io/skip-mirror"
LEADER_ANNOTATION = "control-plane.alpha.kubernetes.io/leader"
LIMIT = 1000


def plan(view: views.View, key: objects.Key, now: datetime.datetime) -> Sequence[actions.Action]:
    endpoints = view.get(resources.ENDPOINTS, *key)
    present = [
        each
        for each in view.by_index(resources.ENDPOINT_SLICES, "service", "/".join(key))
        if objects.labels_of(each).get(endpointslice.MANAGED_BY) == MANAGER and not objects.is_deleting(each)
    ]
    wanted = _wanted(endpoints) if endpoints is not None and _is_mirrored(view, endpoints) else []
    result: list[actions.Action] = []
    spare = list(present)
    for made in wanted:
        same = next((each for each in spare if _is_same_group(each, made)), None)
        if same is None:
            result.append(actions.Create(resources.ENDPOINT_SLICES, key[0], made))
            continue
        spare.remove(same)
        labels = made["metadata"]["labels"]
        if objects.is_same(same.get("endpoints"), made["endpoints"]) and objects.labels_of(same) == labels:
            continue
        metadata = {**same["metadata"], "labels": labels}
        changed = {**same, "metadata": metadata, "endpoints": made["endpoints"]}
        result.append(actions.Update(resources.ENDPOINT_SLICES, changed))
    result += [
        actions.Delete(resources.ENDPOINT_SLICES, *objects.key_of(each), uid=objects.uid_of(each)) for each in spare
    ]
    return result


def _is_mirrored(view: views.View, endpoints: Object) -> bool:
    service = view.get(resources.SERVICES, *objects.key_of(endpoints))
    if service is None or service["spec"].get("selector") or objects.is_deleting(endpoints):
        return False
    is_skipped = objects.labels_of(endpoints).get(SKIP_LABEL) == "true"
    return not is_skipped and LEADER_ANNOTATION not in objects.annotations_of(endpoints)


def _wanted(endpoints: Object) -> list[Object]:
    result = []
    for subset in endpoints.get("subsets") or ():
        by_family: dict[str, list[Object]] = {}
        for field, is_ready in (("addresses", True), ("notReadyAddresses", False)):
            for address in (subset.get(field) or ())[:LIMIT]:
                family = f"IPv{ipaddress.ip_address(address['ip']).version}"
                by_family.setdefault(family, []).append(_endpoint(address, is_ready=is_ready))
        result += [_slice(endpoints, family, subset, found) for family, found in by_family.items()]
    return result


def _endpoint(address: Object, *, is_ready: bool) -> Object:
    endpoint: Object = {"addresses": [address["ip"]], "conditions": {"ready": is_ready}}
    for field in ("hostname", "nodeName", "targetRef"):
        if address.get(field):
            endpoint[field] = address[field]
    return endpoint


def _slice(endpoints: Object, family: str, subset: Object, found: list[Object]) -> Object:
    name = objects.name_of(endpoints)
    labels = {
        **objects.labels_of(endpoints),
        endpointslice.SERVICE_NAME: name,
        endpointslice.MANAGED_BY: MANAGER,
    }
    ports = [{"protocol": "TCP", "name": "", **port} for port in subset.get("ports") or ()]
    return {
        "apiVersion": resources.ENDPOINT_SLICES.api_version,
        "kind": resources.ENDPOINT_SLICES.kind,
        "metadata": {
            "generateName": f"{name}-",
            "namespace": objects.namespace_of(endpoints),
            "labels": labels,
            "ownerReferences": [objects.owner_reference(endpoints, resources.ENDPOINTS)],
        },
        "addressType": family,
        "endpoints": found,
        "ports": ports,
    }


def _is_same_group(left: Object, right: Object) -> bool:
    return left["addressType"] == right["addressType"] and objects.is_same(left.get("ports"), right["ports"])


def _service_of_slice(view: views.View, each: Object) -> Iterable[objects.Key]:
    labels = objects.labels_of(each)
    if labels.get(endpointslice.MANAGED_BY) != MANAGER:
        return []
    return [(objects.namespace_of(each), labels.get(endpointslice.SERVICE_NAME, ""))]


def controller() -> loop.Controller:
    return loop.Controller(
        name="endpointslicemirroring",
        user="endpointslicemirroring-controller",
        watches=(
            loop.Watch(resources.ENDPOINTS, loop.own_key),
            loop.Watch(resources.SERVICES, loop.own_key),
            loop.Watch(resources.ENDPOINT_SLICES, _service_of_slice),
        ),
        indexes=((resources.ENDPOINT_SLICES, "service", endpointslice.index_by_service),),
        plan=plan,
    )
