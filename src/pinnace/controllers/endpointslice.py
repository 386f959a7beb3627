"""EndpointSlices: the pods behind each Service, at most 100 to a slice, one group of slices for each set of ports.

Watches Services, Pods and the slices themselves. Owns slices labelled as managed by it. Guarantees: after its writes every
matching pod is in exactly one slice per address family and set of ports; a change of one pod rewrites one slice.
"""

import dataclasses
import datetime
import ipaddress
from collections.abc import Iterable, Sequence
from typing import Any

from pinnace.api import resources
from pinnace.controllers import backends
from pinnace.controllers.framework import actions, loop, objects
from pinnace.controllers.framework import lister as views

Object = dict[str, Any]

SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"
ZONE = "topology.kubernetes.io/zone"
LIMIT = 100


@dataclasses.dataclass(slots=True)
class _Group:
    """All endpoints of one address family and one set of ports, by (pod uid, address)."""

    family: str
    ports: list[Object]
    endpoints: dict[tuple[str, str], Object] = dataclasses.field(default_factory=dict)


def plan(view: views.View, key: objects.Key, now: datetime.datetime) -> Sequence[actions.Action]:
    service = view.get(resources.SERVICES, *key)
    if service is None or objects.is_deleting(service) or not backends.has_managed_backends(service):
        return []
    name = f"{key[0]}/{key[1]}"
    present = [
        each
        for each in view.by_index(resources.ENDPOINT_SLICES, "service", name)
        if objects.labels_of(each).get(MANAGED_BY) == MANAGER and not objects.is_deleting(each)
    ]
    families = _families(service)
    groups = _groups(view, service, families)
    result: list[actions.Action] = []
    for family in families:
        mine = {identity: group for identity, group in groups.items() if group.family == family}
        result += _reconcile(service, family, mine, [each for each in present if each["addressType"] == family])
    for each in present:
        if each["addressType"] not in families:
            result.append(_delete(each))
    return result


def _families(service: Object) -> list[str]:
    return list(service["spec"].get("ipFamilies") or ["IPv4"])


# -- what shall be


def _groups(view: views.View, service: Object, families: Iterable[str]) -> dict[str, _Group]:
    groups: dict[str, _Group] = {}
    for pod in backends.pods_of(view, service):
        ports = backends.ports_of(service, pod)
        for address in backends.addresses_of(pod):
            family = f"IPv{ipaddress.ip_address(address).version}"
            if family not in families:
                continue
            identity = _identity(family, ports)
            group = groups.setdefault(identity, _Group(family, ports))
            if any(each[0] == objects.uid_of(pod) for each in group.endpoints):
                continue  # One address of each family.
            group.endpoints[objects.uid_of(pod), address] = _endpoint(view, service, pod, address)
    return groups


def _identity(family: str, ports: Iterable[Object] | None) -> str:
    described = sorted(
        (port.get("name") or "", port.get("protocol", "TCP"), port.get("port") or 0, port.get("appProtocol") or "")
        for port in ports or ()
    )
    return f"{family} {described}"


def _endpoint(view: views.View, service: Object, pod: Object, address: str) -> Object:
    serving, terminating = objects.is_pod_ready(pod), objects.is_deleting(pod)
    endpoint: Object = {
        "addresses": [address],
        "conditions": {
            # A pod that is going is never ready, whatever its probes say, unless the Service wants everything published.
            "ready": backends.publishes_not_ready(service) or (serving and not terminating),
            "serving": serving,
            "terminating": terminating,
        },
        "targetRef": backends.target_reference(pod),
    }
    if backends.hostname_of(pod, service):
        endpoint["hostname"] = backends.hostname_of(pod, service)
    node_name = pod["spec"].get("nodeName")
    if node_name:
        endpoint["nodeName"] = node_name
        node = view.get(resources.NODES, None, node_name)
        zone = objects.labels_of(node).get(ZONE) if node else None
        if zone:
            endpoint["zone"] = zone
        hints = _hints(service["spec"].get("trafficDistribution") or "", node_name, zone or "")
        if hints and endpoint["conditions"]["ready"]:
            endpoint["hints"] = hints
    return endpoint


def _hints(distribution: str, node: str, zone: str) -> Object:
    hints: Object = {}
    if distribution in ("PreferClose", "PreferSameZone", "PreferSameNode") and zone:
        hints["forZones"] = [{"name": zone}]
    if distribution == "PreferSameNode":
        hints["forNodes"] = [{"name": node}]
    return hints


# -- how it gets there


def _reconcile(
    service: Object, family: str, groups: dict[str, _Group], present: Sequence[Object]
) -> Iterable[actions.Action]:
    """Slices keep the endpoints they have; what is new fills the gaps; only then new slices are made."""
    result: list[actions.Action] = []
    kept = 0
    spare: list[Object] = []
    slices: dict[str, list[Object]] = {}
    for each in present:
        slices.setdefault(_identity(family, each.get("ports")), []).append(each)
    for identity, group in groups.items():
        writes, remaining, unused = _fill(service, group, slices.pop(identity, []))
        result += writes
        kept += remaining
        spare += unused
    for unused in slices.values():
        spare += unused
    if not kept:
        # A Service without endpoints has one empty slice: so that it can be told from one that was not looked at yet.
        empty = next((each for each in spare if not each.get("endpoints") and not each.get("ports")), None)
        if empty is not None:
            spare.remove(empty)
            result += _update(service, empty, [])
        else:
            result.append(_create(service, family, [], []))
    return _reuse(service, result, spare)


