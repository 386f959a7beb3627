"""Control groups, v1 (also hybrid) and v2, behind one interface.

A group is named by its path from the root of the hierarchies (`/pinnace-x/pods/<uid>/<container>`); under v1 it is one directory per
controller. Only groups that the caller names are ever touched.
"""

import contextlib
import dataclasses
import errno
import os
import pathlib
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from pinnace.kernel import mounts

# What a container's limits and figures need. Other v1 hierarchies are the runtime's affair.
V1_CONTROLLERS = (
    "cpu", "cpuacct", "cpuset", "memory", "pids", "freezer", "devices", "blkio", "hugetlb", "net_cls", "net_prio", "perf_event",
    "systemd",
)  # fmt: skip
V2_CONTROLLERS = ("cpu", "cpuset", "io", "memory", "pids")
# What the kernel gives a group that nobody set: cpu.shares under v1, the weight 100 under v2 comes of it.
DEFAULT_SHARES = 1024
# memory.limit_in_bytes of a group without a limit is this or more (the page counter's maximum).
UNLIMITED = 1 << 60


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """0, "" : no limit (cpu_shares: the kernel's default)."""

    cpu_shares: int = 0
    cpu_quota_us: int = 0
    cpu_period_us: int = 100_000
    memory_bytes: int = 0
    pids: int = 0
    cpuset_cpus: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Figures:
    cpu_nanoseconds: int = 0
    memory_usage_bytes: int = 0
    memory_working_set_bytes: int = 0
    """Usage without the file cache that can go at once, as cAdvisor counts it."""
    pids: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Layout:
    version: Literal[1, 2]
    roots: Mapping[str, pathlib.Path]
    """v1: controller -> where its hierarchy is mounted; v2: "" -> the mount."""

    @property
    def unique_roots(self) -> tuple[pathlib.Path, ...]:
        return tuple(dict.fromkeys(self.roots.values()))


def layout_of(entries: Sequence[mounts.MountEntry]) -> Layout:
    """v1 as soon as a v1 controller is mounted. Raises FileNotFoundError when no hierarchy is mounted."""
    roots: dict[str, pathlib.Path] = {}
    for entry in entries:
        if entry.filesystem != "cgroup":
            continue
        options = entry.super_options.replace("name=", "").split(",")
        for controller in V1_CONTROLLERS:
            if controller in options:
                roots.setdefault(controller, pathlib.Path(entry.target))
    if roots:
        return Layout(1, roots)
    for entry in entries:
        if entry.filesystem == "cgroup2":
            return Layout(2, {"": pathlib.Path(entry.target)})
    raise FileNotFoundError("no cgroup hierarchy is mounted")


