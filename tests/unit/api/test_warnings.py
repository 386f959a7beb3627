"""What clients are warned of although their object is stored, in upstream's words."""

import copy
from typing import Any

import pytest

from pinnace.api import kinds

Object = dict[str, Any]
REGISTRY = kinds.builtin()


def warned(kind: str, obj: Object, old: Object | None = None, group: str = "") -> list[str]:
    found = REGISTRY.by_kind(group, "v1" if group != "autoscaling" else "v2", kind)
    assert found is not None
    return found.rules.warnings({"kind": kind, "metadata": {"name": "n"}, **obj}, old, "")


def pod(**spec: Any) -> Object:
    return {"spec": {"containers": [{"name": "c", "image": "i"}], **spec}}


def env(*pairs: tuple[str, str | None]) -> Object:
    made = [
        {"name": name, "valueFrom": {}} if value is None else {"name": name, "value": value} for name, value in pairs
    ]
    return {"name": "c", "env": made}


def hides(*indexes: int) -> list[str]:
    return [
        f'spec.containers[0].env[{index}]: hides previous definition of "A", which may be dropped when using apply'
        for index in indexes
    ]


@pytest.mark.parametrize(
    ("pairs", "wanted"),
    [
        ((("A", "1"), ("B", "2")), []),
        ((("A", "1"), ("A", "2")), hides(1)),
        ((("A", "/bin"), ("A", "$(A):/sbin")), []),
        ((("A", "1"), ("A", "$(A)"), ("A", None), ("A", ""), ("A", "$(A) $(A)")), hides(1, 2, 3)),
    ],
)
def test_environment_that_is_named_twice(pairs: tuple[tuple[str, str | None], ...], wanted: list[str]) -> None:
    assert warned("Pod", pod(containers=[env(*pairs)])) == wanted


def ports(*containers: list[Object]) -> Object:
    return pod(containers=[{"name": f"c{index}", "ports": list(each)} for index, each in enumerate(containers)])


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (ports([{"containerPort": 80}, {"containerPort": 80, "protocol": "UDP"}]), []),
        (
            ports([{"containerPort": 80}, {"containerPort": 80}]),
            ["spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]"],
        ),
        (
            ports(
                [{"containerPort": 80, "hostPort": 80, "hostIP": "10.0.0.1"}],
                [{"containerPort": 80, "hostIP": "10.0.0.1"}],
            ),
            [
                "spec.containers[1].ports[0]: hostIP set without hostPort: "
                "{Name: HostPort:0 ContainerPort:80 Protocol:TCP HostIP:10.0.0.1}",
                "spec.containers[1].ports[0]: overlapping port definition with spec.containers[0].ports[0]",
            ],
        ),
        (
            ports([{"containerPort": 80, "hostPort": 80, "hostIP": "10.0.0.1"}, {"containerPort": 80, "hostPort": 80}]),
            ["spec.containers[0].ports[1]: dangerously ambiguous port definition with spec.containers[0].ports[0]"],
        ),
        (ports([{"containerPort": 80, "hostPort": 80}], [{"containerPort": 80, "hostPort": 81}]), []),
        (
            ports([{"containerPort": 80, "name": "web"}], [{"containerPort": 81, "name": "web"}]),
            [
                'spec.containers[1].ports[0]: duplicate port name "web" with spec.containers[0].ports[0], '
                "services and probes that select ports by name will use spec.containers[0].ports[0]"
            ],
        ),
    ],
)
def test_ports_in_each_others_way(found: Object, wanted: list[str]) -> None:
    assert warned("Pod", found) == wanted


