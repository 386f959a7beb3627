"""What the server does to an object before it is validated: clients do not write status, generations count changes."""

import copy
from typing import Any

import pytest

from pinnace.api import custom, kinds, pods, strategy

REGISTRY = kinds.builtin()
CREATED = "2020-01-01T00:00:00Z"


def _kind(name: str, group: str = "", version: str = "v1") -> kinds.Kind:
    found = REGISTRY.by_kind(group, version, name)
    assert found is not None
    return found


def _created(kind: kinds.Kind, obj: dict[str, Any]) -> dict[str, Any]:
    obj.setdefault("metadata", {}).update({"name": "a", "uid": "u", "creationTimestamp": CREATED})
    kind.rules.defaults(obj)
    strategy.prepare_create(kind, obj)
    return obj


def _updated(kind: kinds.Kind, old: dict[str, Any], change: dict[str, Any], subresource: str = "") -> dict[str, Any]:
    new = copy.deepcopy(old)
    for name, value in change.items():
        new[name] = {**new.get(name, {}), **value} if isinstance(value, dict) else value
    before = copy.deepcopy(old)
    strategy.prepare_update(kind, new, old, subresource)
    assert old == before
    return new


DEPLOYMENT = _kind("Deployment", "apps")
CUSTOM = custom.kind(
    "example.com",
    "v1",
    "Thing",
    "things",
    has_status=True,
)


def test_status_is_not_for_creators() -> None:
    made = _created(DEPLOYMENT, {"spec": {}, "status": {"readyReplicas": 3}})
    assert made["status"] == {}
    assert made["metadata"]["generation"] == 1
    node = _created(_kind("Node"), {"status": {"capacity": {"cpu": "1"}}})
    assert node["status"]["capacity"] == {"cpu": "1"}
    assert "generation" not in node["metadata"]


def test_a_pod_gets_no_less_than_a_second_to_end() -> None:
    container = {"name": "c", "image": "i"}
    pod = _created(_kind("Pod"), {"spec": {"containers": [container], "terminationGracePeriodSeconds": -1}})
    assert pod["spec"]["terminationGracePeriodSeconds"] == 1
    made = _updated(_kind("Pod"), pod, {"spec": {"terminationGracePeriodSeconds": -5}})
    assert made["spec"]["terminationGracePeriodSeconds"] == 1
    at_once = _created(_kind("Pod"), {"spec": {"containers": [container], "terminationGracePeriodSeconds": 0}})
    assert at_once["spec"]["terminationGracePeriodSeconds"] == 0


