"""Smaller decisions of the node agent, each by a table: admission, probes, credentials, eviction, quality of service, logs."""

import base64
import json
import pathlib
from typing import Any

import pytest

from pinnace.api import labels
from pinnace.api import pods as facts
from pinnace.engine import interface
from pinnace.kubelet.endpoint import container_logs
from pinnace.kubelet.node import admission, eviction, housekeeping, registration
from pinnace.kubelet.pod import containers, environment, images, probes, qos, status_writer, termination
from pinnace.kubelet.volumes import interface as interface_of_volumes
from pinnace.testing import pods

NODE: dict[str, Any] = {
    "metadata": {"name": "node-1", "labels": {"zone": "a", "size": "5"}},
    "spec": {"taints": [{"key": "dead", "effect": "NoExecute"}]},
    "status": {"allocatable": {"cpu": "2", "memory": "1Gi", "pods": "2", "ephemeral-storage": "10Gi", "x.io/gpu": "1"}},
}
TOLERANT = [{"operator": "Exists"}]


def affinity(key: str, operator: str, *values: str) -> dict[str, Any]:
    terms = [{"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}]
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}


ADMISSIONS: list[tuple[str, dict[str, Any], str]] = [
    ("fits", {}, ""),
    ("cpu", {"containers": [pods.container("m", resources={"requests": {"cpu": "1500m"}})]}, "OutOfcpu"),
    ("memory", {"containers": [pods.container("m", resources={"requests": {"memory": "2Gi"}})]}, "OutOfmemory"),
    ("device", {"containers": [pods.container("m", resources={"requests": {"x.io/gpu": "2"}})]}, "OutOfx.io/gpu"),
    ("device of the cluster", {"containers": [pods.container("m", resources={"requests": {"x.io/licence": "2"}})]}, ""),
    ("selector", {"nodeSelector": {"zone": "a"}}, ""),
    ("wrong selector", {"nodeSelector": {"zone": "b"}}, "NodeAffinity"),
    ("affinity", {"affinity": affinity("size", "Gt", "4")}, ""),
    ("wrong affinity", {"affinity": affinity("zone", "NotIn", "a")}, "NodeAffinity"),
    ("absent label", {"affinity": affinity("other", "DoesNotExist")}, ""),
    ("port", {"containers": [pods.container("m", ports=[{"containerPort": 1, "hostPort": 80}])]}, "NodePorts"),
    (
        "other address",
        {"containers": [pods.container("m", ports=[{"containerPort": 1, "hostPort": 80, "hostIP": "127.0.0.2"}])]},
        "",
    ),
    ("taint", {"tolerations": []}, "TaintToleration"),
    ("safe sysctl", {"securityContext": {"sysctls": [{"name": "net/ipv4/tcp_syncookies", "value": "1"}]}}, ""),
    ("sysctl", {"securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}}, "SysctlForbidden"),
    ("system", {"os": {"name": "windows"}}, "PodOSNotSupported"),
    ("apparmor", {"securityContext": {"appArmorProfile": {"type": "RuntimeDefault"}}}, "AppArmor"),
    ("no apparmor", {"securityContext": {"appArmorProfile": {"type": "Unconfined"}}}, ""),
]


@pytest.mark.parametrize(("_", "spec", "reason"), ADMISSIONS, ids=[case[0] for case in ADMISSIONS])
def test_admission(_: str, spec: dict[str, Any], reason: str) -> None:
    taken = [{"containerPort": 1, "hostPort": 80, "hostIP": "127.0.0.1"}]
    other = pods.pod(containers=[pods.container("m", ports=taken, resources={"requests": {"cpu": "1"}})])
    found = admission.admit(pods.pod(**{"tolerations": TOLERANT, **spec}), NODE, [other])
    assert ("" if found is None else found.reason) == reason


@pytest.mark.parametrize(
    ("port", "reason"),
    [
        ({"hostPort": 6443}, "NodePorts"),
        ({"hostPort": 6443, "hostIP": "127.0.0.1"}, "NodePorts"),
        ({"hostPort": 6443, "protocol": "UDP"}, ""),
        ({"hostPort": 6444}, ""),
        ({}, ""),
    ],
)
def test_the_ports_of_the_node_s_own_servers_are_no_pod_s(port: dict[str, Any], reason: str) -> None:
    node = {**NODE, "metadata": {**NODE["metadata"], "annotations": {labels.RESERVED_HOST_PORTS: "6443,10250"}}}
    pod = pods.pod(tolerations=TOLERANT, containers=[pods.container("m", ports=[{"containerPort": 1, **port}])])
    found = admission.admit(pod, node, [])
    assert ("" if found is None else found.reason) == reason


def test_where_apparmor_is_a_profile_of_the_node_reaches_the_process() -> None:
    profile = {"appArmorProfile": {"type": "Localhost", "localhostProfile": "tight"}}
    main = pods.container("main", securityContext=profile)
    pod = pods.pod(tolerations=TOLERANT, containers=[main])
    assert admission.admit(pod, NODE, [], has_apparmor=True) is None
    refused = admission.admit(pod, NODE, [])
    assert refused is not None
    assert refused.message == "Pod was rejected: Cannot enforce AppArmor: AppArmor is not enabled on the host"
    assert containers.security(pod, main, pathlib.Path("/p")).apparmor_profile == "tight"
    assert containers.security(pod, pods.container("other"), pathlib.Path("/p")).apparmor_profile == ""


def test_a_full_node_takes_no_pod() -> None:
    found = admission.admit(pods.pod(tolerations=TOLERANT), NODE, [pods.pod(), pods.pod()])
    assert found is not None
    assert (
        found.message == "Pod was rejected: Node didn't have enough resource: pods, requested: 1, used: 2, capacity: 2"
    )


# ---------------------------------------------------------------- probes


def test_results_change_after_enough_outcomes_in_a_row() -> None:
    limits = probes.Spec(success_threshold=2, failure_threshold=3)
    run, seen = probes.Run(), []
    for outcome in (True, True, False, False, True, False, False, False):
        run, counts = probes.advance(run, outcome, limits)
        seen.append(counts)
    assert seen == [False, True, False, False, False, False, False, True]


def test_ports_by_name_and_number() -> None:
    container = pods.container("m", ports=[{"name": "web", "containerPort": 8080}])
    assert [probes.port(container, value) for value in ("web", 80, "81")] == [8080, 80, 81]
    with pytest.raises(probes.PortError, match="couldn't find port: other"):
        probes.port(container, "other")


def test_an_adopted_container_keeps_what_its_status_says() -> None:
    container = pods.container("m", readinessProbe={}, startupProbe={"exec": {}})
    container["readinessProbe"] = {"exec": {}}
    status = {"containerStatuses": [{"name": "m", "containerID": "pinnace://x", "ready": True, "started": True}]}
    assert probes.adopted(container, "x", status) == probes.model.ProbeResults(True, True, True)
    assert probes.adopted(container, "y", status) == probes.model.ProbeResults(True, None, None)


# ---------------------------------------------------------------- images


def secret(**auths: dict[str, str]) -> dict[str, Any]:
    config = json.dumps({"auths": {name.replace("_", "."): value for name, value in auths.items()}})
    return {"metadata": {"name": "s"}, "data": {".dockerconfigjson": base64.b64encode(config.encode()).decode()}}


CREDENTIALS = [
    ("registry.example/team/app:1", {"registry_example": {"username": "u", "password": "p"}}, ["u"]),
    (
        "registry.example/team/app:1",
        {"registry_example/team": {"username": "t"}, "registry_example": {"username": "u"}},
        ["t", "u"],
    ),
    ("registry.example/other/app", {"registry_example/team": {"username": "t"}}, []),
    ("nginx", {"https://index_docker_io/v1/": {"auth": base64.b64encode(b"me:pw").decode()}}, ["me"]),
    ("nginx", {"registry_example": {"username": "u"}}, []),
]


@pytest.mark.parametrize(("image", "auths", "users"), CREDENTIALS)
def test_pull_secrets_fit_by_registry_and_path(image: str, auths: dict[str, Any], users: list[str]) -> None:
    assert [each.username for each in images.credentials(image, [secret(**auths)])] == users


def test_a_broken_pull_secret_is_passed_over() -> None:
    broken = {"metadata": {"name": "s"}, "data": {".dockerconfigjson": base64.b64encode(b"{").decode()}}
    assert images.credentials("nginx", [broken]) == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.012, "12ms"), (1.234, "1.234s"), (62.5, "1m2.5s"), (3600, "1h0m0s")],
)
def test_durations_as_upstream_prints_them(seconds: float, text: str) -> None:
    assert images._go_milliseconds(seconds) == text


