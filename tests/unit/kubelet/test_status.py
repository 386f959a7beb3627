"""What a pod's status says, in upstream's words, for every state that its containers can be in."""

import datetime
from typing import Any

import pytest

from pinnace.kubelet.pod import model, status
from pinnace.testing import pods

CONTEXT = status.Context(datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC), ("192.0.2.1",))
BOX = model.SandboxView("box", 0, True, ("10.42.0.5",))
MEMORY = model.Memory(volumes_ready=True)
OVER = model.Memory(volumes_ready=True, termination=model.Termination(1))


def container(name: str, state: model.State, code: int = 0, attempt: int = 0, **fields: Any) -> model.ContainerView:
    values: dict[str, Any] = {"id": f"{name}{attempt}", "sandbox_id": "box", "image": "busybox", **fields}
    return model.ContainerView(name=name, attempt=attempt, state=state, exit_code=code, **values)


def running(name: str, **fields: Any) -> model.ContainerView:
    return container(name, model.State.RUNNING, **fields)


def exited(name: str, code: int = 0, **fields: Any) -> model.ContainerView:
    return container(name, model.State.EXITED, code, **fields)


def made(pod: model.Object, *views: model.ContainerView, memory: model.Memory = MEMORY) -> model.Object:
    return status.make(pod, model.Observed(BOX, views), memory, CONTEXT)


def condition(value: model.Object, kind: str) -> tuple[str, str, str]:
    found = next(entry for entry in value["conditions"] if entry["type"] == kind)
    return found["status"], found.get("reason", ""), found.get("message", "")


TWO = [pods.container("a"), pods.container("b")]
PHASES: list[tuple[str, dict[str, Any], list[model.ContainerView], model.Memory, str]] = [
    ("nothing yet", {}, [], MEMORY, "Pending"),
    ("one of two", {"containers": TWO}, [running("a")], MEMORY, "Pending"),
    ("all", {"containers": TWO}, [running("a"), running("b")], MEMORY, "Running"),
    (
        "one ended well, one runs",
        {"containers": TWO, "restartPolicy": "Never"},
        [exited("a"), running("b")],
        MEMORY,
        "Running",
    ),
    ("ended but to be restarted", {}, [exited("main", 1)], MEMORY, "Running"),
    ("failed on failure policy", {"restartPolicy": "OnFailure"}, [exited("main", 1)], MEMORY, "Running"),
    ("done, not yet stopped", {"restartPolicy": "Never"}, [exited("main")], MEMORY, "Running"),
    ("done", {"restartPolicy": "Never"}, [exited("main")], OVER, "Succeeded"),
    ("failed", {"restartPolicy": "Never"}, [exited("main", 1)], OVER, "Failed"),
    ("one failed", {"containers": TWO, "restartPolicy": "Never"}, [exited("a"), exited("b", 2)], OVER, "Failed"),
    ("deleted, ended well", {}, [exited("main")], OVER, "Succeeded"),
    ("deleted, killed", {}, [exited("main", 137)], OVER, "Failed"),
    ("deleted, still runs", {}, [running("main")], OVER, "Running"),
    ("deleted before it started", {}, [], OVER, "Failed"),
    ("initializing", {"initContainers": [pods.container("i")]}, [running("i")], MEMORY, "Pending"),
    ("init failed, again", {"initContainers": [pods.container("i")]}, [exited("i", 1)], MEMORY, "Pending"),
    (
        "init failed for good",
        {"initContainers": [pods.container("i")], "restartPolicy": "Never"},
        [exited("i", 1)],
        OVER,
        "Failed",
    ),
]


@pytest.mark.parametrize(("_", "spec", "views", "memory", "phase"), PHASES, ids=[case[0] for case in PHASES])
def test_phase(
    _: str, spec: dict[str, Any], views: list[model.ContainerView], memory: model.Memory, phase: str
) -> None:
    assert made(pods.pod(**spec), *views, memory=memory)["phase"] == phase


def test_a_terminal_phase_never_changes() -> None:
    pod = pods.pod()
    pod["status"]["phase"] = "Failed"
    pod["status"]["reason"] = "Evicted"
    value = made(pod, running("main"))
    assert (value["phase"], value["reason"]) == ("Failed", "Evicted")


