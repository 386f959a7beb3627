"""Which capabilities this process has. A missing one degrades a feature; it never stops the engine."""

import functools
import pathlib

NAMES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO",
    "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME",
    "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG",
    "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF", "CHECKPOINT_RESTORE",
)  # fmt: skip
"""In the order of their numbers (capability.h), without `CAP_`."""


def parse(status: str, field: str) -> frozenset[str]:
    """The names in one `Cap…` line of /proc/<pid>/status; numbers that have no name yet are left out."""
    for line in status.splitlines():
        if line.startswith(f"{field}:"):
            mask = int(line.split()[1], 16)
            return frozenset(name for number, name in enumerate(NAMES) if mask >> number & 1)
    raise ValueError(f"no {field} line in the process status")


@functools.cache
def effective() -> frozenset[str]:
    """What this process may do."""
    return parse(pathlib.Path("/proc/self/status").read_text(), "CapEff")


@functools.cache
def bounding() -> frozenset[str]:
    """What this process may pass on to a container."""
    return parse(pathlib.Path("/proc/self/status").read_text(), "CapBnd")
