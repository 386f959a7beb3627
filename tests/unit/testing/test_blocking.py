"""The cluster for tests that are not coroutines, its fixtures, and clients that come in through the socket."""

import pathlib
import subprocess
import sys
import threading

import pytest

from pinnace.client import client
from pinnace.testing import blocking, local_cluster

KUBECTL = pathlib.Path(sys.executable).parent / "kubectl"
POD = "{apiVersion: v1, kind: Pod, metadata: {name: web}, spec: {containers: [{name: main, image: nginx}]}}"


def test_it_is_the_same_cluster_without_await(pinnace_cluster: blocking.Cluster) -> None:
    pinnace_cluster.apply(POD)
    pinnace_cluster.wait_for("pod/web", "Ready")
    pinnace_cluster.advance(minutes=5)
    assert pinnace_cluster.get("pod/web")["status"]["phase"] == "Running"
    assert [each["metadata"]["name"] for each in pinnace_cluster.list("pods")] == ["web"]
    with pytest.raises(client.NotFound):
        pinnace_cluster.get("pod/none")
    with pytest.raises(local_cluster.NotSo):
        pinnace_cluster.wait_for("pod/none", "exists", timeout=1000)
    pinnace_cluster.delete("pod/web")
    pinnace_cluster.wait_for("pod/web", "deleted")


@pytest.mark.pinnace(nodes=2)
def test_the_marker_says_what_the_cluster_is_like(pinnace_cluster: blocking.Cluster) -> None:
    assert [node.name for node in pinnace_cluster.nodes] == ["node-1", "node-2"]
    pinnace_cluster.nodes[1].stop()
    pinnace_cluster.wait_for("node/node-2", lambda it: not local_cluster.is_condition(it, "Ready"))
    pinnace_cluster.nodes[1].start()
    pinnace_cluster.wait_for("node/node-2", "Ready")


def test_one_cluster_serves_a_session(pinnace_shared_cluster: blocking.Cluster) -> None:
    pinnace_shared_cluster.apply("{apiVersion: v1, kind: Namespace, metadata: {name: mine}}")
    pinnace_shared_cluster.apply(POD, namespace="mine")
    pinnace_shared_cluster.wait_for("pod/web", "Running", namespace="mine")


def test_kubectl_sees_a_cluster_like_any_other() -> None:
    with blocking.Cluster(jumps=False) as cluster:

        def kubectl(*words: str) -> str:
            command = [KUBECTL, "--kubeconfig", cluster.kubeconfig, *words]
            return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout

        kubectl("run", "web", "--image=nginx", '--annotations=testing.pinnace.dev/behaviour={"logs": "it runs\\n"}')
        kubectl("wait", "--for=condition=Ready", "pod/web", "--timeout=30s")
        assert kubectl("logs", "web") == "it runs\n"
        assert kubectl("exec", "web", "--", "echo", "hello") == "hello\n"
        assert "node-1   Ready" in kubectl("get", "nodes")
        kubectl("delete", "pod", "web")


def test_nothing_of_it_is_left() -> None:
    before = set(threading.enumerate())
    with blocking.Cluster() as cluster:
        assert set(threading.enumerate()) - before
        folder = pathlib.Path(cluster.kubeconfig).parent
        assert folder.is_dir()
    assert set(threading.enumerate()) - before == set()
    assert not folder.exists()
