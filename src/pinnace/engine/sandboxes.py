"""Sandboxes: what the containers of one pod share, pinned so that it needs no process (but for a shared PID namespace)."""

import asyncio
import contextlib
import dataclasses
import logging
import os
import pathlib
import signal

from pinnace.engine import interface, machine, records, remove
from pinnace.kernel import cgroups, mounts, namespaces, paths, pidfd, process
from pinnace.kit import tasks

log = logging.getLogger(__name__)

# The first process of a shared PID namespace: sleeps for ever and collects the children that others leave, once it is told that it lies in
# its cgroup; before that nobody would find it if its engine were killed.
PAUSE = ("/bin/sh", "-c", "read placed || exit; exec </dev/null; while :; do sleep 2147483647 & wait; done")


async def create(here: machine.Machine, spec: interface.SandboxSpec) -> interface.Sandbox:
    if spec.id in here.sandboxes:
        raise interface.NameInUse(f"sandbox {spec.id} exists already")
    if "/" in spec.id or spec.id in ("", ".", ".."):
        raise interface.EngineError(f"not the id of a sandbox: {spec.id!r}")
    record = records.SandboxRecord(spec.id, spec, here.now_ns(), f"{_group(here, spec.group)}/{spec.id}")
    here.store_sandbox(record)
    try:
        # Only for a shared PID namespace does the thread itself change.
        run = namespaces.run_in_fresh_thread if spec.share_pid else asyncio.to_thread
        pause_pid = await tasks.wait_out(run(lambda: _make(here, record)))
        if pause_pid:
            record = dataclasses.replace(record, pause_pid=pause_pid)
            here.store_sandbox(record)
    except OSError as error:
        await _discard(here, record)
        raise interface.EngineError(f"cannot create sandbox {spec.id}: {error}") from error
    except BaseException:
        await tasks.wait_out(_discard(here, record))
        raise
    return describe(here, record)


async def remove_sandbox(here: machine.Machine, sandbox_id: str) -> None:
    found = here.sandboxes.get(sandbox_id)
    if found is None:
        return
    async with here.sandbox_lock(sandbox_id):
        record = here.sandboxes.get(sandbox_id)
        if record is None or record.created_at != found.created_at:
            return
        inside = [container.id for container in here.containers.values() if container.spec.sandbox == sandbox_id]
        await asyncio.gather(*(remove.remove(here, container_id, force=True) for container_id in inside))
        await _discard(here, record)


def describe(here: machine.Machine, record: records.SandboxRecord) -> interface.Sandbox:
    spec = record.spec
    namespace = None if spec.host_network else here.sandbox_folder(record.id) / "net"
    return interface.Sandbox(record.id, spec, namespace, record.created_at, is_ready=is_ready(here, record))


def is_ready(here: machine.Machine, record: records.SandboxRecord) -> bool:
    pins = _pins(here, record)
    if not all(namespaces.is_pinned(path) for path in pins.values()):
        return False
    if record.spec.share_pid:
        return namespaces.is_pinned(here.sandbox_folder(record.id) / "pid") and _pause_alive(record)
    return True


def _pins(here: machine.Machine, record: records.SandboxRecord) -> dict[namespaces.Kind, pathlib.Path]:
    folder, spec = here.sandbox_folder(record.id), record.spec
    pins: dict[namespaces.Kind, pathlib.Path] = {}
    if not spec.host_network:
        pins |= {"net": folder / "net", "uts": folder / "uts"}
    if not spec.host_ipc:
        pins["ipc"] = folder / "ipc"
    return pins