# ---------------------------------------------------------------- resources


def limited(requests: dict[str, str] | None = None, limits: dict[str, str] | None = None) -> dict[str, Any]:
    return pods.container("m", resources={"requests": requests or {}, "limits": limits or {}})


FULL = {"cpu": "1", "memory": "1Gi"}
CLASSES = [
    ([pods.container("m")], "BestEffort"),
    ([limited(FULL, FULL)], "Guaranteed"),
    ([limited(None, FULL)], "Guaranteed"),
    ([limited({"cpu": "1"})], "Burstable"),
    ([limited(FULL, FULL), pods.container("n")], "Burstable"),
    ([limited({"cpu": "500m", "memory": "1Gi"}, FULL)], "Burstable"),
]


@pytest.mark.parametrize(("given", "expected"), CLASSES)
def test_quality_of_service(given: list[dict[str, Any]], expected: str) -> None:
    assert facts.qos_class(pods.pod(containers=given)["spec"]) == expected


def test_requests_and_limits_become_shares_and_quota() -> None:
    container = limited({"cpu": "250m", "memory": "64Mi"}, {"cpu": "500m", "memory": "128Mi"})
    found = qos.container_resources(pods.pod(containers=[container]), container, 1 << 30)
    assert (found.cpu_shares, found.cpu_quota_us, found.memory_bytes) == (256, 50_000, 128 << 20)
    assert found.oom_score_adj == 1000 - 62
    guaranteed = limited(FULL, FULL)
    assert qos.container_resources(pods.pod(containers=[guaranteed]), guaranteed, 1 << 30).oom_score_adj == -997
    plain = pods.container("m")
    assert qos.container_resources(pods.pod(containers=[plain]), plain, 1 << 30).oom_score_adj == 1000


