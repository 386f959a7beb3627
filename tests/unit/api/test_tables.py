"""Tables: columns and cells as kubectl's users know them, for every kind that is served."""

import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinnace.api import custom, kinds, tables
from pinnace.api.tables import duration, jsonpath

NOW = datetime.datetime(2026, 1, 10, 12, tzinfo=datetime.UTC)
REGISTRY = kinds.builtin(previews=True)
EVERY_KIND = REGISTRY.all()
Object = dict[str, Any]


def before(seconds: int) -> str:
    return (NOW - datetime.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def kind(name: str, group: str = "") -> kinds.Kind:
    return next(found for found in EVERY_KIND if (found.group, found.kind) == (group, name))


def meta(**more: Any) -> Object:
    return {"name": "x", "creationTimestamp": before(300), **more}


def shown(of: kinds.Kind, obj: Object, *, wide: bool = False) -> dict[str, Any]:
    made = tables.table(of.rules.printer, [{"metadata": meta(), **obj}], NOW)
    found, cells = made["columnDefinitions"], made["rows"][0]["cells"]
    assert len(found) == len(cells)
    return {c["name"]: cell for c, cell in zip(found, cells, strict=True) if wide or not c["priority"]}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"),
        (-1.5, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (121, "2m1s"),
        (599, "9m59s"),
        (600, "10m"),
        (10799, "179m"),
        (10800, "3h"),
        (10860, "3h1m"),
        (28799, "7h59m"),
        (28800, "8h"),
        (172799, "47h"),
        (172800, "2d"),
        (176400, "2d1h"),
        (8 * 86400, "8d"),
        (729 * 86400, "729d"),
        (730 * 86400, "2y"),
        (731 * 86400, "2y1d"),
        (2920 * 86400, "8y"),
    ],
)
def test_durations_for_people(seconds: float, text: str) -> None:
    assert duration.human(seconds) == text


@given(st.integers(0, 10**10))
def test_every_duration_is_short(seconds: int) -> None:
    assert 2 <= len(duration.human(seconds)) <= 8


def pod(status: Object, spec: Object | None = None, **metadata: Any) -> Object:
    return {"metadata": meta(**metadata), "spec": spec or {"containers": [{"name": "a"}]}, "status": status}


def state(**more: Any) -> Object:
    return {"name": "a", "restartCount": 0, "ready": False, **more}


RUNNING = state(ready=True, state={"running": {"startedAt": before(10)}})
TWO = {"containers": [{"name": "a"}, {"name": "b"}]}
INIT = {"containers": [{"name": "a"}], "initContainers": [{"name": "i"}, {"name": "j"}]}
SIDECAR = {"containers": [{"name": "a"}], "initContainers": [{"name": "s", "restartPolicy": "Always"}]}


