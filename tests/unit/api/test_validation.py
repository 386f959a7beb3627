"""Validation says what upstream says: the same paths, the same words, in the same order."""

import copy
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinnace.api import cron, custom, decode, errors, kinds, schema, strategy
from pinnace.api.validation import field, formats

REGISTRY = kinds.builtin()
LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an "
    "alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end "
    "with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
LABEL_1035 = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and "
    "end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
    "'[a-z]([-a-z0-9]*[a-z0-9])?')"
)
MISMATCH = "`selector` does not match template `labels`"


def kind(name: str, group: str = "", version: str = "v1") -> kinds.Kind:
    found = REGISTRY.by_kind(group, version, name)
    assert found is not None
    return found


def prepared(of: kinds.Kind, obj: dict[str, Any]) -> dict[str, Any]:
    """As it is when it comes to validation."""
    made = decode.decode(orjson.dumps(obj), of, field_validation="Strict").obj
    of.rules.defaults(made)
    metadata = made.setdefault("metadata", {})
    metadata.setdefault("name", "a")
    metadata.setdefault("uid", "u")
    metadata.setdefault("creationTimestamp", "2020-01-01T00:00:00Z")
    if of.namespaced:
        metadata.setdefault("namespace", "ns")
    strategy.prepare_create(of, made)
    return made


def told(of: kinds.Kind, obj: dict[str, Any]) -> list[str]:
    return [str(cause) for cause in strategy.validate_create(of, prepared(of, obj))]


def changed(of: kinds.Kind, obj: dict[str, Any], change: dict[str, Any], subresource: str = "") -> list[str]:
    """What an update is told: `change` maps dotted paths to values, None to take away."""
    old = prepared(of, obj)
    old["metadata"]["resourceVersion"] = "1"
    new = copy.deepcopy(old)
    for path, value in change.items():
        *owners, name = path.split("/")
        owner: Any = new
        for step in owners:
            owner = owner[int(step)] if isinstance(owner, list) else owner.setdefault(step, {})
        if value is None:
            owner.pop(name)
        else:
            owner[name] = value
    strategy.prepare_update(of, new, old, subresource)
    if subresource == "status":
        return [str(cause) for cause in strategy.validate_update(of, new, old, "status")]
    return [str(cause) for cause in strategy.validate_update(of, new, old, subresource)]


CONTAINER = {"name": "c", "image": "i"}


def pod(**spec: Any) -> dict[str, Any]:
    return {"spec": {"containers": [CONTAINER], **spec}}


def with_container(**fields: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{**CONTAINER, **fields}]}}


def env_from_file(name: str, **reference: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fileKeyRef": reference}}


POD = kind("Pod")


def test_a_good_pod_has_nothing_against_it() -> None:
    assert told(POD, pod()) == []


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"name": "A_b"}, [f'metadata.name: Invalid value: "A_b": {SUBDOMAIN}']),
        (
            {"labels": {"a": "b c"}},
            [
                'metadata.labels: Invalid value: "b c": a valid label must be an empty string or consist of alphanumeric '
                "characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or "
                "'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
            ],
        ),
        ({"labels": {"a": "b" * 64}}, [f'metadata.labels: Invalid value: "{"b" * 64}": must be no more than 63 bytes']),
        (
            {"annotations": {"a": "b" * 262144}},
            ["metadata.annotations: Too long: may not be more than 262144 bytes"],
        ),
        (
            {"finalizers": ["foo"]},
            [
                'metadata.finalizers[0]: Invalid value: "foo": '
                "name is neither a standard finalizer name nor is it fully qualified"
            ],
        ),
        (
            {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": ""}]},
            ['metadata.ownerReferences.uid: Invalid value: "": must not be empty'],
        ),
    ],
)
def test_metadata(metadata: dict[str, Any], words: list[str]) -> None:
    assert told(POD, {**pod(), "metadata": metadata}) == words


def test_two_controllers_are_one_too_many() -> None:
    owner = {"apiVersion": "v1", "kind": "Pod", "uid": "u", "controller": True}
    found = told(POD, {**pod(), "metadata": {"ownerReferences": [{**owner, "name": "x"}, {**owner, "name": "y"}]}})
    assert len(found) == 1
    assert found[0].endswith(
        'Only one reference can have Controller set to true. Found "true" in references for Pod/x and Pod/y'
    )


