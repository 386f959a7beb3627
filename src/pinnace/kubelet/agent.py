"""The node agent: watches the pods bound to this node and keeps one worker for each.

    kubelet = Kubelet(api, engine, network, time, settings, recorder)
    await kubelet.run()                       # for ever; engine and network are open

A restart changes nothing for containers: what the engine has is matched with pods by its labels, and each worker goes on from there.
"""

import asyncio
import collections
import contextlib
import functools
import itertools
import logging
import pathlib
from collections.abc import Awaitable, Callable, Sequence

from pinnace.api import resources
from pinnace.client import client, events, informer
from pinnace.engine import interface
from pinnace.kernel import paths
from pinnace.kit import clock, files, tasks
from pinnace.kubelet import settings as settings_module
from pinnace.kubelet.node import admission, facts, groups, housekeeping, registration
from pinnace.kubelet.pod import (
    backoffs,
    checks,
    containers,
    dependencies,
    hooks,
    images,
    model,
    podfiles,
    podspec,
    references,
    resizing,
    sandboxes,
    status,
    status_writer,
    worker,
)
from pinnace.kubelet.volumes import interface as volumes
from pinnace.kubelet.volumes import kernel_mounts, manager, reclaim
from pinnace.net import interface as net
from pinnace.web import client as web_client
from pinnace.web import tls

log = logging.getLogger(__name__)