def _reuse(service: Object, writes: Iterable[actions.Action], spare: Iterable[Object]) -> list[actions.Action]:
    """A slice that is no longer needed becomes one that is missing: it keeps its name, and watchers see one change instead of two."""
    own: list[Object] = []
    foreign: list[Object] = []
    for each in spare:
        owners = {reference["uid"] for reference in each["metadata"].get("ownerReferences") or ()}
        (own if objects.uid_of(service) in owners else foreign).append(each)
    result: list[actions.Action] = []
    for write in writes:
        if isinstance(write, actions.Create) and own:
            present = own.pop()
            metadata = {**present["metadata"], "labels": write.obj["metadata"]["labels"]}
            changed = {key: write.obj[key] for key in ("endpoints", "ports")}
            write = actions.Update(resources.ENDPOINT_SLICES, {**present, "metadata": metadata, **changed})
        result.append(write)
    return result + [_delete(each) for each in (*own, *foreign)]


def _fill(service: Object, group: _Group, present: Sequence[Object]) -> tuple[list[actions.Action], int, list[Object]]:
    """Writes, the number of slices that the group has then, and slices it no longer needs."""
    missing = dict(group.endpoints)
    contents: list[tuple[Object, list[Object]]] = []
    for each in sorted(present, key=objects.name_of):
        content = []
        for endpoint in each.get("endpoints") or ():
            wanted = missing.pop(_endpoint_identity(endpoint), None)
            if wanted is not None:
                content.append(wanted)
        contents.append((each, content))
    result: list[actions.Action] = []
    rest = list(missing.values())
    # Slices that change anyway take the new ones first, then the fullest: few writes, few slices.
    contents.sort(key=lambda pair: (len(pair[1]) == len(pair[0].get("endpoints") or ()), -len(pair[1])))
    for _, content in contents:
        room = LIMIT - len(content)
        content += rest[:room]
        rest = rest[room:]
    unused = [each for each, content in contents if not content]
    for each, content in contents:
        if content:
            result += _update(service, each, content)
    for start in range(0, len(rest), LIMIT):
        result.append(_create(service, group.family, group.ports, rest[start : start + LIMIT]))
    count = len(contents) - len(unused) + -(-len(rest) // LIMIT)
    return result, count, unused


def _endpoint_identity(endpoint: Object) -> tuple[str, str]:
    return (endpoint.get("targetRef") or {}).get("uid", ""), endpoint["addresses"][0]


def _labels(service: Object) -> dict[str, str]:
    labels = {**objects.labels_of(service)}
    labels.pop(backends.HEADLESS_LABEL, None)
    if backends.is_headless(service):
        labels[backends.HEADLESS_LABEL] = ""
    return {**labels, SERVICE_NAME: objects.name_of(service), MANAGED_BY: MANAGER}


def _create(service: Object, family: str, ports: list[Object], endpoints: list[Object]) -> actions.Create:
    namespace = objects.namespace_of(service)
    made = {
        "apiVersion": resources.ENDPOINT_SLICES.api_version,
        "kind": resources.ENDPOINT_SLICES.kind,
        "metadata": {
            "generateName": f"{objects.name_of(service)}-",
            "namespace": namespace,
            "labels": _labels(service),
            "ownerReferences": [objects.owner_reference(service, resources.SERVICES)],
        },
        "addressType": family,
        "endpoints": endpoints,
        "ports": ports,
    }
    return actions.Create(resources.ENDPOINT_SLICES, namespace, made)


def _update(service: Object, present: Object, endpoints: list[Object]) -> list[actions.Action]:
    labels = _labels(service)
    unchanged = objects.labels_of(present) == labels and objects.is_same(present.get("endpoints"), endpoints)
    if unchanged:
        return []
    metadata = {**present["metadata"], "labels": labels}
    return [actions.Update(resources.ENDPOINT_SLICES, {**present, "metadata": metadata, "endpoints": endpoints})]


def _delete(present: Object) -> actions.Delete:
    return actions.Delete(resources.ENDPOINT_SLICES, *objects.key_of(present), uid=objects.uid_of(present))


# -- registration


def index_by_service(endpoint_slice: Object) -> Iterable[str]:
    name = objects.labels_of(endpoint_slice).get(SERVICE_NAME)
    return [f"{objects.namespace_of(endpoint_slice)}/{name}"] if name else ()


def _service_of_slice(view: views.View, endpoint_slice: Object) -> Iterable[objects.Key]:
    labels = objects.labels_of(endpoint_slice)
    if labels.get(MANAGED_BY) != MANAGER or SERVICE_NAME not in labels:
        return []
    return [(objects.namespace_of(endpoint_slice), labels[SERVICE_NAME])]


def controller() -> loop.Controller:
    return loop.Controller(
        name="endpointslice",
        watches=(*backends.WATCHES, loop.Watch(resources.ENDPOINT_SLICES, _service_of_slice)),
        reads=(resources.NODES,),
        indexes=(*backends.INDEXES, (resources.ENDPOINT_SLICES, "service", index_by_service)),
        plan=plan,
    )
