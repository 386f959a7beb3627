"""Services get their addresses and node ports, and give them back when the write fails or the Service goes."""

import copy
import functools
from collections.abc import Iterator
from typing import Any

import orjson

from pinnace.api import errors, resources, services
from pinnace.api.validation import formats
from pinnace.apiserver.admission import attributes as admission
from pinnace.apiserver.keepers import allocators, node_ports
from pinnace.apiserver.storage import objects

Object = dict[str, Any]
Owner = allocators.Owner


class ServiceAllocation:
    """The last of the mutating plug-ins: what it sees is what will be."""

    def __init__(self, stored: objects.Objects, addresses: allocators.Addresses, ports: node_ports.NodePorts) -> None:
        self._objects = stored
        self._addresses = addresses
        self._ports = ports

    async def mutate(self, attributes: admission.Attributes) -> None:
        if attributes.operation == "DELETE":
            if node_ports.ports_of(attributes.old or {}):
                attributes.claims.append(functools.partial(self._claim_ports, attributes, set()))
            self._release_after(attributes)
            return
        service = attributes.obj
        assert service is not None
        spec = service.setdefault("spec", {})
        if attributes.old is None:
            services.normalize(spec)
        else:
            services.carry_over(spec, copy.deepcopy(attributes.old.get("spec") or {}))
        owner = (attributes.namespace, service["metadata"].get("name", ""))
        causes = self._set_families(spec)
        if not causes:
            causes = await self._set_addresses(attributes, spec, owner)
        if not causes:
            causes = self._set_ports(attributes, spec)
        if causes:
            raise errors.invalid("", "Service", owner[1], causes)
        chosen = self._fill_ports(spec)
        if node_ports.ports_of(service) != node_ports.ports_of(attributes.old or {}):
            attributes.claims.append(functools.partial(self._claim_ports, attributes, chosen))
        if attributes.old is not None:
            self._release_after(attributes)

    def _set_families(self, spec: Object) -> list[errors.Cause]:
        if not services.needs_cluster_ip(spec):
            return []
        own = self._addresses.family
        families = spec.setdefault("ipFamilies", [own])
        if not families:
            families.append(own)
        policy = spec.setdefault("ipFamilyPolicy", "RequireDualStack" if len(families) > 1 else "SingleStack")
        is_open = services.is_headless(spec) and not spec.get("selector")
        if is_open:
            if policy != "SingleStack" and len(families) < 2:
                families.append("IPv6" if families[0] == "IPv4" else "IPv4")
            return []
        if policy == "RequireDualStack":
            why = f'Invalid value: "{policy}": this cluster is not configured for dual-stack services'
            return [errors.Cause("FieldValueInvalid", why, "spec.ipFamilyPolicy")]
        return [
            errors.Cause(
                "FieldValueInvalid",
                f'Invalid value: "{family}": not configured on this cluster',
                f"spec.ipFamilies[{position}]",
            )
            for position, family in enumerate(families)
            if family != own
        ]

    async def _set_addresses(self, attributes: admission.Attributes, spec: Object, owner: Owner) -> list[errors.Cause]:
        had = ((attributes.old or {}).get("spec") or {}).get("clusterIPs") or []
        if not services.needs_cluster_ip(spec) or services.is_headless(spec):
            return []
        wanted = spec.get("clusterIPs") or []
        if wanted and wanted == had:
            return []
        if had and had[0] != services.HEADLESS and wanted != had:
            return []  # Validation says that it cannot be changed.
        if any(formats.parse_ip(address) is None for address in wanted):
            return []  # Validation says that it is no address.
        try:
            if wanted:
                for address in wanted:
                    await self._addresses.take(address, owner, dry_run=attributes.dry_run)
            else:
                wanted = [await self._addresses.take_any(owner, dry_run=attributes.dry_run)]
        except (allocators.Taken, allocators.OutOfRange) as error:
            shown = orjson.dumps(wanted).decode()
            why = f"Invalid value: {shown}: failed to allocate IP {wanted[0]}: {error}"
            return [errors.Cause("FieldValueInvalid", why, "spec.clusterIPs")]
        except allocators.Exhausted as error:
            raise errors.internal(f"failed to allocate a serviceIP: {error}") from None
        if not attributes.dry_run:
            for address in wanted:
                attributes.on_failure.append(functools.partial(self._addresses.release, address, owner))
        spec["clusterIP"], spec["clusterIPs"] = wanted[0], wanted
        return []

    def _set_ports(self, attributes: admission.Attributes, spec: Object) -> list[errors.Cause]:
        """Choose what is not said; it is had by the transaction that writes the Service (`_claim_ports`)."""
        if not services.needs_node_port(spec):
            return []
        had = node_ports.ports_of(attributes.old or {})
        for position, port in enumerate(spec.get("ports") or ()):
            number = port.get("nodePort")
            try:
                if number and number not in had:
                    self._ports.check_free(number)
            except (allocators.Taken, allocators.OutOfRange) as error:
                return [_wrong_port(f"spec.ports[{position}].nodePort", number, error)]
        return []

    def _fill_ports(self, spec: Object) -> set[int]:
        """Ports of one number with different protocols share a node port. Answers what was chosen."""
        if not services.needs_node_port(spec):
            return set()
        used = node_ports.ports_of({"spec": spec})
        chosen: set[int] = set()
        by_port = {port.get("port"): port["nodePort"] for port in spec.get("ports") or () if port.get("nodePort")}
        for port in spec.get("ports") or ():
            if port.get("nodePort"):
                continue
            if port.get("port") not in by_port:
                by_port[port.get("port")] = self._any_port(used, chosen)
            port["nodePort"] = by_port[port.get("port")]
        if services.needs_health_check_port(spec) and not spec.get("healthCheckNodePort"):
            spec["healthCheckNodePort"] = self._any_port(used, chosen)
        return chosen

    def _any_port(self, used: set[int], chosen: set[int]) -> int:
        try:
            port = self._ports.pick(used | chosen)
        except allocators.Exhausted as error:
            raise errors.internal(f"failed to allocate a nodePort: {error}") from None
        chosen.add(port)
        return port

    def _claim_ports(self, attributes: admission.Attributes, chosen: set[int]) -> list[objects.Claim]:
        """Right before the commit: what was chosen and has gone to another meanwhile is chosen anew. Raises Invalid for what was asked for."""
        service, old = attributes.obj or {}, node_ports.ports_of(attributes.old or {})
        wanted = node_ports.ports_of(service)
        try:
            return self._ports.claim(wanted - old, old - wanted)
        except allocators.Taken:
            spec = service["spec"]
            lost = self._ports.taken(wanted - old)
            causes = [_wrong_port(path, number) for path, number in _said(spec) if number in lost - chosen]
            if causes:
                raise errors.invalid("", "Service", service["metadata"].get("name", ""), causes) from None
            for port in (*spec.get("ports", ()), spec):
                for field in ("nodePort", "healthCheckNodePort"):
                    if port.get(field) in lost:
                        del port[field]
            chosen |= self._fill_ports(spec)
            return self._claim_ports(attributes, chosen)

    def _release_after(self, attributes: admission.Attributes) -> None:
        """Once the write is in: what the Service had and has no more is free."""
        old = attributes.old or {}
        owner = (attributes.namespace, attributes.name)

        async def release() -> None:
            now = self._objects.get(resources.SERVICES, *owner) or {}
            kept = (now.get("spec") or {}).get("clusterIPs") or ()
            for address in (old.get("spec") or {}).get("clusterIPs") or ():
                if address != services.HEADLESS and address not in kept:
                    await self._addresses.release(address, owner)

        attributes.on_success.append(release)


def _said(spec: Object) -> Iterator[tuple[str, int]]:
    """Where a Service says which node ports."""
    for position, port in enumerate(spec.get("ports") or ()):
        yield f"spec.ports[{position}].nodePort", port.get("nodePort") or 0
    yield "spec.healthCheckNodePort", spec.get("healthCheckNodePort") or 0


def _wrong_port(path: str, number: int, why: object = "provided port is already allocated") -> errors.Cause:
    return errors.Cause("FieldValueInvalid", f"Invalid value: {number}: {why}", path)


class AddressInUse:
    """An IPAddress that is deleted while its Service lives comes back, or the address could be given out a second time."""

    def __init__(self, addresses: allocators.Addresses) -> None:
        self._addresses = addresses

    async def mutate(self, attributes: admission.Attributes) -> None:
        parent = ((attributes.old or {}).get("spec") or {}).get("parentRef") or {}
        if (parent.get("group") or "", parent.get("resource")) != ("", "services"):
            return
        owner = (parent.get("namespace") or "", parent.get("name") or "")
        attributes.on_success.append(functools.partial(self._addresses.restore, attributes.name, owner))