def weight_of_shares(shares: int) -> int:
    """v1 shares (2..262144) as a v2 weight (1..10000), the conversion that the runtimes share."""
    return max(1, min(10_000, 1 + ((max(2, shares) - 2) * 9999) // 262_142))


class Cgroups:
    """The groups below one parent path."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    @classmethod
    def discover(cls) -> "Cgroups":
        return cls(layout_of(mounts.read_mounts()))

    def create(self, path: str, limits: Limits | None = None) -> None:
        """Make the group (and the groups above it) in every hierarchy; set limits. Quiet when it is there."""
        for directory in self._directories(path):
            directory.mkdir(parents=True, exist_ok=True, mode=0o755)
        if self.layout.version == 1:
            self._inherit_cpuset(path)
        else:
            self._enable_controllers(path)
        if limits is not None:
            self.apply(path, limits)

    def apply(self, path: str, limits: Limits) -> None:
        """Raises OSError for a value that the kernel refuses."""
        for controller, file, value in self._settings(limits):
            _write(self._directory(path, controller) / file, value)

    def change(self, path: str, before: Limits, after: Limits, *, limits_swap: bool) -> None:
        """New limits in place of those that were set; 0 takes one away. Raises OSError; everything is then as it was before."""
        done: list[tuple[str, str, str]] = []
        try:
            for setting in self._changes(before, after, limits_swap):
                self._set(path, setting)
                done.append(setting)
        except OSError:
            for setting in self._changes(after, before, limits_swap):
                if setting[:2] in {each[:2] for each in done}:
                    self._set(path, setting)
            raise

    def _set(self, path: str, setting: tuple[str, str, str]) -> None:
        controller, file, value = setting
        _write(self._directory(path, controller) / file, value)

    def _changes(self, before: Limits, after: Limits, limits_swap: bool) -> list[tuple[str, str, str]]:
        settings = []
        if after.cpu_shares != before.cpu_shares:
            settings += list(self._settings(Limits(cpu_shares=after.cpu_shares or DEFAULT_SHARES)))
        if (after.cpu_quota_us, after.cpu_period_us) != (before.cpu_quota_us, before.cpu_period_us):
            settings += list(self._settings(Limits(cpu_quota_us=after.cpu_quota_us, cpu_period_us=after.cpu_period_us)))
            if not after.cpu_quota_us:
                is_v1 = self.layout.version == 1
                settings.append(("cpu", "cpu.cfs_quota_us", "-1") if is_v1 else ("", "cpu.max", "max"))
        if after.memory_bytes != before.memory_bytes:
            settings += self._memory_changes(before.memory_bytes, after.memory_bytes, limits_swap)
        if after.pids != before.pids:
            settings.append(("pids" if self.layout.version == 1 else "", "pids.max", str(after.pids or "max")))
        return settings

    def _memory_changes(self, before: int, after: int, limits_swap: bool) -> list[tuple[str, str, str]]:
        if self.layout.version == 2:
            # A container's swap is 0 whatever its memory.
            return [("", "memory.max", str(after or "max"))]
        value = str(after or -1)
        settings = [("memory", "memory.limit_in_bytes", value)]
        if limits_swap:
            settings.append(("memory", "memory.memsw.limit_in_bytes", value))
        # Memory and swap together may never be less than memory: what grows, grows from the outside.
        return settings[::-1] if before and (not after or after > before) else settings

    def add(self, path: str, pid: int) -> None:
        """Move a process into the group."""
        for directory in self._directories(path):
            _write(directory / "cgroup.procs", str(pid))

    def processes(self, path: str) -> tuple[int, ...]:
        """Of the group and the groups below."""
        found: dict[int, None] = {}
        for directory in self._directories(path):
            for below in _walk(directory):
                with contextlib.suppress(OSError):
                    found.update(dict.fromkeys(int(pid) for pid in (below / "cgroup.procs").read_text().split()))
        return tuple(found)

    def kill_all(self, path: str, number: int = signal.SIGKILL) -> int:
        """Signal every process of the group; returns to how many. With SIGKILL also those that fork meanwhile."""
        total = 0
        for _ in range(20):
            pids = self.processes(path)
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            total = max(total, len(pids))
            if not pids or number != signal.SIGKILL:
                break
            time.sleep(0.005)
        return total

    def figures(self, path: str) -> Figures:
        """What the group uses; zeros where the kernel does not count it."""
        if self.layout.version == 2:
            return self._figures_v2(self._directory(path, ""))
        memory = self._directory(path, "memory")
        usage = _read_int(memory / "memory.usage_in_bytes")
        inactive = _read_table(memory / "memory.stat").get("total_inactive_file", 0)
        return Figures(
            cpu_nanoseconds=_read_int(self._directory(path, "cpuacct") / "cpuacct.usage"),
            memory_usage_bytes=usage,
            memory_working_set_bytes=max(0, usage - inactive),
            pids=_read_int(self._directory(path, "pids") / "pids.current"),
        )

    def oom_kills(self, path: str) -> int:
        """How many processes of the group the kernel killed for memory."""
        if self.layout.version == 2:
            return _read_table(self._directory(path, "") / "memory.events").get("oom_kill", 0)
        return _read_table(self._directory(path, "memory") / "memory.oom_control").get("oom_kill", 0)

    def limits(self, path: str) -> Limits:
        """The memory and processes that the group may have, as the kernel says."""
        if self.layout.version == 2:
            memory, pids = self._directory(path, "") / "memory.max", self._directory(path, "") / "pids.max"
        else:
            memory = self._directory(path, "memory") / "memory.limit_in_bytes"
            pids = self._directory(path, "pids") / "pids.max"
        amount = _read_int(memory)
        return Limits(memory_bytes=0 if amount >= UNLIMITED else amount, pids=_read_int(pids))

    def limit_hits(self, path: str) -> int:
        """How often the group was refused another process: v1 counts that where it was asked for, v2 where the limit is."""
        folder = self._directory(path, "pids" if self.layout.version == 1 else "")
        return sum(_read_table(below / "pids.events").get("max", 0) for below in _walk(folder))

    def exists(self, path: str) -> bool:
        return any(directory.is_dir() for directory in self._directories(path))

    def remove(self, path: str) -> bool:
        """Remove the group with the groups below. False while a process lives in it."""
        done = True
        for directory in self._directories(path):
            for below in sorted(_walk(directory), key=lambda p: len(p.parts), reverse=True):
                try:
                    below.rmdir()
                except FileNotFoundError:
                    continue
                except OSError as error:
                    if error.errno != errno.EBUSY:
                        raise
                    done = False
        return done

    def _directory(self, path: str, controller: str) -> pathlib.Path:
        root = self.layout.roots.get(controller)
        if root is None:
            # A controller that this machine lacks: a path where nothing is, so that figures read as zero.
            root = pathlib.Path("/nonexistent")
        return root / path.lstrip("/")

    def _directories(self, path: str) -> tuple[pathlib.Path, ...]:
        if not path.strip("/") or ".." in path.split("/"):
            raise ValueError(f"not a cgroup path of ours: {path!r}")
        return tuple(root / path.lstrip("/") for root in self.layout.unique_roots)

    def _settings(self, limits: Limits) -> Iterator[tuple[str, str, str]]:
        if self.layout.version == 1:
            yield from self._settings_v1(limits)
        else:
            yield from self._settings_v2(limits)

    @staticmethod
    def _settings_v1(limits: Limits) -> Iterator[tuple[str, str, str]]:
        if limits.cpu_shares:
            yield "cpu", "cpu.shares", str(max(2, limits.cpu_shares))
        if limits.cpu_quota_us:
            yield "cpu", "cpu.cfs_period_us", str(limits.cpu_period_us)
            yield "cpu", "cpu.cfs_quota_us", str(limits.cpu_quota_us)
        if limits.memory_bytes:
            yield "memory", "memory.limit_in_bytes", str(limits.memory_bytes)
        if limits.pids:
            yield "pids", "pids.max", str(limits.pids)
        if limits.cpuset_cpus:
            yield "cpuset", "cpuset.cpus", limits.cpuset_cpus

    @staticmethod
    def _settings_v2(limits: Limits) -> Iterator[tuple[str, str, str]]:
        if limits.cpu_shares:
            yield "", "cpu.weight", str(weight_of_shares(limits.cpu_shares))
        if limits.cpu_quota_us:
            yield "", "cpu.max", f"{limits.cpu_quota_us} {limits.cpu_period_us}"
        if limits.memory_bytes:
            yield "", "memory.max", str(limits.memory_bytes)
        if limits.pids:
            yield "", "pids.max", str(limits.pids)
        if limits.cpuset_cpus:
            yield "", "cpuset.cpus", limits.cpuset_cpus

    def _inherit_cpuset(self, path: str) -> None:
        """A v1 cpuset group takes no process before it has CPUs and memory nodes of its own."""
        root = self.layout.roots.get("cpuset")
        if root is None:
            return
        directory = root
        for part in path.strip("/").split("/"):
            parent, directory = directory, directory / part
            for file in ("cpuset.cpus", "cpuset.mems"):
                if not (directory / file).read_text().strip():
                    (directory / file).write_text((parent / file).read_text())

    def _enable_controllers(self, path: str) -> None:
        """v2 gives a group the controllers that every group above it passes on."""
        directory = self.layout.roots[""]
        for part in path.strip("/").split("/"):
            available = (directory / "cgroup.controllers").read_text().split()
            enabled = (directory / "cgroup.subtree_control").read_text().split()
            for controller in V2_CONTROLLERS:
                if controller in available and controller not in enabled:
                    # A group that holds processes itself refuses some; its limits then do not hold, which the caller
                    # notices when it writes them.
                    with contextlib.suppress(OSError):
                        (directory / "cgroup.subtree_control").write_text(f"+{controller}")
            directory /= part

    @staticmethod
    def _figures_v2(directory: pathlib.Path) -> Figures:
        usage = _read_int(directory / "memory.current")
        inactive = _read_table(directory / "memory.stat").get("inactive_file", 0)
        return Figures(
            cpu_nanoseconds=_read_table(directory / "cpu.stat").get("usage_usec", 0) * 1000,
            memory_usage_bytes=usage,
            memory_working_set_bytes=max(0, usage - inactive),
            pids=_read_int(directory / "pids.current"),
        )


def _walk(directory: pathlib.Path) -> Iterator[pathlib.Path]:
    """`directory` and the groups below it; none when it is not there."""
    for name, _, _ in os.walk(directory):
        yield pathlib.Path(name)


def _write(path: pathlib.Path, value: str) -> None:
    try:
        path.write_text(value)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}: cannot set {value!r}", str(path)) from error


def _read_int(path: pathlib.Path) -> int:
    try:
        text = path.read_text().strip()
    except OSError:
        return 0
    return int(text) if text.isdigit() else 0


def _read_table(path: pathlib.Path) -> dict[str, int]:
    """Lines of `name number`."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.split() for line in lines)
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}
