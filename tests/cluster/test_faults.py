"""Processes are killed; what was acknowledged stays, what ran goes on, and what died comes back."""

import concurrent.futures
import os
import signal
import time

import pytest

from pinnace.testing.cluster import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.privileged]

POD = """
apiVersion: v1
kind: Pod
metadata: {name: counter}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: counter
    image: busybox:test
    command: [sh, -c, 'i=0; while true; do i=$((i+1)); echo $i; sleep 0.02; done']
"""


def kill(cluster: Cluster, name: str) -> int:
    pid = cluster.components()[name]["pid"]
    os.kill(pid, signal.SIGKILL)
    return int(pid)


def started(cluster: Cluster) -> tuple[str, int]:
    status = cluster.get("pod", "counter")["status"]["containerStatuses"][0]
    return status["state"]["running"]["startedAt"], status["restartCount"]


def wait_new(cluster: Cluster, name: str, old: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        component = cluster.components()[name]
        if component["ready"] and component["pid"] not in (0, old):
            return
        assert time.monotonic() < deadline, component
        time.sleep(0.05)


def test_kill_of_the_server_loses_no_acknowledged_write_and_restarts_no_container(own_cluster: Cluster) -> None:
    own_cluster.apply(POD)
    own_cluster.kubectl("wait", "--for=condition=Ready", "pod/counter", "--timeout=60s")
    before = started(own_cluster)
    acknowledged: list[str] = []

    def write(index: int) -> None:
        name = f"w{index}"
        done = own_cluster.kubectl("create", "configmap", name, f"--from-literal=n={index}", check=False)
        if done.returncode == 0:
            acknowledged.append(name)

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        work = [pool.submit(write, index) for index in range(40)]
        while len(acknowledged) < 10:
            time.sleep(0.01)
        old = kill(own_cluster, "server")
        for one in work:
            one.result()
    wait_new(own_cluster, "server", old)
    present = {item["metadata"]["name"] for item in own_cluster.get("configmaps")["items"]}
    assert set(acknowledged) <= present
    assert started(own_cluster) == before


def test_kill_of_the_node_agent_restarts_no_container_and_loses_no_line(own_cluster: Cluster) -> None:
    own_cluster.apply(POD)
    own_cluster.kubectl("wait", "--for=condition=Ready", "pod/counter", "--timeout=60s")
    before = started(own_cluster)
    for _ in range(3):
        wait_new(own_cluster, "node", kill(own_cluster, "node"))
    assert started(own_cluster) == before
    lines = own_cluster.kubectl("logs", "counter").stdout.split()
    assert lines == [str(index + 1) for index in range(len(lines))]
    assert len(lines) > 50


def test_down_leaves_nothing_and_up_finds_everything(own_cluster: Cluster) -> None:
    own_cluster.apply(POD)
    own_cluster.kubectl("wait", "--for=condition=Ready", "pod/counter", "--timeout=60s")
    own_cluster.kubectl("create", "configmap", "kept", "--from-literal=a=b")
    uid = own_cluster.get("pod", "counter")["metadata"]["uid"]
    own_cluster.pinnace("down")
    assert own_cluster.kubectl("get", "pods", check=False).returncode != 0
    own_cluster.up()
    own_cluster.up()  # on a running cluster: quietly nothing
    assert own_cluster.get("configmap", "kept")["data"] == {"a": "b"}
    own_cluster.kubectl("wait", "--for=condition=Ready", "pod/counter", "--timeout=60s")
    assert own_cluster.get("pod", "counter")["metadata"]["uid"] == uid


def test_a_supervisor_that_was_killed_is_replaced_and_adopts(own_cluster: Cluster) -> None:
    old = own_cluster.components()
    os.kill(old["supervisor"]["pid"], signal.SIGKILL)
    own_cluster.up()
    new = own_cluster.components()
    assert new["server"]["pid"] == old["server"]["pid"]
    assert new["node"]["pid"] == old["node"]["pid"]
    wait_new(own_cluster, "server", kill(own_cluster, "server"))


def test_two_clusters_run_side_by_side(own_cluster: Cluster, cluster: Cluster) -> None:
    own_cluster.apply(POD)
    own_cluster.kubectl("wait", "--for=condition=Ready", "pod/counter", "--timeout=60s")
    assert cluster.kubectl("get", "pod", "counter", check=False).returncode == 1
