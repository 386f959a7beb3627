"""Whole clusters for tests, started as a user starts them: `pinnace up`, the real kubectl, real containers.

`traces` lists everything on the machine that a cluster could leave behind; a test compares before and after.
"""

import json
import os
import pathlib
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from pinnace.assemble import places
from pinnace.kernel import nftables

BIN = pathlib.Path(sys.executable).parent
LEFT_OVER_SECONDS = 10.0


class CommandFailed(AssertionError):
    """A command that should succeed did not; carries what it printed."""


class Cluster:
    """One running cluster and the ways to talk to it."""

    def __init__(self, folder: pathlib.Path, port: int) -> None:
        self.data = folder
        self.port = port
        self.kubeconfig = folder / "admin.kubeconfig"
        self.kubectl_path = str(BIN / "kubectl")

    def pinnace(self, *arguments: str, check: bool = True, **kwargs: Any) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "pinnace.cli.main", arguments[0], "--data-dir", str(self.data), *arguments[1:]]
        return run(command, check=check, **kwargs)

    def up(self, *options: str) -> None:
        self.pinnace("up", "--port", str(self.port), "--no-merge-kubeconfig", *options)

    def kubectl(self, *arguments: str, check: bool = True, **kwargs: Any) -> "subprocess.CompletedProcess[str]":
        command = [self.kubectl_path, "--kubeconfig", str(self.kubeconfig), *arguments]
        return run(command, check=check, **kwargs)

    def apply(self, manifest: str) -> None:
        self.kubectl("apply", "-f", "-", input=manifest)

    def get(self, *arguments: str) -> Any:
        return json.loads(self.kubectl("get", *arguments, "-o", "json").stdout)

    def components(self) -> dict[str, dict[str, Any]]:
        found = json.loads(self.pinnace("status", "--output", "json", check=False).stdout)
        return {component["name"]: component for component in found}

    def wait_ready(self, seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while not all(component["ready"] for component in self.components().values()):
            assert time.monotonic() < deadline, self.components()
            time.sleep(0.05)


def run(command: list[str], *, check: bool, timeout: float = 120, **kwargs: Any) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False, **kwargs)
    if check and done.returncode != 0:
        raise CommandFailed(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def wait_until(find: Callable[[], Any], seconds: float = 40) -> Any:
    """What `find` finds as soon as it finds something."""
    deadline = time.monotonic() + seconds
    while not (found := find()):
        assert time.monotonic() < deadline, "nothing was found in time"
        time.sleep(0.1)
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def traces(folder: pathlib.Path) -> dict[str, set[str]]:
    """Everything on this machine that the cluster in `folder` has: other clusters may run at the same time."""
    identity = places.cluster_id(folder)
    processes = set()
    for entry in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue
        if f"/{identity}/" in words or ("pinnace.assemble" in words and str(folder) in words):
            processes.add(f"{entry.parent.name} {words}")
    nft = nftables.Nftables()
    tables = nft.run("list tables")
    nft.close()
    mounts = pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
    found = {
        "processes": processes,
        "mounts": {line for line in mounts if identity in line or str(folder) in line},
        "interfaces": {path.name for path in pathlib.Path("/sys/class/net").iterdir() if identity in path.name},
        "tables": {line for line in tables.splitlines() if identity in line},
        # os.walk, since others' groups vanish while it looks.
        "cgroups": {folder for folder, _, _ in os.walk("/sys/fs/cgroup") if identity in os.path.basename(folder)},
        "run": {str(path) for path in pathlib.Path("/run/pinnace").glob(identity)},
    }
    return {kind: left for kind, left in found.items() if left}


def assert_no_traces(folder: pathlib.Path) -> None:
    """The kernel frees namespaces and cgroups a moment after their last process: ask until it has, but not for long."""
    deadline = time.monotonic() + LEFT_OVER_SECONDS
    while left := traces(folder):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)