@pytest.mark.parametrize(
    ("obj", "ready", "status", "restarts"),
    [
        (pod({"phase": "Pending"}), "0/1", "Pending", "0"),
        (pod({"phase": "Running", "containerStatuses": [RUNNING]}), "1/1", "Running", "0"),
        (pod({"phase": "Failed", "reason": "Evicted"}), "0/1", "Evicted", "0"),
        (
            pod({"phase": "Pending", "conditions": [{"type": "PodScheduled", "reason": "SchedulingGated"}]}),
            "0/1",
            "SchedulingGated",
            "0",
        ),
        (
            pod(
                {
                    "phase": "Running",
                    "containerStatuses": [
                        state(
                            restartCount=2,
                            state={"waiting": {"reason": "CrashLoopBackOff"}},
                            lastState={"terminated": {"finishedAt": before(300), "exitCode": 1}},
                        )
                    ],
                }
            ),
            "0/1",
            "CrashLoopBackOff",
            "2 (5m ago)",
        ),
        (
            pod(
                {
                    "phase": "Succeeded",
                    "containerStatuses": [state(state={"terminated": {"exitCode": 0, "reason": "Completed"}})],
                }
            ),
            "0/1",
            "Completed",
            "0",
        ),
        (
            pod({"phase": "Failed", "containerStatuses": [state(state={"terminated": {"exitCode": 3}})]}),
            "0/1",
            "ExitCode:3",
            "0",
        ),
        (
            pod(
                {"phase": "Failed", "containerStatuses": [state(state={"terminated": {"exitCode": 137, "signal": 9}})]}
            ),
            "0/1",
            "Signal:9",
            "0",
        ),
        (
            pod(
                {
                    "phase": "Running",
                    "conditions": [{"type": "Ready", "status": "True"}],
                    "containerStatuses": [state(state={"terminated": {"reason": "Completed"}}), RUNNING],
                },
                TWO,
            ),
            "1/2",
            "Running",
            "0",
        ),
        (
            pod(
                {
                    "phase": "Running",
                    "containerStatuses": [state(state={"terminated": {"reason": "Completed"}}), RUNNING],
                },
                TWO,
            ),
            "1/2",
            "NotReady",
            "0",
        ),
        (
            pod({"phase": "Pending", "initContainerStatuses": [state(state={"running": {}}), state()]}, INIT),
            "0/1",
            "Init:0/2",
            "0",
        ),
        (
            pod(
                {
                    "phase": "Pending",
                    "initContainerStatuses": [
                        state(state={"terminated": {"exitCode": 0}}),
                        state(state={"waiting": {"reason": "PodInitializing"}}),
                    ],
                },
                INIT,
            ),
            "0/1",
            "Init:1/2",
            "0",
        ),
        (
            pod(
                {
                    "phase": "Pending",
                    "initContainerStatuses": [state(restartCount=3, state={"waiting": {"reason": "CrashLoopBackOff"}})],
                },
                INIT,
            ),
            "0/1",
            "Init:CrashLoopBackOff",
            "3",
        ),
        (
            pod(
                {
                    "phase": "Pending",
                    "initContainerStatuses": [state(state={"terminated": {"exitCode": 1, "reason": "Error"}})],
                },
                INIT,
            ),
            "0/1",
            "Init:Error",
            "0",
        ),
        (
            pod(
                {
                    "phase": "Running",
                    "initContainerStatuses": [
                        state(name="s", started=True, ready=True, restartCount=1, state={"running": {}})
                    ],
                    "containerStatuses": [RUNNING],
                },
                SIDECAR,
            ),
            "2/2",
            "Running",
            "1",
        ),
        (pod({"phase": "Running", "containerStatuses": [RUNNING]}, deletionTimestamp=NOW), "1/1", "Terminating", "0"),
        (pod({"phase": "Failed", "reason": "NodeLost"}, deletionTimestamp=NOW), "0/1", "Unknown", "0"),
        (pod({"phase": "Succeeded"}, deletionTimestamp=NOW), "0/1", "Succeeded", "0"),
    ],
)
def test_pods(obj: Object, ready: str, status: str, restarts: str) -> None:
    assert shown(kind("Pod"), obj) == {"Name": "x", "Ready": ready, "Status": status, "Restarts": restarts, "Age": "5m"}


def test_wide_pods() -> None:
    obj = pod(
        {
            "podIPs": [{"ip": "10.0.0.1"}],
            "conditions": [{"type": "e.com/a", "status": "True"}],
        },
        {
            "containers": [],
            "nodeName": "n",
            "readinessGates": [{"conditionType": "e.com/a"}, {"conditionType": "e.com/b"}],
        },
    )
    found = shown(kind("Pod"), obj, wide=True)
    assert list(found)[5:] == ["IP", "Node", "Nominated Node", "Readiness Gates"]
    assert list(found.values())[5:] == ["10.0.0.1", "n", "<none>", "1/2"]


TEMPLATE = {"spec": {"containers": [{"name": "a", "image": "i:1"}, {"name": "b", "image": "j:2"}]}}
SELECTOR = {"matchLabels": {"app": "x"}}