@pytest.mark.parametrize(
    ("obj", "words"),
    [
        ({"spec": {"containers": []}}, ["spec.containers: Required value"]),
        (with_container(name=""), ["spec.containers[0].name: Required value"]),
        (with_container(name="C"), [f'spec.containers[0].name: Invalid value: "C": {LABEL}']),
        (with_container(image=""), ["spec.containers[0].image: Required value"]),
        (
            with_container(image=" i"),
            ['spec.containers[0].image: Invalid value: " i": must not have leading or trailing whitespace'],
        ),
        (
            with_container(imagePullPolicy="Maybe"),
            [
                'spec.containers[0].imagePullPolicy: Unsupported value: "Maybe": '
                'supported values: "Always", "IfNotPresent", "Never"'
            ],
        ),
        ({"spec": {"containers": [CONTAINER, CONTAINER]}}, ['spec.containers[1].name: Duplicate value: "c"']),
        (
            pod(initContainers=[{**CONTAINER, "name": "i", "livenessProbe": {"exec": {"command": ["a"]}}}]),
            [
                "spec.initContainers[0].livenessProbe: Forbidden: "
                "may not be set for init containers without restartPolicy=Always"
            ],
        ),
        (
            pod(
                initContainers=[
                    {**CONTAINER, "name": "i", "restartPolicy": "Always", "startupProbe": {"exec": {"command": ["a"]}}}
                ]
            ),
            [],
        ),
        (
            with_container(ports=[{"containerPort": 70000}, {"containerPort": 1, "name": "A"}]),
            [
                "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
                'spec.containers[0].ports[1].name: Invalid value: "A": '
                "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
                'spec.containers[0].ports[1].name: Invalid value: "A": must contain at least one letter (a-z)',
            ],
        ),
        (
            with_container(ports=[{"containerPort": 1, "hostPort": 80}, {"containerPort": 2, "hostPort": 80}]),
            ['spec.containers[0].ports[1].hostPort: Duplicate value: "TCP//80"'],
        ),
        (
            with_container(
                env=[
                    {"name": ""},
                    {"name": "A", "value": "b", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                ]
            ),
            [
                "spec.containers[0].env[0].name: Required value",
                'spec.containers[0].env[1].valueFrom: Invalid value: "": may not be specified when `value` is not empty',
            ],
        ),
        (
            with_container(env=[{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "status.phase"}}}]),
            [
                'spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Unsupported value: "status.phase": '
                'supported values: "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", '
                '"spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"'
            ],
        ),
        (
            with_container(envFrom=[{}]),
            ['spec.containers[0].envFrom: Invalid value: "": must specify one of: `configMapRef` or `secretRef`'],
        ),
        (
            with_container(resources={"requests": {"cpu": "2"}, "limits": {"cpu": "1", "memory": "-1"}}),
            [
                'spec.containers[0].resources.limits[memory]: Invalid value: "-1": must be greater than or equal to 0',
                'spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1',
                'spec.containers[0].resources.requests[memory]: Invalid value: "-1": must be greater than or equal to 0',
            ],
        ),
        (
            with_container(resources={"limits": {"foo": "1"}}),
            [
                'spec.containers[0].resources.limits[foo]: Invalid value: "foo": '
                "must be a standard resource type or fully qualified",
                'spec.containers[0].resources.limits[foo]: Invalid value: "foo": '
                "must be a standard resource for containers",
                'spec.containers[0].resources.requests[foo]: Invalid value: "foo": '
                "must be a standard resource type or fully qualified",
                'spec.containers[0].resources.requests[foo]: Invalid value: "foo": '
                "must be a standard resource for containers",
            ],
        ),
        (
            with_container(volumeMounts=[{"name": "v", "mountPath": "/a"}]),
            ['spec.containers[0].volumeMounts[0].name: Not found: "v"'],
        ),
        (
            {
                "spec": {
                    "containers": [
                        {
                            **CONTAINER,
                            "volumeMounts": [
                                {"name": "v", "mountPath": "/a", "subPath": "../x"},
                                {"name": "v", "mountPath": "/a"},
                            ],
                        }
                    ],
                    "volumes": [{"name": "v"}],
                }
            },
            [
                "spec.containers[0].volumeMounts.subPath: Invalid value: \"../x\": must not contain '..'",
                'spec.containers[0].volumeMounts[1].mountPath: Invalid value: "/a": must be unique',
            ],
        ),
        (
            with_container(livenessProbe={}),
            ["spec.containers[0].livenessProbe: Required value: must specify a handler type"],
        ),
        (
            with_container(livenessProbe={"tcpSocket": {"port": 0}, "exec": {"command": ["a"]}, "successThreshold": 2}),
            [
                "spec.containers[0].livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type",
                "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1",
            ],
        ),
        (
            with_container(readinessProbe={"httpGet": {"port": "web_", "scheme": "FTP"}, "timeoutSeconds": -1}),
            [
                'spec.containers[0].readinessProbe.httpGet.port: Invalid value: "web_": '
                "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
                'spec.containers[0].readinessProbe.httpGet.scheme: Unsupported value: "FTP": '
                'supported values: "HTTP", "HTTPS"',
                "spec.containers[0].readinessProbe.timeoutSeconds: Invalid value: -1: "
                "must be greater than or equal to 0",
            ],
        ),
        (
            with_container(securityContext={"runAsUser": -1, "privileged": True, "allowPrivilegeEscalation": False}),
            [
                "spec.containers[0].securityContext.runAsUser: Invalid value: -1: "
                "must be between 0 and 4294967295, inclusive",
                'spec.containers[0].securityContext: Invalid value: {"runAsUser":-1,"privileged":true,'
                '"allowPrivilegeEscalation":false}: cannot set `allowPrivilegeEscalation` to false and `privileged` to true',
            ],
        ),
        (
            pod(restartPolicy="Sometimes"),
            ['spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never"'],
        ),
        (pod(dnsPolicy="None"), ["spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"]),
        (
            pod(activeDeadlineSeconds=0),
            ["spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"],
        ),
        (pod(hostname="a.b"), ['spec.hostname: Invalid value: "a.b": must not contain dots']),
        (
            pod(volumes=[{"name": "v", "hostPath": {"path": "/"}, "emptyDir": {}}]),
            ["spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type"],
        ),
        (
            pod(volumes=[{"name": "v"}, {"name": "v"}]),
            ['spec.volumes[1].name: Duplicate value: "v"'],
        ),
        (
            pod(volumes=[{"name": "v", "configMap": {"items": [{"key": "k", "path": "../p"}], "defaultMode": 4096}}]),
            [
                "spec.volumes[0].configMap.name: Required value",
                "spec.volumes[0].configMap.defaultMode: Invalid value: 4096: "
                "must be a number between 0 and 0777 (octal), both inclusive",
                "spec.volumes[0].configMap.items[0].path: Invalid value: \"../p\": must not contain '..'",
            ],
        ),
        (
            pod(tolerations=[{"key": "a", "operator": "Sort", "tolerationSeconds": 1}]),
            [
                "spec.tolerations[0].effect: Invalid value: \"\": effect must be 'NoExecute' when `tolerationSeconds` is set",
                'spec.tolerations[0].operator: Unsupported value: "Sort": supported values: "Equal", "Exists"',
            ],
        ),
        (
            pod(
                affinity={"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}}
            ),
            [
                "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: "
                "Required value: must have at least one node selector term"
            ],
        ),
        (
            pod(topologySpreadConstraints=[{"maxSkew": 0, "topologyKey": "z", "whenUnsatisfiable": "Shrug"}]),
            [
                "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
                'spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: "Shrug": '
                'supported values: "DoNotSchedule", "ScheduleAnyway"',
            ],
        ),
        (
            pod(ephemeralContainers=[{"name": "e", "image": "i"}]),
            ["spec.ephemeralContainers: Forbidden: cannot be set on create"],
        ),
        (
            with_container(restartPolicyRules=[{"action": "Shrug"}]),
            [
                "spec.containers[0].restartPolicy: Required value: must specify restartPolicy when restart rules are used",
                'spec.containers[0].restartPolicyRules[0].action: Unsupported value: "Shrug": '
                'supported values: "Restart", "RestartAllContainers"',
                "spec.containers[0].restartPolicyRules[0].exitCodes: Required value: must be specified",
            ],
        ),
        (
            {
                "spec": {
                    "containers": [
                        {
                            **CONTAINER,
                            "env": [
                                env_from_file("A", volumeName="v", path="../a", key="k"),
                                env_from_file("B", volumeName="s", path="a", key="k"),
                                env_from_file("C", volumeName="x", path="a", key="k=v"),
                            ],
                        }
                    ],
                    "volumes": [{"name": "v", "emptyDir": {}}, {"name": "s", "secret": {"secretName": "s"}}],
                }
            },
            [
                "spec.containers[0].env[0].valueFrom.fileKeyRef.path: Invalid value: \"../a\": must not contain '..'",
                'spec.containers[0].env[1].valueFrom.fileKeyRef.volumeName: Invalid value: "s": '
                "referenced volume must be of type emptyDir",
                'spec.containers[0].env[2].valueFrom.fileKeyRef.volumeName: Not found: "x"',
                'spec.containers[0].env[2].valueFrom.fileKeyRef.key: Invalid value: "k=v": '
                "a valid environment variable name must consist only of printable ASCII characters other than '='",
            ],
        ),
        (
            pod(hostnameOverride="Host", setHostnameAsFQDN=True, hostNetwork=True),
            [
                f'spec.hostnameOverride: Invalid value: "Host": {SUBDOMAIN}',
                "spec.hostnameOverride: Forbidden: may not be specified when setHostnameAsFQDN is true",
                "spec.hostnameOverride: Forbidden: may not be specified when hostNetwork is true",
            ],
        ),
    ],
)
def test_pods(obj: dict[str, Any], words: list[str]) -> None:
    assert told(POD, obj) == words


