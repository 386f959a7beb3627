"""The only way to objects: what is read, watched and written goes through here, and nothing else of the API server knows keys or the store.

An object is `Stored`: its bytes as readers get them, with what readers computed of them beside. `create`, `guaranteed_update` and `delete` are
what a caller mostly wants; `guaranteed`, `replace` and `remove` are what they are made of, for those whose decision takes more than a
function: admission, say. Always: a write lands on the state that it was decided on, or is decided again.
"""

import asyncio
import dataclasses
import weakref
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TypeVar

from pinnace.api import errors, kinds, resources
from pinnace.apiserver.storage import conversion, decoded, envelope
from pinnace.store import interface

Object = envelope.Object
T = TypeVar("T")

Stored = interface.Record
"""An object as it lies in the store. `value`: its bytes, stamped with their resourceVersion."""
Change = interface.Event
"""Of a watch."""
Page = interface.Page
Watch = interface.Watch
Compacted = interface.Compacted
FutureRevision = interface.FutureRevision
WatcherTooSlow = interface.WatcherTooSlow

ATTEMPTS = 100
"""Of a write, against others who are faster each time."""
_EVERYTHING = "/registry/"


class Overtaken(Exception):
    """The object was changed or deleted by somebody else since it was read: decide again, on its newest state."""


@dataclasses.dataclass(frozen=True, slots=True)
class Claim:
    """Another object that changes with the one that is written: both or neither."""

    kind: kinds.Kind
    present: Stored
    obj: Object
    """In the place of `present`."""


Claims = Sequence[Callable[[], Sequence[Claim]]]
"""What is claimed, decided on the newest state right before the commit, and again when that has changed. May raise a StatusError."""


