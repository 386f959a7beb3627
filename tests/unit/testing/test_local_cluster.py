"""The cluster of a test: whole, quick, replayable, gone without a trace."""

import asyncio
import gc
import os
import pathlib
import subprocess
import sys
import threading
from typing import Any

import pytest

from pinnace.client import client
from pinnace.testing import behaviour, local_cluster, simulated_node

Object = dict[str, Any]


def pod(name: str, said: str = "", **spec: Any) -> Object:
    annotations = {behaviour.ANNOTATION: said} if said else {}
    container = {"name": "main", "image": "registry.example/app:1", **spec.pop("container", {})}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "annotations": annotations},
        "spec": {"containers": [container], **spec},
    }


DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: main, image: nginx}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
"""


def run(test: Any, **options: Any) -> None:
    async def main() -> None:
        async with local_cluster.Cluster(**options) as cluster:
            await test(cluster)

    local_cluster.run(main)


def test_a_deployment_gets_pods_addresses_and_endpoints() -> None:
    async def test(cluster: local_cluster.Cluster) -> None:
        await cluster.apply(DEPLOYMENT)
        await cluster.wait_for("deployment/web", "Available")
        await cluster.wait_for("deployment/web", lambda it: it["status"].get("readyReplicas") == 3)
        pods = await cluster.list("pods", labels="app=web")
        assert {each["spec"]["nodeName"] for each in pods} == {"node-1", "node-2"}
        assert len({each["status"]["podIP"] for each in pods}) == 3

        async def addresses() -> bool:
            slices = await cluster.list("endpointslices", labels="kubernetes.io/service-name=web")
            ready = {each["addresses"][0] for found in slices for each in found["endpoints"] or ()}
            return ready == {each["status"]["podIP"] for each in pods}

        await cluster.wait_for(addresses)
        assert "ScalingReplicaSet" in {each["reason"] for each in await cluster.events("deployment/web")}

    run(test, nodes=2)


def test_containers_do_what_annotations_say() -> None:
    async def test(cluster: local_cluster.Cluster) -> None:
        await cluster.apply(pod("crashes", '{"exit_code": 3, "after": 2, "logs": "no database\\n"}'))
        await cluster.apply(pod("ends", '{"exit_code": 0, "after": 60}', restartPolicy="Never"))
        await cluster.wait_for("pod/ends", "Succeeded", timeout=62)
        status = await cluster.wait_for(
            "pod/crashes", lambda it: it["status"]["containerStatuses"][0]["restartCount"] == 4, timeout=200
        )
        last = status["status"]["containerStatuses"][0]["lastState"]["terminated"]
        assert last["exitCode"] == 3
        assert await cluster.logs("crashes") == "no database\n"
        await cluster.wait_for("pod/crashes", waits_in("CrashLoopBackOff"))

    run(test)


def waits_in(reason: str) -> Any:
    return lambda it: it["status"]["containerStatuses"][0]["state"].get("waiting", {}).get("reason") == reason


def test_probes_find_what_annotations_say_even_later() -> None:
    probe = {"httpGet": {"port": 80}, "periodSeconds": 5}

    async def test(cluster: local_cluster.Cluster) -> None:
        await cluster.apply(pod("slow", '{"ready_after": 90}', container={"readinessProbe": probe}))
        with pytest.raises(local_cluster.NotSo, match="not so after 80 seconds"):
            await cluster.wait_for("pod/slow", "Ready", timeout=80)
        await cluster.wait_for("pod/slow", "Ready", timeout=20)
        await cluster.patch("pod/slow", {"metadata": {"annotations": {behaviour.ANNOTATION: '{"ready": false}'}}})
        await cluster.wait_for("pod/slow", lambda it: not local_cluster.is_condition(it, "Ready"))
        await cluster.apply(pod("ill", '{"live_for": 100}', container={"livenessProbe": probe}))
        await cluster.advance(seconds=99)
        assert (await cluster.get("pod/ill"))["status"]["containerStatuses"][0]["restartCount"] == 0
        await cluster.wait_for("pod/ill", lambda it: it["status"]["containerStatuses"][0]["restartCount"] == 1)

    run(test)


def test_a_callback_decides_and_the_rest_is_left_to_commands() -> None:
    async def test(cluster: local_cluster.Cluster) -> None:
        def behave(found: Object, container: str) -> behaviour.Behaviour | None:
            if found["metadata"]["name"] == "told":
                return behaviour.Behaviour(exit_code=7)
            return None

        cluster.behave = behave
        await cluster.apply(pod("told", restartPolicy="Never"))
        says = {"command": ["sh", "-c", "echo hi; exit 4"]}
        await cluster.apply(pod("itself", restartPolicy="Never", container=says))
        beyond = {"command": ["sh", "-c", "while true; do date; done"]}
        await cluster.apply(pod("endless", restartPolicy="Never", container=beyond))
        await cluster.wait_for("pod/told", "Failed")
        found = await cluster.wait_for("pod/itself", "Failed")
        assert found["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 4
        assert await cluster.logs("itself") == "hi\n"
        await cluster.advance(minutes=1)
        assert (await cluster.get("pod/endless"))["status"]["phase"] == "Running"

    run(test)


def test_an_annotation_that_says_nothing_sensible_is_told() -> None:
    with pytest.raises(behaviour.BehaviourError, match=r"exit_cod.*it is a JSON object of exit_code, after"):
        behaviour.annotated(pod("x", '{"exit_cod": 1}'), "main")


def test_images_exist_unless_said_otherwise() -> None:
    async def test(cluster: local_cluster.Cluster) -> None:
        cluster.image_missing("ghost:1")
        await cluster.apply(pod("ghost", container={"image": "ghost:1"}))
        await cluster.wait_for("pod/ghost", waits_in("ImagePullBackOff"))

    run(test)


def test_the_pods_of_a_node_that_falls_silent_move_elsewhere() -> None:
    async def test(cluster: local_cluster.Cluster) -> None:
        await cluster.apply(DEPLOYMENT)
        await cluster.wait_for("deployment/web", lambda it: it["status"].get("readyReplicas") == 3)
        await cluster.nodes[0].crash()
        await cluster.wait_for("node/node-1", lambda it: not local_cluster.is_condition(it, "Ready"))
        await cluster.advance(minutes=6)
        await cluster.wait_for("deployment/web", lambda it: it["status"].get("readyReplicas") == 3)
        pods = await cluster.list("pods", labels="app=web")
        alive = [each for each in pods if "deletionTimestamp" not in each["metadata"]]
        assert {each["spec"]["nodeName"] for each in alive} == {"node-2"}
        await cluster.nodes[0].start()
        await cluster.wait_for("node/node-1", "Ready")

        async def only_the_living() -> bool:
            return len(await cluster.list("pods", labels="app=web")) == 3

        await cluster.wait_for(only_the_living)

    run(test, nodes=2)


def test_nodes_are_what_they_are_said_to_be() -> None:
    specs = [
        simulated_node.NodeSpec(cpu="1", labels={"disk": "ssd"}),
        simulated_node.NodeSpec("big", cpu="64", capacity={"example.com/gpu": "2"}),
    ]
    wants = {"resources": {"requests": {"cpu": "2"}, "limits": {"example.com/gpu": "1", "cpu": "2"}}}

    async def test(cluster: local_cluster.Cluster) -> None:
        await cluster.apply(pod("wants", container=wants))
        await cluster.apply(pod("ssd", nodeSelector={"disk": "ssd"}))
        assert (await cluster.wait_for("pod/wants", "Running"))["spec"]["nodeName"] == "big"
        assert (await cluster.wait_for("pod/ssd", "Running"))["spec"]["nodeName"] == "node-1"
        await cluster.apply(pod("too-big", container={"resources": {"requests": {"cpu": "65"}}}))
        await cluster.wait_for("pod/too-big", lambda it: not local_cluster.is_condition(it, "PodScheduled"))
        assert (await cluster.get("node/node-1"))["status"]["capacity"]["cpu"] == "1"

    run(test, nodes=specs)


def test_faults_of_the_api_hold_while_they_are_asked_for() -> None:
    async def test(cluster: local_cluster.Cluster) -> None:
        with cluster.faults.errors(503, method="PATCH", path="/status", client="kubelet"):
            await cluster.apply(pod("web"))
            await cluster.wait_for("pod/web", lambda it: it["spec"].get("nodeName"))
            await cluster.advance(seconds=20)
            assert (await cluster.get("pod/web"))["status"]["phase"] == "Pending"
        await cluster.wait_for("pod/web", "Running")
        with cluster.faults.latency(30, client="kube-scheduler"):
            asked = cluster.time.monotonic()
            await cluster.apply(pod("late"))
            await cluster.wait_for("pod/late", "Running", timeout=120)
            assert cluster.time.monotonic() - asked >= 30
        cluster.faults.disconnect_watches()
        await cluster.apply(pod("after"))
        await cluster.wait_for("pod/after", "Running")
        with cluster.faults.lost_answers(method="POST", path="/binding"):
            await cluster.apply(pod("lost"))
            await cluster.wait_for("pod/lost", "Running")

    run(test)


def test_the_same_seed_takes_the_same_course() -> None:
    def course(seed: int) -> list[tuple[str, ...]]:
        seen: list[tuple[str, ...]] = []

        async def test(cluster: local_cluster.Cluster) -> None:
            await cluster.apply(DEPLOYMENT)
            with cluster.faults.errors(500, chance=0.3, method="POST"):
                await cluster.wait_for("deployment/web", "Available", timeout=300)
            await cluster.nodes[1].stop()
            await cluster.advance(minutes=7)
            for each in [*await cluster.list("pods"), *await cluster.events()]:
                metadata = each["metadata"]
                seen.append((metadata["name"], metadata["uid"], metadata["creationTimestamp"], each.get("reason", "")))

        run(test, nodes=3, seed=seed)
        return seen

    first = course(7)
    assert len(first) > 10
    assert course(7) == first
    assert course(8) != first


def test_a_wrong_name_is_told() -> None:
    async def test(cluster: local_cluster.Cluster) -> None:
        with pytest.raises(ValueError, match="no resource 'frobs' is served"):
            await cluster.get("frobs/x")
        with pytest.raises(ValueError, match="names no object"):
            await cluster.get("pods")
        with pytest.raises(client.NotFound):
            await cluster.get("pod/none")
        assert await cluster.find("pod/none") is None
        with pytest.raises(ValueError, match="no kind 'Frob'"):
            await cluster.apply("{apiVersion: example.com/v1, kind: Frob, metadata: {name: x}}")

    run(test)


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def _resident() -> int:
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("count", [20, pytest.param(200, marks=pytest.mark.nightly)])
def test_clusters_leave_nothing_behind(count: int) -> None:
    async def one() -> set[str]:
        async with local_cluster.Cluster() as cluster:
            await cluster.apply(pod("web"))
            await cluster.wait_for("pod/web", "Running")
        left = asyncio.all_tasks() - {asyncio.current_task()}
        return {task.get_name() for task in left if task is not None}

    def several(times: int) -> None:
        for _ in range(times):
            assert local_cluster.run(one) == set()
        gc.collect()

    several(5)
    threads, descriptors, resident = threading.active_count(), _descriptors(), _resident()
    several(count - 5)
    assert threading.active_count() <= threads
    assert _descriptors() <= descriptors
    assert _resident() - resident < 32 << 20
    assert list(pathlib.Path("/dev/shm").glob(f"pinnace-testing-{os.getpid()}-*")) == []


def test_the_plug_in_costs_nothing_where_nobody_asks_for_a_cluster() -> None:
    program = (
        "import sys, pytest; before = set(sys.modules); import pinnace.testing.pytest_plugin;"
        "print(sorted(name for name in set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['pinnace', 'pinnace.testing', 'pinnace.testing.pytest_plugin']"
