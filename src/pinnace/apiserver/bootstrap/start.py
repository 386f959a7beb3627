"""Brings a store to the state that every cluster has from its first moment; run at each start, changes nothing that is right."""

import asyncio
from typing import Any

from pinnace.api import resources
from pinnace.apiserver import context as contexts
from pinnace.apiserver import settings
from pinnace.apiserver.bootstrap import flow_table, own_services, roles, writer
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
    await own_services.OwnServices(services).keep()


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