@pytest.mark.parametrize(
    ("of", "obj", "expected"),
    [
        (
            kind("Deployment", "apps"),
            {
                "spec": {"replicas": 3, "template": TEMPLATE, "selector": SELECTOR},
                "status": {"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 1},
            },
            ["x", "2/3", 3, 1, "5m", "a,b", "i:1,j:2", "app=x"],
        ),
        (
            kind("ReplicaSet", "apps"),
            {"spec": {"replicas": 3, "template": TEMPLATE, "selector": SELECTOR}, "status": {"replicas": 2}},
            ["x", 3, 2, 0, "5m", "a,b", "i:1,j:2", "app=x"],
        ),
        (
            kind("StatefulSet", "apps"),
            {"spec": {"replicas": 1, "template": TEMPLATE}},
            ["x", "0/1", "5m", "a,b", "i:1,j:2"],
        ),
        (
            kind("DaemonSet", "apps"),
            {
                "spec": {"template": {"spec": {"nodeSelector": {"b": "2", "a": "1"}}}, "selector": SELECTOR},
                "status": {"desiredNumberScheduled": 3, "currentNumberScheduled": 2, "numberReady": 1},
            },
            ["x", 3, 2, 1, 0, 0, "a=1,b=2", "5m", "", "", "app=x"],
        ),
        (
            kind("Job", "batch"),
            {"spec": {"completions": 3, "template": TEMPLATE}, "status": {"succeeded": 1, "startTime": before(90)}},
            ["x", "Running", "1/3", "90s", "5m", "a,b", "i:1,j:2", "<none>"],
        ),
        (
            kind("Job", "batch"),
            {
                "spec": {"parallelism": 2},
                "status": {
                    "startTime": before(90),
                    "completionTime": before(80),
                    "conditions": [
                        {"type": "SuccessCriteriaMet", "status": "True"},
                        {"type": "Complete", "status": "True"},
                    ],
                },
            },
            ["x", "Complete", "0/1 of 2", "10s", "5m", "", "", "<none>"],
        ),
        (
            kind("CronJob", "batch"),
            {
                "spec": {"schedule": "* * * * *", "suspend": False},
                "status": {"active": [{}], "lastScheduleTime": before(30)},
            },
            ["x", "* * * * *", "<none>", "False", 1, "30s", "5m", "", "", "<none>"],
        ),
        (
            kind("Service"),
            {
                "spec": {
                    "type": "NodePort",
                    "clusterIP": "10.0.0.1",
                    "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}],
                }
            },
            ["x", "NodePort", "10.0.0.1", "<none>", "80:30080/TCP,53/UDP", "5m", "<none>"],
        ),
        (
            kind("Service"),
            {"spec": {"type": "ExternalName", "externalName": "a.b"}},
            ["x", "ExternalName", "<none>", "a.b", "<none>", "5m", "<none>"],
        ),
        (
            kind("Service"),
            {"spec": {"type": "LoadBalancer", "clusterIP": "None", "selector": {"a": "b"}}},
            ["x", "LoadBalancer", "None", "<pending>", "<none>", "5m", "a=b"],
        ),
        (
            kind("Endpoints"),
            {"subsets": [{"addresses": [{"ip": "1.1.1.1"}, {"ip": "::1"}], "ports": [{"port": 80}, {"port": 81}]}]},
            ["x", "1.1.1.1:80,[::1]:80,1.1.1.1:81 + 1 more...", "5m"],
        ),
        (kind("Endpoints"), {}, ["x", "<none>", "5m"]),
        (
            kind("EndpointSlice", "discovery.k8s.io"),
            {
                "addressType": "IPv4",
                "ports": [{"port": 80}],
                "endpoints": [{"addresses": ["1.1.1.1"]}, {"addresses": ["1.1.1.2"]}],
            },
            ["x", "IPv4", "80", "1.1.1.1,1.1.1.2", "5m"],
        ),
        (
            kind("Ingress", "networking.k8s.io"),
            {
                "spec": {"rules": [{"host": "a"}, {"host": "b"}], "tls": [{}]},
                "status": {"loadBalancer": {"ingress": [{"ip": "1.1.1.1"}]}},
            },
            ["x", "<none>", "a,b", "1.1.1.1", "80, 443", "5m"],
        ),
        (kind("NetworkPolicy", "networking.k8s.io"), {"spec": {"podSelector": {}}}, ["x", "<none>", "5m"]),
        (
            kind("Node"),
            {
                "metadata": meta(labels={"node-role.kubernetes.io/control-plane": "", "kubernetes.io/role": "b"}),
                "spec": {"unschedulable": True},
                "status": {
                    "conditions": [{"type": "Ready", "status": "True"}],
                    "addresses": [{"type": "InternalIP", "address": "1.1.1.1"}],
                    "nodeInfo": {"kubeletVersion": "v1.36.0", "osImage": "Debian"},
                },
            },
            [
                "x",
                "Ready,SchedulingDisabled",
                "b,control-plane",
                "5m",
                "v1.36.0",
                "1.1.1.1",
                "<none>",
                "Debian",
                "<unknown>",
                "<unknown>",
            ],
        ),
        (
            kind("Node"),
            {},
            ["x", "Unknown", "<none>", "5m", "", "<none>", "<none>", "<unknown>", "<unknown>", "<unknown>"],
        ),
        (kind("Namespace"), {"status": {"phase": "Active"}}, ["x", "Active", "5m"]),
        (kind("ConfigMap"), {"data": {"a": "1"}, "binaryData": {"b": ""}}, ["x", 2, "5m"]),
        (kind("Secret"), {"type": "Opaque", "data": {"a": ""}}, ["x", "Opaque", 1, "5m"]),
        (kind("ServiceAccount"), {}, ["x", 0, "5m"]),
        (
            kind("Event"),
            {
                "type": "Normal",
                "reason": "Pulled",
                "involvedObject": {"kind": "Pod", "name": "p"},
                "message": "done\n",
                "lastTimestamp": before(10),
                "firstTimestamp": before(60),
                "source": {"component": "kubelet", "host": "n"},
                "count": 3,
            },
            ["10s", "Normal", "Pulled", "pod/p", "", "kubelet, n", "done", "60s", 3, "x"],
        ),
        (
            kind("Event"),
            {
                "involvedObject": {"kind": "Pod"},
                "eventTime": before(60),
                "reportingComponent": "c",
                "series": {"count": 7, "lastObservedTime": before(5)},
            },
            ["5s", "", "", "pod", "", "c", "", "60s", 7, "x"],
        ),
        (
            kind("PersistentVolume"),
            {
                "spec": {
                    "capacity": {"storage": "1024Mi"},
                    "accessModes": ["ReadWriteMany", "ReadWriteOnce"],
                    "persistentVolumeReclaimPolicy": "Delete",
                    "claimRef": {"namespace": "n", "name": "c"},
                    "storageClassName": "s",
                    "volumeMode": "Filesystem",
                },
                "status": {"phase": "Bound"},
            },
            ["x", "1Gi", "RWO,RWX", "Delete", "Bound", "n/c", "s", "<unset>", "", "5m", "Filesystem"],
        ),
        (
            kind("PersistentVolumeClaim"),
            {
                "metadata": meta(deletionTimestamp=before(1)),
                "spec": {"storageClassName": "s"},
                "status": {"phase": "Pending"},
            },
            ["x", "Terminating", "", "", "", "s", "<unset>", "5m", "<unset>"],
        ),
        (
            kind("StorageClass", "storage.k8s.io"),
            {
                "metadata": meta(annotations={"storageclass.kubernetes.io/is-default-class": "true"}),
                "provisioner": "p",
                "reclaimPolicy": "Delete",
                "volumeBindingMode": "Immediate",
            },
            ["x (default)", "p", "Delete", "Immediate", False, "5m"],
        ),
        (
            kind("RoleBinding", "rbac.authorization.k8s.io"),
            {
                "roleRef": {"kind": "Role", "name": "r"},
                "subjects": [
                    {"kind": "User", "name": "u"},
                    {"kind": "ServiceAccount", "namespace": "n", "name": "s"},
                    {"kind": "User", "name": "v"},
                ],
            },
            ["x", "Role/r", "5m", "u, v", "", "n/s"],
        ),
        (kind("ClusterRole", "rbac.authorization.k8s.io"), {}, ["x", before(300)]),
        (kind("LimitRange"), {}, ["x", before(300)]),
        (kind("CustomResourceDefinition", "apiextensions.k8s.io"), {}, ["x", before(300)]),
        (
            kind("HorizontalPodAutoscaler", "autoscaling"),
            {
                "spec": {
                    "scaleTargetRef": {"kind": "Deployment", "name": "d"},
                    "minReplicas": 1,
                    "maxReplicas": 5,
                    "metrics": [
                        {
                            "type": "Resource",
                            "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}},
                        }
                    ],
                },
                "status": {"currentReplicas": 2},
            },
            ["x", "Deployment/d", "cpu: <unknown>/50%", "1", 5, 2, "5m"],
        ),
        (
            kind("PodDisruptionBudget", "policy"),
            {"spec": {"minAvailable": "50%"}, "status": {"disruptionsAllowed": 1}},
            ["x", "50%", "N/A", 1, "5m"],
        ),
        (
            kind("ResourceQuota"),
            {
                "status": {
                    "hard": {"pods": "4", "limits.cpu": "2", "requests.cpu": "1"},
                    "used": {"pods": "1", "limits.cpu": "500m"},
                }
            },
            ["x", "pods: 1/4, requests.cpu: 0/1", "limits.cpu: 500m/2", "5m"],
        ),
        (
            kind("APIService", "apiregistration.k8s.io"),
            {
                "spec": {"service": {"namespace": "n", "name": "s"}},
                "status": {"conditions": [{"type": "Available", "status": "False", "reason": "Missing"}]},
            },
            ["x", "n/s", "False (Missing)", "5m"],
        ),
        (
            kind("CertificateSigningRequest", "certificates.k8s.io"),
            {
                "spec": {"signerName": "s", "username": "u", "expirationSeconds": 3600},
                "status": {"conditions": [{"type": "Approved"}], "certificate": "x"},
            },
            ["x", "5m", "s", "u", "60m", "Approved,Issued"],
        ),
        (kind("Lease", "coordination.k8s.io"), {"spec": {"holderIdentity": "h"}}, ["x", "h", "5m"]),
        (kind("PriorityClass", "scheduling.k8s.io"), {"value": 7}, ["x", 7, False, "5m", "PreemptLowerPriority"]),
    ],
)
def test_cells(of: kinds.Kind, obj: Object, expected: list[Any]) -> None:
    assert list(shown(of, obj, wide=True).values()) == expected


@pytest.mark.parametrize("of", EVERY_KIND, ids=lambda of: f"{of.plural}.{of.group}.{of.version}")
def test_every_kind_prints_an_object_that_has_nothing_but_a_name(of: kinds.Kind) -> None:
    found = tables.table(of.rules.printer, [{"metadata": {"name": "x"}}], NOW, resource_version="7")
    (row,) = found["rows"]
    assert len(row["cells"]) == len(found["columnDefinitions"])
    assert [column["name"] for column in found["columnDefinitions"] if column["format"] == "name"] == ["Name"]
    assert "x" in row["cells"]
    for column, cell in zip(found["columnDefinitions"], row["cells"], strict=True):
        assert set(column) == {"name", "type", "format", "description", "priority"}
        assert not (column["type"] == "integer" and isinstance(cell, str) and cell not in ("<none>",))


def test_rows_carry_what_the_client_asks_for() -> None:
    obj = pod({"phase": "Succeeded"})
    of = kind("Pod")
    row = tables.table(of.rules.printer, [obj], NOW)["rows"][0]
    assert row["object"] == {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": obj["metadata"],
    }
    assert row["conditions"][0]["type"] == "Completed"
    assert tables.table(of.rules.printer, [obj], NOW, "Object")["rows"][0]["object"] is obj
    assert tables.table(of.rules.printer, [obj], NOW, "None")["rows"][0]["object"] is None


def test_custom_resources_show_the_columns_of_their_definition() -> None:
    extra = [
        {"name": "Phase", "type": "string", "jsonPath": ".status.phase"},
        {"name": "Ready", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].status'},
        {"name": "Count", "type": "integer", "jsonPath": ".spec.count", "priority": 1},
        {"name": "Rate", "type": "number", "jsonPath": ".spec.rate"},
        {"name": "On", "type": "boolean", "jsonPath": ".spec.on"},
        {"name": "Seen", "type": "date", "jsonPath": ".status.seen"},
        {"name": "Shape", "type": "string", "jsonPath": ".spec.shape"},
        {"name": "Gone", "type": "string", "jsonPath": ".spec.gone"},
    ]
    obj = {
        "metadata": meta(),
        "spec": {"count": 3, "rate": 1.5, "on": True, "shape": {"a": 1}},
        "status": {
            "phase": "Up",
            "seen": before(60),
            "conditions": [{"type": "Live", "status": "False"}, {"type": "Ready", "status": "True"}],
        },
    }
    printer = custom.kind("e.com", "v1", "Widget", "widgets", printer_columns=extra).rules.printer
    assert printer.cells(obj, NOW) == ["x", "Up", "True", 3, 1.5, True, "60s", '{"a":1}', None]
    assert [column.priority for column in printer.columns] == [0, 0, 0, 1, 0, 0, 0, 0, 0]
    bare = custom.kind("e.com", "v1", "Widget", "widgets").rules.printer
    assert bare.cells(obj, NOW) == ["x", "5m"]


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".a.b", [1]),
        ("{.a.b}", [1]),
        ("a['b']", [1]),
        (".list[0].n", [1]),
        (".list[-1].n", [2]),
        (".list[*].n", [1, 2]),
        (".list[?(@.n>1)].n", [2]),
        (".list[?(@.s=='x')].n", [1]),
        (".dotted\\.name", [5]),
        (".list[9].n", []),
        (".a.b.c", []),
    ],
)
def test_json_paths(path: str, found: list[Any]) -> None:
    obj = {"a": {"b": 1}, "list": [{"n": 1, "s": "x"}, {"n": 2, "s": "y"}], "dotted.name": 5}
    assert jsonpath.find(obj, path) == found


@given(st.text(max_size=20))
def test_any_text_is_a_json_path_or_a_value_error(text: str) -> None:
    steps: tuple[Any, ...] = ()
    try:
        steps = jsonpath.parse(text)
    except ValueError as error:
        steps = (str(error),)
    assert isinstance(steps, tuple)