def test_of_a_pods_specification_only_the_named_fields_may_change() -> None:
    assert changed(POD, pod(), {"spec/containers/0/image": "j"}) == []
    assert changed(POD, pod(), {"spec/tolerations": [{"key": "a", "operator": "Exists"}]}) == []
    assert changed(POD, pod(), {"spec/activeDeadlineSeconds": 5}) == []
    assert changed(POD, pod(), {"metadata/labels": {"a": "b"}}) == []
    (found,) = changed(POD, pod(), {"spec/nodeName": "n"})
    assert found.startswith(
        "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
        "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing "
        "tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n"
    )
    assert changed(POD, pod(), {"spec/containers": [CONTAINER, {**CONTAINER, "name": "d"}]})[-1] == (
        "spec.containers: Forbidden: pod updates may not add or remove containers"
    )
    assert changed(POD, pod(activeDeadlineSeconds=5), {"spec/activeDeadlineSeconds": 6}) == [
        "spec.activeDeadlineSeconds: Invalid value: 6: must be less than or equal to previous value"
    ]
    tolerating = pod(tolerations=[{"key": "a", "operator": "Exists"}])
    assert changed(POD, tolerating, {"spec/tolerations": []}) == [
        "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"
    ]


def test_a_resize_renames_and_moves_no_containers() -> None:
    two = pod(containers=[{"name": "a", "image": "i"}, {"name": "b", "image": "i"}])
    words = "Forbidden: containers may not be renamed or reordered on resize"
    moved = {"spec/containers/0/name": "b", "spec/containers/1/name": "a"}
    assert changed(POD, two, moved, "resize") == [f"spec.containers[{index}].name: {words}" for index in range(2)]
    assert changed(POD, two, {"spec/containers/1/name": "c"}, "resize") == [f"spec.containers[1].name: {words}"]
    assert changed(POD, two, {"spec/containers": [{"name": "a", "image": "i"}]}, "resize") == [
        "spec.containers: Forbidden: containers may not be added or removed on resize"
    ]


def test_a_pods_own_resources_are_resized_like_a_containers() -> None:
    amounts = {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "2"}}
    whole = pod(resources=amounts)
    assert changed(POD, whole, {"spec/resources/requests/cpu": "1500m"}, "resize") == []
    assert changed(POD, whole, {"spec/resources/requests/cpu": "3"}, "resize") != []
    assert changed(POD, whole, {"spec/resources/limits": None}, "resize") == [
        "spec.resources.limits: Forbidden: resource limits cannot be removed"
    ]


def test_ephemeral_containers_are_only_added() -> None:
    added = {"spec/ephemeralContainers": [{"name": "e", "image": "i", **_CONTAINER_DEFAULTS}]}
    assert changed(POD, pod(), added, "ephemeralcontainers") == []
    wrong = {
        "spec/ephemeralContainers": [
            {"name": "c", "image": "i", "ports": [{"containerPort": 1}], **_CONTAINER_DEFAULTS}
        ]
    }
    assert changed(POD, pod(), wrong, "ephemeralcontainers") == [
        "spec.ephemeralContainers[0].ports[0].protocol: Required value",
        'spec.ephemeralContainers[0].name: Duplicate value: "c"',
        "spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container",
    ]


_CONTAINER_DEFAULTS = {"terminationMessagePolicy": "File", "imagePullPolicy": "Always"}


def test_a_container_that_ended_for_good_stays_ended() -> None:
    old = prepared(POD, pod(restartPolicy="Never"))
    old["metadata"]["resourceVersion"] = "1"
    old["status"]["containerStatuses"] = [{"name": "c", "state": {"terminated": {"exitCode": 1}}}]
    new = copy.deepcopy(old)
    new["status"]["containerStatuses"][0]["state"] = {"running": {}}
    assert [str(cause) for cause in strategy.validate_update(POD, new, old, "status")] == [
        "status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state"
    ]
    new["spec"]["restartPolicy"] = old["spec"]["restartPolicy"] = "Always"
    assert strategy.validate_update(POD, new, old, "status") == []


