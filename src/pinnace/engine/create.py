"""The verb create: root file system mounted, configuration written, no process yet."""

import asyncio
import dataclasses
import json
import os
import pathlib
import secrets
import stat
from collections.abc import Iterator, Mapping
from typing import Any

from pinnace.engine import images, interface, machine, records, runtime_spec, users
from pinnace.kernel import mounts, paths
from pinnace.kit import files, tasks

STANDARD_NAMESPACES = ("pid", "mount", "ipc", "uts", "network")
# What /dev of the host has that a privileged container gets in its own form.
OWN_DEVICES = ("/dev/pts", "/dev/shm", "/dev/mqueue", "/dev/fd", "/dev/console", "/dev/.lxc", "/dev/hugepages")  # noqa: S108


async def create(here: machine.Machine, spec: interface.ContainerSpec) -> interface.Container:
    if spec.name in here.names:
        raise interface.NameInUse(f"the container name {spec.name!r} is already in use by {here.names[spec.name][:12]}")
    if spec.sandbox is not None and spec.sandbox not in here.sandboxes:
        raise interface.NoSuchObject(f"no such sandbox: {spec.sandbox}")
    image = images.find(here, spec.image)
    if not runtime_spec.command_line(spec, image):
        raise interface.StartError("no command specified")
    record = _new_record(here, spec, image)
    here.names[spec.name] = record.id
    here.prepare_moves()
    try:
        user = await tasks.wait_out(asyncio.to_thread(prepare, here, record, image))
        record = dataclasses.replace(record, user=user)
        here.store(record)
    except BaseException as error:
        here.names.pop(spec.name, None)
        await tasks.wait_out(asyncio.to_thread(discard, here, record))
        if isinstance(error, OSError | ValueError):
            # A value that no path can be: a NUL in it, say.
            raise interface.EngineError(f"cannot create container {spec.name}: {error}") from error
        raise
    here.tell("create", record)
    return record.container()


def prepare(here: machine.Machine, record: records.ContainerRecord, image: interface.Image) -> interface.User:
    """Folders, root mount, configuration. May be called again after a reboot took the mount away. Blocking.

    Raises StartError (user, working directory), OSError, ValueError.
    """
    bundle, storage = here.bundle(record.id), here.storage(record.id)
    root = here.root_mount(record.id)
    for folder in (storage / "upper", storage / "work", root):
        folder.mkdir(parents=True, exist_ok=True, mode=0o711)
    (storage / "upper").chmod(0o755)
    if not mounts.is_mounted(root):
        layers = [here.images.layers.directory(layer) for layer in reversed(record.layers)]
        mounts.mount_overlay(root, layers or [here.empty_folder()], storage / "upper", storage / "work")
    around = surroundings(here, record, image)
    document = runtime_spec.build(record.spec, image, around)
    directory = document["process"]["cwd"]
    if not directory.startswith("/"):
        raise interface.StartError(f"the working directory {directory!r} is invalid, it needs to be an absolute path")
    with paths.Tree(root) as tree:
        _make_working_directory(tree, directory, around.identity)
    files.write_atomic(bundle / "config.json", json.dumps(document).encode(), 0o600)
    return interface.User(around.identity.uid, around.identity.gid, tuple(around.identity.groups))


def discard(here: machine.Machine, record: records.ContainerRecord) -> None:
    """Undo `prepare`; quiet about what is not there. Blocking."""
    mounts.unmount(here.root_mount(record.id))
    paths.remove_tree(here.bundle(record.id))
    paths.remove_tree(here.storage(record.id))


def surroundings(
    here: machine.Machine, record: records.ContainerRecord, image: interface.Image
) -> runtime_spec.Surroundings:
    spec = record.spec
    sandbox = here.sandboxes.get(spec.sandbox or "")
    namespaces, shm = _shared(here, sandbox)
    if spec.pid_of:
        namespaces = {**namespaces, "pid": _process_namespace(here, spec.pid_of)}
    hostname = sandbox.spec.hostname if sandbox else record.id[:12]
    return runtime_spec.Surroundings(
        root=here.root_mount(record.id),
        cgroup=record.cgroup,
        identity=_identity(here, record, image),
        namespaces=namespaces,
        shm=shm,
        shm_bytes=sandbox.spec.shm_bytes if sandbox else 64 << 20,
        hostname=None if sandbox else hostname,
        environment_hostname=hostname,
        bounding_capabilities=here.abilities.bounding,
        can_raise_limits=here.abilities.can_raise_limits,
        present_oom_score_adj=here.abilities.oom_score_adj,
        architecture=here.abilities.architecture,
        host_devices=_devices(spec),
        can_limit_swap=here.abilities.can_limit_swap,
        seccomp=_profile(spec.security.seccomp_profile),
    )