def test_a_pod_asks_for_the_larger_of_its_beginning_and_its_run() -> None:
    init = pods.container("i", resources={"requests": {"cpu": "2"}})
    side = pods.container("s", restartPolicy="Always", resources={"requests": {"cpu": "100m"}})
    pod = pods.pod(initContainers=[side, init], containers=[limited({"cpu": "1"})])
    assert qos.pod_request(pod, "cpu") == 2100


def test_run_as_non_root_names_what_is_wrong() -> None:
    image = interface.Image("sha256:1", (), (), 0, 0, user="app")
    pod = pods.pod("web", containers=[pods.container("m", securityContext={"runAsNonRoot": True})])
    container = pod["spec"]["containers"][0]
    with pytest.raises(
        environment.ConfigError, match="image has non-numeric user \\(app\\), cannot verify user is non-root"
    ):
        containers.check_non_root(pod, container, image)
    container["securityContext"]["runAsUser"] = 0
    with pytest.raises(environment.ConfigError, match="container's runAsUser breaks non-root policy"):
        containers.check_non_root(pod, container, image)
    container["securityContext"]["runAsUser"] = 1000
    containers.check_non_root(pod, container, image)


SUB_PATHS = [("$(A)/x", "1/x"), ("plain", "plain"), ("$(EMPTY)", None), ("$(NO)/x", None)]


@pytest.mark.parametrize(("expression", "expected"), SUB_PATHS)
def test_a_sub_path_needs_a_value_for_every_name(expression: str, expected: str | None) -> None:
    container = pods.container("m", volumeMounts=[{"name": "v", "mountPath": "/v", "subPathExpr": expression}])
    ready = {"v": interface_of_volumes.Volume(pathlib.Path("/nowhere"))}
    variables = [("A", "1"), ("EMPTY", "")]
    if expected is None:
        with pytest.raises(environment.ConfigError, match="missing value for"):
            containers.mount_requests(container, ready, variables)
    else:
        assert containers.mount_requests(container, ready, variables)[0].sub_path == expected