def test_a_pod_whose_containers_restart_together_may_begin_again() -> None:
    rules = [{"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [42]}}]
    spec = {
        "restartPolicy": "Never",
        "initContainers": [{"name": "i", "image": "i"}],
        "containers": [{**CONTAINER, "restartPolicy": "Never", "restartPolicyRules": rules}],
    }
    old = prepared(POD, pod(**spec))
    old["metadata"]["resourceVersion"] = "1"
    old["status"]["initContainerStatuses"] = [{"name": "i", "state": {"terminated": {"exitCode": 0}}}]
    new = copy.deepcopy(old)
    new["status"]["initContainerStatuses"][0]["state"] = {"running": {}}
    assert strategy.validate_update(POD, new, old, "status") == []


def test_updates_of_metadata() -> None:
    config = kind("ConfigMap")
    assert changed(config, {}, {"metadata/resourceVersion": ""}) == [
        'metadata.resourceVersion: Invalid value: "": must be specified for an update'
    ]
    assert changed(config, {}, {"metadata/uid": "v"}) == ['metadata.uid: Invalid value: "v": field is immutable']


TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [CONTAINER]}}
SELECTOR = {"matchLabels": {"a": "b"}}
WORKLOAD = {"spec": {"selector": SELECTOR, "template": TEMPLATE}}


@pytest.mark.parametrize("name", ["Deployment", "ReplicaSet", "StatefulSet", "DaemonSet"])
def test_selectors_of_workloads(name: str) -> None:
    of = kind(name, "apps")
    assert told(of, WORKLOAD) == []
    other = {"spec": {"selector": {"matchLabels": {"a": "c"}}, "template": TEMPLATE}}
    assert told(of, other) == [f'spec.template.metadata.labels: Invalid value: {{"a":"b"}}: {MISMATCH}']
    if name != "DaemonSet":
        assert "spec.selector: Required value" in told(of, {"spec": {"template": TEMPLATE}})
    never = {
        "spec": {"selector": SELECTOR, "template": {**TEMPLATE, "spec": {**TEMPLATE["spec"], "restartPolicy": "Never"}}}
    }
    assert told(of, never) == [
        'spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"'
    ]


@pytest.mark.parametrize("name", ["Deployment", "ReplicaSet", "DaemonSet"])
def test_a_selector_never_changes(name: str) -> None:
    wider = {"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "a", "operator": "Exists"}]}
    (found,) = changed(kind(name, "apps"), WORKLOAD, {"spec/selector": wider})
    assert found.endswith("field is immutable")
    assert found.startswith('spec.selector: Invalid value: {"matchLabels":{"a":"b"},"matchExpressions":')


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"replicas": -1}, ["spec.replicas: Invalid value: -1: must be greater than or equal to 0"]),
        (
            {"strategy": {"type": "Recreate", "rollingUpdate": {}}},
            ["spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"],
        ),
        (
            {"strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 0}}},
            ["spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"],
        ),
        (
            {"strategy": {"rollingUpdate": {"maxUnavailable": "101%", "maxSurge": "x"}}},
            [
                "spec.strategy.rollingUpdate.maxSurge: Invalid value: \"x\": must be an integer or percentage (e.g '5%%')",
                'spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "101%": must not be greater than 100%',
            ],
        ),
        (
            {"progressDeadlineSeconds": 5, "minReadySeconds": 5},
            ["spec.progressDeadlineSeconds: Invalid value: 5: must be greater than minReadySeconds"],
        ),
    ],
)
def test_deployments(spec: dict[str, Any], words: list[str]) -> None:
    assert told(kind("Deployment", "apps"), {"spec": {**WORKLOAD["spec"], **spec}}) == words


def test_claims_of_a_stateful_set_are_volumes_of_its_pods() -> None:
    container = {**CONTAINER, "volumeMounts": [{"name": "data", "mountPath": "/d"}]}
    claim = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    template = {**TEMPLATE, "spec": {"containers": [container]}}
    of = kind("StatefulSet", "apps")
    spec = {"selector": SELECTOR, "template": template, "serviceName": "s"}
    assert told(of, {"spec": {**spec, "volumeClaimTemplates": [claim]}}) == []
    assert told(of, {"spec": spec}) == ['spec.template.spec.containers[0].volumeMounts[0].name: Not found: "data"']
    assert changed(of, {"spec": {**spec, "volumeClaimTemplates": [claim]}}, {"spec/serviceName": "t"}) == [
        "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
        "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
    ]
    assert changed(of, WORKLOAD, {"spec/replicas": 3}) == []


JOB = {"spec": {"template": {"spec": {"containers": [CONTAINER], "restartPolicy": "Never"}}}}


def test_jobs() -> None:
    of = kind("Job", "batch")
    assert told(of, JOB) == []
    assert told(of, {"spec": {"template": {"spec": {"containers": [CONTAINER]}}}}) == [
        'spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"'
    ]
    assert told(of, {"spec": {**JOB["spec"], "completionMode": "Indexed", "parallelism": 1}})[0] == (
        "spec.completions: Required value: when completion mode is Indexed"
    )
    assert changed(of, JOB, {"spec/completions": 2}) == ["spec.completions: Invalid value: 2: field is immutable"]
    assert changed(of, JOB, {"spec/parallelism": 2, "spec/suspend": True}) == []
    (found,) = changed(of, JOB, {"spec/template/spec/containers/0/image": "j"})
    assert found.startswith("spec.template: Invalid value: ")
    assert found.endswith(": field is immutable")
    suspended = {"spec": {**JOB["spec"], "suspend": True}}
    assert changed(of, suspended, {"spec/template/spec/nodeSelector": {"a": "b"}}) == []


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"schedule": ""}, ["spec.schedule: Required value"]),
        (
            {"schedule": "* * * *"},
            ['spec.schedule: Invalid value: "* * * *": expected exactly 5 fields, found 4: [* * * *]'],
        ),
        (
            {"schedule": "60 * * * *"},
            ['spec.schedule: Invalid value: "60 * * * *": end of range (60) above maximum (59): 60'],
        ),
        (
            {"schedule": "@hourly", "timeZone": "Mars/Base"},
            ['spec.timeZone: Invalid value: "Mars/Base": unknown time zone Mars/Base'],
        ),
        (
            {"schedule": "@hourly", "concurrencyPolicy": "Maybe"},
            ['spec.concurrencyPolicy: Unsupported value: "Maybe": supported values: "Allow", "Forbid", "Replace"'],
        ),
    ],
)
def test_cron_jobs(spec: dict[str, Any], words: list[str]) -> None:
    assert told(kind("CronJob", "batch"), {"spec": {"jobTemplate": JOB, **spec}}) == words


