"""What this machine lacks, and the line that fixes it."""

import dataclasses
import os
import pathlib
import shutil
from collections.abc import Iterable


@dataclasses.dataclass(frozen=True, slots=True)
class Check:
    name: str
    ok: bool
    detail: str
    fix: str
    required: bool = True
    """False: Pinnace runs without it, with what `detail` says missing."""


def checks() -> list[Check]:
    return [*_programs(), *_kernel(), *_privileges()]


_PACKAGES = (
    # program, Debian and Ubuntu package, Fedora package, what for, needed
    ("crun", "crun", "crun", "runs containers", True),
    ("conmon", "conmon", "conmon", "holds the output and exit code of each container", True),
    ("apt-get", "apt", "apt", "fetches the Debian packages that base images are built from", False),
)


def _programs() -> Iterable[Check]:
    for program, debian, fedora, purpose, required in _PACKAGES:
        path = shutil.which(program)
        yield Check(
            program, path is not None, path or f"not installed; it {purpose}", _install(debian, fedora), required
        )
    libraries = (
        *pathlib.Path("/usr/lib").glob("*/libnftables.so.1"),
        *pathlib.Path("/usr/lib64").glob("libnftables.so.1"),
    )
    found = next(iter(libraries), None)
    yield Check(
        "libnftables",
        found is not None,
        str(found) if found else "not installed; it loads the rules for Services",
        _install("libnftables1", "nftables"),
    )


def _install(debian: str, fedora: str) -> str:
    if shutil.which("dnf"):
        return f"dnf install -y {fedora}"
    return f"apt-get install -y {debian}"


def _kernel() -> Iterable[Check]:
    filesystems = pathlib.Path("/proc/filesystems").read_text().split()
    overlay = "overlay" in filesystems
    yield Check("overlayfs", overlay, "available" if overlay else "the kernel does not know it", "modprobe overlay")
    for namespace in ("net", "mnt", "pid", "ipc", "uts", "cgroup"):
        ok = pathlib.Path(f"/proc/self/ns/{namespace}").exists()
        if not ok:
            yield Check(
                f"{namespace} namespaces", False, "the kernel lacks them", "use a kernel with CONFIG_NAMESPACES"
            )
    groups = pathlib.Path("/sys/fs/cgroup")
    version = 2 if (groups / "cgroup.controllers").exists() else 1 if (groups / "memory").is_dir() else 0
    yield Check(
        "cgroups",
        version > 0,
        f"version {version}" if version else "not mounted: no limits are possible",
        "mount -t cgroup2 none /sys/fs/cgroup",
    )
    forwarding = pathlib.Path("/proc/sys/net/ipv4/ip_forward").read_text().strip() == "1"
    yield Check(
        "IPv4 forwarding",
        forwarding,
        "on" if forwarding else "off; `pinnace up` turns it on",
        "sysctl -w net.ipv4.ip_forward=1",
        required=False,
    )


_CAP_SYS_RESOURCE = 24


def _privileges() -> Iterable[Check]:
    root = os.geteuid() == 0
    yield Check(
        "root", root, "yes" if root else "no: only a control plane is possible (--no-node)", "sudo pinnace up", False
    )
    effective = next(
        (
            int(line.split()[1], 16)
            for line in pathlib.Path("/proc/self/status").read_text().splitlines()
            if line.startswith("CapEff")
        ),
        0,
    )
    able = bool(effective >> _CAP_SYS_RESOURCE & 1)
    yield Check(
        "CAP_SYS_RESOURCE",
        able,
        "present" if able else "absent: the order in which the kernel kills on lack of memory cannot be set fully",
        "run on a host, or in a container started with --cap-add SYS_RESOURCE",
        required=False,
    )