# ---------------------------------------------------------------- eviction, logs, status


def candidate(memory: int, request: str = "", priority: int = 0) -> eviction.Candidate:
    container = limited({"memory": request}) if request else pods.container("m")
    return eviction.Candidate(pods.pod(containers=[container], priority=priority), memory, 0)


def test_eviction_takes_who_is_above_its_request_first_then_priority_then_the_largest() -> None:
    modest = candidate(50 << 20, "100Mi")
    greedy, larger = candidate(150 << 20, "100Mi"), candidate(200 << 20, "100Mi")
    important, critical = candidate(500 << 20, "100Mi", 10), candidate(900 << 20, "1Mi", 2_000_000_000)
    assert eviction.choose([modest, greedy, larger, important, critical], "memory") is larger
    assert eviction.choose([modest, important], "memory") is important
    assert eviction.choose([critical], "memory") is None


def entry(state: str, count: int = 0, last: bool = False, last_is_current: bool = False) -> dict[str, Any]:
    ended = {"terminated": {"containerID": f"pinnace://{count if last_is_current else count - 1}"}}
    value = {"reason": "CrashLoopBackOff"} if state == "waiting" else {}
    return {
        "name": "m",
        "containerID": f"pinnace://{count}",
        "restartCount": count,
        "state": {state: value},
        "lastState": ended if last else {},
    }


ATTEMPTS = [
    (entry("running"), False, 0),
    (entry("running", 2, last=True), True, 1),
    (entry("terminated", 1), False, 1),
    (entry("waiting", 3, last=True, last_is_current=True), False, 3),
    (entry("waiting", 3, last=True, last_is_current=True), True, 3),
    (entry("running"), True, 'previous terminated container "m" in pod "p" not found'),
    (entry("waiting"), False, 'container "m" in pod "p" is waiting to start: CrashLoopBackOff'),
]


@pytest.mark.parametrize(("given", "previous", "expected"), ATTEMPTS)
def test_which_log_is_meant(given: dict[str, Any], previous: bool, expected: int | str) -> None:
    status = {"containerStatuses": [given]}
    if isinstance(expected, int):
        assert container_logs.attempt(status, "p", "m", previous=previous) == expected
    else:
        with pytest.raises(container_logs.NoLog) as error:
            container_logs.attempt(status, "p", "m", previous=previous)
        assert str(error.value) == expected


def test_the_termination_message_falls_back_to_the_log_of_a_failure(tmp_path: Any) -> None:
    file, log = tmp_path / "message", tmp_path / "0.log"
    stamp = "2026-01-01T00:00:00Z"
    log.write_text("".join(f"{stamp} stdout F line {number}\n" for number in range(200)))
    container = pods.container("m", terminationMessagePolicy="FallbackToLogsOnError")
    assert termination.message(container, file, log, 0) == ""
    text = termination.message(container, file, log, 1)
    assert text.splitlines()[-1] == "line 199"
    assert len(text.splitlines()) == 80
    file.write_text("why")
    assert termination.message(container, file, log, 1) == "why"
    file.unlink()
    file.symlink_to("/etc/hostname")
    assert "line 199" in termination.message(container, file, log, 1)


def test_rotation_keeps_the_newest_files(tmp_path: Any) -> None:
    log = tmp_path / "0.log"
    for number in range(7):
        log.write_text(str(number))
        housekeeping.rotate(log, 3, f"2026010{number}-000000")
    assert sorted(each.read_text() for each in tmp_path.iterdir()) == ["5", "6"]


LOCAL_USES: list[tuple[str, dict[str, int], dict[str, int], str]] = [
    ("within its limits", {"small": 1 << 20}, {"main": 1 << 20}, ""),
    ("a volume over its limit", {"small": (1 << 20) + 1}, {}, 'Usage of EmptyDir volume "small" exceeds the limit "1Mi". '),
    ("a volume without a limit", {"large": 3 << 20}, {}, ""),
    ("volumes and containers together", {"large": 3 << 20}, {"main": 2 << 20},
     "Pod ephemeral local storage usage exceeds the total limit of containers 4Mi. "),
    ("volumes in memory are no storage", {"memory": 64 << 20}, {"main": 1 << 20}, ""),
]  # fmt: skip