def test_a_new_pod_waits_for_its_containers() -> None:
    value = status.make(pods.pod(), model.Observed(), model.Memory(), CONTEXT)
    (entry,) = value["containerStatuses"]
    assert entry["state"] == {"waiting": {"reason": "ContainerCreating"}}
    assert (entry["ready"], entry["started"], entry["restartCount"]) == (False, False, 0)
    assert value["startTime"] == "2026-01-01T00:00:00Z"
    assert "podIP" not in value
    assert condition(value, "PodReadyToStartContainers") == ("False", "", "")
    assert condition(value, "Initialized") == ("True", "", "")
    unready = ("False", "ContainersNotReady", "containers with unready status: [main]")
    assert condition(value, "Ready") == condition(value, "ContainersReady") == unready


def test_pods_with_init_containers_say_pod_initializing() -> None:
    value = made(pods.pod(initContainers=[pods.container("i")]), running("i"))
    assert value["containerStatuses"][0]["state"] == {"waiting": {"reason": "PodInitializing"}}
    text = "containers with incomplete status: [i]"
    assert condition(value, "Initialized") == ("False", "ContainersNotInitialized", text)


def test_transition_times_move_with_the_status_alone() -> None:
    pod = pods.pod()
    pod["status"] = made(pod, running("main"))
    later = status.Context(CONTEXT.now + datetime.timedelta(minutes=1), CONTEXT.host_addresses)
    observed = model.Observed(BOX, (exited("main", 1),))
    value = status.make(pod, observed, MEMORY, later)
    times = {entry["type"]: entry["lastTransitionTime"] for entry in value["conditions"]}
    assert times["Ready"] == "2026-01-01T00:01:00Z"
    assert times["Initialized"] == "2026-01-01T00:00:00Z"


def test_conditions_of_others_stay_and_gate_readiness() -> None:
    pod = pods.pod(readinessGates=[{"conditionType": "example.com/lb"}])
    missing = 'corresponding condition of pod readiness gate "example.com/lb" does not exist.'
    assert condition(made(pod, running("main")), "Ready") == ("False", "ReadinessGatesNotReady", missing)
    theirs = {"type": "example.com/lb", "status": "True"}
    pod["status"]["conditions"] = [theirs]
    value = made(pod, running("main"))
    assert condition(value, "Ready")[0] == "True"
    assert theirs in value["conditions"]


ENDS = [
    (exited("main"), "Completed"),
    (exited("main", 1), "Error"),
    (exited("main", 137, oom_killed=True), "OOMKilled"),
    (exited("main", 128, start_failed=True), "StartError"),
]


@pytest.mark.parametrize(("view", "reason"), ENDS, ids=[reason for _, reason in ENDS])
def test_reasons_of_ends(view: model.ContainerView, reason: str) -> None:
    value = made(pods.pod(restartPolicy="Never"), view, memory=OVER)
    assert value["containerStatuses"][0]["state"]["terminated"]["reason"] == reason


def test_a_restarted_container_shows_its_last_end() -> None:
    views = (exited("main", 2, message="bye"), running("main", attempt=1))
    (entry,) = made(pods.pod(), *views)["containerStatuses"]
    assert entry["restartCount"] == 1
    last = entry["lastState"]["terminated"]
    assert (last["exitCode"], last["message"], last["containerID"]) == (2, "bye", "pinnace://main0")


def test_a_container_in_back_off_waits_and_keeps_its_end_as_the_last_state() -> None:
    memory = model.Memory(volumes_ready=True, waiting={"main": model.Waiting("CrashLoopBackOff", "back-off 10s")})
    (entry,) = made(pods.pod(), exited("main", 1), memory=memory)["containerStatuses"]
    assert entry["state"] == {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}
    assert entry["lastState"]["terminated"]["exitCode"] == 1


def test_a_container_shows_as_running_only_after_its_post_start_hook() -> None:
    (entry,) = made(pods.pod(), running("main", hook_pending=True))["containerStatuses"]
    assert entry["state"] == {"waiting": {"reason": "ContainerCreating"}}
    assert not entry["started"]


