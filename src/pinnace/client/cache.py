"""Objects by namespace and name, and by whatever else their users look for. No I/O, no clock."""

import itertools
from collections.abc import Callable, Iterable, Sequence

from pinnace.client import client

IndexFunction = Callable[[client.Object], Iterable[str]]
Key = tuple[str, str]
"""(namespace or "", name)"""


def key_of(obj: client.Object) -> Key:
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


class _Index:
    def __init__(self, function: IndexFunction) -> None:
        self._function = function
        self._values: dict[str, dict[Key, client.Object]] = {}

    def change(self, key: Key, old: client.Object | None, new: client.Object | None) -> None:
        after = set(self._function(new)) if new is not None else set()
        for value in set(self._function(old)) - after if old is not None else ():
            members = self._values[value]
            del members[key]
            if not members:
                del self._values[value]
        if new is not None:
            for value in after:
                self._values.setdefault(value, {})[key] = new

    def get(self, value: str) -> Sequence[client.Object]:
        return tuple(self._values.get(value, {}).values())

    def values(self) -> Sequence[str]:
        return tuple(self._values)


class Cache:
    """Objects handed out are shared: never change them."""

    def __init__(self) -> None:
        self._objects: dict[str, dict[str, client.Object]] = {}
        self._indexes: dict[str, _Index] = {}

    def add_index(self, name: str, function: IndexFunction) -> None:
        """`function` must be pure. Filled at once from what is there; several owners may add the same name."""
        if name in self._indexes:
            return
        index = self._indexes[name] = _Index(function)
        for obj in self.list():
            index.change(key_of(obj), None, obj)

    def get(self, namespace: str | None, name: str) -> client.Object | None:
        return self._objects.get(namespace or "", {}).get(name)

    def list(self, namespace: str | None = None) -> Sequence[client.Object]:
        """Of one namespace, or all."""
        if namespace:
            return tuple(self._objects.get(namespace, {}).values())
        return tuple(itertools.chain.from_iterable(objects.values() for objects in self._objects.values()))

    def by_index(self, name: str, value: str) -> Sequence[client.Object]:
        return self._indexes[name].get(value)

    def index_values(self, name: str) -> Sequence[str]:
        """Every value that some object has under the index."""
        return self._indexes[name].values()

    def set(self, key: Key, new: client.Object | None) -> client.Object | None:
        """Put `new` at `key`, or remove what is there (None). Returns what was there."""
        namespace, name = key
        old = self.get(namespace, name)
        if new is not None:
            self._objects.setdefault(namespace, {})[name] = new
        elif old is not None:
            del self._objects[namespace][name]
            if not self._objects[namespace]:
                del self._objects[namespace]
        for index in self._indexes.values():
            index.change(key, old, new)
        return old
