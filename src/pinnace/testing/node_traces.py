"""Everything that pods leave on a node while they live; when no pod is left, all of it must be gone (G10)."""

import asyncio
import contextlib
import json
import os
import pathlib
import time

from pinnace.testing import faults


def of(target: faults.Target) -> dict[str, set[str]]:
    """What is there now, by kind; kinds with nothing are left out."""
    where = target.where
    identity = target.settings.id
    mounts = pathlib.Path(f"/proc/{target.pid('node')}/mountinfo").read_text().splitlines()
    ours = (f"{where.run}/sandboxes/", f"{where.run}/containers/", f"{where.pods}/")
    found = {
        "sandboxes": _names(where.engine / "sandboxes"),
        "containers": _names(where.engine / "containers"),
        "runtime": _names(where.run / "containers") | _names(where.run / "crun"),
        "pins": _names(where.run / "sandboxes"),
        "pod folders": _names(where.pods),
        "mounts": {line for line in mounts if any(f" {one}" in line for one in ours)},
        "addresses": set(json.loads(where.network_state.read_text())["sandboxes"]),
        "veths": _names(pathlib.Path(f"/sys/class/net/{target.settings.bridge}/brif")),
        "cgroups": _cgroups(identity),
        "monitors": _monitors(identity),
    }
    return {kind: names for kind, names in found.items() if names}


async def assert_none(target: faults.Target, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while left := of(target):
        assert time.monotonic() < deadline, left
        await asyncio.sleep(0.2)


def _names(folder: pathlib.Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()


def _cgroups(identity: str) -> set[str]:
    """Those of pods: each has a folder below `pods`, in every hierarchy."""
    top = pathlib.Path("/sys/fs/cgroup")
    found = set()
    for folder in (*top.glob(f"*/pinnace-{identity}/pods"), *top.glob(f"pinnace-{identity}/pods")):
        found |= {entry.path for entry in os.scandir(folder) if entry.is_dir()}
    return found


def _monitors(identity: str) -> set[str]:
    found = set()
    for entry in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = entry.read_bytes().split(b"\0")
            if words[0].endswith(b"conmon") and any(f"/{identity}/".encode() in word for word in words):
                found.add(entry.parent.name)
    return found
