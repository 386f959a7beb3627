"""From what the caller asked for to the OCI runtime's `config.json` (runtime-spec v1.0). Pure: everything that had to be looked up is given."""

import dataclasses
import pathlib
import posixpath
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pinnace.engine import interface, seccomp, users

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_CAPABILITIES = (
    "CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID", "SETFCAP", "SETPCAP",
    "NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE",
)  # fmt: skip
MASKED_PATHS = (
    "/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
    "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap",
)  # fmt: skip
READ_ONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
NOFILE = 1 << 20
SHM = "/dev/shm"  # noqa: S108 - a mount point inside containers


@dataclasses.dataclass(frozen=True, slots=True)
class Device:
    """A device node of the host, as looked up."""

    path: str
    """In the container."""
    kind: str
    """`c` or `b`."""
    major: int
    minor: int
    mode: int
    permissions: str = "rwm"


@dataclasses.dataclass(frozen=True, slots=True)
class Surroundings:
    """What the machine gives: looked up by `create`."""

    root: pathlib.Path
    """The mounted root file system."""
    cgroup: str
    identity: users.Identity
    namespaces: Mapping[str, pathlib.Path | None]
    """Runtime-spec namespace type -> path to join, None: a new one. What is missing is the host's."""
    shm: pathlib.Path | None
    """The sandbox's shared memory; None: one of its own."""
    shm_bytes: int
    hostname: str | None
    """To set in a new UTS namespace; None where one is joined."""
    environment_hostname: str
    bounding_capabilities: Collection[str]
    can_raise_limits: bool
    """CAP_SYS_RESOURCE: hard limits may be raised and oom_score_adj lowered."""
    present_oom_score_adj: int
    architecture: str
    host_devices: Sequence[Device] = ()
    """For a privileged container: all of /dev; else those of `ContainerSpec.devices`."""
    can_limit_swap: bool = False
    seccomp: Mapping[str, Any] | None = None
    """The filter of the caller's own."""


def command_line(spec: interface.ContainerSpec, image: interface.Image) -> tuple[str, ...]:
    """Kubernetes' and Docker's rule: a command replaces the entrypoint and the image's own arguments."""
    if spec.command is not None:
        return spec.command + (spec.arguments or ())
    return image.entrypoint + (image.command if spec.arguments is None else spec.arguments)


def build(spec: interface.ContainerSpec, image: interface.Image, around: Surroundings) -> dict[str, Any]:
    """The whole `config.json`."""
    linux: dict[str, Any] = {
        "namespaces": _namespaces(around),
        "cgroupsPath": around.cgroup,
        "resources": _resources(spec, around),
    }
    security = spec.security
    if not security.privileged:
        linux["maskedPaths"] = list(MASKED_PATHS) if security.masked_paths else []
        linux["readonlyPaths"] = list(READ_ONLY_PATHS) if security.masked_paths else []
        if around.seccomp is not None:
            linux["seccomp"] = dict(around.seccomp)
        elif not security.seccomp_unconfined:
            linux["seccomp"] = seccomp.profile(
                capability_set(security, around.bounding_capabilities), around.architecture
            )
    if around.host_devices:
        linux["devices"] = [_device_node(device) for device in around.host_devices]
    document: dict[str, Any] = {
        "ociVersion": "1.0.2",
        "process": process(spec, image, around),
        "root": {"path": str(around.root), "readonly": security.read_only_root},
        "mounts": mounts(spec, around),
        "linux": linux,
    }
    if around.hostname is not None:
        document["hostname"] = around.hostname
    propagations = {mount.propagation for mount in spec.mounts}
    if "rshared" in propagations:
        linux["rootfsPropagation"] = "rshared"
    elif "rslave" in propagations:
        linux["rootfsPropagation"] = "rslave"
    return document


def process(spec: interface.ContainerSpec, image: interface.Image, around: Surroundings) -> dict[str, Any]:
    """The `process` object; `exec` derives its own from it."""
    security = spec.security
    result: dict[str, Any] = {
        "terminal": spec.tty,
        "user": user_object(around.identity),
        "args": list(command_line(spec, image)),
        "env": environment(spec, image, around),
        "cwd": _directory(spec.working_directory or image.working_directory or "/"),
        "capabilities": capability_sets(
            capability_set(security, around.bounding_capabilities), is_root=around.identity.uid == 0
        ),
        "noNewPrivileges": security.no_new_privileges,
    }
    if security.apparmor_profile:
        result["apparmorProfile"] = security.apparmor_profile
    if around.can_raise_limits:
        result["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": NOFILE, "hard": NOFILE}]
    wanted = spec.resources.oom_score_adj
    if wanted is not None:
        result["oomScoreAdj"] = wanted if around.can_raise_limits else max(wanted, around.present_oom_score_adj)
    return result


def _directory(path: str) -> str:
    """Without `..`: the folder that is made where it is missing is the one that the process starts in."""
    return "/" + posixpath.normpath(path).lstrip("/") if path.startswith("/") else path