OLD_OS = 'deprecated since v1.14; use "kubernetes.io/os" instead'
NOTHING = "a null labelSelector results in matching no pod"
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
TERM = {"matchExpressions": [{"key": "x"}, {"key": "beta.kubernetes.io/os"}]}


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ({"nodeSelector": {"beta.kubernetes.io/os": "linux"}}, [f"spec.nodeSelector[beta.kubernetes.io/os]: {OLD_OS}"]),
        (
            {
                "affinity": {
                    "nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [TERM]}, PREFERRED: [{"preference": TERM}]}
                }
            },
            [
                f"spec.affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms[0].matchExpressions[1].key: "
                f"beta.kubernetes.io/os is {OLD_OS}",
                f"spec.affinity.nodeAffinity.{PREFERRED}[0].preference.matchExpressions[1].key: "
                f"beta.kubernetes.io/os is {OLD_OS}",
            ],
        ),
        (
            {"topologySpreadConstraints": [{"topologyKey": "beta.kubernetes.io/os"}]},
            [
                f"spec.topologySpreadConstraints[0].topologyKey: beta.kubernetes.io/os is {OLD_OS}",
                f"spec.topologySpreadConstraints[0].labelSelector: {NOTHING}",
            ],
        ),
        (
            {"affinity": {"podAffinity": {REQUIRED: [{}]}, "podAntiAffinity": {PREFERRED: [{"podAffinityTerm": {}}]}}},
            [
                f"spec.affinity.podAffinity.{REQUIRED}[0].labelSelector: {NOTHING}",
                f"spec.affinity.podAntiAffinity.{PREFERRED}[0].podAffinityTerm.labelSelector: {NOTHING}",
            ],
        ),
        (
            {"volumes": [{"name": "v", "gitRepo": {}}, {"name": "w", "rbd": {}}]},
            [
                "spec.volumes[0].gitRepo: deprecated in v1.11, and disabled by default in v1.33+",
                "spec.volumes[1].rbd: deprecated in v1.28, non-functional in v1.31+",
            ],
        ),
        (
            {"volumes": [{"name": "v", "configMap": {"name": "m", "items": [{"path": "a"}, {"path": "a/b"}]}}]},
            ['volume "v" (ConfigMap "m"): overlapping paths: "a/b" with "a"'],
        ),
        (
            {
                "volumes": [
                    {
                        "name": "v",
                        "projected": {
                            "sources": [
                                {"secret": {"name": "s", "items": [{"path": "t"}]}},
                                {"serviceAccountToken": {"path": "t"}},
                                {"downwardAPI": {"items": [{"path": "tt"}]}},
                            ]
                        },
                    },
                    {"name": "w", "projected": {"sources": [{}]}},
                ]
            },
            [
                'volume "v" (Projected): overlapping paths: "t" (ServiceAccountToken) with "t" (Secret "s")',
                'volume "w" (Projected) has no sources provided',
            ],
        ),
        ({"hostAliases": [{"ip": "1.1.1.1"}] * 2}, ['spec.hostAliases[1].ip: duplicate ip "1.1.1.1"']),
        (
            {"imagePullSecrets": [{"name": "a"}, {"name": "a"}, {}]},
            [
                'spec.imagePullSecrets[1].name: duplicate name "a"',
                'spec.imagePullSecrets[2].name: invalid empty name ""',
            ],
        ),
        (
            {"containers": [{"name": "c", "resources": {"limits": {"memory": "0.1", "cpu": "100m"}}}]},
            [
                'spec.containers[0].resources.limits[memory]: fractional byte value "100m" is invalid, must be an integer'
            ],
        ),
        (
            {"terminationGracePeriodSeconds": -1},
            ["spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"],
        ),
    ],
)
def test_settings_that_surprise(spec: Object, wanted: list[str]) -> None:
    made = pod(**spec)
    assert warned("Pod", made) == wanted
    template = {"spec": {"template": made}}
    shown = [text.replace("spec.", "spec.template.spec.", 1) if text.startswith("spec.") else text for text in wanted]
    for kind in ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet"):
        assert warned(kind, template, group="apps") == shown
    assert warned("Job", template, group="batch") == shown
    assert warned("ReplicationController", template) == shown
    # Who changes something else has been told.
    assert warned("Pod", made, old=made) == []
    assert warned("Deployment", template, old=copy.deepcopy(template), group="apps") == []
    assert warned("Deployment", template, old={"spec": {"template": pod()}}, group="apps") == shown


@pytest.mark.parametrize(
    ("kind", "group"), [("Pod", ""), ("Deployment", "apps"), ("Job", "batch"), ("CronJob", "batch")]
)
def test_names_that_are_no_host_names(kind: str, group: str) -> None:
    assert warned(kind, {"metadata": {"name": "a.b"}, "spec": {}}, group=group) == [
        "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; "
        "a DNS label is recommended: [must not contain dots]"
    ]


def test_annotations_of_old() -> None:
    keys = (
        "scheduler.alpha.kubernetes.io/critical-pod",
        "seccomp.security.alpha.kubernetes.io/pod",
        "container.seccomp.security.alpha.kubernetes.io/c",
        "container.apparmor.security.beta.kubernetes.io/c",
    )
    found = warned("Pod", {"metadata": {"name": "n", "annotations": dict.fromkeys(keys, "x")}, **pod()})
    assert [text.partition(": ")[0] for text in found] == [f"metadata.annotations[{key}]" for key in keys]
    profiles = {"seccompProfile": {"type": "RuntimeDefault"}, "appArmorProfile": {"type": "RuntimeDefault"}}
    container = {"name": "c", "securityContext": profiles}
    annotations = dict.fromkeys(keys[2:], "x")
    assert warned("Pod", {"metadata": {"name": "n", "annotations": annotations}, **pod(containers=[container])}) == []


RECYCLE = (
    "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. "
    "Instead, the recommended approach is to use dynamic provisioning."
)
EXTERNAL = "spec.externalIPs is deprecated and may no longer be implemented in some clusters"