def test_readiness_and_startup_come_from_the_probes() -> None:
    memory = model.Memory(probes={"main0": model.ProbeResults(readiness=None, startup=True)})
    (entry,) = made(pods.pod(), running("main"), memory=memory)["containerStatuses"]
    assert (entry["started"], entry["ready"]) == (True, False)
    memory = model.Memory(probes={"main0": model.ProbeResults(startup=None)})
    (entry,) = made(pods.pod(), running("main"), memory=memory)["containerStatuses"]
    assert (entry["started"], entry["ready"]) == (False, False)


def test_pods_on_the_hosts_network_have_its_address() -> None:
    value = made(pods.pod(hostNetwork=True), running("main"))
    assert (value["podIP"], value["hostIP"]) == ("192.0.2.1", "192.0.2.1")


def test_an_evicted_pod_fails_with_its_reason_once_it_has_stopped() -> None:
    memory = model.Memory(termination=model.Termination(1, "Evicted", "low on memory", is_failure=True))
    assert made(pods.pod(), running("main"), memory=memory)["phase"] == "Running"
    value = made(pods.pod(), exited("main"), memory=memory)
    assert (value["phase"], value["reason"], value["message"]) == ("Failed", "Evicted", "low on memory")
    assert condition(value, "Ready") == ("False", "PodFailed", "")


def test_the_status_is_a_fixed_point() -> None:
    """What was written and read back is not written again."""
    pod = pods.pod(initContainers=[pods.container("i"), pods.container("s", restartPolicy="Always")])
    views = (exited("i"), running("s"), running("main"))
    pod["status"] = made(pod, *views)
    assert made(pod, *views) == pod["status"]


def test_containers_whose_records_are_lost_count_as_ended() -> None:
    """After everything was stopped and removed the API's own word is what is left of a container."""
    pod = pods.pod(restartPolicy="Never", containers=[pods.container("a"), pods.container("b")])
    pod["status"] = made(pod, running("a"), exited("b", 3, attempt=2))
    a, b = status.lost_containers(pod, set(), 7.0)
    assert (a.exit_code, a.reason, a.finished_at) == (137, "ContainerStatusUnknown", 7.0)
    assert (b.exit_code, b.reason, b.attempt) == (3, "Error", 2)
    assert status.lost_containers(pod, {"a0", "b2"}, 7.0) == ()
    value = status.make(pod, model.Observed(None, (a, b)), OVER, CONTEXT)
    assert value["phase"] == "Failed"
    ended = value["containerStatuses"][0]["state"]["terminated"]
    assert ended["reason"] == "ContainerStatusUnknown"
    assert "finishedAt" not in ended


def test_an_eviction_leaves_its_condition() -> None:
    memory = model.Memory(
        termination=model.Termination(1, "Evicted", "low on memory", is_disruption=True, is_failure=True)
    )
    value = made(pods.pod(), exited("main"), memory=memory)
    assert condition(value, "DisruptionTarget") == ("True", "TerminationByKubelet", "low on memory")


@pytest.mark.parametrize(
    ("mount", "shown"),
    [
        ({}, None),
        ({"readOnly": True}, "Disabled"),
        ({"readOnly": True, "recursiveReadOnly": "IfPossible"}, "Enabled"),
        ({"readOnly": True, "recursiveReadOnly": "Enabled"}, "Enabled"),
    ],
)
def test_how_far_a_read_only_mount_reaches_is_told(mount: dict[str, Any], shown: str | None) -> None:
    pod = pods.pod(containers=[pods.container("main", volumeMounts=[{"name": "v", "mountPath": "/v", **mount}])])
    entry = made(pod, running("main"))["containerStatuses"][0]["volumeMounts"][0]
    assert entry.get("recursiveReadOnly") == shown


def test_a_pod_that_is_refused_keeps_what_is_known_of_it_and_says_why() -> None:
    pod = pods.pod()
    pod["metadata"]["generation"] = 3
    pod["status"] = {"qosClass": "BestEffort", "conditions": [{"type": "PodScheduled", "status": "True"}]}
    assert status.rejected(pod, "OutOfcpu", "too large", CONTEXT) == {
        **pod["status"],
        "observedGeneration": 3,
        "phase": "Failed",
        "reason": "OutOfcpu",
        "message": "too large",
        "startTime": "2026-01-01T00:00:00Z",
    }