def test_required_numbers_of_a_status_are_there_from_the_start() -> None:
    budget = _created(_kind("PodDisruptionBudget", "policy"), {"spec": {}})
    assert budget["status"] == {"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0}


def test_the_generation_counts_changes_of_what_is_wanted() -> None:
    old = _created(DEPLOYMENT, {"spec": {"replicas": 1}})
    assert _updated(DEPLOYMENT, old, {"spec": {"replicas": 2}})["metadata"]["generation"] == 2
    assert _updated(DEPLOYMENT, old, {"metadata": {"labels": {"a": "b"}}})["metadata"]["generation"] == 1
    assert _updated(DEPLOYMENT, old, {"metadata": {"annotations": {"a": "b"}}})["metadata"]["generation"] == 2
    noted = _updated(DEPLOYMENT, old, {"metadata": {"annotations": {"a": "b"}}}, "status")
    assert (noted["metadata"]["annotations"], noted["metadata"]["generation"]) == ({"a": "b"}, 1)
    assert _updated(DEPLOYMENT, old, {"metadata": {"generation": 9}})["metadata"]["generation"] == 1
    assert _updated(DEPLOYMENT, old, {"spec": {"replicas": 5}}, "scale")["metadata"]["generation"] == 2


def test_an_update_writes_the_object_or_its_status_never_both() -> None:
    old = _created(DEPLOYMENT, {"spec": {"replicas": 1}})
    old["status"] = {"readyReplicas": 1}
    change = {"spec": {"replicas": 2}, "status": {"readyReplicas": 2}}
    main = _updated(DEPLOYMENT, old, change)
    assert (main["spec"]["replicas"], main["status"]) == (2, {"readyReplicas": 1})
    status = _updated(DEPLOYMENT, old, change, "status")
    assert (status["spec"]["replicas"], status["status"]) == (1, {"readyReplicas": 2})
    assert status["metadata"]["generation"] == 1


def test_metadata_may_be_written_with_a_status_but_not_that_of_custom_resources() -> None:
    old = _created(_kind("ReplicaSet", "apps"), {"spec": {}})
    made = _updated(_kind("ReplicaSet", "apps"), old, {"metadata": {"annotations": {"a": "b"}}}, "status")
    assert made["metadata"]["annotations"] == {"a": "b"}
    thing = _created(CUSTOM, {"spec": {"a": 1}, "status": {"b": 1}})
    assert "status" not in thing
    made = _updated(CUSTOM, thing, {"metadata": {"labels": {"a": "b"}}, "spec": {"a": 2}, "status": {"b": 2}}, "status")
    assert made["spec"] == {"a": 1}
    assert made["status"] == {"b": 2}
    assert "labels" not in made["metadata"]
    assert _updated(CUSTOM, thing, {"spec": {"a": 2}})["metadata"]["generation"] == 2
    bare = custom.kind("example.com", "v1", "Thing", "things")
    assert _updated(bare, thing, {"status": {"b": 2}})["metadata"]["generation"] == 2


def test_who_created_an_object_when_is_not_for_clients() -> None:
    old = _created(_kind("ConfigMap"), {})
    old["metadata"]["deletionTimestamp"] = "2021-01-01T00:00:00Z"
    made = _updated(
        _kind("ConfigMap"),
        old,
        {
            "metadata": {
                "creationTimestamp": "1999-01-01T00:00:00Z",
                "deletionTimestamp": None,
                "uid": "",
                "selfLink": "x",
            }
        },
    )
    assert made["metadata"]["creationTimestamp"] == CREATED
    assert made["metadata"]["deletionTimestamp"] == "2021-01-01T00:00:00Z"
    assert made["metadata"]["uid"] == "u"
    assert "selfLink" not in made["metadata"]


def test_a_new_pod_is_pending_and_has_its_class() -> None:
    pod = _created(
        _kind("Pod"), {"spec": {"containers": [{"name": "a", "resources": {"limits": {"cpu": "1", "memory": "1"}}}]}}
    )
    assert pod["status"] == {"phase": "Pending", "qosClass": "Guaranteed"}
    gated = _created(_kind("Pod"), {"spec": {"containers": [], "schedulingGates": [{"name": "x"}]}})
    assert gated["status"]["conditions"][0]["reason"] == "SchedulingGated"


@pytest.mark.parametrize(
    ("containers", "wanted"),
    [
        ([{}], "BestEffort"),
        ([{"requests": {"cpu": "1"}}], "Burstable"),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1024Mi"}}], "Guaranteed"),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1", "memory": "1Gi"}}, {}], "Burstable"),
        ([{"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}], "Burstable"),
        ([{"requests": {"cpu": "0"}}], "BestEffort"),
        ([{"requests": {"example.com/gpu": "1"}}], "BestEffort"),
    ],
)
def test_quality_of_service(containers: list[dict[str, Any]], wanted: str) -> None:
    assert pods.qos_class({"containers": [{"resources": resources} for resources in containers]}) == wanted


def test_addresses_of_a_pod_are_told_both_ways() -> None:
    pod = _created(_kind("Pod"), {"spec": {"containers": []}})
    made = _updated(_kind("Pod"), pod, {"status": {"podIP": "10.0.0.1", "hostIPs": [{"ip": "10.0.0.2"}]}}, "status")
    assert made["status"]["podIPs"] == [{"ip": "10.0.0.1"}]
    assert made["status"]["hostIP"] == "10.0.0.2"
    assert made["status"]["qosClass"] == "BestEffort"


def test_ephemeral_containers_have_a_road_of_their_own() -> None:
    pod = _created(_kind("Pod"), {"spec": {"containers": [{"name": "a", "image": "i"}]}})
    change = {"spec": {"ephemeralContainers": [{"name": "e"}], "nodeName": "x"}, "status": {"phase": "Failed"}}
    made = _updated(_kind("Pod"), pod, change, "ephemeralcontainers")
    assert made["spec"] == {**pod["spec"], "ephemeralContainers": [{"name": "e"}]}
    assert made["status"] == pod["status"]


def test_a_resize_changes_resources_alone() -> None:
    pod = _created(_kind("Pod"), {"spec": {"containers": [{"name": "a", "image": "i"}]}})
    container = {"name": "a", "image": "other", "resources": {"requests": {"cpu": "2"}}}
    made = _updated(_kind("Pod"), pod, {"spec": {"containers": [container], "nodeName": "x"}}, "resize")
    assert made["spec"]["containers"][0]["image"] == "i"
    assert made["spec"]["containers"][0]["resources"] == {"requests": {"cpu": "2"}}
    assert "nodeName" not in made["spec"]


def test_namespaces_end_through_their_finalizer() -> None:
    kind = _kind("Namespace")
    made = _created(kind, {"status": {"phase": "Terminating"}})
    assert made["spec"] == {"finalizers": ["kubernetes"]}
    assert made["status"] == {"phase": "Active"}
    assert made["metadata"]["labels"] == {"kubernetes.io/metadata.name": "a"}
    assert _updated(kind, made, {"spec": {"finalizers": []}})["spec"] == {"finalizers": ["kubernetes"]}
    assert _updated(kind, made, {"spec": {"finalizers": []}}, "finalize")["spec"] == {"finalizers": []}
    assert _updated(kind, made, {"metadata": {"labels": {}}})["metadata"]["labels"] == {
        "kubernetes.io/metadata.name": "a"
    }


def test_texts_of_secrets_are_written_only() -> None:
    made = _created(_kind("Secret"), {"data": {"a": "eA==", "b": "eA=="}, "stringData": {"a": "yes"}})
    assert made["data"] == {"a": "eWVz", "b": "eA=="}
    assert "stringData" not in made


def test_a_job_selects_its_pods_by_its_own_identity() -> None:
    made = _created(_kind("Job", "batch"), {"spec": {"template": {"spec": {"containers": []}}}})
    assert made["spec"]["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}}
    wanted = {
        "job-name": "a",
        "batch.kubernetes.io/job-name": "a",
        "controller-uid": "u",
        "batch.kubernetes.io/controller-uid": "u",
    }
    assert made["spec"]["template"]["metadata"]["labels"] == wanted
    manual = _created(
        _kind("Job", "batch"), {"spec": {"manualSelector": True, "template": {"spec": {"containers": []}}}}
    )
    assert "selector" not in manual["spec"]


def _service(**spec: Any) -> dict[str, Any]:
    return _created(_kind("Service"), {"spec": {"ports": [{"port": 80}], **spec}})


def test_services_keep_what_was_allocated_for_them() -> None:
    old = _service(type="NodePort", clusterIP="10.43.0.5")
    assert old["spec"]["clusterIPs"] == ["10.43.0.5"]
    old["spec"]["ports"][0]["nodePort"] = 30000
    bare = {
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}, {"port": 81, "protocol": "TCP", "targetPort": 81}],
        "type": "NodePort",
    }
    new = {**copy.deepcopy(old), "spec": bare}
    strategy.prepare_update(_kind("Service"), new, old, "")
    assert new["spec"]["clusterIP"] == "10.43.0.5"
    assert new["spec"]["clusterIPs"] == ["10.43.0.5"]
    assert [port.get("nodePort") for port in new["spec"]["ports"]] == [30000, None]