@pytest.mark.parametrize(
    ("kind", "group", "obj", "wanted"),
    [
        ("PersistentVolume", "", {"spec": {"persistentVolumeReclaimPolicy": "Recycle"}}, [RECYCLE]),
        (
            "PersistentVolumeClaim",
            "",
            {"spec": {"resources": {"requests": {"storage": "500m"}}}},
            ['spec.resources.requests[storage]: fractional byte value "500m" is invalid, must be an integer'],
        ),
        (
            "ResourceQuota",
            "",
            {"spec": {"hard": {"requests.cpu": "2", "limits.cpu": "1", "memory": "1", "limits.memory": "2"}}},
            ["ResourceQuota requests.cpu (2) should be less than limits.cpu (1)"],
        ),
        (
            "Secret",
            "",
            {"type": "kubernetes.io/tls", "data": {"tls.crt": "YQ==", "tls.key": "YQ=="}},
            ["tls: failed to find any PEM data in certificate input"],
        ),
        ("Service", "", {"spec": {"externalIPs": ["192.0.2.1"]}}, [EXTERNAL]),
        (
            "Service",
            "",
            {"spec": {"clusterIP": "None", "externalIPs": ["192.0.2.1"], "sessionAffinity": "ClientIP"}},
            [
                "spec.externalIPs is ignored for headless services",
                "spec.SessionAffinity is ignored for headless services",
            ],
        ),
        (
            "Service",
            "",
            {"spec": {"externalName": "x", "trafficDistribution": "PreferClose"}},
            [
                'spec.externalName is ignored when spec.type is not "ExternalName"',
                'spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"',
            ],
        ),
        (
            "Service",
            "",
            {
                "spec": {
                    "loadBalancerIP": "::FFFF:192.0.2.1",
                    "loadBalancerSourceRanges": ["192.0.2.1/24", "2001:DB8::/32"],
                }
            },
            [
                'spec.loadBalancerIP: non-standard IP address "::FFFF:192.0.2.1" will be considered invalid in a future '
                'Kubernetes release: use "192.0.2.1"',
                'spec.loadBalancerSourceRanges[0]: CIDR value "192.0.2.1/24" is ambiguous in this context '
                '(should be "192.0.2.0/24" or "192.0.2.1/32"?)',
                'spec.loadBalancerSourceRanges[1]: IPv6 CIDR value "2001:DB8::/32" should be in RFC 5952 canonical '
                'format ("2001:db8::/32")',
            ],
        ),
        (
            "Node",
            "",
            {"spec": {"externalID": "x"}},
            ["spec.externalID: this field is deprecated, and is unused by Kubernetes"],
        ),
        (
            "RuntimeClass",
            "node.k8s.io",
            {"handler": "h", "scheduling": {"nodeSelector": {"beta.kubernetes.io/os": "linux"}}},
            [f"scheduling.nodeSelector: {OLD_OS}"],
        ),
        (
            "NetworkPolicy",
            "networking.k8s.io",
            {"spec": {"ingress": [{"from": [{"ipBlock": {"cidr": "010.0.0.0/8"}}]}]}},
            [
                'spec.ingress[0].from[0].ipBlock.cidr: non-standard CIDR value "010.0.0.0/8" will be considered invalid '
                'in a future Kubernetes release: use "10.0.0.0/8"',
                "NetworkPolicy: the object is stored, but nothing in this cluster acts on it yet",
            ],
        ),
        (
            "Ingress",
            "networking.k8s.io",
            {"metadata": {"name": "n", "annotations": {"kubernetes.io/ingress.class": "x"}}, "spec": {}},
            [
                "annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead",
                "Ingress: the object is stored, but nothing in this cluster acts on it yet",
            ],
        ),
        (
            "HorizontalPodAutoscaler",
            "autoscaling",
            {"spec": {}},
            ["HorizontalPodAutoscaler: the object is stored, but nothing in this cluster acts on it yet"],
        ),
        (
            "EndpointSlice",
            "discovery.k8s.io",
            {"addressType": "IPv6", "endpoints": [{"addresses": ["2001:DB8::1"]}]},
            [
                'endpoints[0].addresses[0]: IPv6 address "2001:DB8::1" should be in RFC 5952 canonical format '
                '("2001:db8::1")'
            ],
        ),
        (
            "ServiceAccount",
            "",
            {"metadata": {"name": "n", "annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}}},
            [
                "metadata.annotations[kubernetes.io/enforce-mountable-secrets]: deprecated in v1.32+; "
                "prefer separate namespaces to isolate access to mounted secrets"
            ],
        ),
    ],
)
def test_each_kind_tells_what_surprises(kind: str, group: str, obj: Object, wanted: list[str]) -> None:
    assert warned(kind, obj, group=group) == wanted


def test_nothing_is_said_of_what_is_usual() -> None:
    service = {"spec": {"type": "ClusterIP", "clusterIP": "10.43.0.7", "clusterIPs": ["10.43.0.7"]}}
    assert warned("Service", service) == []
    assert warned("Pod", pod()) == []
    assert warned("Secret", {"type": "Opaque"}) == []
