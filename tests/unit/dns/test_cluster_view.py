"""The view over caches: every change of theirs is a new generation, and is seen at once."""

from typing import Any

from pinnace.client import cache
from pinnace.dns import cluster_view

Object = dict[str, Any]


class Told(cache.Cache):
    """An informer that is told what happens."""

    def __init__(self) -> None:
        super().__init__()
        self._handlers: list[Any] = []
        self.is_synced = True

    def add_handler(self, handler: Any) -> None:
        self._handlers.append(handler)

    def change(self, key: cache.Key, obj: Object | None) -> None:
        old = self.set(key, obj)
        for handler in self._handlers:
            handler(old, obj)


def test_changes_of_services_and_slices_are_new_generations() -> None:
    services, slices, namespaces = Told(), Told(), Told()
    services.add_index(cluster_view.BY_CLUSTER_IP, cluster_view.cluster_ips)
    slices.add_index(cluster_view.BY_ENDPOINT, cluster_view.endpoint_addresses)
    view = cluster_view.ClusterView(services, slices, namespaces)  # type: ignore[arg-type]
    seen = [view.generation]
    metadata = {"namespace": "shop", "name": "web"}
    services.change(("shop", "web"), {"metadata": metadata, "spec": {"clusterIPs": ["10.43.0.5"]}})
    seen.append(view.generation)
    assert [one["metadata"] for one in view.services_at("10.43.0.5")] == [metadata]
    slices.change(("shop", "web-x"), {"metadata": metadata, "endpoints": [{"addresses": ["10.42.0.3"]}]})
    seen.append(view.generation)
    assert view.slices_with("10.42.0.3")
    services.change(("shop", "web"), None)
    seen.append(view.generation)
    namespaces.change(("", "bare"), {"metadata": {"name": "bare"}})
    seen.append(view.generation)
    assert (view.has_namespace("bare"), view.has_namespace("shop")) == (True, False)
    assert len(set(seen)) == 5
    namespaces.change(("", "bare"), {"metadata": {"name": "bare", "labels": {"a": "b"}}})
    assert view.generation == seen[-1]
    assert view.is_synced
    namespaces.is_synced = False
    assert not view.is_synced
