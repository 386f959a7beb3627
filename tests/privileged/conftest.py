"""Tests with real containers: a mount namespace of the session's own, places for engines, and a check that nothing is left."""

import contextlib
import dataclasses
import os
import pathlib
import secrets
from collections.abc import Iterator

import pytest

from pinnace.kernel import cgroups, mounts, namespaces


@pytest.fixture(scope="session", autouse=True)
def private_mount_namespace() -> None:
    """No mount of a test shows on the machine; limits work where cgroups are hybrid."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    namespaces.make_private_mount_namespace()


@dataclasses.dataclass(frozen=True)
class Places:
    root: pathlib.Path
    run: pathlib.Path
    cgroup: str

    def processes(self) -> list[str]:
        """Command lines of the processes that belong to these places."""
        found = []
        here = os.readlink("/proc/self/ns/mnt")
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            with contextlib.suppress(OSError):
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                groups = (entry / "cgroup").read_text()
                is_pause = command.startswith("pinnace-pause-") and os.readlink(entry / "ns/mnt") == here
                if str(self.run) in command or f"{self.cgroup}/" in groups or is_pause:
                    found.append(command)
        return found

    def mounts(self) -> list[str]:
        below = (str(self.root), str(self.run))
        return [entry.target for entry in mounts.read_mounts() if entry.target.startswith(below)]

    def groups(self) -> list[str]:
        layout = cgroups.Cgroups.discover().layout
        found: list[str] = []
        for root in layout.unique_roots:
            for name, _, _ in os.walk(root / self.cgroup.strip("/")):
                # Below <parent>/pods, with its groups of sandboxes, and <parent>/containers.
                below = name[len(str(root)) :].strip(os.sep).split(os.sep)[2:]
                if below and below not in (["burstable"], ["besteffort"]):
                    found.append(name)
        return found


@pytest.fixture
def places(tmp_path: pathlib.Path) -> Iterator[Places]:
    """Folders and a cgroup for one engine. Afterwards nothing may be left of mounts, processes and groups."""
    here = Places(tmp_path / "root", tmp_path / "run", f"/pinnace-test-{os.getpid()}-{secrets.token_hex(3)}")
    try:
        yield here
        left = {"processes": here.processes(), "mounts": here.mounts(), "groups": here.groups()}
    finally:
        groups = cgroups.Cgroups.discover()
        if groups.exists(here.cgroup):
            groups.kill_all(here.cgroup)
        for folder in (here.root, here.run):
            mounts.unmount_tree(folder)
        if groups.exists(here.cgroup):
            groups.remove(here.cgroup)
    assert left == {"processes": [], "mounts": [], "groups": []}