class Objects:
    def __init__(self, store: interface.Store, registry: kinds.Registry) -> None:
        self._store = store
        self.registry = registry
        self.decoded = decoded.Decoded()
        self._turns: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    def kind(self, resource: resources.Resource) -> kinds.Kind:
        """Raises KeyError where the registry does not have it."""
        found = self.registry.by_path(resource.group, resource.version, resource.plural)
        if found is None:
            raise KeyError(resource)
        return found

    @property
    def revision(self) -> int:
        """The newest that readers see."""
        return self._store.revision

    async def wait_revision(self, revision: int) -> None:
        """Until everything up to `revision` can be read here."""
        await self._store.wait_revision(revision)

    # Reading. Nothing waits: the newest state lives in memory.

    def find(self, kind: kinds.Kind, namespace: str, name: str) -> Stored | None:
        return self._store.get(kinds.storage_key(kind, namespace, name))

    def record(self, resource: resources.Resource, namespace: str, name: str) -> Stored | None:
        return self.find(self.kind(resource), namespace, name)

    def get(self, resource: resources.Resource, namespace: str, name: str) -> Object | None:
        """The newest state, shared by all readers: never change it."""
        found = self.record(resource, namespace, name)
        return envelope.shared(found) if found is not None else None

    def list(
        self, kind: kinds.Kind, namespace: str = "", *, after: str = "", limit: int = 0, revision: int = 0
    ) -> Page:
        """Those of `namespace` ("": of all) whose path (`path`) comes after `after`, at most `limit` (0: all), as of `revision` (0: now).
        Raises Compacted, FutureRevision."""
        prefix = _prefix(kind, namespace)
        return self._store.range(prefix, after=prefix + after if after else "", limit=limit, revision=revision)

    def records(self, resource: resources.Resource, namespace: str = "") -> Sequence[Stored]:
        return self.list(self.kind(resource), namespace).records

    def all(self, resource: resources.Resource, namespace: str = "") -> Iterator[Object]:
        """Shared objects: for kinds that are few and small."""
        return (envelope.shared(found) for found in self.records(resource, namespace))

    def watch(self, kind: kinds.Kind, namespace: str, after: int) -> Watch:
        """Every change of the collection whose revision is greater than `after`. Raises Compacted, FutureRevision."""
        return self._store.watch(_prefix(kind, namespace), after)

    def watch_one(self, kind: kinds.Kind, namespace: str, name: str, after: int) -> Watch:
        """The same for whatever path begins with that of this object: look at `key`."""
        return self._store.watch(kinds.storage_key(kind, namespace, name), after)

    def watch_everything(self, after: int) -> Watch:
        """Every change of any kind."""
        return self._store.watch(_EVERYTHING, after)

    # Writing.

    async def create(self, kind: kinds.Kind, namespace: str, name: str, obj: Object, claims: Claims = ()) -> Stored:
        """Watchers in this process may be handed `obj` itself: it must hold nothing but what JSON holds, and nobody may change it from
        now on. Raises AlreadyExists, and what `claims` raise."""
        key = kinds.storage_key(kind, namespace, name)
        try:
            if claims:
                event = await self._write_with_claims(kind, namespace, key, 0, obj, claims)
                assert event.record is not None
                return event.record
            return await self._store.create(key, await self._encode(kind, key, obj))
        except interface.KeyExists:
            raise errors.already_exists(kind.group, kind.plural, name) from None
        finally:
            self.decoded.withdraw(key)

    async def guaranteed_update(
        self, kind: kinds.Kind, namespace: str, name: str, make: Callable[[Object], Object | None]
    ) -> Stored:
        """Replace the object by `make` of its present state (a fresh object, the callee's to change); None: it stays. What `make` raises ends
        it. Raises NotFound; Conflict where others were faster each time."""

        async def act(present: Stored) -> Stored:
            wanted = make(await conversion.parse(kind, present))
            return present if wanted is None else await self.replace(kind, present, wanted)

        return await self.guaranteed(kind, namespace, name, act)

    async def delete(self, kind: kinds.Kind, present: Stored) -> bool:
        """Whether it is gone: not where it has changed since."""
        try:
            await self.remove(kind, present)
        except Overtaken:
            return False
        return True

    async def guaranteed(self, kind: kinds.Kind, namespace: str, name: str, act: Callable[[Stored], Awaitable[T]]) -> T:
        """`act` on the present state, again for as long as it is overtaken. Raises NotFound, Conflict, and what `act` raises."""
        for _ in range(ATTEMPTS):
            present = self.find(kind, namespace, name)
            if present is None:
                raise errors.not_found(kind.group, kind.plural, name)
            try:
                return await act(present)
            except Overtaken:
                continue
        raise errors.conflict(kind.group, kind.plural, name, errors.OBJECT_MODIFIED)

    async def replace(self, kind: kinds.Kind, present: Stored, obj: Object, claims: Claims = ()) -> Stored:
        """`obj` in the place of `present`; of `obj` holds what `create` says. Raises Overtaken, and what `claims` raise."""
        key, revision = present.key, present.mod_revision
        try:
            if claims:
                namespace, _ = names(kind, present)
                event = await self._write_with_claims(kind, namespace, key, revision, obj, claims)
                assert event.record is not None
                return event.record
            return await self._store.update(key, await self._encode(kind, key, obj), revision)
        except (interface.RevisionMismatch, interface.KeyMissing):
            raise Overtaken from None
        finally:
            self.decoded.withdraw(key)

    async def remove(self, kind: kinds.Kind, present: Stored, claims: Claims = ()) -> bytes:
        """The last state, stamped with the revision at which it went. Raises Overtaken, and what `claims` raise."""
        try:
            if claims:
                namespace, _ = names(kind, present)
                event = await self._write_with_claims(kind, namespace, present.key, present.mod_revision, None, claims)
                return event.last_value
            return (await self._store.delete(present.key, present.mod_revision)).last_value
        except (interface.RevisionMismatch, interface.KeyMissing):
            raise Overtaken from None

    def turn(self, namespace: str) -> asyncio.Lock:
        """Held by whoever writes with claims in `namespace`: those of one server would only overtake each other. Nothing depends on it
        but speed; other servers do not know of it."""
        found = self._turns.get(namespace)
        if found is None:
            found = self._turns[namespace] = asyncio.Lock()
        return found

    async def _write_with_claims(
        self, kind: kinds.Kind, namespace: str, key: str, revision: int, obj: Object | None, claims: Claims
    ) -> Change:
        """One transaction. Whoever claims may change `obj` to what it got. Raises of the store's errors those about `key` itself."""
        async with self.turn(namespace):
            for _ in range(ATTEMPTS):
                claimed = [claim for decide in claims for claim in decide()]
                writes = [
                    interface.Write(key, await self._encode(kind, key, obj) if obj is not None else None, revision)
                ]
                for claim in claimed:
                    value = await conversion.encode(claim.kind, claim.obj)
                    writes.append(interface.Write(claim.present.key, value, claim.present.mod_revision))
                try:
                    return (await self._store.transact(writes))[0]
                except (interface.KeyExists, interface.RevisionMismatch, interface.KeyMissing) as error:
                    if error.key == key:
                        raise
                    continue
        kind, (_, name) = claimed[0].kind, names(claimed[0].kind, claimed[0].present)
        raise errors.conflict(kind.group, kind.plural, name, errors.OBJECT_MODIFIED)

    async def _encode(self, kind: kinds.Kind, key: str, obj: Object) -> bytes:
        value = await conversion.encode(kind, obj)
        if kind.rules.stored is None:
            self.decoded.offer(key, value, obj)
        return value


def _prefix(kind: kinds.Kind, namespace: str) -> str:
    prefix = kinds.storage_prefix(kind)
    return f"{prefix}{namespace}/" if namespace and kind.namespaced else prefix


def path(kind: kinds.Kind, namespace: str, stored: Stored) -> str:
    """Below the collection of `namespace` ("": of all): `name`, or `namespace/name`. Objects are listed in the order of their paths."""
    return stored.key[len(_prefix(kind, namespace)) :]


def is_of(kind: kinds.Kind, change: Change) -> bool:
    return change.key.startswith(kinds.storage_prefix(kind))


def key(kind: kinds.Kind, namespace: str, name: str) -> str:
    """The `key` of what is stored there and of its changes: to be compared, never taken apart."""
    return kinds.storage_key(kind, namespace, name)


def names(kind: kinds.Kind, found: Stored | Change) -> tuple[str, str]:
    """(namespace, name); the namespace is "" where the kind has none."""
    namespace, _, name = found.key[len(kinds.storage_prefix(kind)) :].rpartition("/")
    return namespace, name


def namespace_of(found: Stored | Change) -> str:
    """Of an object of any namespaced kind, whose key ends with `<namespace>/<name>`."""
    return found.key.rsplit("/", 2)[-2]
