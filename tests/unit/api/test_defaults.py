"""Defaults are upstream's, kind by kind; applying them twice changes nothing."""

import copy
from typing import Any

import pytest

from pinnace.api import custom, kinds

REGISTRY = kinds.builtin(previews=True)
CONTAINER_DEFAULTS = {
    "imagePullPolicy": "Always",
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
    "resources": {},
}
POD_SPEC_DEFAULTS = {
    "dnsPolicy": "ClusterFirst",
    "restartPolicy": "Always",
    "securityContext": {},
    "terminationGracePeriodSeconds": 30,
    "schedulerName": "default-scheduler",
}
CONTAINER = {"name": "a", "image": "nginx"}
FULL_CONTAINER = {**CONTAINER, **CONTAINER_DEFAULTS}
TEMPLATE = {"spec": {"containers": [CONTAINER]}}
FULL_TEMPLATE = {"spec": {"containers": [FULL_CONTAINER], **POD_SPEC_DEFAULTS}}


def _defaulted(group: str, name: str, obj: dict[str, Any], version: str = "v1") -> dict[str, Any]:
    kind = REGISTRY.by_kind(group, version, name)
    assert kind is not None
    made = copy.deepcopy(obj)
    kind.rules.defaults(made)
    return made


@pytest.mark.parametrize(
    ("group", "name", "given", "wanted"),
    [
        (
            "",
            "Pod",
            {"spec": {"containers": []}},
            {"spec": {"containers": [], "enableServiceLinks": True, **POD_SPEC_DEFAULTS}, "status": {}},
        ),
        (
            "apps",
            "Deployment",
            {"spec": {"template": TEMPLATE}},
            {
                "spec": {
                    "template": FULL_TEMPLATE,
                    "replicas": 1,
                    "strategy": {
                        "type": "RollingUpdate",
                        "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"},
                    },
                    "revisionHistoryLimit": 10,
                    "progressDeadlineSeconds": 600,
                },
                "status": {},
            },
        ),
        (
            "apps",
            "Deployment",
            {"spec": {"strategy": {"type": "Recreate"}, "replicas": 0}},
            {
                "spec": {
                    "replicas": 0,
                    "strategy": {"type": "Recreate"},
                    "revisionHistoryLimit": 10,
                    "progressDeadlineSeconds": 600,
                },
                "status": {},
            },
        ),
        ("apps", "ReplicaSet", {"spec": {}}, {"spec": {"replicas": 1}, "status": {"replicas": 0}}),
        (
            "apps",
            "DaemonSet",
            {"spec": {}},
            {
                "spec": {
                    "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}},
                    "revisionHistoryLimit": 10,
                },
                "status": {
                    "currentNumberScheduled": 0,
                    "numberMisscheduled": 0,
                    "desiredNumberScheduled": 0,
                    "numberReady": 0,
                },
            },
        ),
        (
            "batch",
            "CronJob",
            {"spec": {"schedule": "@daily"}},
            {
                "spec": {
                    "schedule": "@daily",
                    "concurrencyPolicy": "Allow",
                    "suspend": False,
                    "successfulJobsHistoryLimit": 3,
                    "failedJobsHistoryLimit": 1,
                },
                "status": {},
            },
        ),
        (
            "",
            "Service",
            {"spec": {"ports": [{"port": 80}]}},
            {
                "spec": {
                    "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
                    "sessionAffinity": "None",
                    "type": "ClusterIP",
                    "internalTrafficPolicy": "Cluster",
                },
                "status": {"loadBalancer": {}},
            },
        ),
        (
            "",
            "Service",
            {"spec": {"type": "LoadBalancer", "sessionAffinity": "ClientIP"}},
            {
                "spec": {
                    "type": "LoadBalancer",
                    "sessionAffinity": "ClientIP",
                    "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10800}},
                    "externalTrafficPolicy": "Cluster",
                    "internalTrafficPolicy": "Cluster",
                    "allocateLoadBalancerNodePorts": True,
                },
                "status": {"loadBalancer": {}},
            },
        ),
        (
            "",
            "Service",
            {"spec": {"type": "ExternalName"}},
            {"spec": {"type": "ExternalName", "sessionAffinity": "None"}, "status": {"loadBalancer": {}}},
        ),
        ("", "Secret", {}, {"type": "Opaque"}),
        (
            "",
            "PersistentVolumeClaim",
            {"spec": {}},
            {"spec": {"volumeMode": "Filesystem", "resources": {}}, "status": {"phase": "Pending"}},
        ),
        (
            "",
            "PersistentVolume",
            {"spec": {"hostPath": {"path": "/a"}}},
            {
                "spec": {
                    "hostPath": {"path": "/a", "type": ""},
                    "persistentVolumeReclaimPolicy": "Retain",
                    "volumeMode": "Filesystem",
                },
                "status": {"phase": "Pending"},
            },
        ),
        (
            "networking.k8s.io",
            "NetworkPolicy",
            {"spec": {"egress": [{"ports": [{"port": 1}]}]}},
            {
                "spec": {
                    "podSelector": {},
                    "egress": [{"ports": [{"port": 1, "protocol": "TCP"}]}],
                    "policyTypes": ["Ingress", "Egress"],
                }
            },
        ),
        (
            "rbac.authorization.k8s.io",
            "RoleBinding",
            {
                "roleRef": {"kind": "Role", "name": "r"},
                "subjects": [{"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "name": "s"}],
            },
            {
                "roleRef": {"kind": "Role", "name": "r", "apiGroup": "rbac.authorization.k8s.io"},
                "subjects": [
                    {"kind": "User", "name": "u", "apiGroup": "rbac.authorization.k8s.io"},
                    {"kind": "ServiceAccount", "name": "s"},
                ],
            },
        ),
        ("storage.k8s.io", "StorageClass", {}, {"reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"}),
        ("scheduling.k8s.io", "PriorityClass", {}, {"preemptionPolicy": "PreemptLowerPriority"}),
        (
            "discovery.k8s.io",
            "EndpointSlice",
            {"ports": [{"port": 1}]},
            {"ports": [{"port": 1, "name": "", "protocol": "TCP"}]},
        ),
        (
            "",
            "LimitRange",
            {"spec": {"limits": [{"type": "Container", "max": {"cpu": "2"}, "min": {"memory": "1Mi"}}]}},
            {
                "spec": {
                    "limits": [
                        {
                            "type": "Container",
                            "max": {"cpu": "2"},
                            "min": {"memory": "1Mi"},
                            "default": {"cpu": "2"},
                            "defaultRequest": {"memory": "1Mi", "cpu": "2"},
                        }
                    ]
                }
            },
        ),
        (
            "",
            "Namespace",
            {"metadata": {"name": "a"}},
            {"metadata": {"name": "a", "labels": {"kubernetes.io/metadata.name": "a"}}, "status": {"phase": "Active"}},
        ),
    ],
)
def test_defaults_of_kinds(group: str, name: str, given: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert _defaulted(group, name, given) == wanted


def test_stateful_sets_and_their_claims() -> None:
    made = _defaulted(
        "apps", "StatefulSet", {"spec": {"volumeClaimTemplates": [{"metadata": {"name": "d"}, "spec": {}}]}}
    )
    spec = made["spec"]
    assert spec["podManagementPolicy"] == "OrderedReady"
    assert spec["updateStrategy"] == {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}
    assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    assert (spec["replicas"], spec["revisionHistoryLimit"]) == (1, 10)
    claim = spec["volumeClaimTemplates"][0]
    assert (claim["apiVersion"], claim["kind"], claim["status"]) == (
        "v1",
        "PersistentVolumeClaim",
        {"phase": "Pending"},
    )


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, {"completions": 1, "parallelism": 1, "backoffLimit": 6}),
        ({"parallelism": 2}, {"parallelism": 2, "backoffLimit": 6}),
        ({"completions": 3}, {"completions": 3, "parallelism": 1, "backoffLimit": 6}),
        ({"backoffLimitPerIndex": 1}, {"completions": 1, "parallelism": 1, "backoffLimit": 2**31 - 1}),
    ],
)
def test_how_often_a_job_runs(given: dict[str, Any], wanted: dict[str, Any]) -> None:
    spec = _defaulted("batch", "Job", {"spec": given})["spec"]
    assert {name: spec[name] for name in ("completions", "parallelism", "backoffLimit") if name in spec} == wanted


