"""The Services that are the cluster's own, with their endpoints: `kubernetes` (this server) and `kube-dns` (the nodes' name servers).

Their addresses are nobody else's, at any moment (`addresses`): whoever has the second takes over every name. Neither Service has a selector: their
endpoints are written here, and all of it comes back when it is deleted. A `kube-dns` of somebody's own (another address, or pods
behind it) is left as it is.
"""

import asyncio
import functools
import ipaddress
import logging
from collections.abc import Callable, Sequence
from typing import Any

from pinnace.api import errors, kinds, resources
from pinnace.apiserver import context as contexts
from pinnace.apiserver import settings
from pinnace.apiserver.bootstrap import writer
from pinnace.apiserver.storage import objects

Object = dict[str, Any]
Owner = tuple[str, str]

log = logging.getLogger(__name__)

KUBERNETES = ("default", "kubernetes")
NAMES = ("kube-system", "kube-dns")
KINDS = (resources.SERVICES, resources.ENDPOINTS, resources.ENDPOINT_SLICES)
_SETTLE_SECONDS, _RETRY_SECONDS = 0.1, 10.0
DNS_PORTS = (
    {"name": "dns", "port": 53, "protocol": "UDP"},
    {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
    {"name": "metrics", "port": 9153, "protocol": "TCP"},
)


def first_address(cidr: str) -> str:
    """The address of the `kubernetes` Service."""
    return str(ipaddress.ip_network(cidr)[1])


def addresses(options: settings.Settings) -> dict[str, Owner]:
    """Which address is kept for which Service."""
    found = {first_address(options.service_cidr): KUBERNETES}
    if options.dns_address:
        found[options.dns_address] = NAMES
    return found


class OwnServices:
    def __init__(self, services: contexts.Services) -> None:
        self._services = services
        self._options = services.settings
        self._writes = writer.Writer(services)
        self._turn = asyncio.Lock()

    def kept(self) -> list[tuple[kinds.Kind, Owner]]:
        registered = [self._services.objects.kind(resource) for resource in KINDS]
        return [(kind, owner) for kind in registered for owner in addresses(self._options).values()]

    async def follow(self, kind: kinds.Kind, owner: Owner) -> None:
        """Make it again whenever this object is deleted, for ever. Raises when history is gone: to be started again."""
        stored, key = self._services.objects, objects.key(kind, *owner)
        async with stored.watch_one(kind, *owner, stored.revision) as watch:
            if stored.find(kind, *owner) is None:
                await self.keep()
            async for batch in watch:
                if not any(event.key == key and event.record is None for event in batch):
                    continue
                # Whoever deleted it is about to give its address back.
                await self._services.clock.sleep(_SETTLE_SECONDS)
                while not await self.keep():
                    await self._services.clock.sleep(_RETRY_SECONDS)

    async def keep(self) -> bool:
        """Whether all of it is there."""
        async with self._turn:
            await self._keep_kubernetes()
            return not self._options.dns_address or await self._keep_names()

    async def _keep_kubernetes(self) -> None:
        options = self._options
        service = _service(
            KUBERNETES,
            {"component": "apiserver", "provider": "kubernetes"},
            first_address(options.service_cidr),
            [_https(targetPort=options.advertise_port, port=443)],
        )
        await self._writes.create_or_update(resources.SERVICES, service, _with_ports_of(service))
        if ipaddress.ip_address(options.advertise_address).is_loopback:
            # Nobody else could reach this server there: the Service has an address and leads nowhere.
            return
        await self._keep_backends(KUBERNETES, options.advertise_address, [_https(port=options.advertise_port)])

    async def _keep_names(self) -> bool:
        address = self._options.dns_address
        labels = {
            "k8s-app": "kube-dns",
            "kubernetes.io/cluster-service": "true",
            "kubernetes.io/name": "CoreDNS",
        }
        service = _service(NAMES, labels, address, [{**port, "targetPort": port["port"]} for port in DNS_PORTS])
        service["metadata"]["annotations"] = {"prometheus.io/port": "9153", "prometheus.io/scrape": "true"}
        try:
            await self._writes.create(resources.SERVICES, service)
        except errors.StatusError as error:
            # A store of before: the address was given to somebody. Names are answered there all the same.
            log.error("the Service of the cluster's names cannot be made: %s", error)
            return False
        spec = (self._services.objects.get(resources.SERVICES, *NAMES) or {}).get("spec") or {}
        if spec.get("clusterIP") == address and not spec.get("selector"):
            await self._writes.update(resources.SERVICES, *NAMES, _with_ports_of(service))
            await self._keep_backends(NAMES, address, DNS_PORTS)
        return True

    async def _keep_backends(self, owner: Owner, address: str, ports: Sequence[Object]) -> None:
        namespace, name = owner
        metadata: Object = {"name": name, "namespace": namespace}
        endpoints = {
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": {**metadata, "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
            "subsets": [{"addresses": [{"ip": address}], "ports": [dict(port) for port in ports]}],
        }
        await self._writes.create_or_update(
            resources.ENDPOINTS, endpoints, functools.partial(_with, endpoints, ("subsets",))
        )
        found = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {**metadata, "labels": {"kubernetes.io/service-name": name}},
            "addressType": f"IPv{ipaddress.ip_address(address).version}",
            "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
            "ports": [dict(port) for port in ports],
        }
        await self._writes.create_or_update(
            resources.ENDPOINT_SLICES, found, functools.partial(_with, found, ("endpoints", "ports"))
        )


def _service(owner: Owner, labels: dict[str, str], address: str, ports: Sequence[Object]) -> Object:
    namespace, name = owner
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"type": "ClusterIP", "clusterIP": address, "ports": list(ports), "sessionAffinity": "None"},
    }


def _https(**fields: Any) -> Object:
    return {"name": "https", "protocol": "TCP", **fields}


def _with_ports_of(service: Object) -> Callable[[Object], Object | None]:
    ports = service["spec"]["ports"]

    def make(present: Object) -> Object | None:
        if present["spec"].get("ports") == ports:
            return None
        return {**present, "spec": {**present["spec"], "ports": ports}}

    return make


def _with(wanted: Object, fields: Sequence[str], present: Object) -> Object | None:
    """`present` with these fields as they are wanted; None where they are so already."""
    made = {**present, **{field: wanted[field] for field in fields}}
    return None if made == present else made
