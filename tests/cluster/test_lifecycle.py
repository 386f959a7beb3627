"""What an administrator meets: a service manager, a lost run folder, a machine that was switched off."""

import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import pytest

from pinnace.assemble import places, processes
from pinnace.kernel import cgroups, mounts
from pinnace.testing import cluster as clusters

pytestmark = [pytest.mark.cluster, pytest.mark.privileged]

POD = """
apiVersion: v1
kind: Pod
metadata: {name: sleeper}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: sleeper, image: 'busybox:test', command: [sleep, '100000']}
"""


def started(cluster: clusters.Cluster) -> tuple[str, int]:
    cluster.kubectl("wait", "--for=condition=Ready", "pod/sleeper", "--timeout=60s")
    status = cluster.get("pod", "sleeper")["status"]["containerStatuses"][0]
    return status["state"]["running"]["startedAt"], status["restartCount"]


def test_a_service_says_when_it_is_ready_and_its_restart_touches_no_container(
    own_cluster: clusters.Cluster, tmp_path: pathlib.Path
) -> None:
    own_cluster.apply(POD)
    before = started(own_cluster)
    where = places.of(own_cluster.data)
    assert processes.signal_and_wait(where.pid_file("supervisor"), signal.SIGTERM, 30)
    assert not any(component["pid"] for component in own_cluster.components().values())
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        arguments = ["up", "--foreground", "--data-dir", str(own_cluster.data), "--no-merge-kubeconfig"]
        service = subprocess.Popen(
            [sys.executable, "-P", "-m", "pinnace.cli.main", *arguments],
            env={**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")},
            stdout=subprocess.DEVNULL,
        )
        try:
            assert manager.recv(1000).startswith(b"READY=1")
            assert all(component["ready"] for component in own_cluster.components().values())
            assert own_cluster.components()["supervisor"]["pid"] == service.pid
            assert own_cluster.pinnace("up", "--foreground", check=False).returncode == 1
            assert started(own_cluster) == before
        finally:
            service.terminate()
            code = service.wait(30)
        assert manager.recv(1000) == b"STOPPING=1"
    assert code == 0
    own_cluster.up()
    assert started(own_cluster) == before


def test_down_finds_processes_whose_run_folder_was_emptied(own_cluster: clusters.Cluster) -> None:
    where = places.of(own_cluster.data)
    for path in where.run.glob("*.pid"):
        path.unlink()
    own_cluster.pinnace("down")
    clusters.assert_no_traces(own_cluster.data)


def test_after_a_loss_of_power_pods_run_again_and_another_port_may_be_chosen(own_cluster: clusters.Cluster) -> None:
    own_cluster.apply(POD)
    started(own_cluster)
    uid = own_cluster.get("pod", "sleeper")["metadata"]["uid"]
    lose_power(own_cluster)
    assert not any(component["pid"] for component in own_cluster.components().values())
    own_cluster.port = clusters.free_port()
    own_cluster.up()
    # The last status in the store says Ready, of a container that is gone.
    deadline = time.monotonic() + 60
    while started(own_cluster)[1] == 0:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert own_cluster.get("pod", "sleeper")["metadata"]["uid"] == uid
    assert own_cluster.kubectl("exec", "sleeper", "--", "echo", "there").stdout == "there\n"
    assert own_cluster.get("endpoints", "kubernetes")["subsets"][0]["ports"][0]["port"] == own_cluster.port


def lose_power(cluster: clusters.Cluster) -> None:
    """Every process of the cluster dies at once; what lives in memory (run folder, mounts, cgroups, interfaces) goes with it."""
    where = places.of(cluster.data)
    identity = places.cluster_id(cluster.data)
    victims = list(processes.running(where).values())
    for pid, arguments in processes.own_processes():
        if any(f"/{identity}/" in argument for argument in arguments):
            victims.append(pid)
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    groups = cgroups.Cgroups.discover()
    deadline = time.monotonic() + 10
    while not groups.remove(f"/pinnace-{identity}"):
        groups.kill_all(f"/pinnace-{identity}")
        assert time.monotonic() < deadline
    mounts.unmount_tree(where.run)
    subprocess.run(["rm", "-rf", str(where.run)], check=True)
    subprocess.run(["ip", "link", "delete", f"pn{identity}"], check=False, capture_output=True)
    left = clusters.traces(cluster.data)
    assert not any(kind in left for kind in ("processes", "mounts", "interfaces", "run")), left
