"""How pods live and end: hooks, probes, restarts, failures, and what their statuses and events say. All pods of this file
start at once; each test waits for what it is about."""

import json
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from pinnace.testing.cluster import Cluster
from pinnace.testing.cluster import wait_until as until

pytestmark = [pytest.mark.cluster, pytest.mark.privileged]

NAMESPACE = "lives"
Object = dict[str, Any]


def pod(name: str, command: str, container: Object | None = None, **spec: Any) -> Object:
    main = {"name": "main", "image": "busybox:test", "command": ["sh", "-c", command], **(container or {})}
    spec = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [main], **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"life": name}}, "spec": spec}


def init(name: str, command: str) -> Object:
    return {"name": name, "image": "busybox:test", "command": ["sh", "-c", command]}


def check(command: str, **numbers: int) -> Object:
    return {"exec": {"command": ["sh", "-c", command]}, "periodSeconds": 1, **numbers}


PODS = (
    pod("message", "echo -n last words > /dev/termination-log"),
    pod("message-from-logs", "echo -n printed words; exit 1", {"terminationMessagePolicy": "FallbackToLogsOnError"}),
    pod("init-fails", "true", initContainers=[init("good", "true"), init("bad", "exit 1")]),
    pod("init-again", "true", restartPolicy="Always", initContainers=[init("bad", "exit 1"), init("next", "true")]),
    pod("crashes", "echo crashed; exit 3", restartPolicy="Always"),
    pod("no-image", "true", {"image": "nobody:1", "imagePullPolicy": "Never"}),
    pod("no-command", "", {"command": ["/nothing/here"]}),
    pod("no-settings", "true", {"envFrom": [{"configMapRef": {"name": "nobody"}}]}),
    pod("root", "true", securityContext={"runAsNonRoot": True}),
    pod("too-much-memory", "x=a; while true; do x=$x$x; done", {"resources": {"limits": {"memory": "16Mi"}}}),
    pod("too-long", "sleep 600", activeDeadlineSeconds=1),
    pod(
        "dies-of-its-probe",
        "touch /alive; sleep 2; rm /alive; sleep 600",
        {"livenessProbe": check("cat /alive", failureThreshold=1)},
        restartPolicy="Always",
    ),
    pod(
        "never-starts-up",
        "sleep 600",
        {"startupProbe": check("false", failureThreshold=1), "livenessProbe": check("true")},
        restartPolicy="Always",
    ),
    pod(
        "is-not-ready",
        "httpd -f -p 8080 -h /etc",
        {"readinessProbe": {"httpGet": {"path": "/nothing", "port": 8080}, "periodSeconds": 1}},
    ),
    pod("waits-for-a-gate", "sleep 600", readinessGates=[{"conditionType": "example.com/open"}]),
    pod(
        "hooked",
        "trap 'echo terminated; exit 0' TERM; while true; do sleep 0.1; done",
        {
            "lifecycle": {
                "postStart": {"exec": {"command": ["sh", "-c", "echo started > /proc/1/fd/1"]}},
                "preStop": {"exec": {"command": ["sh", "-c", "echo stopping > /proc/1/fd/1; sleep 0.5"]}},
            }
        },
        restartPolicy="Always",
        terminationGracePeriodSeconds=20,
    ),
    pod(
        "hook-fails",
        "sleep 600",
        {"lifecycle": {"postStart": {"exec": {"command": ["false"]}}}},
        restartPolicy="Always",
    ),
    pod(
        "follows",
        "while true; do cat /v/settings/word /v/later/word /v/labels 2>/dev/null; echo; sleep 0.2; done",
        {
            "volumeMounts": [
                {"name": "settings", "mountPath": "/v/settings"},
                {"name": "later", "mountPath": "/v/later"},
                {"name": "labels", "mountPath": "/v/labels", "subPath": ""},
            ]
        },
        volumes=[
            {"name": "settings", "configMap": {"name": "settings"}},
            {"name": "later", "secret": {"secretName": "later", "optional": True}},
            {
                "name": "labels",
                "downwardAPI": {"items": [{"path": "all", "fieldRef": {"fieldPath": "metadata.labels"}}]},
            },
        ],
    ),
    pod("same-image", "sleep 600", restartPolicy="Always"),
    pod("debugged", "sleep 600", restartPolicy="Always"),
    pod("with-a-port", "httpd -f -p 8080 -h /etc", {"ports": [{"containerPort": 8080, "hostPort": 18099}]}),
)