def _new_record(
    here: machine.Machine, spec: interface.ContainerSpec, image: interface.Image
) -> records.ContainerRecord:
    identity = secrets.token_hex(32)
    parent = here.sandboxes[spec.sandbox].cgroup if spec.sandbox else f"{here.cgroup_parent}/containers"
    stop_signal = spec.stop_signal or image.stop_signal or "SIGTERM"
    return records.ContainerRecord(
        id=identity,
        spec=dataclasses.replace(spec, stop_signal=stop_signal),
        image_id=image.id,
        layers=here.images.find(image.id).parsed.diff_ids,
        cgroup=f"{parent}/{identity}",
        log_path=spec.log_path or here.storage(identity) / "container.log",
        created_at=here.now_ns(),
        stop_signal=stop_signal,
    )


def _shared(
    here: machine.Machine, sandbox: records.SandboxRecord | None
) -> tuple[Mapping[str, pathlib.Path | None], pathlib.Path | None]:
    """The namespaces to join or make, and the shared memory to mount."""
    namespaces: dict[str, pathlib.Path | None] = dict.fromkeys(STANDARD_NAMESPACES)
    if here.cgroups.layout.version == 2:
        namespaces["cgroup"] = None
    if sandbox is None:
        return namespaces, None
    folder, spec = here.sandbox_folder(sandbox.id), sandbox.spec
    namespaces |= {"network": folder / "net", "ipc": folder / "ipc", "uts": folder / "uts"}
    if spec.host_network:
        del namespaces["network"], namespaces["uts"]
    if spec.host_ipc:
        del namespaces["ipc"]
    if spec.host_pid:
        del namespaces["pid"]
    elif spec.share_pid:
        namespaces["pid"] = folder / "pid"
    return namespaces, pathlib.Path(runtime_spec.SHM) if spec.host_ipc else folder / "shm"


def _process_namespace(here: machine.Machine, container_id: str) -> pathlib.Path:
    """Raises EngineError."""
    target = here.find(container_id)
    if not target.status.is_alive:
        raise interface.WrongStatus(
            f"container {target.spec.name}, whose processes are to be seen, is not running", target.status
        )
    return pathlib.Path(f"/proc/{target.pid}/ns/pid")


def _profile(path: pathlib.Path | None) -> Mapping[str, Any] | None:
    """Raises EngineError."""
    if path is None:
        return None
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise interface.EngineError(f'cannot load seccomp profile "{path}": {error}') from error
    if not isinstance(document, dict) or "defaultAction" not in document:
        raise interface.EngineError(f'cannot load seccomp profile "{path}": it has no defaultAction')
    return document


def _identity(here: machine.Machine, record: records.ContainerRecord, image: interface.Image) -> users.Identity:
    security = record.spec.security
    with paths.Tree(here.root_mount(record.id)) as tree:
        passwd, group = _text(tree, "etc/passwd"), _text(tree, "etc/group")
    try:
        identity = users.resolve(
            users.chosen(security.user, image.user),
            security.supplemental_groups,
            passwd,
            group,
            with_members=security.image_groups,
        )
    except users.UnknownUser as error:
        raise interface.StartError(str(error)) from error
    if security.run_as_non_root and identity.uid == 0:
        raise interface.StartError("container has runAsNonRoot and image will run as root")
    return identity


def _text(tree: paths.Tree, path: str) -> str:
    try:
        return tree.read(path, 4 << 20).decode(errors="replace")
    except (OSError, ValueError):
        return ""


def _make_working_directory(tree: paths.Tree, path: str, identity: users.Identity) -> None:
    try:
        tree.stat(path)
    except FileNotFoundError:
        tree.make_directories(path)
        if path.strip("/"):
            tree.set_owner(path, identity.uid, identity.gid)


def _device(device: tuple[str, str, str]) -> runtime_spec.Device:
    source, target, permissions = device
    return _looked_up(pathlib.Path(source), target, permissions or "rwm")


def _looked_up(source: pathlib.Path, target: str, permissions: str) -> runtime_spec.Device:
    """Raises OSError when the host has no such device."""
    status = source.stat()
    if not (stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode)):
        raise OSError(f"{source} is no device")
    kind = "c" if stat.S_ISCHR(status.st_mode) else "b"
    return runtime_spec.Device(
        target, kind, os.major(status.st_rdev), os.minor(status.st_rdev), status.st_mode & 0o7777, permissions
    )


def _devices(spec: interface.ContainerSpec) -> tuple[runtime_spec.Device, ...]:
    asked = {path: _device((host, path, permissions)) for host, path, permissions in spec.devices}
    if not spec.security.privileged:
        return tuple(asked.values())
    return (*(found for found in _privileged_devices() if found.path not in asked), *asked.values())


def _privileged_devices() -> Iterator[runtime_spec.Device]:
    for folder, folders, names in os.walk("/dev"):
        folders[:] = [name for name in folders if f"{folder}/{name}" not in OWN_DEVICES]
        for name in names:
            path = pathlib.Path(folder, name)
            status = path.lstat()
            if (stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode)) and str(path) not in OWN_DEVICES:
                yield _looked_up(path, str(path), "rwm")