def test_names_of_cron_jobs_leave_room_for_their_jobs() -> None:
    name = "a" * 53
    obj = {"metadata": {"name": name}, "spec": {"schedule": "@daily", "jobTemplate": JOB}}
    assert told(kind("CronJob", "batch"), obj) == [
        f'metadata.name: Invalid value: "{name}": must be no more than 52 characters'
    ]


@pytest.mark.parametrize(
    "schedule", ["* * * * *", "*/5 0-6,8 1 jan-MAR sun", "@every 1h30m", "@daily", "0 0 ? * *", "5/15 * * * *"]
)
def test_schedules_that_are_right(schedule: str) -> None:
    cron.parse(schedule)


@given(st.text(alphabet="0123456789*/-,? @everyhmjansu", max_size=24))
def test_no_schedule_raises_anything_but_its_error(schedule: str) -> None:
    try:
        cron.parse(schedule)
    except cron.ScheduleError as error:
        message = str(error)
    else:
        message = "right"
    assert message


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({}, ["spec.ports: Required value"]),
        (
            {"ports": [{"port": 0, "targetPort": 80}]},
            ["spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"],
        ),
        (
            {"ports": [{"port": 80}, {"port": 81}]},
            ["spec.ports[0].name: Required value", "spec.ports[1].name: Required value"],
        ),
        (
            {"ports": [{"port": 80, "name": "a"}, {"port": 80, "name": "b"}]},
            ['spec.ports[1]: Duplicate value: {"protocol":"TCP","port":80,"targetPort":0}'],
        ),
        (
            {"ports": [{"port": 80, "nodePort": 30000}]},
            ["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"],
        ),
        ({"type": "ExternalName"}, ["spec.externalName: Required value"]),
        (
            {"type": "NodePort", "clusterIP": "None", "ports": [{"port": 80}]},
            ["spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services"],
        ),
        ({"clusterIP": "None"}, []),
        (
            {"ports": [{"port": 80}], "clusterIP": "10.0.0.300"},
            [
                'spec.clusterIPs[0]: Invalid value: "10.0.0.300": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)'
            ],
        ),
        (
            {"ports": [{"port": 80}], "type": "Magic"},
            [
                'spec.type: Unsupported value: "Magic": '
                'supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"'
            ],
        ),
        (
            {"ports": [{"port": 80}], "externalIPs": ["127.0.0.1"]},
            [
                'spec.externalIPs[0]: Invalid value: "127.0.0.1": '
                "may not be in the loopback range (127.0.0.0/8, ::1/128)"
            ],
        ),
    ],
)
def test_services(spec: dict[str, Any], words: list[str]) -> None:
    assert told(kind("Service"), {"spec": spec}) == words


def test_names_of_services_are_dns_labels_of_the_older_kind() -> None:
    found = told(kind("Service"), {"metadata": {"name": "1a"}, "spec": {"ports": [{"port": 80}]}})
    assert found == [f'metadata.name: Invalid value: "1a": {LABEL_1035}']


def test_the_address_of_a_service_does_not_change() -> None:
    service = {"spec": {"ports": [{"port": 80}], "clusterIP": "10.0.0.1"}}
    assert changed(kind("Service"), service, {"spec/clusterIP": "10.0.0.2"}) == [
        'spec.clusterIPs[0]: Invalid value: ["10.0.0.2"]: may not change once set'
    ]


def test_config_maps_and_secrets() -> None:
    config, secret = kind("ConfigMap"), kind("Secret")
    assert told(config, {"data": {"a/b": "x"}}) == [
        "data[a/b]: Invalid value: \"a/b\": a valid config key must consist of alphanumeric characters, '-', '_' or '.' "
        "(e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
    ]
    assert told(config, {"data": {"a": "x" * 1048577}}) == ["[]: Too long: may not be more than 1048576 bytes"]
    assert changed(config, {"data": {"a": "b"}, "immutable": True}, {"data/a": "c"}) == [
        "data: Forbidden: field is immutable when `immutable` is set"
    ]
    assert changed(config, {"immutable": True}, {"immutable": None}) == [
        "immutable: Forbidden: field is immutable when `immutable` is set"
    ]
    assert told(secret, {"type": "kubernetes.io/tls"}) == [
        "data[tls.crt]: Required value",
        "data[tls.key]: Required value",
    ]
    assert told(secret, {"type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": "x"}})[
        0
    ].startswith('data[.dockerconfigjson]: Invalid value: "<secret contents redacted>"')
    assert changed(secret, {}, {"type": "other"}) == ['type: Invalid value: "other": field is immutable']


def test_volumes_and_claims() -> None:
    claim = {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}
    of = kind("PersistentVolumeClaim")
    assert told(of, claim) == []
    assert told(of, {"spec": {}}) == [
        "spec.accessModes: Required value: at least 1 access mode is required",
        "spec.resources[storage]: Required value",
    ]
    assert changed(of, claim, {"spec/volumeName": "v"}) == []
    assert changed(of, claim, {"spec/accessModes": ["ReadWriteMany"]}) == [
        "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
    ]
    volume = kind("PersistentVolume")
    good = {"spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/a"}}}
    assert told(volume, good) == []
    assert told(volume, {"spec": {}}) == [
        "spec.accessModes: Required value",
        "spec.capacity: Required value",
        "spec: Required value: must specify a volume type",
    ]
    assert changed(volume, good, {"spec/hostPath/path": "/b"}) == [
        "spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation"
    ]
    local = {"spec": {**good["spec"], "hostPath": None, "local": {"path": "/a"}}}
    assert told(volume, local) == ["spec.nodeAffinity: Required value: Local volume requires node affinity"]
    storage = kind("StorageClass", "storage.k8s.io")
    assert told(storage, {}) == ["provisioner: Required value"]
    assert changed(storage, {"provisioner": "a/b"}, {"parameters": {"a": "b"}}) == [
        "parameters: Forbidden: updates to parameters are forbidden."
    ]


