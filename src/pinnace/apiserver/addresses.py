"""Where the server reaches a Service of the cluster: what answers for webhooks and aggregated APIs is named by its Service."""

from typing import Protocol

from pinnace.api import errors, resources, services
from pinnace.apiserver.storage import objects


class Resolver(Protocol):
    def resolve(self, namespace: str, name: str, port: int) -> str:
        """`https://10.96.0.10:443` of a port of the Service. Raises StatusError 503."""
        ...


class ByClusterIp:
    """The Service's own address, behind which the proxy chooses an endpoint."""

    def __init__(self, stored: objects.Objects) -> None:
        self._objects = stored

    def resolve(self, namespace: str, name: str, port: int) -> str:
        service = self._objects.get(resources.SERVICES, namespace, name)
        if service is None:
            raise _unavailable(f'service "{name}" not found')
        spec = service["spec"]
        if spec.get("type") == "ExternalName":
            return _url(spec.get("externalName", ""), port)
        if services.is_headless(spec):
            raise _unavailable('cannot route to service with ClusterIP "None"')
        if not any(each.get("port") == port for each in spec.get("ports") or ()):
            raise _unavailable(f'no service port {port} found for service "{name}"')
        return _url(spec["clusterIP"], port)


def _url(host: str, port: int) -> str:
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


def _unavailable(why: str) -> errors.StatusError:
    return errors.StatusError(503, "ServiceUnavailable", why)
