"""What every verb works on: places, records in memory, the machine's abilities. One per engine.

Only `Machine` changes records; a verb holds the container's lock while it does something to it.
"""

import asyncio
import dataclasses
import hashlib
import logging
import os
import pathlib

from pinnace.engine import events, interface, monitor, records
from pinnace.kernel import capabilities, cgroup_moves, cgroups, mounts, paths
from pinnace.kit import clock, files, tasks
from pinnace.oci import configuration, images

log = logging.getLogger(__name__)

SHORTEST_PREFIX = 4


@dataclasses.dataclass(frozen=True, slots=True)
class Abilities:
    """What this process may and this kernel can do; looked up once."""

    bounding: frozenset[str]
    can_raise_limits: bool
    oom_score_adj: int
    can_limit_swap: bool
    architecture: str

    @classmethod
    def discover(cls, layout: cgroups.Layout) -> "Abilities":
        adjustment = int(pathlib.Path("/proc/self/oom_score_adj").read_text())
        can_raise = "SYS_RESOURCE" in capabilities.effective()
        if not can_raise:
            log.warning(
                "CAP_SYS_RESOURCE is missing: oom_score_adj of containers cannot be set below %d and their limits of open "
                "files stay those of this process",
                adjustment,
            )
        if layout.version == 1:
            can_limit_swap = (
                layout.roots.get("memory", pathlib.Path("/nonexistent")) / "memory.memsw.limit_in_bytes"
            ).exists()
        else:
            # The root group has no limits of its own: a group below tells.
            can_limit_swap = any(layout.roots[""].glob("*/memory.swap.max"))
        return cls(
            capabilities.bounding() & capabilities.effective(), can_raise, adjustment, can_limit_swap,
            configuration.local_architecture(),
        )  # fmt: skip


@dataclasses.dataclass(slots=True)
class Live:
    """What belongs to a container while the engine is open."""

    lock: asyncio.Lock
    died: asyncio.Event
    watcher: asyncio.Task[None] | None = None
    process: int = -1
    """A pidfd of the container's first process."""