def test_nodes_of_csi_may_have_no_drivers_but_none_twice() -> None:
    node = kind("CSINode", "storage.k8s.io")
    driver = {"name": "e.com", "nodeID": "n"}
    assert told(node, {"spec": {}}) == []
    assert told(node, {"spec": {"drivers": [driver, driver]}}) == ['spec.drivers[1].name: Duplicate value: "e.com"']
    assert told(node, {"spec": {"drivers": [{"name": "e.com"}]}}) == ["spec.drivers[0].nodeID: Required value"]


RBAC = "rbac.authorization.k8s.io"


def test_roles_and_bindings() -> None:
    assert told(kind("Role", RBAC), {"rules": [{"apiGroups": [""], "resources": ["pods"]}]}) == [
        "rules[0].verbs: Required value: verbs must contain at least one value"
    ]
    assert told(kind("Role", RBAC), {"rules": [{"nonResourceURLs": ["/a"], "verbs": ["get"]}]}) == [
        'rules[0].nonResourceURLs: Invalid value: ["/a"]: namespaced rules cannot apply to non-resource URLs'
    ]
    assert told(kind("ClusterRole", RBAC), {"metadata": {"name": "system:a"}}) == []
    binding = {"roleRef": {"kind": "ClusterRole", "name": "r"}, "subjects": [{"kind": "User", "name": "u"}]}
    assert told(kind("ClusterRoleBinding", RBAC), binding) == []
    assert told(kind("ClusterRoleBinding", RBAC), {"roleRef": {"kind": "Role", "name": "r"}}) == [
        'roleRef.kind: Unsupported value: "Role": supported values: "ClusterRole"'
    ]
    assert told(kind("RoleBinding", RBAC), {**binding, "subjects": [{"kind": "ServiceAccount", "name": "s"}]}) == [
        "subjects[0].namespace: Required value"
    ]
    (found,) = changed(kind("RoleBinding", RBAC), binding, {"roleRef/name": "other"})
    assert found.endswith("cannot change roleRef")


