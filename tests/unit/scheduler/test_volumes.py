"""Where a pod's claims can be met, and what is written for them."""

import random
from typing import Any

import pytest

from pinnace.scheduler import decide, defaults, framework, pods, volumes
from pinnace.testing import scheduling

node, pod, cluster = scheduling.node, scheduling.pod, scheduling.cluster
Object = dict[str, Any]


def claim(name: str, volume: str = "", storage_class: str = "local", **extra: Any) -> Object:
    spec: Object = {
        "storageClassName": storage_class,
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
    }
    annotations: Object = dict(extra.pop("annotations", {}))
    if volume:
        spec["volumeName"] = volume
        annotations[volumes.BOUND] = "yes"
    metadata = {"name": name, "namespace": "default", "uid": f"claim-{name}", "annotations": annotations}
    return {"metadata": metadata, "spec": spec | extra, "status": {"phase": "Bound" if volume else "Pending"}}


def volume(name: str, host: str = "", size: str = "1Gi", storage_class: str = "local", **labels: str) -> Object:
    spec: Object = {"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], "storageClassName": storage_class}
    if host:
        expression = {"key": pods.HOSTNAME, "operator": "In", "values": [host]}
        spec["nodeAffinity"] = {"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}}
    return {"metadata": {"name": name, "labels": labels}, "spec": spec, "status": {"phase": "Available"}}


def storage_class(
    name: str = "local", provisioner: str = "pinnace.io/local", mode: str = "WaitForFirstConsumer", **extra: Any
) -> Object:
    return {"metadata": {"name": name}, "provisioner": provisioner, "volumeBindingMode": mode, **extra}


def catalog(*objects: Object) -> volumes.Catalog:
    result = volumes.Catalog()
    for obj in objects:
        name = obj["metadata"]["name"]
        if "provisioner" in obj:
            result.classes[name] = obj
        elif "capacity" in obj["spec"]:
            result.volumes[name] = obj
        else:
            result.claims["default", name] = obj
    return result


NODES = (node("n1", labels={pods.ZONE: "a"}), node("n2", labels={pods.ZONE: "b"}))


def choose(known: volumes.Catalog, *claims: str) -> str:
    nodes = cluster(*NODES)
    chooser = decide.Decider(defaults.profile(known, lambda namespace: ()), nodes, random.Random(1))
    decision = chooser.decide(pods.read(pod("p", claims=claims)))
    return decision.message() if isinstance(decision, framework.Diagnosis) else nodes.names[decision]


@pytest.mark.parametrize(
    ("objects", "expected"),
    [
        ([claim("c", "v"), volume("v", "n2")], "n2"),
        ([claim("c", "v"), volume("v", "n3")], "0/2 nodes are available: 2 node(s) had volume node affinity conflict."),
        ([claim("c", "v"), volume("v", **{pods.ZONE: "b"})], "n2"),
        ([claim("c", "v"), volume("v", **{pods.ZONE: "a__b"}), claim("d")], "n"),
        (
            [claim("c", "v"), volume("v", **{pods.ZONE: "z"})],
            "0/2 nodes are available: 2 node(s) had no available volume zone.",
        ),
        (
            [claim("c"), storage_class(mode="Immediate")],
            "0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims.",
        ),
        ([claim("c")], "0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims."),
        ([claim("c"), storage_class()], "n"),
        ([claim("c", annotations={volumes.SELECTED_NODE: "n1"}), storage_class()], "n1"),
        (
            [
                claim("c"),
                storage_class(allowedTopologies=[{"matchLabelExpressions": [{"key": pods.ZONE, "values": ["b"]}]}]),
            ],
            "n2",
        ),
        ([claim("c"), storage_class(provisioner=volumes.NO_PROVISIONER), volume("v", "n1")], "n1"),
        (
            [claim("c"), storage_class(provisioner=volumes.NO_PROVISIONER), volume("v", "n1", size="500Mi")],
            "0/2 nodes are available: 2 node(s) didn't find available persistent volumes to bind.",
        ),
    ],
)
def test_where_a_claim_can_be_met(objects: list[Object], expected: str) -> None:
    assert choose(catalog(*objects), "c").startswith(expected)


def test_a_claim_for_one_pod_alone_keeps_others_out() -> None:
    nodes = cluster(*NODES, placed=(pod("old", node="n1", claims=("c",)),))
    known = catalog(claim("c", "v", accessModes=["ReadWriteOncePod"]), volume("v"))
    chooser = decide.Decider(defaults.profile(known, lambda namespace: ()), nodes, random.Random(1))
    decision = chooser.decide(pods.read(pod("new", claims=("c",))))
    assert isinstance(decision, framework.Diagnosis)
    assert decision.message() == (
        "0/2 nodes are available: 2 node has pod using PersistentVolumeClaim with the same name and "
        "ReadWriteOncePod access mode."
    )


def test_the_smallest_volume_at_hand_is_promised_else_the_provisioner_is_told_the_node() -> None:
    known = catalog(
        claim("c"), claim("d"), storage_class(), volume("large", "n1", size="9Gi"), volume("small", "n1", size="2Gi")
    )
    nodes = cluster(*NODES)
    demand = pods.read(pod("p", claims=("c",))).demand
    assert volumes.plan_binding(known, demand, nodes, nodes.row_of["n1"]) == [
        volumes.Bind("small", "default", "c", "claim-c")
    ]
    assert volumes.plan_binding(known, demand, nodes, nodes.row_of["n2"]) == [volumes.Provision("default", "c", "n2")]
    known.promised["small"] = ("default", "d")
    assert volumes.plan_binding(known, demand, nodes, nodes.row_of["n1"]) == [
        volumes.Bind("large", "default", "c", "claim-c")
    ]
