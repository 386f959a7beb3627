"""The way to a node's kubelet: its address, and what a request says of a pod and its containers."""

import ipaddress
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

from pinnace.api import errors, resources
from pinnace.api.validation import formats
from pinnace.apiserver import context as contexts
from pinnace.apiserver import proxying
from pinnace.apiserver.storage import envelope

Object = dict[str, Any]

_ADDRESS_TYPES = ("InternalIP", "ExternalIP", "Hostname", "InternalDNS")
_DEFAULT_PORT = 10250


def node_url(context: contexts.Context, name: str) -> str:
    """`https://address:port` of a node's kubelet. Raises 404, 503."""
    node = context.services.objects.get(resources.NODES, "", name)
    if node is None:
        raise errors.not_found("", "nodes", name)
    status = node.get("status") or {}
    by_type = {address.get("type"): address.get("address") for address in status.get("addresses") or ()}
    address = next((by_type[kind] for kind in _ADDRESS_TYPES if by_type.get(kind)), "")
    if not address:
        raise errors.StatusError(
            503, "ServiceUnavailable", f"no preferred addresses found; known addresses: {list(by_type)}"
        )
    _check(address)
    port = ((status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}).get("Port") or _DEFAULT_PORT
    return f"https://{proxying.bracketed(address)}:{port}"


def _check(address: str) -> None:
    """A node tells its own address. It may be this machine, whatever the machine is called; a kubelet proves itself by its certificate.

    Raises 400 for what is no node's, and for what would not be one host in the URL."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        if formats.dns_subdomain(address.lower()):
            raise errors.bad_request("address not allowed") from None
        return
    if found.is_link_local or found.is_multicast or found.is_unspecified:
        raise errors.bad_request("address not allowed")


def pod_of(context: contexts.Context) -> Object:
    record = context.services.objects.record(resources.PODS, context.namespace, context.name)
    if record is None:
        raise context.not_found()
    return envelope.parse(record)


def container_of(context: contexts.Context, pod: Object) -> str:
    """The container that is meant; the only one when none is named. Raises 400."""
    spec = pod.get("spec") or {}
    wanted = context.query.text("container")
    main = [container["name"] for container in spec.get("containers") or ()]
    others = [
        container["name"] for field in ("initContainers", "ephemeralContainers") for container in spec.get(field) or ()
    ]
    if wanted:
        if wanted not in (*main, *others):
            raise errors.bad_request(f"container {wanted} is not valid for pod {context.name}")
        return wanted
    if len(main) == 1:
        return str(main[0])
    text = f"a container name must be specified for pod {context.name}, choose one of: [{' '.join(main)}]"
    init = [container["name"] for container in spec.get("initContainers") or ()]
    if init:
        text += f" or one of the init containers: [{' '.join(init)}]"
    raise errors.bad_request(text)


def encoded(values: Mapping[str, Sequence[str]], names: Sequence[str]) -> str:
    """A query string of the parameters `names`, as far as they were given."""
    return urllib.parse.urlencode([(name, value) for name in names for value in values.get(name, ())])