class Machine:
    def __init__(
        self,
        root: pathlib.Path,
        run: pathlib.Path,
        cgroup_parent: str,
        time: clock.Clock,
        *,
        keep_layer_blobs: bool = True,
    ) -> None:
        self.root = root
        self.run = run
        self.cgroup_parent = "/" + cgroup_parent.strip("/")
        self.clock = time
        self.images = images.ImageStore(root, keep_layer_blobs=keep_layer_blobs)
        self.bus = events.Bus()
        self.supervisor = tasks.Supervisor(time)
        self.cgroups = cgroups.Cgroups.discover()
        self.abilities = Abilities.discover(self.cgroups.layout)
        self.containers: dict[str, records.ContainerRecord] = {}
        self.sandboxes: dict[str, records.SandboxRecord] = {}
        self.names: dict[str, str] = {}
        self.image_mounts: dict[pathlib.Path, records.ImageMount] = {}
        self._live: dict[str, Live] = {}
        self._sandbox_locks: dict[str, asyncio.Lock] = {}
        self._moves: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """Let go of everything held; containers go on."""
        await self.supervisor.stop()
        for live in self._live.values():
            if live.process >= 0:
                os.close(live.process)
                live.process = -1

    def check(self) -> None:
        for program in (monitor.RUNTIME, monitor.CONMON):
            if not os.access(program, os.X_OK):
                raise interface.EngineError(
                    f"{program} is missing or cannot be run; `pinnace doctor` says how to install it"
                )
        for folder in (self.root, self.run):
            if not os.access(folder, os.W_OK | os.X_OK):
                raise interface.EngineError(f"{folder} is missing or cannot be written")

    # -------------------------------------------------------------- places

    @property
    def runtime_root(self) -> pathlib.Path:
        return self.run / "crun"

    def bundle(self, container_id: str) -> pathlib.Path:
        """Configuration, sockets and root mount of a container; gone after a reboot."""
        return self.run / "containers" / container_id

    def storage(self, container_id: str) -> pathlib.Path:
        """Record, writable layer and log of a container."""
        return self.root / "containers" / container_id

    def root_mount(self, container_id: str) -> pathlib.Path:
        return self.bundle(container_id) / "rootfs"

    def sandbox_folder(self, sandbox_id: str) -> pathlib.Path:
        """Pins of namespaces and shared memory."""
        return self.run / "sandboxes" / sandbox_id

    def sandbox_storage(self, sandbox_id: str) -> pathlib.Path:
        return self.root / "sandboxes" / f"{sandbox_id}.json"

    def empty_folder(self, suffix: str = "") -> pathlib.Path:
        """Stands in for a layer."""
        folder = self.root / f"empty{suffix}"
        folder.mkdir(exist_ok=True, mode=0o755)
        return folder

    def make_folders(self) -> None:
        """Nobody but root enters them: below lie programs of images that run as their owner, and what containers wrote for everybody."""
        for folder in (
            self.root,
            self.root / "containers",
            self.root / "sandboxes",
            self.root / "image-mounts",
            self.run / "containers",
            self.run / "sandboxes",
        ):
            files.close_folder(folder)
        files.close_folder(self.runtime_root)

    # -------------------------------------------------------------- records

    def now_ns(self) -> int:
        return int(self.clock.now().timestamp() * 1_000_000) * 1000

    def find(self, text: str) -> records.ContainerRecord:
        """By id, name or unambiguous id prefix. Raises NoSuchObject."""
        if record := self.containers.get(text) or self.containers.get(self.names.get(text, "")):
            return record
        if len(text) >= SHORTEST_PREFIX:
            found = [record for record in self.containers.values() if record.id.startswith(text)]
            if len(found) == 1:
                return found[0]
        raise interface.NoSuchObject(f"no such container: {text}")

    def live(self, container_id: str) -> Live:
        if container_id not in self._live:
            self._live[container_id] = Live(asyncio.Lock(), asyncio.Event())
        return self._live[container_id]

    def store(self, record: records.ContainerRecord) -> records.ContainerRecord:
        """Raises OSError, and nothing has changed then."""
        records.write(self.storage(record.id) / "record.json", record)
        return self._remember(record)

    def advance(self, record: records.ContainerRecord) -> records.ContainerRecord:
        """A step of the container's life, which has happened whether or not the disk takes it: an engine that opens with the record
        of the step before finds out from what the monitor left."""
        self._remember(record)
        try:
            records.write(self.storage(record.id) / "record.json", record)
        except OSError as error:
            log.warning("container %s is %s, which cannot be kept: %s", record.spec.name, record.status.value, error)
        return record

    def _remember(self, record: records.ContainerRecord) -> records.ContainerRecord:
        self.containers[record.id] = record
        self.names[record.spec.name] = record.id
        if record.status.is_terminal:
            self.live(record.id).died.set()
        return record

    def forget(self, record: records.ContainerRecord) -> None:
        self.containers.pop(record.id, None)
        if self.names.get(record.spec.name) == record.id:
            del self.names[record.spec.name]
        self.live(record.id).died.set()
        self._live.pop(record.id, None)

    def store_sandbox(self, record: records.SandboxRecord) -> None:
        records.write(self.sandbox_storage(record.id), record)
        self.sandboxes[record.id] = record

    def forget_sandbox(self, record: records.SandboxRecord) -> None:
        paths.remove_tree(self.sandbox_storage(record.id))
        self.sandboxes.pop(record.id, None)
        self._sandbox_locks.pop(record.id, None)

    def sandbox_lock(self, sandbox_id: str) -> asyncio.Lock:
        """Held while the sandbox is taken down."""
        return self._sandbox_locks.setdefault(sandbox_id, asyncio.Lock())

    def tell(self, kind: events.EventType, record: records.ContainerRecord) -> None:
        exit_code = record.exit_code if kind == "die" else 0
        self.bus.publish(interface.ContainerEvent(kind, record.id, record.spec.sandbox, exit_code, self.now_ns()))

    def prepare_moves(self) -> None:
        """A container is about to be created in its group: let the kernel's wait for that pass beside the work before it."""
        if self._moves is None or self._moves.done():
            work = asyncio.to_thread(cgroup_moves.prepare, self.cgroups.layout)
            self._moves = self.supervisor.spawn("prepare moves", work)

    def layers_in_use(self) -> set[str]:
        self.drop_stale_image_mounts()
        holders: list[records.ContainerRecord | records.ImageMount] = [
            *self.containers.values(),
            *self.image_mounts.values(),
        ]
        return {layer for holder in holders for layer in holder.layers}

    def image_mount_storage(self, target: pathlib.Path) -> pathlib.Path:
        return self.root / "image-mounts" / f"{hashlib.sha256(bytes(target)).hexdigest()}.json"

    def drop_stale_image_mounts(self) -> None:
        """Forget the mounts that their callers have undone."""
        for target in [target for target in self.image_mounts if not mounts.is_mounted(target)]:
            del self.image_mounts[target]
            self.image_mount_storage(target).unlink(missing_ok=True)
