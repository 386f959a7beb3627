"""What this machine is and has: read from /proc, /sys and /etc, with nothing that fails where a file is missing."""

import os
import pathlib
import platform

from pinnace.kubelet import settings as settings_module
from pinnace.kubelet.pod import dependencies

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "ppc64le": "ppc64le", "s390x": "s390x"}


def architecture() -> str:
    machine = platform.machine()
    return _ARCHITECTURES.get(machine, machine)


def resources(settings: settings_module.Settings) -> dependencies.Machine:
    memory = memory_info().get("MemTotal", 0)
    disk = disk_space(settings.data_dir)[0]
    capacity = {
        "cpu": str(os.cpu_count() or 1),
        "ephemeral-storage": f"{disk >> 10}Ki",
        "memory": f"{memory >> 10}Ki",
        "pods": str(settings.max_pods),
        **settings.capacity,
    }
    allocatable = {
        **capacity,
        "ephemeral-storage": str(int(disk * (1 - settings.eviction_disk))),
        "memory": f"{max(0, memory - settings.eviction_memory_bytes) >> 10}Ki",
        **settings.capacity,
    }
    has_apparmor = _read("/sys/module/apparmor/parameters/enabled").startswith("Y")
    return dependencies.Machine(capacity, allocatable, memory, pids_for_pods(), has_apparmor)


SYSTEM_PIDS_PART = 0.1
"""Of the kernel's process numbers: kept for the machine itself."""


def pids_for_pods() -> int:
    """What the kernel can give, without what the machine needs to be governed; 0: the kernel does not say."""
    limits = [_read(f"/proc/sys/kernel/{name}").strip() for name in ("pid_max", "threads-max")]
    return int(min((int(text) for text in limits if text.isdigit()), default=0) * (1 - SYSTEM_PIDS_PART))


def memory_info() -> dict[str, int]:
    """Bytes by the names of /proc/meminfo."""
    found = {}
    for line in _read("/proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if words and words[0].isdigit():
            found[name] = int(words[0]) << 10
    return found


def disk_space(path: pathlib.Path) -> tuple[int, int]:
    """(size, available) in bytes of the file system that holds `path`, which may not exist yet."""
    while not path.exists() and path != path.parent:
        path = path.parent
    status = os.statvfs(path)
    return status.f_blocks * status.f_frsize, status.f_bavail * status.f_frsize


def node_info(settings: settings_module.Settings) -> dict[str, object]:
    """The Node's status.nodeInfo."""
    machine_id = _read("/etc/machine-id").strip() or _read("/var/lib/dbus/machine-id").strip()
    return {
        "machineID": machine_id,
        "systemUUID": _read("/sys/class/dmi/id/product_uuid").strip() or machine_id,
        "bootID": _read("/proc/sys/kernel/random/boot_id").strip(),
        "kernelVersion": platform.release(),
        "osImage": _os_name(),
        "containerRuntimeVersion": settings.runtime_version,
        "kubeletVersion": settings_module.KUBELET_VERSION,
        "kubeProxyVersion": "",
        "operatingSystem": "linux",
        "architecture": architecture(),
    }


def _os_name() -> str:
    for line in _read("/etc/os-release").splitlines():
        name, _, value = line.partition("=")
        if name == "PRETTY_NAME":
            return value.strip().strip('"')
    return "Linux"


def _read(path: str) -> str:
    try:
        return pathlib.Path(path).read_text(errors="replace")
    except OSError:
        return ""


def cpu_nanoseconds() -> int:
    """What all CPUs of the machine have worked since its start."""
    fields = pathlib.Path("/proc/stat").read_text().partition("\n")[0].split()[1:]
    # user nice system idle iowait irq softirq steal: the guests' time is in user and nice already.
    ticks = sum(int(each) for index, each in enumerate(fields[:8]) if index not in (3, 4))
    return ticks * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def boot_time() -> float:
    """Seconds since the epoch."""
    for line in pathlib.Path("/proc/stat").read_text().splitlines():
        name, _, value = line.partition(" ")
        if name == "btime":
            return float(value)
    return 0.0