def test_a_job_without_labels_takes_those_of_its_pods() -> None:
    made = _defaulted("batch", "Job", {"spec": {"template": {"metadata": {"labels": {"a": "b"}}}}})
    assert made["metadata"]["labels"] == {"a": "b"}
    assert made["metadata"]["labels"] is not made["spec"]["template"]["metadata"]["labels"]


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1.2", "IfNotPresent"),
        ("localhost:5000/nginx", "Always"),
        ("localhost:5000/nginx:1", "IfNotPresent"),
        ("nginx@sha256:" + "0" * 64, "IfNotPresent"),
        ("nginx:latest@sha256:" + "0" * 64, "Always"),
    ],
)
def test_only_latest_is_always_pulled(image: str, policy: str) -> None:
    made = _defaulted("", "Pod", {"spec": {"containers": [{"name": "a", "image": image}]}})
    assert made["spec"]["containers"][0]["imagePullPolicy"] == policy


def test_in_pods_but_not_in_templates_limits_are_requests() -> None:
    container = {**CONTAINER, "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}}
    pod = _defaulted("", "Pod", {"spec": {"containers": [container]}})
    assert pod["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "500m", "memory": "1Gi"}
    deployment = _defaulted("apps", "Deployment", {"spec": {"template": {"spec": {"containers": [container]}}}})
    assert deployment["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "500m"}


def test_what_is_inside_containers_and_volumes() -> None:
    made = _defaulted(
        "",
        "Pod",
        {
            "spec": {
                "hostNetwork": True,
                "serviceAccountName": "robot",
                "containers": [
                    {
                        **CONTAINER,
                        "ports": [{"containerPort": 80}],
                        "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
                        "livenessProbe": {"httpGet": {"port": 80}},
                        "readinessProbe": {"grpc": {"port": 80}},
                        "lifecycle": {"preStop": {"httpGet": {"port": 80}}},
                    }
                ],
                "volumes": [
                    {"name": "a"},
                    {"name": "b", "configMap": {"name": "x"}},
                    {"name": "c", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}},
                    {"name": "d", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}},
                ],
            }
        },
    )
    spec = made["spec"]
    assert spec["serviceAccount"] == "robot"
    container = spec["containers"][0]
    assert container["ports"] == [{"containerPort": 80, "hostPort": 80, "protocol": "TCP"}]
    assert container["env"][0]["valueFrom"]["fieldRef"]["apiVersion"] == "v1"
    assert container["livenessProbe"] == {
        "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
        "timeoutSeconds": 1,
        "periodSeconds": 10,
        "successThreshold": 1,
        "failureThreshold": 3,
    }
    assert container["readinessProbe"]["grpc"] == {"port": 80, "service": ""}
    assert container["lifecycle"]["preStop"]["httpGet"]["path"] == "/"
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    assert volumes["a"]["emptyDir"] == {}
    assert volumes["b"]["configMap"]["defaultMode"] == 0o644
    assert volumes["c"]["projected"]["sources"][0]["serviceAccountToken"]["expirationSeconds"] == 3600
    assert volumes["d"]["ephemeral"]["volumeClaimTemplate"]["spec"]["volumeMode"] == "Filesystem"


def test_autoscalers_scale_on_processor_use_unless_told_otherwise() -> None:
    made = _defaulted(
        "autoscaling", "HorizontalPodAutoscaler", {"spec": {"behavior": {"scaleUp": {"selectPolicy": "Min"}}}}, "v2"
    )
    spec = made["spec"]
    assert spec["minReplicas"] == 1
    assert spec["metrics"][0]["resource"] == {
        "name": "cpu",
        "target": {"type": "Utilization", "averageUtilization": 80},
    }
    assert spec["behavior"]["scaleUp"]["selectPolicy"] == "Min"
    assert spec["behavior"]["scaleUp"]["stabilizationWindowSeconds"] == 0
    assert spec["behavior"]["scaleDown"]["policies"] == [{"type": "Percent", "value": 100, "periodSeconds": 15}]


@pytest.mark.parametrize("kind", REGISTRY.all(), ids=lambda kind: f"{kind.group}/{kind.version}/{kind.kind}")
def test_defaulting_twice_is_defaulting_once(kind: kinds.Kind) -> None:
    once: dict[str, Any] = {"metadata": {"name": "a"}}
    kind.rules.defaults(once)
    twice = copy.deepcopy(once)
    kind.rules.defaults(twice)
    assert once == twice


def test_custom_resources_have_the_defaults_of_their_schema() -> None:
    kind = custom.kind(
        "example.com",
        "v1",
        "Thing",
        "things",
        openapi={
            "type": "object",
            "properties": {
                "spec": {
                    "type": "object",
                    "default": {},
                    "properties": {
                        "size": {"type": "integer", "default": 3},
                        "tags": {"type": "array", "default": ["a"], "items": {"type": "string"}},
                    },
                }
            },
        },
    )
    one: dict[str, Any] = {"metadata": {}}
    other: dict[str, Any] = {"metadata": {}, "spec": {"size": None}}
    for obj in (one, other):
        kind.rules.defaults(obj)
        assert obj["spec"] == {"size": 3, "tags": ["a"]}
    assert one["spec"]["tags"] is not other["spec"]["tags"]