class Lives:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def run(self, *words: str, said: str | None = None, check: bool = True) -> "subprocess.CompletedProcess[str]":
        return self._cluster.kubectl("-n", NAMESPACE, *words, input=said, check=check)

    def get(self, name: str) -> Object:
        found: Object = json.loads(self.run("get", "pod", name, "-o", "json").stdout)
        return found

    def status(self, name: str) -> Object:
        found: Object = self.get(name)["status"]
        return found

    def main(self, name: str) -> Object:
        """The status of the pod's only container; {} before there is one."""
        return next(iter(self.status(name).get("containerStatuses") or ()), {})

    def condition(self, name: str, kind: str) -> Object:
        found = [entry for entry in self.status(name).get("conditions") or () if entry["type"] == kind]
        return found[0] if found else {}

    def logs(self, name: str, *options: str) -> str:
        return self.run("logs", name, *options, check=False).stdout

    def events(self, name: str) -> dict[str, str]:
        """The last message of each reason."""
        words = ("get", "events", "--field-selector", f"involvedObject.name={name}", "-o", "json")
        return {item["reason"]: item["message"] for item in json.loads(self.run(*words).stdout)["items"]}

    def ended(self, name: str) -> Object:
        """The end of the only container."""
        found: Object = until(lambda: self.main(name).get("state", {}).get("terminated"))
        return found

    def waiting(self, name: str, reason: str) -> Object:
        found: Object = until(lambda: _of_reason(self.main(name).get("state", {}).get("waiting"), reason))
        return found


def _of_reason(state: Object | None, reason: str) -> Object | None:
    return state if state is not None and state.get("reason") == reason else None


@pytest.fixture(scope="module")
def lives(cluster: Cluster) -> Iterator[Lives]:
    made = Lives(cluster)
    cluster.kubectl("create", "namespace", NAMESPACE)
    try:
        made.run("create", "configmap", "settings", "--from-literal=word=old")
        made.run("apply", "-f", "-", said=json.dumps({"apiVersion": "v1", "kind": "List", "items": PODS}))
        yield made
    finally:
        cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=true", "--timeout=60s")


def test_the_last_words_are_in_the_status(lives: Lives) -> None:
    assert lives.ended("message")["message"] == "last words"
    assert lives.status("message")["phase"] == "Succeeded"
    end = lives.ended("message-from-logs")
    assert (end["message"], end["exitCode"], end["reason"]) == ("printed words", 1, "Error")


def test_a_failed_init_container_fails_a_pod_that_is_never_restarted(lives: Lives) -> None:
    until(lambda: lives.status("init-fails")["phase"] == "Failed")
    initialized = lives.condition("init-fails", "Initialized")
    assert (initialized["status"], initialized["reason"]) == ("False", "ContainersNotInitialized")
    assert initialized["message"] == "containers with incomplete status: [bad]"
    assert lives.main("init-fails")["state"]["waiting"]["reason"] == "PodInitializing"


def test_init_containers_are_tried_again_and_nothing_else_starts(lives: Lives) -> None:
    until(lambda: (lives.status("init-again").get("initContainerStatuses") or [{}])[0].get("restartCount", 0) >= 1)
    status = lives.status("init-again")
    assert status["phase"] == "Pending"
    assert status["initContainerStatuses"][1]["state"]["waiting"]["reason"] == "PodInitializing"
    assert "Init:" in lives.run("get", "pod", "init-again").stdout


def test_a_container_that_crashes_waits_longer_and_keeps_its_last_log(lives: Lives) -> None:
    waiting = lives.waiting("crashes", "CrashLoopBackOff")
    assert re.match(r"back-off \d0s restarting failed container=main pod=crashes_lives\(", waiting["message"])
    assert lives.main("crashes")["lastState"]["terminated"]["exitCode"] == 3
    assert lives.logs("crashes", "-p") == "crashed\n"


def test_what_keeps_a_container_from_starting_is_told(lives: Lives) -> None:
    assert "pull policy of Never" in lives.waiting("no-image", "ErrImageNeverPull")["message"]
    assert lives.waiting("no-settings", "CreateContainerConfigError")["message"] == 'configmap "nobody" not found'
    assert "image will run as root" in lives.waiting("root", "CreateContainerConfigError")["message"]
    end = lives.ended("no-command")
    assert (end["reason"], end["exitCode"]) == ("StartError", 128)


def test_too_much_memory_and_too_much_time(lives: Lives) -> None:
    assert (lives.ended("too-much-memory")["reason"], lives.ended("too-much-memory")["exitCode"]) == ("OOMKilled", 137)
    until(lambda: lives.status("too-long")["phase"] == "Failed")
    assert lives.status("too-long")["reason"] == "DeadlineExceeded"


def test_probes_restart_containers(lives: Lives) -> None:
    until(lambda: lives.main("dies-of-its-probe").get("restartCount", 0) >= 1)
    until(lambda: lives.main("never-starts-up").get("restartCount", 0) >= 1)
    events = lives.events("dies-of-its-probe")
    assert events["Unhealthy"].startswith("Liveness probe failed: cat: can't open '/alive'")
    assert events["Killing"] == "Container main failed liveness probe, will be restarted"


