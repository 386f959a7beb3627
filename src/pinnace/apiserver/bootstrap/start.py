"""Brings a store to the state that every cluster has from its first moment; run at each start, changes nothing that is right."""

import asyncio
import ipaddress
from collections.abc import Callable
from typing import Any

from pinnace.api import resources
from pinnace.apiserver import context as contexts
from pinnace.apiserver import settings
from pinnace.apiserver.bootstrap import flow_table, roles, writer
from pinnace.apiserver.keepers import flow_objects

Object = dict[str, Any]

SYSTEM_PRIORITIES = (
    (
        "system-cluster-critical",
        2000000000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
    (
        "system-node-critical",
        2000001000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
)


async def run(services: contexts.Services) -> None:
    writes = writer.Writer(services)
    await asyncio.gather(*(_namespace(writes, name) for name in settings.SYSTEM_NAMESPACES))
    await asyncio.gather(
        *(_reconcile_role(writes, resource, wanted) for resource, wanted in roles.wanted()),
        *(_priority(writes, *row) for row in SYSTEM_PRIORITIES),
        *(_flow_object(writes, resources.PRIORITY_LEVELS, wanted) for wanted in flow_table.levels()),
        *(_flow_object(writes, resources.FLOW_SCHEMAS, wanted) for wanted in flow_table.schemas()),
        _service_cidr(writes, services.settings),
    )
    await _kubernetes_service(writes, services.settings)


async def _namespace(writes: writer.Writer, name: str) -> None:
    await writes.create(resources.NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})


async def _reconcile_role(writes: writer.Writer, resource: resources.Resource, wanted: Object) -> None:
    await writes.create_or_update(resource, wanted, lambda found: roles.reconciled(found, wanted))


async def _flow_object(writes: writer.Writer, resource: resources.Resource, wanted: Object) -> None:
    await writes.create_or_update(resource, wanted, lambda found: flow_objects.restored(found, wanted))


async def _priority(writes: writer.Writer, name: str, value: int, description: str) -> None:
    made = {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": name},
        "value": value,
        "description": description,
        "preemptionPolicy": "PreemptLowerPriority",
    }
    await writes.create(resources.PRIORITY_CLASSES, made)


async def _service_cidr(writes: writer.Writer, options: settings.Settings) -> None:
    made = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "ServiceCIDR",
        "metadata": {"name": "kubernetes"},
        "spec": {"cidrs": [options.service_cidr]},
    }
    await writes.create(resources.SERVICE_CIDRS, made)


def first_address(cidr: str) -> str:
    """The address of the `kubernetes` Service."""
    return str(ipaddress.ip_network(cidr)[1])


async def _kubernetes_service(writes: writer.Writer, options: settings.Settings) -> None:
    metadata: Object = {"name": "kubernetes", "namespace": "default"}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {**metadata, "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {
            "type": "ClusterIP",
            "clusterIP": first_address(options.service_cidr),
            "ports": [_port(targetPort=options.advertise_port, port=443)],
            "sessionAffinity": "None",
        },
    }
    ports = service["spec"]["ports"]  # type: ignore[index]
    await writes.create_or_update(resources.SERVICES, service, _replacing("spec", "ports", ports))
    if ipaddress.ip_address(options.advertise_address).is_loopback:
        # Nobody else could reach this server there: the Service has an address and leads nowhere.
        return
    endpoints = {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {**metadata, "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
        "subsets": [
            {
                "addresses": [{"ip": options.advertise_address}],
                "ports": [_port(port=options.advertise_port)],
            }
        ],
    }
    await writes.create_or_update(resources.ENDPOINTS, endpoints, _replacing("", "subsets", endpoints["subsets"]))
    family = ipaddress.ip_address(options.advertise_address).version
    found = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {**metadata, "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "addressType": f"IPv{family}",
        "endpoints": [{"addresses": [options.advertise_address], "conditions": {"ready": True}}],
        "ports": [_port(port=options.advertise_port)],
    }

    def keep(present: Object) -> Object | None:
        wanted = {**present, "endpoints": found["endpoints"], "ports": found["ports"]}
        return None if wanted == present else wanted

    await writes.create_or_update(resources.ENDPOINT_SLICES, found, keep)


def _port(**fields: Any) -> Object:
    return {"name": "https", "protocol": "TCP", **fields}


def _replacing(section: str, field: str, value: Any) -> Callable[[Object], Object | None]:
    """A change of one field, which keeps everything else."""

    def make(present: Object) -> Object | None:
        owner = present.setdefault(section, {}) if section else present
        if owner.get(field) == value:
            return None
        owner[field] = value
        return present

    return make