@pytest.mark.parametrize(("_", "held", "written", "text"), LOCAL_USES, ids=[each[0] for each in LOCAL_USES])
def test_who_keeps_more_than_it_may_has_to_go(_: str, held: dict[str, int], written: dict[str, int], text: str) -> None:
    pod = pods.pod(
        containers=[pods.container("main", resources={"limits": {"ephemeral-storage": "4Mi"}})],
        volumes=[
            {"name": "small", "emptyDir": {"sizeLimit": "1Mi"}},
            {"name": "large", "emptyDir": {}},
            {"name": "memory", "emptyDir": {"medium": "Memory"}},
        ],
    )
    assert eviction.has_local_limits(pod)
    assert eviction.over_limit(pod, eviction.LocalUse(held, written)) == text


def test_a_container_over_its_own_storage_limit_is_named() -> None:
    limits = {"a": "1Mi", "b": "4Mi"}
    containers = [
        pods.container(name, resources={"limits": {"ephemeral-storage": limit}}) for name, limit in limits.items()
    ]
    use = eviction.LocalUse({}, {"a": 2 << 20})
    text = 'Container a exceeded its local ephemeral storage limit "1Mi". '
    assert eviction.over_limit(pods.pod(containers=containers), use) == text
    assert not eviction.has_local_limits(pods.pod(volumes=[{"name": "any", "emptyDir": {"sizeLimit": "0"}}]))


def test_a_patch_carries_what_changed_and_removes_what_is_gone() -> None:
    own = {"type": "Ready", "status": "False"}
    before = {"phase": "Running", "podIP": "1", "podIPs": [{"ip": "1"}], "reason": "X", "conditions": [own]}
    after = {
        "phase": "Running",
        "podIP": "2",
        "podIPs": [{"ip": "2"}],
        "conditions": [{**own, "status": "True"}, {"type": "theirs", "status": "True"}],
    }
    assert status_writer.patch(before, after) == {
        "podIP": "2",
        "podIPs": [{"ip": "2"}, {"ip": "1", "$patch": "delete"}],
        "reason": None,
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    assert status_writer.is_same(after, {**after, "conditions": [{**own, "status": "True", "lastProbeTime": None}]})


def test_a_condition_that_holds_no_more_is_taken_away() -> None:
    """An item of a list that merges by key stays until it is told to go."""
    ready, resize = {"type": "Ready", "status": "True"}, {"type": "PodResizeInProgress", "status": "True"}
    assert status_writer.patch({"conditions": [ready, resize]}, {"conditions": [ready]}) == {
        "conditions": [ready, {"type": "PodResizeInProgress", "$patch": "delete"}]
    }


def test_a_condition_that_turns_takes_its_old_reason_back() -> None:
    """An item of a list that merges by key keeps every field that the patch does not name."""
    unready = {"type": "Ready", "status": "False", "reason": "ContainersNotReady", "message": "c is not ready"}
    ready = {"type": "Ready", "status": "True"}
    assert status_writer.patch({"conditions": [unready]}, {"conditions": [ready]}) == {
        "conditions": [{"type": "Ready", "status": "True", "reason": None, "message": None}]
    }


@pytest.mark.parametrize(
    ("capacity", "allocatable", "expected"),
    [
        ({"cpu": "2"}, {"cpu": "1"}, {}),
        ({"cpu": "2", "x.io/gpu": "4"}, {"cpu": "2"}, {"x.io/gpu": "4"}),
        ({"x.io/gpu": "4"}, {"x.io/gpu": "4"}, {}),
        ({"x.io/gpu": "4"}, {"x.io/gpu": "2"}, {"x.io/gpu": "4"}),
        ({"cpu": "2"}, {"cpu": "2", "x.io/gpu": "4"}, {"x.io/gpu": None}),
    ],
)
def test_extended_resources_may_be_used_as_soon_as_they_are_advertised(
    capacity: dict[str, str], allocatable: dict[str, str], expected: dict[str, str | None]
) -> None:
    assert registration.offered({"status": {"capacity": capacity, "allocatable": allocatable}}) == expected
