"""What a plan may look at: the caches of the resources that its controller reads, and nothing else."""

from collections.abc import Mapping, Sequence
from typing import Any

from pinnace.api import resources
from pinnace.client import cache

Object = dict[str, Any]


class View:
    """Objects are shared and may be stale; never change them. `live` is what the controller's `observe` found for the key."""

    __slots__ = ("_caches", "live")

    def __init__(self, caches: Mapping[resources.Resource, cache.Cache], live: Any = None) -> None:
        self._caches = caches
        self.live = live

    def get(self, resource: resources.Resource, namespace: str | None, name: str) -> Object | None:
        return self._caches[resource].get(namespace, name)

    def list(self, resource: resources.Resource, namespace: str | None = None) -> Sequence[Object]:
        return self._caches[resource].list(namespace)

    def by_index(self, resource: resources.Resource, index: str, value: str) -> Sequence[Object]:
        return self._caches[resource].by_index(index, value)

    def index_values(self, resource: resources.Resource, index: str) -> Sequence[str]:
        """Every value that some object has under the index."""
        return self._caches[resource].index_values(index)

    def with_live(self, live: Any) -> "View":
        return View(self._caches, live)


Index = tuple[resources.Resource, str, cache.IndexFunction]
