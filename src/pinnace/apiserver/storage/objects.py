"""Kinds over the store: where an object lies, and reads of the objects that the server itself looks at."""

from collections.abc import Iterator, Sequence

from pinnace.api import kinds, resources
from pinnace.apiserver.storage import envelope
from pinnace.store import interface

Object = envelope.Object


class Objects:
    def __init__(self, store: interface.Store, registry: kinds.Registry) -> None:
        self.store = store
        self.registry = registry

    def kind(self, resource: resources.Resource) -> kinds.Kind:
        """Raises KeyError where the registry does not have it."""
        found = self.registry.by_path(resource.group, resource.version, resource.plural)
        if found is None:
            raise KeyError(resource)
        return found

    def record(self, resource: resources.Resource, namespace: str, name: str) -> interface.Record | None:
        return self.store.get(kinds.storage_key(self.kind(resource), namespace, name))

    def get(self, resource: resources.Resource, namespace: str, name: str) -> Object | None:
        """The newest state, shared by all readers: never change it."""
        found = self.record(resource, namespace, name)
        return envelope.shared(found) if found is not None else None

    def records(self, resource: resources.Resource, namespace: str = "") -> Sequence[interface.Record]:
        prefix = kinds.storage_prefix(self.kind(resource))
        return self.store.range(f"{prefix}{namespace}/" if namespace else prefix).records

    def all(self, resource: resources.Resource, namespace: str = "") -> Iterator[Object]:
        """Shared objects: for kinds that are few and small."""
        return (envelope.shared(found) for found in self.records(resource, namespace))
