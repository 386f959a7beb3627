"""Where the proxies may connect to: pods of the namespace, at addresses that are pods' own.

Who may write a pod's status or an EndpointSlice chooses the addresses in them, and the API server stands where others do not: on the host,
beside the kubelet, the store and everything that listens on loopback alone. So an address must be able to be a pod's, and an endpoint counts
only if the pod that it refers to is there and has it.
"""

import ipaddress
from collections.abc import Iterator
from typing import Any

from pinnace.api import errors, resources
from pinnace.apiserver.storage import objects

Object = dict[str, Any]

_LAST_PORT = 65535


def check_address(address: str) -> None:
    """Raises 400 for what no pod has: loopback, link-local, multicast, unspecified, and no address at all."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        raise errors.bad_request(f"{address!r} is not an IP address") from None
    mapped = getattr(found, "ipv4_mapped", None)
    if is_forbidden(mapped or found):
        raise errors.bad_request("address not allowed")


def is_forbidden(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified


def check_port(port: str) -> None:
    """Raises 400, 503."""
    if not (port.isascii() and port.isdecimal()):
        # Names of ports belong to Services; a pod is spoken to by number, as upstream has it.
        raise _unreachable(f"dial tcp: lookup tcp/{printable(port)}: unknown port")
    if len(port) > 5 or not 0 < int(port) <= _LAST_PORT:
        raise _unreachable(f"dial tcp: address {printable(port)}: invalid port")


def printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text[:64])


def pod_address(stored: objects.Objects, pod: Object) -> str:
    """Of a pod that is to be spoken to. Raises 400, 503."""
    address = (pod.get("status") or {}).get("podIP")
    if not address:
        raise errors.StatusError(503, "ServiceUnavailable", f"pod {pod['metadata']['name']} has no address yet")
    check_address(address)
    if not (pod.get("spec") or {}).get("hostNetwork") and address in _of_nodes(stored):
        raise errors.bad_request("address not allowed")
    return str(address)


def _of_nodes(stored: objects.Objects) -> set[str]:
    return {
        each.get("address", "")
        for node in stored.all(resources.NODES)
        for each in (node.get("status") or {}).get("addresses") or ()
    }


def endpoints(stored: objects.Objects, namespace: str, service: str, port_name: str) -> Iterator[tuple[str, int]]:
    """(address, port) of the service's endpoints that are ready and are pods of this namespace."""
    for item in stored.all(resources.ENDPOINT_SLICES, namespace):
        if (item["metadata"].get("labels") or {}).get("kubernetes.io/service-name") != service:
            continue
        numbers = [port["port"] for port in item.get("ports") or () if (port.get("name") or "") == port_name]
        for endpoint in item.get("endpoints") or ():
            if (endpoint.get("conditions") or {}).get("ready") is not False:
                for address in _own(stored, namespace, endpoint):
                    yield from ((address, number) for number in numbers if number)


def _own(stored: objects.Objects, namespace: str, endpoint: Object) -> Iterator[str]:
    """The addresses that the endpoint's pod has indeed."""
    reference = endpoint.get("targetRef") or {}
    if reference.get("kind") != "Pod" or reference.get("namespace") not in (None, "", namespace):
        return
    pod = stored.get(resources.PODS, namespace, reference.get("name", ""))
    if pod is None or reference.get("uid") not in (None, "", pod["metadata"].get("uid")):
        return
    try:
        pod_address(stored, pod)
    except errors.StatusError:
        return
    status = pod.get("status") or {}
    known = {status.get("podIP"), *(each.get("ip") for each in status.get("podIPs") or ())}
    for address in endpoint.get("addresses") or ():
        if address in known:
            try:
                check_address(address)
            except errors.StatusError:
                continue
            yield address


def _unreachable(why: str) -> errors.StatusError:
    return errors.StatusError(503, "ServiceUnavailable", f"error trying to reach service: {why}")
