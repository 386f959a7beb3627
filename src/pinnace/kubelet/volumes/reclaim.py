"""Local volumes that are being deleted: their folder goes, then their finalizer. One that is still bound is left alone,
and one whose policy is Retain keeps its folder.

The provisioner marks its volumes with a finalizer and an annotation that names the node; only that node can remove the folder.
"""

import asyncio
import logging
import pathlib
from collections.abc import Sequence

from pinnace.api import resources
from pinnace.client import client, informer
from pinnace.kernel import paths
from pinnace.kit import clock, tasks, workqueue
from pinnace.kubelet import settings as settings_module
from pinnace.kubelet.volumes import persistent

log = logging.getLogger(__name__)


PROTECTION = "kubernetes.io/pv-protection"
"""Finalizer of every volume, taken away when no claim is bound to it."""


def is_given_up(volume: client.Object, settings: settings_module.Settings) -> bool:
    """Of this node, being deleted, and bound to no claim: only now may its data go."""
    metadata = volume["metadata"]
    finalizers = metadata.get("finalizers") or ()
    if not metadata.get("deletionTimestamp") or persistent.LOCAL_VOLUME not in finalizers:
        return False
    return PROTECTION not in finalizers and is_on_node(volume, settings.node_name)


def folder_to_remove(volume: client.Object, settings: settings_module.Settings) -> pathlib.Path | None:
    """The folder of a volume that is given up; None: not ours to remove."""
    metadata, spec = volume["metadata"], volume["spec"]
    if not is_given_up(volume, settings):
        return None
    path = pathlib.Path(str((spec.get("local") or spec.get("hostPath") or {}).get("path", "")))
    if ".." in path.parts or path == settings.volumes_dir or not path.is_relative_to(settings.volumes_dir):
        log.error("volume %s: %s is not below %s; not removed", metadata["name"], path, settings.volumes_dir)
        return None
    return path


def is_on_node(volume: client.Object, node_name: str) -> bool:
    annotation = (volume["metadata"].get("annotations") or {}).get(persistent.LOCAL_VOLUME)
    if annotation == node_name:
        return True
    terms = ((volume["spec"].get("nodeAffinity") or {}).get("required") or {}).get("nodeSelectorTerms") or ()
    return any(
        expression.get("key") == "kubernetes.io/hostname" and node_name in (expression.get("values") or ())
        for term in terms
        for expression in term.get("matchExpressions") or ()
    )


def without_finalizer(finalizers: Sequence[str]) -> list[str]:
    return [name for name in finalizers if name != persistent.LOCAL_VOLUME]


class Reclaim:
    def __init__(self, api: client.Client, time: clock.Clock, settings: settings_module.Settings) -> None:
        self._api = api
        self._clock = time
        self._settings = settings
        self._volumes = informer.Informer(api, resources.PERSISTENT_VOLUMES, time)
        self._queue: workqueue.WorkQueue[str] = workqueue.WorkQueue(time)

    async def run(self) -> None:
        """For ever."""

        def changed(old: client.Object | None, new: client.Object | None) -> None:
            if new is not None and new["metadata"].get("deletionTimestamp"):
                self._queue.add(new["metadata"]["name"])

        self._volumes.add_handler(changed)
        async with tasks.Supervisor(self._clock) as supervisor:
            supervisor.start("persistentvolumes informer", self._volumes.run)
            while True:
                await self._handle(await self._queue.get())

    async def _handle(self, name: str) -> None:
        try:
            await self.reclaim(name)
            self._queue.forget(name)
        except (client.ApiError, OSError) as error:
            log.info("volume %s not reclaimed yet: %s", name, error)
            self._queue.retry(name)
        finally:
            self._queue.done(name)

    async def reclaim(self, name: str) -> None:
        """Raises ApiError, OSError."""
        volume = self._volumes.get(None, name)
        if volume is None or not is_given_up(volume, self._settings):
            return
        if volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete":
            path = folder_to_remove(volume, self._settings)
            if path is None:
                return
            await asyncio.to_thread(paths.remove_tree, path)
        metadata = {
            "resourceVersion": volume["metadata"]["resourceVersion"],
            "finalizers": without_finalizer(volume["metadata"]["finalizers"]),
        }
        try:
            await self._api.patch(resources.PERSISTENT_VOLUMES, None, name, {"metadata": metadata})
        except client.NotFound:
            return
