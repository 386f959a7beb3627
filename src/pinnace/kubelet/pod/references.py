"""The config maps and secrets that pods of this node name: one watch per object, shared by its pods, and none besides.

A node may read only what its pods refer to, so each object is watched by its own name.
"""

import asyncio
import dataclasses
from collections.abc import Callable

from pinnace.api import resources
from pinnace.client import client, informer
from pinnace.kit import clock, tasks, waiting
from pinnace.kubelet.pod import environment, podspec

RESOURCES = {"configmap": resources.CONFIG_MAPS, "secret": resources.SECRETS}
SYNC_SECONDS = 10.0
"""How long a first look at an object may take before it counts as a failure."""

Key = tuple[str, environment.Reference]


class NotSynced(Exception):
    """The API server gave no answer about the object yet."""


@dataclasses.dataclass(slots=True)
class _Watched:
    source: informer.Informer
    task: asyncio.Task[None]
    users: dict[str, Callable[[], None]]
    """Pod uid -> called when the object changes."""


class References:
    def __init__(self, api: client.Client, time: clock.Clock, supervisor: tasks.Supervisor) -> None:
        self._api = api
        self._clock = time
        self._supervisor = supervisor
        self._watched: dict[Key, _Watched] = {}

    def use(
        self,
        uid: str,
        namespace: str,
        wanted: frozenset[environment.Reference],
        on_change: Callable[[], None],
    ) -> None:
        """From now on the pod `uid` uses exactly these objects; `on_change` is called when one of them changes."""
        keys = {(namespace, reference) for reference in wanted}
        for key, watched in list(self._watched.items()):
            if uid in watched.users and key not in keys:
                self._leave(key, uid)
        for key in keys:
            watched = self._watched.get(key) or self._watch(key)
            watched.users[uid] = on_change

    def release(self, uid: str) -> None:
        for key, watched in list(self._watched.items()):
            if uid in watched.users:
                self._leave(key, uid)

    def peek(self, namespace: str, reference: environment.Reference) -> client.Object | None:
        """What is known now; None: there is no such object (or it was not looked at yet: see `wait_synced`)."""
        watched = self._watched.get((namespace, reference))
        return None if watched is None else watched.source.get(namespace, reference.name)

    async def get(self, namespace: str, reference: environment.Reference) -> podspec.Object | None:
        """None: there is no such object. Raises NotSynced."""
        await self._wait_synced((namespace, reference))
        return self.peek(namespace, reference)

    async def wait_synced(self, uid: str) -> None:
        """Returns once everything that the pod `uid` uses was looked at. Raises NotSynced."""
        keys = [key for key, watched in self._watched.items() if uid in watched.users]
        await asyncio.gather(*(self._wait_synced(key) for key in keys))

    def _watch(self, key: Key) -> _Watched:
        namespace, reference = key
        source = informer.Informer(
            self._api,
            RESOURCES[reference.kind],
            self._clock,
            namespace=namespace,
            field_selector=f"metadata.name={reference.name}",
        )
        watched = _Watched(
            source, self._supervisor.spawn(f"watch {reference.kind} {namespace}/{reference.name}", source.run()), {}
        )

        def changed(old: client.Object | None, new: client.Object | None) -> None:
            if not source.is_synced:
                return  # The first look; those who need it wait for it.
            for call in list(watched.users.values()):
                call()

        source.add_handler(changed)
        self._watched[key] = watched
        return watched

    def _leave(self, key: Key, uid: str) -> None:
        watched = self._watched[key]
        del watched.users[uid]
        if not watched.users:
            del self._watched[key]
            watched.task.cancel()

    async def _wait_synced(self, key: Key) -> None:
        watched = self._watched.get(key)
        if watched is None:
            raise NotSynced(f"object {key[0]!r}/{key[1].name!r} not registered")
        if watched.source.is_synced:
            return
        synced = asyncio.ensure_future(watched.source.wait_synced())
        try:
            await waiting.wait_ended(synced, self._clock, SYNC_SECONDS)
        finally:
            synced.cancel()
        if not watched.source.is_synced:
            raise NotSynced(f"failed to sync {key[1].kind} cache: timed out waiting for the condition")