def _make(here: machine.Machine, record: records.SandboxRecord) -> int:
    """Everything of a new sandbox, in a thread of its own. Returns the pause process, 0 for none. Raises OSError."""
    folder, spec = here.sandbox_folder(record.id), record.spec
    folder.mkdir(parents=True, exist_ok=True, mode=0o711)
    here.cgroups.create(record.cgroup, limits(spec.resources) if spec.resources is not None else None)
    if not spec.host_ipc:
        (folder / "shm").mkdir(exist_ok=True)
        mounts.mount_tmpfs(
            folder / "shm", spec.shm_bytes, 0o1777, mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC
        )
    pins = _pins(here, record)
    if pins:
        hostname = None if spec.host_network else spec.hostname
        namespaces.pin_new(pins, hostname, spec.sysctls)
    if not spec.share_pid:
        return 0
    return _start_pause(here, record, folder / "pid")


def _group(here: machine.Machine, name: str) -> str:
    """Raises EngineError."""
    if "/" in name or name in (".", ".."):
        raise interface.EngineError(f"not the name of a group of sandboxes: {name!r}")
    return f"{here.cgroup_parent}/pods/{name}".rstrip("/")


def limit_group(here: machine.Machine, name: str, resources: interface.Resources) -> None:
    """Blocking."""
    path = _group(here, name)
    try:
        here.cgroups.create(path, limits(resources))
    except OSError as error:
        raise interface.EngineError(f"cannot limit {path}: {error}") from error


def limits(resources: interface.Resources) -> cgroups.Limits:
    return cgroups.Limits(
        resources.cpu_shares, resources.cpu_quota_us, resources.cpu_period_us, resources.memory_bytes, resources.pids,
        resources.cpuset_cpus,
    )  # fmt: skip


def _start_pause(here: machine.Machine, record: records.SandboxRecord, pin: pathlib.Path) -> int:
    """The thread's next child is the first process of a new PID namespace; nobody else uses this thread."""
    namespaces.unshare(namespaces.FLAGS["pid"])
    pid, placed = process.spawn_detached(PAUSE, name=f"pinnace-pause-{record.id}")
    try:
        here.cgroups.create(f"{record.cgroup}/pause")
        here.cgroups.add(f"{record.cgroup}/pause", pid)
        pin.touch(mode=0o600)
        mounts.bind(pathlib.Path(f"/proc/{pid}/ns/pid"), pin)
        os.write(placed, b"\n")
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        raise
    finally:
        os.close(placed)
    return pid


def _pause_alive(record: records.SandboxRecord) -> bool:
    descriptor = _open_pause(record)
    if descriptor is None:
        return False
    os.close(descriptor)
    return True


def _open_pause(record: records.SandboxRecord) -> int | None:
    descriptor = pidfd.open_pidfd(record.pause_pid) if record.pause_pid else None
    if descriptor is None:
        return None
    try:
        is_ours = f"{record.cgroup}/pause" in pathlib.Path(f"/proc/{record.pause_pid}/cgroup").read_text()
    except OSError:
        is_ours = False
    if not is_ours or pidfd.is_dead(descriptor):
        os.close(descriptor)
        return None
    return descriptor


async def _discard(here: machine.Machine, record: records.SandboxRecord) -> None:
    """Remove whatever is there of it; the record last, so that an interrupted removal is finished by the next one."""
    if record.spec.share_pid and (pause := _open_pause(record)) is not None:
        try:
            pidfd.send_signal(pause, signal.SIGKILL)
            await pidfd.wait_dead(pause)
        finally:
            os.close(pause)
    await asyncio.to_thread(_clean, here, record)
    here.forget_sandbox(record)


def _clean(here: machine.Machine, record: records.SandboxRecord) -> None:
    if record.pause_pid:
        with contextlib.suppress(ChildProcessError):  # an engine before this one started it
            os.waitpid(record.pause_pid, os.WNOHANG)
    folder = here.sandbox_folder(record.id)
    for kind in ("net", "ipc", "uts", "pid"):
        namespaces.unpin(folder / kind)
    mounts.unmount(folder / "shm")
    paths.remove_tree(folder)
    if not here.cgroups.remove(record.cgroup):
        here.cgroups.kill_all(record.cgroup)
        if not here.cgroups.remove(record.cgroup):
            log.warning("the cgroup %s still has processes and is left behind", record.cgroup)