def environment(spec: interface.ContainerSpec, image: interface.Image, around: Surroundings) -> list[str]:
    """PATH and HOSTNAME first, then the image's, then the caller's; of one name the last wins; HOME unless anybody set it."""
    values = {"PATH": DEFAULT_PATH, "HOSTNAME": around.environment_hostname}
    if spec.tty:
        values["TERM"] = "xterm"
    for pair in image.environment:
        name, separator, value = pair.partition("=")
        if separator:
            values[name] = value
    values.update(spec.environment)
    values.setdefault("HOME", around.identity.home)
    return [f"{name}={value}" for name, value in values.items()]


def capability_set(security: interface.Security, bounding: Collection[str]) -> tuple[str, ...]:
    """Without `CAP_`, in a stable order; what this machine cannot give is left out."""
    everything = sorted(bounding)
    if security.privileged:
        return tuple(everything)
    drop = {_capability(name) for name in security.drop_capabilities}
    add = {_capability(name) for name in security.add_capabilities}
    chosen = set() if "ALL" in drop else set(DEFAULT_CAPABILITIES) - drop
    chosen |= set(everything) - (drop - {"ALL"}) if "ALL" in add else add
    return tuple(name for name in everything if name in chosen)


def mounts(spec: interface.ContainerSpec, around: Surroundings) -> list[dict[str, Any]]:
    """The standard ones, then the caller's, outer targets before inner ones."""
    privileged = spec.security.privileged
    access = "rw" if privileged else "ro"
    standard = [
        _mount("/proc", "proc", "proc", "nosuid", "noexec", "nodev"),
        _mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        _mount(
            "/dev/pts", "devpts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"
        ),
        _mount("/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec", "nodev"),
        _mount("/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", access),
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid", "noexec", "nodev", "relatime", access),
    ]
    if around.shm is not None:
        standard.append(_mount(SHM, "bind", str(around.shm), "rbind", "rw", "nosuid", "nodev", "noexec"))
    else:
        size = f"size={around.shm_bytes}"
        standard.append(_mount(SHM, "tmpfs", "shm", "nosuid", "noexec", "nodev", "mode=1777", size))
    own = sorted(spec.mounts, key=lambda mount: mount.target.rstrip("/").count("/"))
    targets = {mount.target.rstrip("/") for mount in own}
    result = [mount for mount in standard if mount["destination"] not in targets]
    return result + [_bind(mount) for mount in own]


def _mount(destination: str, kind: str, source: str, *options: str) -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": source, "options": list(options)}


def _bind(mount: interface.Mount) -> dict[str, Any]:
    propagation = {"private": "rprivate", "rslave": "rslave", "rshared": "rshared"}[mount.propagation]
    options = ["rbind", "ro" if mount.read_only else "rw", propagation, *(["noexec"] if mount.no_exec else [])]
    if mount.read_only and mount.recursive_read_only:
        options.append("rro")
    return _mount(mount.target, "bind", str(mount.source), *options)


def _namespaces(around: Surroundings) -> list[dict[str, str]]:
    result = []
    for kind, path in around.namespaces.items():
        entry = {"type": kind}
        if path is not None:
            entry["path"] = str(path)
        result.append(entry)
    return result


def user_object(identity: users.Identity) -> dict[str, Any]:
    return {"uid": identity.uid, "gid": identity.gid, "additionalGids": list(identity.groups), "umask": 0o022}


def capability_sets(names: Sequence[str], *, is_root: bool) -> dict[str, list[str]]:
    """A process that is not root gets them only through a set-user-id program: bounding, not effective."""
    full = [f"CAP_{name}" for name in names]
    return {
        "bounding": full,
        "effective": full if is_root else [],
        "permitted": full if is_root else [],
        "inheritable": [],
        "ambient": [],
    }


def _capability(name: str) -> str:
    return name.upper().removeprefix("CAP_")


def _resources(spec: interface.ContainerSpec, around: Surroundings) -> dict[str, Any]:
    limits = spec.resources
    result: dict[str, Any] = {"devices": _device_rules(spec, around)}
    cpu: dict[str, Any] = {}
    if limits.cpu_shares:
        cpu["shares"] = max(2, limits.cpu_shares)
    if limits.cpu_quota_us:
        cpu |= {"quota": limits.cpu_quota_us, "period": limits.cpu_period_us}
    if limits.cpuset_cpus:
        cpu["cpus"] = limits.cpuset_cpus
    if cpu:
        result["cpu"] = cpu
    if limits.memory_bytes:
        result["memory"] = {"limit": limits.memory_bytes}
        if around.can_limit_swap:
            # Memory and swap together: without this the limit would only move pages to the disk.
            result["memory"]["swap"] = limits.memory_bytes
    if limits.pids:
        result["pids"] = {"limit": limits.pids}
    return result


def _device_rules(spec: interface.ContainerSpec, around: Surroundings) -> list[dict[str, Any]]:
    if spec.security.privileged:
        return [{"allow": True, "access": "rwm"}]
    rules: list[dict[str, Any]] = [{"allow": False, "access": "rwm"}]
    rules.extend(
        {"allow": True, "type": d.kind, "major": d.major, "minor": d.minor, "access": d.permissions}
        for d in around.host_devices
    )
    return rules


def _device_node(device: Device) -> dict[str, Any]:
    return {
        "path": device.path,
        "type": device.kind,
        "major": device.major,
        "minor": device.minor,
        "fileMode": device.mode & 0o7777,
        "uid": 0,
        "gid": 0,
    }