def test_a_failing_readiness_probe_keeps_a_pod_unready(lives: Lives) -> None:
    until(lambda: "Unhealthy" in lives.events("is-not-ready"))
    assert lives.events("is-not-ready")["Unhealthy"] == "Readiness probe failed: HTTP probe failed with statuscode: 404"
    ready = lives.condition("is-not-ready", "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "ContainersNotReady")
    assert lives.main("is-not-ready")["started"] is True


def test_a_gate_keeps_a_pod_unready_until_somebody_opens_it(lives: Lives) -> None:
    until(lambda: lives.condition("waits-for-a-gate", "ContainersReady").get("status") == "True")
    assert lives.condition("waits-for-a-gate", "Ready")["reason"] == "ReadinessGatesNotReady"
    gate = {"status": {"conditions": [{"type": "example.com/open", "status": "True"}]}}
    lives.run("patch", "pod", "waits-for-a-gate", "--subresource=status", "-p", json.dumps(gate))
    ready = until(lambda: _true(lives.condition("waits-for-a-gate", "Ready")))
    assert "reason" not in ready
    assert "message" not in ready


def _true(condition: Object) -> Object | None:
    return condition if condition.get("status") == "True" else None


def test_hooks_run_and_a_pod_ends_in_order(lives: Lives) -> None:
    until(lambda: lives.logs("hooked") == "started\n")
    with subprocess.Popen(
        [
            lives._cluster.kubectl_path,
            "--kubeconfig",
            str(lives._cluster.kubeconfig),
            "-n",
            NAMESPACE,
            "logs",
            "-f",
            "hooked",
        ],
        stdout=subprocess.PIPE,
        text=True,
    ) as following:
        lives.run("delete", "pod", "hooked")
        assert following.communicate(timeout=20)[0] == "started\nstopping\nterminated\n"


def test_a_failed_start_hook_is_an_event(lives: Lives) -> None:
    assert until(lambda: lives.events("hook-fails").get("FailedPostStartHook")) == "PostStartHook failed"


def test_volumes_follow_what_they_show(lives: Lives) -> None:
    until(lambda: "old" in lives.logs("follows"))
    change = {"data": {"word": "new"}}
    lives.run("patch", "configmap", "settings", "-p", json.dumps(change))
    lives.run("create", "secret", "generic", "later", "--from-literal=word=appeared")
    until(lambda: "newappeared" in lives.logs("follows", "--tail=5"))


def test_another_image_restarts_the_container_alone(lives: Lives) -> None:
    until(lambda: lives.status("same-image").get("phase") == "Running")
    before = lives.status("same-image")["podIP"]
    lives.run("set", "image", "pod/same-image", "main=docker.io/library/busybox:test")
    until(lambda: lives.main("same-image")["restartCount"] == 1)
    assert lives.status("same-image")["podIP"] == before


def test_a_debugging_container_joins_a_running_pod(lives: Lives) -> None:
    until(lambda: lives.status("debugged").get("phase") == "Running")
    command = ("sh", "-c", "echo inside; sleep 600")
    lives.run("debug", "debugged", "--image=busybox:test", "-c", "debugger", "--", *command)
    until(lambda: lives.logs("debugged", "-c", "debugger") == "inside\n")
    assert lives.status("debugged")["ephemeralContainerStatuses"][0]["state"]["running"]


def test_kubectl_run_passes_input_output_and_exit_code(lives: Lives) -> None:
    options = ("--image=busybox:test", "--restart=Never", "--rm", "-i", "--quiet")
    assert lives.run("run", "cat", *options, "--", "cat", said="through\n").stdout.startswith("through\n")
    assert lives.run("run", "four", *options, "--", "sh", "-c", "sleep 1; exit 4", check=False).returncode == 4


def test_log_options(lives: Lives) -> None:
    lives.ended("message-from-logs")
    assert lives.logs("message-from-logs", "--limit-bytes=7") == "printed"
    stamp, _, text = lives.logs("message-from-logs", "--timestamps").partition(" ")
    assert text == "printed words"
    assert stamp.endswith("Z")
    refused = lives.run("logs", "message-from-logs", "-p", check=False)
    assert 'previous terminated container "main" in pod "message-from-logs" not found' in refused.stderr


def test_an_eviction_takes_a_pod_away(lives: Lives) -> None:
    until(lambda: lives.status("waits-for-a-gate").get("phase") == "Running")
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/waits-for-a-gate/eviction"
    wish = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "waits-for-a-gate"}}
    lives.run("create", "--raw", path, "-f", "-", said=json.dumps(wish))
    lives.run("wait", "--for=delete", "pod/waits-for-a-gate", "--timeout=30s")


def test_a_port_of_the_host_is_the_pods_alone(lives: Lives) -> None:
    until(lambda: lives.status("with-a-port").get("phase") == "Running")
    other = pod("wants-it-too", "true", {"ports": [{"containerPort": 80, "hostPort": 18099}]})
    lives.run("create", "-f", "-", said=json.dumps(other))
    told = until(lambda: lives.events("wants-it-too").get("FailedScheduling"))
    assert "1 node(s) didn't have free ports for the requested pod ports" in told
