"""What a node does from time to time: rotate logs, collect unused images, see whether it can run pods at all, look out for
pressure and evict."""

import asyncio
import collections
import contextlib
import logging
import pathlib
from typing import Protocol

from pinnace.engine import interface
from pinnace.kernel import filesystem
from pinnace.kit import clock, tasks
from pinnace.kubelet import settings as settings_module
from pinnace.kubelet.node import eviction, facts, registration
from pinnace.kubelet.pod import model, podspec, sandboxes, worker
from pinnace.net import interface as net

log = logging.getLogger(__name__)

LOG_SECONDS = 10.0
PRESSURE_SECONDS = 10.0
IMAGE_SECONDS = 300.0
COOL_DOWN_SECONDS = 300.0
"""How long a pressure condition stays after the pressure is gone (upstream's transition period)."""


class Agent(Protocol):
    """What housekeeping needs of the agent."""

    engine: interface.Engine
    network: net.PodNetwork
    time: clock.Clock
    settings: settings_module.Settings
    workers: dict[str, worker.PodWorker]
    node: registration.NodeStatus


class Housekeeping:
    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._pressed_at: dict[str, float] = {}
        self._problem = ""

    def start(self, supervisor: tasks.Supervisor) -> None:
        supervisor.start("log rotation", self._rotate_logs)
        supervisor.start("image collection", self._collect_images)
        supervisor.start("eviction", self._watch_pressure)

    # ------------------------------------------------------------ logs

    async def _rotate_logs(self) -> None:
        while True:
            await self._agent.time.sleep(LOG_SECONDS)
            for container in [each for pod in self._agent.workers.values() for each in pod.live_containers()]:
                await self.maybe_rotate(container)

    async def maybe_rotate(self, container: interface.Container) -> bool:
        """Rename a log that has grown too large and have the monitor begin a new one. Returns whether it did."""
        path = container.log_path
        try:
            if path.stat().st_size <= self._agent.settings.log_bytes:
                return False
        except OSError:
            return False
        rotate(path, self._agent.settings.log_files, self._agent.time.now().strftime("%Y%m%d-%H%M%S"))
        with contextlib.suppress(interface.NoSuchObject, interface.WrongStatus):
            await self._agent.engine.reopen_log(container.id)
        return True

    # ------------------------------------------------------------ images

    async def _collect_images(self) -> None:
        while True:
            await self._agent.time.sleep(IMAGE_SECONDS)
            size, free = facts.disk_space(self._agent.settings.data_dir)
            if size and 1 - free / size >= self._agent.settings.image_gc_high:
                await self.collect_images(int(size * (1 - self._agent.settings.image_gc_low)) - free)

    async def collect_images(self, wanted: int) -> int:
        """Remove unused images, the oldest first, until `wanted` bytes are free. Returns the bytes freed."""
        used = {container.image_id for container in await self._agent.engine.list()}
        freed = 0
        for image in sorted(await self._agent.engine.images.list(), key=lambda image: image.created_at):
            if freed >= wanted:
                break
            if image.id in used:
                continue
            with contextlib.suppress(interface.EngineError):
                for reference in image.references or (image.id,):
                    await self._agent.engine.images.remove(reference)
                freed += image.size
        return freed

    # ------------------------------------------------------------ pressure

    async def _watch_pressure(self) -> None:
        while True:
            await self._agent.time.sleep(PRESSURE_SECONDS)
            await self.check_runtime()
            await self.check_local_storage()
            await self.check_pressure()

    async def check_runtime(self) -> None:
        """A node that can start nothing says so: no more pods come, and in time those that are here go elsewhere."""
        problem = ""
        try:
            await self._agent.engine.check()
            await self._agent.network.check()
        except interface.EngineError as error:
            problem = f"container runtime is down: {error}"
        except net.NetworkError as error:
            problem = (
                "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady "
                f"message:Network plugin returns error: {error}"
            )
        if problem and problem != self._problem:
            log.error("this node is not ready: %s", problem)
        self._problem = problem

    async def check_local_storage(self) -> None:
        """Evict the pods that keep more on this node than their limits allow."""
        for each in list(self._agent.workers.values()):
            if each.is_terminating or not eviction.has_local_limits(each.pod):
                continue
            text = eviction.over_limit(each.pod, await self._local_use(each))
            if text:
                log.warning("evicting pod %s: %s", podspec.full_name(each.pod), text)
                each.evict(model.Termination(grace_seconds=1, reason="Evicted", message=text, is_failure=True))

    async def _local_use(self, pod: worker.PodWorker) -> eviction.LocalUse:
        """Also of containers that have ended: what they wrote stays until they are removed."""
        containers: dict[str, int] = collections.defaultdict(int)
        for container in pod.known_containers():
            name = container.spec.labels.get(model.CONTAINER_NAME_LABEL, "")
            with contextlib.suppress(interface.EngineError):
                containers[name] += (await self._agent.engine.stats(container.id)).filesystem_bytes
        settings, spec = self._agent.settings, pod.pod["spec"]
        logs = settings.pod_logs_dir(podspec.namespace(pod.pod), podspec.name(pod.pod), pod.uid)
        for name in containers:
            containers[name] += await asyncio.to_thread(filesystem.disk_usage, logs / name)
        folder = settings.pod_dir(pod.uid)
        names = [each["name"] for each in spec.get("volumes") or () if each.get("emptyDir") is not None]
        places = [folder / "volumes" / "kubernetes.io~empty-dir" / name for name in names]
        volumes = {place.name: await asyncio.to_thread(filesystem.disk_usage, place) for place in places}
        return eviction.LocalUse(volumes, containers, await asyncio.to_thread(sandboxes.files_bytes, folder))

    async def check_pressure(self) -> None:
        settings = self._agent.settings
        available = facts.memory_info().get("MemAvailable", settings.eviction_memory_bytes)
        size, free = facts.disk_space(settings.data_dir)
        found = eviction.pressure(available, free, size, settings.eviction_memory_bytes, settings.eviction_disk)
        self._set_conditions(found)
        if found.memory:
            await self._evict("memory", f"{settings.eviction_memory_bytes >> 20}Mi", f"{available >> 10}Ki")
        elif found.disk:
            await self.collect_images(int(size * (1 - settings.image_gc_low)) - free)
            if facts.disk_space(settings.data_dir)[1] < size * settings.eviction_disk:
                threshold = str(int(size * settings.eviction_disk))
                await self._evict("ephemeral-storage", threshold, f"{free >> 10}Ki")

    def _set_conditions(self, found: eviction.Pressure) -> None:
        now = self._agent.time.monotonic()
        for name, pressed in (("memory", found.memory), ("disk", found.disk)):
            if pressed:
                self._pressed_at[name] = now
        held = {name for name, moment in self._pressed_at.items() if now - moment < COOL_DOWN_SECONDS}
        self._agent.node.set_health(
            registration.Health(
                is_ready=not self._problem,
                problem=self._problem,
                memory_pressure="memory" in held,
                disk_pressure="disk" in held,
            )
        )

    async def _evict(self, resource: str, threshold: str, available: str) -> None:
        candidates = [
            await self._measure(each) for each in list(self._agent.workers.values()) if not each.is_terminating
        ]
        chosen = eviction.choose(candidates, resource)
        if chosen is None:
            log.error("the node is low on %s and has no pod to evict", resource)
            return
        text = eviction.message(chosen, resource, threshold, available)
        victim = self._agent.workers[podspec.uid(chosen.pod)]
        log.warning("evicting pod %s: %s", podspec.full_name(chosen.pod), text)
        victim.evict(
            model.Termination(grace_seconds=1, reason="Evicted", message=text, is_disruption=True, is_failure=True)
        )

    async def _measure(self, pod: worker.PodWorker) -> eviction.Candidate:
        memory = 0
        for container in pod.live_containers():
            with contextlib.suppress(interface.EngineError):
                memory += (await self._agent.engine.stats(container.id)).memory_working_set_bytes
        return eviction.Candidate(pod.pod, memory, eviction.disk_bytes(pod.pod, await self._local_use(pod)))


def rotate(path: pathlib.Path, keep: int, stamp: str) -> None:
    """`0.log` becomes `0.log.<stamp>`; of those the newest `keep - 1` stay."""
    path.rename(path.with_name(f"{path.name}.{stamp}"))
    older = sorted(path.parent.glob(f"{path.name}.*"))
    for each in older[: max(0, len(older) - (keep - 1))]:
        each.unlink(missing_ok=True)
