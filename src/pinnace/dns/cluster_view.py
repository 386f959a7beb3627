"""The names' view of the cluster: over the informers that the node's proxy keeps anyway, and the namespaces."""

from collections.abc import Sequence

from pinnace.client import client, informer
from pinnace.dns import records

BY_CLUSTER_IP = "cluster-ip"
BY_ENDPOINT = "endpoint"
BY_SERVICE = "service"


def cluster_ips(service: client.Object) -> list[str]:
    """Index of the Services' informer."""
    return [address for address in service.get("spec", {}).get("clusterIPs") or () if address != "None"]


def endpoint_addresses(piece: client.Object) -> list[str]:
    """Index of the slices' informer."""
    return [address for endpoint in piece.get("endpoints") or () for address in endpoint["addresses"]]


class ClusterView:
    """A `records.View`. `services` has the index BY_CLUSTER_IP, `slices` BY_ENDPOINT and BY_SERVICE."""

    def __init__(self, services: informer.Informer, slices: informer.Informer, namespaces: informer.Informer) -> None:
        self._services = services
        self._slices = slices
        self._namespaces = namespaces
        self._generation = 0
        services.add_handler(self._on_change)
        slices.add_handler(self._on_change)
        namespaces.add_handler(self._on_namespace)

    @property
    def generation(self) -> int:
        return self._generation

    @property
    def is_synced(self) -> bool:
        return self._services.is_synced and self._slices.is_synced and self._namespaces.is_synced

    def _on_change(self, old: client.Object | None, new: client.Object | None) -> None:
        self._generation += 1

    def _on_namespace(self, old: client.Object | None, new: client.Object | None) -> None:
        if old is None or new is None:
            self._generation += 1

    def service(self, namespace: str, name: str) -> records.Object | None:
        return self._services.get(namespace, name)

    def slices(self, namespace: str, service: str) -> Sequence[records.Object]:
        return self._slices.by_index(BY_SERVICE, f"{namespace}/{service}")

    def has_namespace(self, namespace: str) -> bool:
        return self._namespaces.get(None, namespace) is not None

    def services_at(self, address: str) -> Sequence[records.Object]:
        return self._services.by_index(BY_CLUSTER_IP, address)

    def slices_with(self, address: str) -> Sequence[records.Object]:
        return self._slices.by_index(BY_ENDPOINT, address)
