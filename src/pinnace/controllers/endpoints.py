"""Endpoints: the older, single object per Service, still read by many clients.

Watches Services, Pods and Endpoints. Owns the Endpoints of every Service that has a selector.
"""

import datetime
from collections.abc import Sequence
from typing import Any

from pinnace.api import resources
from pinnace.controllers import backends
from pinnace.controllers.framework import actions, loop, objects
from pinnace.controllers.framework import lister as views

Object = dict[str, Any]

LIMIT = 1000
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"
MANAGED_BY = {"endpoints.kubernetes.io/managed-by": "endpoint-controller"}


def plan(view: views.View, key: objects.Key, now: datetime.datetime) -> Sequence[actions.Action]:
    service = view.get(resources.SERVICES, *key)
    present = view.get(resources.ENDPOINTS, *key)
    if service is None:
        is_ours = present is not None and objects.labels_of(present).items() >= MANAGED_BY.items()
        return [actions.Delete(resources.ENDPOINTS, *key, uid=objects.uid_of(present))] if present and is_ours else []
    if objects.is_deleting(service) or not backends.has_managed_backends(service):
        return []
    labels = {**objects.labels_of(service), **MANAGED_BY}
    labels.pop(backends.HEADLESS_LABEL, None)
    if backends.is_headless(service):
        labels[backends.HEADLESS_LABEL] = ""
    subsets, is_cut = _cut(_subsets(view, service))
    annotations = dict(objects.annotations_of(present)) if present else {}
    annotations.pop(OVER_CAPACITY, None)
    if is_cut:
        annotations[OVER_CAPACITY] = "truncated"
    if present is None:
        metadata = {"name": key[1], "namespace": key[0], "labels": labels, "annotations": annotations}
        made = {"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata, "subsets": subsets}
        return [actions.Create(resources.ENDPOINTS, key[0], made)]
    if (
        objects.is_same(present.get("subsets"), subsets)
        and objects.labels_of(present) == labels
        and objects.annotations_of(present) == annotations
    ):
        return []
    metadata = {**present["metadata"], "labels": labels, "annotations": annotations}
    return [actions.Update(resources.ENDPOINTS, {**present, "metadata": metadata, "subsets": subsets})]


def _subsets(view: views.View, service: Object) -> list[Object]:
    """Pods with the same ports together, as upstream's repacking leaves them."""
    groups: dict[str, Object] = {}
    publishes_all = backends.publishes_not_ready(service)
    for pod in sorted(backends.pods_of(view, service), key=objects.uid_of):
        if objects.is_deleting(pod) and not publishes_all:
            continue
        ports = backends.ports_of(service, pod)
        if not ports and not backends.is_headless(service):
            continue
        group = groups.setdefault(str(ports), {"ports": [_port(port) for port in ports]})
        kind = "addresses" if publishes_all or objects.is_pod_ready(pod) else "notReadyAddresses"
        group.setdefault(kind, []).append(_address(service, pod))
    for group in groups.values():
        for kind in ("addresses", "notReadyAddresses"):
            if kind in group:
                group[kind].sort(key=lambda address: (address["ip"], address["targetRef"]["uid"]))
        if not group["ports"]:
            del group["ports"]
    return [groups[ports] for ports in sorted(groups)]


def _port(port: Object) -> Object:
    return {key: value for key, value in port.items() if value != ""}


def _address(service: Object, pod: Object) -> Object:
    address: Object = {"ip": backends.addresses_of(pod)[0], "targetRef": backends.target_reference(pod)}
    if pod["spec"].get("nodeName"):
        address["nodeName"] = pod["spec"]["nodeName"]
    if backends.hostname_of(pod, service):
        address["hostname"] = backends.hostname_of(pod, service)
    return address


def _cut(subsets: list[Object]) -> tuple[list[Object], bool]:
    """At most 1000 addresses in all, the ready ones first."""
    if sum(len(each.get(kind, ())) for each in subsets for kind in ("addresses", "notReadyAddresses")) <= LIMIT:
        return subsets, False
    room = LIMIT
    for kind in ("addresses", "notReadyAddresses"):
        for subset in subsets:
            if kind in subset:
                subset[kind] = subset[kind][:room]
                room -= len(subset[kind])
    return [each for each in subsets if each.get("addresses") or each.get("notReadyAddresses")], True


def controller() -> loop.Controller:
    return loop.Controller(
        name="endpoint",
        watches=(*backends.WATCHES, loop.Watch(resources.ENDPOINTS, loop.own_key)),
        indexes=backends.INDEXES,
        plan=plan,
    )