class Kubelet:
    def __init__(
        self,
        api: client.Client,
        engine: interface.Engine,
        network: net.PodNetwork,
        time: clock.Clock,
        settings: settings_module.Settings,
        recorder: events.EventRecorder,
        *,
        mounts: volumes.Mounts | None = None,
        volumes_api: client.Client | None = None,
        checker: checks.Checker | None = None,
    ) -> None:
        """`mounts`: by system calls unless given. `checker`: probes and hooks go out from this machine unless given.
        `volumes_api`: who may list and update PersistentVolumes, which a node may not; without it the folders of deleted local
        volumes stay."""
        self.settings = settings
        self.engine = engine
        self.network = network
        self.time = time
        self.api = api
        self.recorder = recorder
        self.workers: dict[str, worker.PodWorker] = {}
        self.machine = facts.resources(settings)
        self.node = registration.NodeStatus(
            api, engine, time, settings, recorder, self.machine, lambda: self._nodes.get(None, settings.node_name)
        )
        self._groups = groups.Groups(engine, self.machine, time, self._admitted, self.node.tell)
        self.pods = informer.Informer(api, resources.PODS, time, field_selector=f"spec.nodeName={settings.node_name}")
        self._services = informer.Informer(api, resources.SERVICES, time)
        self._nodes = informer.Informer(
            api, resources.NODES, time, field_selector=f"metadata.name={settings.node_name}"
        )
        self._mounts = mounts or kernel_mounts.KernelMounts()
        self._volumes_api = volumes_api
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._finished: set[str] = set()
        """Pods that the API still has and this node has nothing of any more."""
        self._supervisor = tasks.Supervisor(time)
        self._http = web_client.HttpClient(context=tls.client_context(verify=False))
        self._writer = status_writer.StatusWriter(api, time, self._supervisor)
        self._shared = self._make_dependencies(checker or checks.Checker(engine, self._http))

    def _make_dependencies(self, checker: checks.Checker) -> dependencies.Dependencies:
        return dependencies.Dependencies(
            api=self.api,
            engine=self.engine,
            network=self.network,
            time=self.time,
            settings=self.settings,
            recorder=self.recorder,
            supervisor=self._supervisor,
            machine=self.machine,
            images=images.Images(self.engine, self.recorder, self.time),
            volumes=manager.Volumes(self._mounts),
            references=references.References(self.api, self.time, self._supervisor),
            checker=checker,
            hooks=hooks.Hooks(self.engine, checker, self.time),
            allocate=self._allocate,
            services=self._services,
            host_resolver=podfiles.parse_resolver(_read(pathlib.Path("/etc/resolv.conf"))),
            host_hosts=_read(pathlib.Path("/etc/hosts")),
        )

    # ------------------------------------------------------------ running

    async def run(self) -> None:
        """For ever. Leaving (cancelled) ends every loop and no container."""
        try:
            await self._run()
        finally:
            await self._supervisor.stop()
            await self._http.close()
            self.workers.clear()
            self._tasks.clear()

    async def _run(self) -> None:
        supervisor = self._supervisor
        # What is in them is for the pods alone: volumes that every user of a pod may write, and their output.
        files.close_folder(self.settings.data_dir)
        files.close_folder(self.settings.logs_dir, 0o750)
        changes = self.engine.events()
        for source in (self.pods, self._services, self._nodes):
            supervisor.start(f"{source.resource.plural} informer", source.run)
        await self.node.register()
        self.node.tell_starting()
        supervisor.start("node lease", self.node.run_lease)
        supervisor.start("groups of pods", self._groups.run)
        for source in (self.pods, self._services, self._nodes):
            await source.wait_synced()
        await self._adopt()
        self.pods.add_handler(self._on_pod)
        self._nodes.add_handler(self._on_node)
        self.node.set_health(registration.Health(is_ready=True))
        supervisor.start("node status", self.node.run_status)
        housekeeping.Housekeeping(self).start(supervisor)
        if self._volumes_api is not None:
            supervisor.start("reclaim volumes", reclaim.Reclaim(self._volumes_api, self.time, self.settings).run)
        async for event in changes:
            self._on_event(event)

    def _on_event(self, event: interface.ContainerEvent) -> None:
        if event.sandbox is None:
            return
        # A sandbox's id is its pod's uid, with an attempt behind it after a restart of the sandbox.
        found = self.workers.get(event.sandbox) or self.workers.get(event.sandbox.rpartition("-")[0])
        if found is not None:
            found.on_event(event)

    # ------------------------------------------------------------ what was there before

    async def _adopt(self) -> None:
        """Give every pod that the engine knows a worker, and take away what belongs to none."""
        found: dict[str, list[interface.Container]] = collections.defaultdict(list)
        for container in await self.engine.list():
            if uid := container.spec.labels.get(model.POD_UID_LABEL):
                found[uid].append(container)
        boxes: dict[str, list[interface.Sandbox]] = collections.defaultdict(list)
        for sandbox in await self.engine.list_sandboxes():
            if uid := sandbox.spec.labels.get(model.POD_UID_LABEL):
                boxes[uid].append(sandbox)
        addresses = {each.sandbox_id: str(each.address) for each in await self.network.attachments()}
        known = {podspec.uid(pod): pod for pod in self.pods.list()}
        for uid in {*found, *boxes}:
            await self._adopt_pod(known.get(uid), found[uid], boxes[uid], addresses)
        # What the engine still has that is no pod's (another front door's) keeps its address.
        await self.network.collect(frozenset(sandbox.id for sandbox in await self.engine.list_sandboxes()))
        await self._collect_folders({*known, *found, *boxes})

    async def _adopt_pod(
        self,
        pod: podspec.Object | None,
        found: Sequence[interface.Container],
        boxes: Sequence[interface.Sandbox],
        addresses: dict[str, str],
    ) -> None:
        boxes = sorted(boxes, key=containers.sandbox_attempt)
        for old in boxes[:-1]:
            await self._clear(f"sandbox {old.id}", functools.partial(sandboxes.remove, old.id, self._shared))
        newest = boxes[-1] if boxes else None
        view = None
        if newest is not None:
            address = self.settings.node_ip if newest.spec.host_network else addresses.get(newest.id)
            view = sandboxes.view(newest, (address,) if address else ())
        living = [each for each in found if newest is not None and each.spec.sandbox == newest.id]
        for stray in found:
            if stray not in living:
                remove = functools.partial(self.engine.remove, stray.id, force=True)
                await self._clear(f"container {stray.spec.name}", remove)
        adopted = self._start_worker(pod or _orphan(found, boxes), living, view)
        if pod is None:
            adopted.on_removed()

    async def _clear(self, what: str, remove: Callable[[], Awaitable[None]]) -> None:
        """Remove what belongs to nobody: now, or if that fails beside everything else."""
        try:
            await remove()
        except (interface.EngineError, net.NetworkError, OSError) as error:
            log.warning("%s, which is left over, cannot be removed yet: %s", what, error)
            self._supervisor.spawn(f"remove {what}", self._clear_later(remove))

    async def _clear_later(self, remove: Callable[[], Awaitable[None]]) -> None:
        for failures in itertools.count():
            await self.time.sleep(backoffs.RETRY.delay(failures))
            with contextlib.suppress(interface.EngineError, net.NetworkError, OSError):
                await remove()
                return

    async def _collect_folders(self, known: set[str]) -> None:
        """Folders of pods that nobody has any more: left by an agent that ended while it cleaned up."""
        for folder in _entries(self.settings.pods_dir):
            if folder.name not in known:
                await self._shared.volumes.remove(folder.name, folder)
        for folder in _entries(self.settings.logs_dir):
            if folder.name.rpartition("_")[2] not in known:
                await asyncio.to_thread(paths.remove_tree, folder)

    # ------------------------------------------------------------ pods come and go

    def _on_pod(self, old: client.Object | None, new: client.Object | None) -> None:
        if new is None:
            assert old is not None
            self._on_removed(old)
            return
        uid = podspec.uid(new)
        self._reconsider_resizes()
        known = self.workers.get(uid)
        if known is not None:
            known.on_pod(new)
        elif uid not in self._finished:
            self._take(new)
        elif podspec.is_being_deleted(new):
            name = f"delete {podspec.full_name(new)}"
            self._supervisor.spawn(name, self._writer.delete(new))

    def _on_node(self, old: client.Object | None, new: client.Object | None) -> None:
        if new is not None:
            self.node.observe(new)

    def _reconsider_resizes(self) -> None:
        """There may be more room, or less."""
        for each in self.workers.values():
            if each.is_resize_pending:
                each.poke()

    def _on_removed(self, pod: client.Object) -> None:
        uid = podspec.uid(pod)
        known = self.workers.get(uid)
        if known is not None:
            known.on_removed()
            return
        self._finished.discard(uid)
        self._forget(pod)

    def _take(self, pod: client.Object) -> None:
        """A pod that is new to this node: run it, or refuse it."""
        if not podspec.is_terminal(pod) and not podspec.is_being_deleted(pod):
            rejection = admission.admit(
                pod, self._node(), self._admitted(), has_apparmor=self._shared.machine.has_apparmor
            )
            if rejection is not None:
                self._reject(pod, rejection)
                return
        self._start_worker(pod, (), None)

    def _admitted(self) -> list[podspec.Object]:
        """The pods that take room. Not those that the API has no more: what stops after a deletion by force, the scheduler
        counts no longer, and refusing what it placed instead would fail that pod for good."""
        return [
            each.pod
            for each in self.workers.values()
            if each.exists and not podspec.is_terminal({"status": each.status})
        ]

    def _allocate(self, wanted: podspec.Object, granted: podspec.Object) -> resizing.Allocation:
        others = [each for each in self._admitted() if podspec.uid(each) != podspec.uid(wanted)]
        return resizing.allocate(wanted, granted, self._node(), others)

    def _node(self) -> client.Object:
        return self._nodes.get(None, self.settings.node_name) or self.node.node

    def _reject(self, pod: client.Object, rejection: admission.Rejection) -> None:
        self.recorder.warning(pod, rejection.reason, rejection.message)
        context = status.Context(self.time.now(), (self.settings.node_ip,))
        refused = status.rejected(pod, rejection.reason, rejection.message, context)
        self._finished.add(podspec.uid(pod))
        self._writer.submit(pod, refused, lambda written: None)

    def _start_worker(
        self, pod: client.Object, found: Sequence[interface.Container], sandbox: model.SandboxView | None
    ) -> worker.PodWorker:
        made = worker.PodWorker(pod, self._shared, self._writer, on_finished=self._on_finished)
        made.adopt(found, sandbox)
        self.workers[made.uid] = made
        self._groups.note_change()
        self._tasks[made.uid] = self._supervisor.start(f"pod {podspec.full_name(pod)}", made.run)
        return made

    def _on_finished(self, ended: worker.PodWorker) -> None:
        self.workers.pop(ended.uid, None)
        self._groups.note_change()
        self._reconsider_resizes()
        task = self._tasks.pop(ended.uid, None)
        if task is not None:
            task.cancel()
        if ended.exists and self.pods.get(podspec.namespace(ended.pod), podspec.name(ended.pod)) is not None:
            self._finished.add(ended.uid)
        else:
            self._forget(ended.pod)

    def _forget(self, pod: client.Object) -> None:
        """The API has the pod no more: its logs go too."""
        uid = podspec.uid(pod)
        self._writer.forget(uid)
        folder = self.settings.pod_logs_dir(podspec.namespace(pod), podspec.name(pod), uid)
        self._supervisor.spawn(f"remove logs of {podspec.full_name(pod)}", asyncio.to_thread(paths.remove_tree, folder))


def _orphan(found: Sequence[interface.Container], boxes: Sequence[interface.Sandbox]) -> podspec.Object:
    """A pod as far as labels tell of it: enough to stop it and clean up after it."""
    labels = (found[0].spec.labels if found else boxes[0].spec.labels) if (found or boxes) else {}
    names = dict.fromkeys(each.spec.labels.get(model.CONTAINER_NAME_LABEL, "") for each in found)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": labels.get(model.POD_NAME_LABEL, ""),
            "namespace": labels.get(model.POD_NAMESPACE_LABEL, ""),
            "uid": labels.get(model.POD_UID_LABEL, ""),
        },
        "spec": {"containers": [{"name": name, "image": ""} for name in names]},
        "status": {},
    }


def _entries(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _read(path: pathlib.Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