@pytest.mark.parametrize(
    ("group", "name", "version", "obj", "words"),
    [
        (
            "networking.k8s.io",
            "NetworkPolicy",
            "v1",
            {"spec": {"ingress": [{"from": [{}], "ports": [{"port": 5, "endPort": 1}]}]}},
            [
                "spec.ingress[0].ports[0].endPort: Invalid value: 1: must be greater than or equal to `port`",
                "spec.ingress[0].from[0]: Required value: must specify a peer",
            ],
        ),
        (
            "networking.k8s.io",
            "NetworkPolicy",
            "v1",
            {"spec": {"egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}}]}]}},
            ['spec.egress[0].to[0].ipBlock.except[0]: Invalid value: "11.0.0.0/16": must be a strict subset of `cidr`'],
        ),
        (
            "networking.k8s.io",
            "Ingress",
            "v1",
            {"spec": {}},
            ["spec: Invalid value: {}: either `defaultBackend` or `rules` must be specified"],
        ),
        (
            "networking.k8s.io",
            "Ingress",
            "v1",
            {"spec": {"rules": [{"http": {"paths": [{"path": "a", "pathType": "Prefix", "backend": {}}]}}]}},
            [
                'spec.rules[0].http.paths[0].path: Invalid value: "a": must be an absolute path',
                "spec.rules[0].http.paths[0].backend: Required value: resource or service backend is required",
            ],
        ),
        (
            "policy",
            "PodDisruptionBudget",
            "v1",
            {"spec": {"minAvailable": 1, "maxUnavailable": 1}},
            [
                'spec: Invalid value: {"minAvailable":1,"maxUnavailable":1}: minAvailable and maxUnavailable cannot be both set'
            ],
        ),
        (
            "autoscaling",
            "HorizontalPodAutoscaler",
            "v2",
            {"spec": {"maxReplicas": 1, "minReplicas": 2, "scaleTargetRef": {"kind": "Deployment", "name": "a"}}},
            ["spec.maxReplicas: Invalid value: 1: must be greater than or equal to `minReplicas`"],
        ),
        (
            "scheduling.k8s.io",
            "PriorityClass",
            "v1",
            {"value": 1000000001},
            ["value: Forbidden: maximum allowed value of a user defined priority is 1000000000"],
        ),
        (
            "coordination.k8s.io",
            "Lease",
            "v1",
            {"spec": {"leaseDurationSeconds": 0}},
            ["spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"],
        ),
        (
            "discovery.k8s.io",
            "EndpointSlice",
            "v1",
            {"addressType": "IPv4", "endpoints": [{"addresses": ["::1"]}]},
            ['endpoints[0].addresses[0]: Invalid value: "::1": must be a valid IPv4 address'],
        ),
        (
            "",
            "LimitRange",
            "v1",
            {"spec": {"limits": [{"type": "Container", "min": {"cpu": "2"}, "max": {"cpu": "1"}}]}},
            [
                'spec.limits[0].min[cpu]: Invalid value: "2": min value 2 is greater than max value 1',
                'spec.limits[0].defaultRequest[cpu]: Invalid value: "1": min value 2 is greater than default request value 1',
                'spec.limits[0].default[cpu]: Invalid value: "2": min value 2 is greater than default value 1',
            ],
        ),
        (
            "",
            "ResourceQuota",
            "v1",
            {"spec": {"hard": {"pods": "1500m", "bananas": "1", "count/deployments.apps": "2"}}},
            [
                'spec.hard[pods]: Invalid value: "1500m": must be an integer',
                'spec.hard[bananas]: Invalid value: "bananas": must be a standard resource type or fully qualified',
                'spec.hard[bananas]: Invalid value: "bananas": must be a standard resource for quota',
            ],
        ),
        (
            "",
            "Namespace",
            "v1",
            {"metadata": {"name": "a.b"}},
            ['metadata.name: Invalid value: "a.b": must not contain dots'],
        ),
        (
            "",
            "Node",
            "v1",
            {"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}, {"key": "a", "effect": "NoSchedule"}]}},
            [
                'metadata.taints[1]: Duplicate value: {"key":"a","effect":"NoSchedule"}: '
                "taints must be unique by key and effect pair"
            ],
        ),
    ],
)
def test_other_kinds(group: str, name: str, version: str, obj: dict[str, Any], words: list[str]) -> None:
    assert told(kind(name, group, version), obj) == words


PARENT = {"parentRef": {"resource": "services", "namespace": "ns", "name": "a"}}


@pytest.mark.parametrize(
    ("name", "spec", "words"),
    [
        ("255.255.255.255", PARENT, []),
        ("fe80::42:1dff:fe84:f9e2", {"parentRef": {"group": "g.example", "resource": "r", "name": "n"}}, []),
        (
            "2001:db8:0::1",
            PARENT,
            ['metadata.name: Invalid value: "2001:db8:0::1": must be in canonical form ("2001:db8::1")'],
        ),
        (
            "::ffff:1.2.3.4",
            PARENT,
            ['metadata.name: Invalid value: "::ffff:1.2.3.4": must not be an IPv4-mapped IPv6 address'],
        ),
        (
            "a",
            {"parentRef": {"group": "_", "name": "x/y"}},
            [
                'metadata.name: Invalid value: "a": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)',
                f'spec.parentRef.group: Invalid value: "_": {SUBDOMAIN}',
                "spec.parentRef.resource: Required value",
                "spec.parentRef.name: Invalid value: \"x/y\": may not contain '/'",
            ],
        ),
        ("10.0.0.1", {}, ["spec.parentRef: Required value"]),
    ],
)
def test_addresses_are_named_in_the_one_way_to_write_them(name: str, spec: dict[str, Any], words: list[str]) -> None:
    of = kind("IPAddress", "networking.k8s.io")
    assert told(of, {"metadata": {"name": name}, "spec": spec}) == words


def test_whose_an_address_is_never_changes() -> None:
    obj = {"metadata": {"name": "10.0.0.1"}, "spec": PARENT}
    words = changed(kind("IPAddress", "networking.k8s.io"), obj, {"spec/parentRef/name": "b"})
    assert [word.partition(": ")[0] for word in words] == ["spec.parentRef"]


@pytest.mark.parametrize(
    ("ranges", "words"),
    [
        (["10.0.0.0/24"], []),
        (["10.0.0.0/24", "2001:db8::/64"], []),
        ([], ["spec.cidrs: Required value: at least one CIDR required"]),
        (["10.0.0.1/24"], ["beyond the prefix length"]),
        (["2001:db8:0::/64"], ['must be in canonical form ("2001:db8::/64")']),
        (["10.0.0.0/24", "10.0.1.0/24"], ["may specify no more than one IP for each IP family"]),
        (["10.0.0.0/24", "10.0.1.0/24", "2001:db8::/64"], ["may only hold up to 2 values"]),
        (["10.0.0.0"], ["must be a valid CIDR value"]),
    ],
)
def test_ranges_of_services(ranges: list[str], words: list[str]) -> None:
    found = told(kind("ServiceCIDR", "networking.k8s.io"), {"spec": {"cidrs": ranges}})
    assert len(found) == len(words)
    assert all(word in text for word, text in zip(words, found, strict=True)), found


def test_ranges_of_services_never_change() -> None:
    of = kind("ServiceCIDR", "networking.k8s.io")
    words = changed(of, {"spec": {"cidrs": ["10.0.0.0/24"]}}, {"spec/cidrs": ["10.0.1.0/24"]})
    assert [word.partition(": ")[0] for word in words] == ["spec.cidrs"]


CUSTOM = custom.kind(
    "example.com",
    "v1",
    "Thing",
    "things",
    has_status=True,
    openapi={
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "required": ["size"],
                "properties": {
                    "size": {"type": "integer", "minimum": 1, "maximum": 5},
                    "mode": {"type": "string", "enum": ["a", "b"]},
                    "host": {"type": "string", "pattern": "^[a-z]+$"},
                    "port": {"x-kubernetes-int-or-string": True},
                    "one": {
                        "type": "object",
                        "oneOf": [{"required": ["x"]}, {"required": ["y"]}],
                        "x-kubernetes-preserve-unknown-fields": True,
                    },
                    "list": {
                        "type": "array",
                        "maxItems": 2,
                        "x-kubernetes-list-type": "map",
                        "x-kubernetes-list-map-keys": ["name"],
                        "items": {"type": "object", "properties": {"name": {"type": "string"}}},
                    },
                },
            }
        },
    },
)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"size": 3, "mode": "a", "host": "abc", "port": "http"}, []),
        ({}, ["spec.size: Required value"]),
        ({"size": "3"}, ['spec.size: Invalid value: "string": spec.size in body must be of type integer: "string"']),
        ({"size": 0}, ["spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1"]),
        ({"size": 6}, ["spec.size: Invalid value: 6: spec.size in body should be less than or equal to 5"]),
        ({"size": 1, "mode": "c"}, ['spec.mode: Unsupported value: "c": supported values: "a", "b"']),
        ({"size": 1, "host": "A"}, ["spec.host: Invalid value: \"A\": spec.host in body should match '^[a-z]+$'"]),
        ({"size": 1, "list": [{"name": "a"}, {"name": "a"}]}, ['spec.list[1]: Duplicate value: {"name":"a"}']),
        (
            {"size": 1, "list": [{}, {"name": "a"}, {"name": "b"}]},
            ["spec.list: Too many: 3: must have at most 2 items"],
        ),
        (
            {"size": 1, "one": {"x": 1, "y": 2}},
            ['spec.one: Invalid value: "object": spec.one in body must validate one and only one schema (oneOf)'],
        ),
        (
            {"size": 1, "port": True},
            ['spec.port: Invalid value: "boolean": spec.port in body must be of type integer,string: "boolean"'],
        ),
    ],
)
def test_custom_resources(spec: dict[str, Any], words: list[str]) -> None:
    assert told(CUSTOM, {"spec": spec}) == words


