"""Pods end as their containers do, and say how."""

import itertools
from typing import Any


def test_a_failed_pod_tells_its_reason(target: Any, namespace: str) -> None:
    """Kubelet, failed pod, terminated reason: a container that fails has a terminated state with a reason and its exit code."""
    pod = target.run(namespace, "fails", "echo bye; exit 3")
    assert pod.status.phase == "Failed"
    terminated = pod.status.container_statuses[0].state.terminated
    assert (terminated.reason, terminated.exit_code) == ("Error", 3)
    assert target.core.read_namespaced_pod_log("fails", namespace) == "bye\n"


def test_init_containers_run_in_order_before_the_others(target: Any, namespace: str) -> None:
    """init-container-starts-app-restartnever-pod: init containers start one after another and the containers only when all have succeeded."""
    first = {"name": "first", "image": target.image, "command": ["sh", "-c", "true"]}
    pod = target.run(namespace, "init", "true", initContainers=[first, {**first, "name": "second"}])
    assert pod.status.phase == "Succeeded"
    states = [each.state.terminated for each in (*pod.status.init_container_statuses, *pod.status.container_statuses)]
    for before, after in itertools.pairwise(states):
        assert before.finished_at <= after.started_at


def test_a_failed_init_container_stops_a_pod_that_never_restarts(target: Any, namespace: str) -> None:
    """init-container-fails-stops-app-restartnever-pod: where an init container fails, no container starts and the pod is Failed."""
    broken = {"name": "broken", "image": target.image, "command": ["sh", "-c", "exit 1"]}
    pod = target.run(namespace, "init", "true", initContainers=[broken])
    assert pod.status.phase == "Failed"
    assert pod.status.container_statuses[0].state.waiting is not None


def test_the_environment_knows_the_pod(target: Any, namespace: str) -> None:
    """DownwardAPI, environment for name, namespace and ip: the values are those of the pod."""
    fields = {"NAME": "metadata.name", "SPACE": "metadata.namespace", "ADDRESS": "status.podIP"}
    env = [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in fields.items()]
    pod = target.run(namespace, "knows", "env", container={"env": env})
    lines = target.core.read_namespaced_pod_log("knows", namespace).splitlines()
    assert {"NAME=knows", f"SPACE={namespace}"} <= set(lines)
    assert any(line.startswith("ADDRESS=") and len(line) > len("ADDRESS=") for line in lines), pod.status