def test_a_service_that_changes_its_type_loses_what_the_type_had() -> None:
    old = _service(type="NodePort", clusterIP="10.43.0.5")
    old["spec"]["ports"][0]["nodePort"] = 30000
    inner = _updated(_kind("Service"), old, {"spec": {"type": "ClusterIP"}})
    assert "nodePort" not in inner["spec"]["ports"][0]
    assert "externalTrafficPolicy" not in inner["spec"]
    named = _updated(_kind("Service"), old, {"spec": {"type": "ExternalName", "externalName": "a.b"}})
    assert "clusterIP" not in named["spec"]
    assert "clusterIPs" not in named["spec"]


def test_the_server_counts_the_templates_of_a_daemon_set() -> None:
    kind, name = _kind("DaemonSet", "apps"), "deprecated.daemonset.template.generation"
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    made = _created(kind, {"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}})
    assert made["metadata"]["annotations"] == {name: "1"}
    elsewhere = _updated(kind, made, {"spec": {"minReadySeconds": 3}, "metadata": {"annotations": {name: "7"}}})
    assert elsewhere["metadata"]["annotations"] == {name: "1"}
    changed = _updated(kind, made, {"spec": {"template": {**template, "metadata": {"labels": {"a": "c"}}}}})
    assert changed["metadata"]["annotations"] == {name: "2"}
    reported = _updated(kind, changed, {"status": {"numberReady": 1}, "metadata": {"annotations": {}}}, "status")
    assert reported["metadata"]["annotations"] == {name: "2"}
    kept = _created(kind, {"metadata": {"annotations": {name: "999"}}, "spec": {"template": template}})
    assert kept["metadata"]["annotations"] == {name: "999"}