def test_a_kind_without_rules_of_its_own_still_requires_what_its_definition_requires() -> None:
    of = kind("DeviceClass", "resource.k8s.io")
    assert told(of, {}) == []
    assert told(of, {"spec": {"selectors": [{"cel": {}}]}}) == ["spec.selectors[0].cel.expression: Required value"]
    opaque = {"config": [{"opaque": {"driver": "d"}}]}
    assert told(of, {"spec": opaque}) == ["spec.config[0].opaque.parameters: Required value"]


def test_what_a_driver_can_store_and_where_it_says_so_once() -> None:
    of = kind("CSIStorageCapacity", "storage.k8s.io")
    good = {"storageClassName": "fast", "capacity": "1Gi", "nodeTopology": {"matchLabels": {"a": "b"}}}
    assert told(of, good) == []
    assert told(of, {"storageClassName": ""}) == [f'storageClassName: Invalid value: "": {SUBDOMAIN}']
    negative = "must be greater than or equal to 0"
    assert told(of, {**good, "maximumVolumeSize": "-1Gi"}) == [f'maximumVolumeSize: Invalid value: "-1Gi": {negative}']
    assert changed(of, good, {"capacity": "2Gi"}) == []
    for path, value in (("storageClassName", "slow"), ("nodeTopology", {"matchLabels": {"a": "c"}})):
        assert [word.partition(": ")[0] for word in changed(of, good, {path: value})] == [path]


def test_classes_of_attributes_never_change() -> None:
    of = kind("VolumeAttributesClass", "storage.k8s.io")
    good = {"driverName": "a.example", "parameters": {"iops": "1"}}
    assert told(of, good) == []
    assert told(of, {}) == [
        "driverName: Required value",
        "parameters: Required value: must contain at least one key/value pair",
    ]
    assert changed(of, good, {"driverName": "b.example", "parameters": {"iops": "2"}}) == [
        "driverName: Forbidden: updates to driverName are forbidden.",
        "parameters: Forbidden: updates to parameters are forbidden.",
    ]


def test_what_a_driver_told_of_a_node_stays() -> None:
    of = kind("CSINode", "storage.k8s.io")
    driver = {"name": "a.example", "nodeID": "n", "topologyKeys": ["zone"]}
    before = {"spec": {"drivers": [driver]}}
    assert changed(of, before, {"spec/drivers": [driver, {**driver, "name": "b.example"}]}) == []
    assert changed(of, before, {"spec/drivers": [{**driver, "allocatable": {"count": 3}}]}) == []
    assert changed(of, before, {"spec/drivers": []}) == []
    for change in ({"nodeID": "m"}, {"topologyKeys": ["rack"]}):
        words = changed(of, before, {"spec/drivers": [{**driver, **change}]})
        assert [word.partition(": ")[0] for word in words] == ["CSINode"]
    nameless = {"spec": {"drivers": [{"nodeID": "n"}]}}
    assert changed(of, nameless, {}) == ["spec.drivers[0].name: Required value"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a", '"a"'),
        ('"\\\n\x00', '"\\"\\\\\\n\\x00"'),
        (1, "1"),
        (True, "true"),
        (None, "null"),
        ({"a": [1]}, '{"a":[1]}'),
    ],
)
def test_values_are_shown_as_go_shows_them(value: Any, shown: str) -> None:
    assert field.shown(value) == shown


@given(st.text(max_size=70))
def test_a_label_that_is_right_is_also_a_right_subdomain(text: str) -> None:
    if not formats.dns_label(text):
        assert not formats.dns_subdomain(text)
    if not formats.dns_1035_label(text):
        assert not formats.dns_label(text)


JUNK: st.SearchStrategy[Any] = st.sampled_from(["", "a", "A b", "-1", "100m", "1.5.2"])


@st.composite
def _shaped(draw: st.DrawFn, of: schema.Schema, depth: int = 5) -> Any:
    match of.type:
        case "object" if of.properties and depth:
            names = draw(st.lists(st.sampled_from(sorted(of.properties)), max_size=5, unique=True))
            return {name: draw(_shaped(of.properties[name], depth - 1)) for name in names}
        case "object" if of.additional is not None and depth:
            return draw(st.dictionaries(JUNK, _shaped(of.additional, depth - 1), max_size=2))
        case "object":
            return {}
        case "array" if of.items is not None and depth:
            return draw(st.lists(_shaped(of.items, depth - 1), max_size=3))
        case "array":
            return []
        case "string":
            by_format: dict[str, list[Any]] = {
                schema.QUANTITY: ["0", "1", "-1", "100m", "1Gi"],
                schema.INT_OR_STRING: [0, 80, -1, "http", "25%"],
                schema.TIME: ["2020-01-01T00:00:00Z"],
                schema.MICRO_TIME: ["2020-01-01T00:00:00.000000Z"],
                schema.BYTES: ["", "YQ=="],
            }
            return draw(st.sampled_from(by_format[of.format]) if of.format in by_format else JUNK)
        case "integer" | "number":
            return draw(st.sampled_from((0, 1, -1, 70000)))
        case "boolean":
            return draw(st.booleans())
    return None


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_whatever_can_be_decoded_can_be_validated(data: st.DataObject) -> None:
    of = data.draw(st.sampled_from([kind for kind in REGISTRY.all() if not kind.is_virtual]))
    body = data.draw(_shaped(of.schema))
    try:
        made = decode.decode(orjson.dumps({**body, "apiVersion": of.api_version, "kind": of.kind}), of).obj
    except errors.StatusError:
        return
    made.setdefault("metadata", {})
    of.rules.defaults(made)
    strategy.prepare_create(of, made)
    for cause in strategy.validate_create(of, made):
        assert cause.message
    new = copy.deepcopy(made)
    strategy.prepare_update(of, new, made, "")
    strategy.validate_update(of, new, made)
    if of.subresource("status") is not None:
        strategy.prepare_update(of, new, made, "status")
        strategy.validate_update(of, new, made, "status")
