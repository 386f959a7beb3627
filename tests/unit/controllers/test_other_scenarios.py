"""DaemonSets, budgets, aggregation, lifetimes of jobs, mirrored and ephemeral things, against the real API server."""

import asyncio
from typing import Any

import pytest

from pinnace.api import resources
from pinnace.client import client
from pinnace.testing import control_plane

Object = dict[str, Any]


def daemon(name: str = "agent", **spec: Any) -> Object:
    made = control_plane.workload(name, 1, **spec)
    del made["spec"]["replicas"]
    return made


async def two_nodes(plane: control_plane.ControlPlane) -> None:
    await plane.create(resources.NODES, {"metadata": {"name": "second", "labels": {"disk": "fast"}}})
    await control_plane.Node(plane, name="second").report(ready=True)
    await asyncio.sleep(1)


async def nodes_of_pods(plane: control_plane.ControlPlane) -> list[str]:
    found = []
    for pod in await plane.list(resources.PODS):
        required = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        found.append(required["nodeSelectorTerms"][0]["matchFields"][0]["values"][0])
    return sorted(found)


def test_a_daemon_set_has_one_pod_on_every_node_it_may_run_on() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        await two_nodes(plane)
        await plane.create(resources.DAEMON_SETS, daemon())
        selecting = daemon("picky")
        selecting["spec"]["template"]["spec"]["nodeSelector"] = {"disk": "fast"}
        await asyncio.sleep(5)
        assert await nodes_of_pods(plane) == ["node", "second"]
        status = (await plane.get(resources.DAEMON_SETS, "agent"))["status"]
        assert (status["desiredNumberScheduled"], status["currentNumberScheduled"], status["numberReady"]) == (2, 2, 2)
        await plane.create(resources.DAEMON_SETS, selecting)
        await asyncio.sleep(5)
        assert await nodes_of_pods(plane) == ["node", "second", "second"]

    def make(plane: control_plane.ControlPlane) -> control_plane.Node:
        return control_plane.Node(plane)

    control_plane.run(test, node=make)


def test_a_daemon_set_rolls_over_node_by_node() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        await two_nodes(plane)
        await plane.create(resources.DAEMON_SETS, daemon())
        await asyncio.sleep(5)
        image = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "two"}]}}}}
        await plane.patch(resources.DAEMON_SETS, "agent", image, kind="strategic")
        least = 2
        for _ in range(100):
            await asyncio.sleep(0.1)
            pods = await plane.list(resources.PODS)
            ready = [
                pod
                for pod in pods
                if any(
                    each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", ())
                )
            ]
            least = min(least, len(ready))
        assert least == 1
        assert {pod["spec"]["containers"][0]["image"] for pod in await plane.list(resources.PODS)} == {"two"}
        status = (await plane.get(resources.DAEMON_SETS, "agent"))["status"]
        assert (status["updatedNumberScheduled"], status["numberAvailable"]) == (2, 2)

    control_plane.run(test)


def test_with_surge_the_old_pod_waits_for_the_new_one_as_long_as_it_works() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        surge = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
        await plane.create(resources.DAEMON_SETS, daemon(updateStrategy=surge))
        await asyncio.sleep(5)
        change = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "broken"}]}}}}
        await plane.patch(resources.DAEMON_SETS, "agent", change, kind="strategic")
        await asyncio.sleep(10)
        pods = {pod["spec"]["containers"][0]["image"]: pod for pod in await plane.list(resources.PODS)}
        assert set(pods) == {"one", "broken"}
        unready = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
        old = pods["one"]["metadata"]["name"]
        await plane.patch(resources.PODS, old, unready, kind="strategic", subresource="status")
        await asyncio.sleep(10)
        assert [pod["spec"]["containers"][0]["image"] for pod in await plane.list(resources.PODS)] == ["broken"]

    def make(plane: control_plane.ControlPlane) -> control_plane.Node:
        def decide(pod: Object) -> Object:
            is_broken = pod["spec"]["containers"][0]["image"] == "broken"
            return control_plane.running(plane.time, ready=not is_broken)

        return control_plane.Node(plane, decide=decide)

    control_plane.run(test, node=make)


def test_daemon_pods_and_their_revision_tell_the_same_hash() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        await plane.create(resources.DAEMON_SETS, daemon())
        await asyncio.sleep(5)
        (revision,) = await plane.list(resources.CONTROLLER_REVISIONS)
        (pod,) = await plane.list(resources.PODS)
        digest = revision["metadata"]["labels"]["controller-revision-hash"]
        assert revision["metadata"]["name"] == f"agent-{digest}"
        assert pod["metadata"]["labels"]["controller-revision-hash"] == digest
        assert pod["metadata"]["labels"]["pod-template-generation"] == "1"

    control_plane.run(test)


def test_a_second_revision_of_the_same_template_restarts_nothing() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        await plane.create(resources.DAEMON_SETS, daemon())
        await asyncio.sleep(5)
        (revision,) = await plane.list(resources.CONTROLLER_REVISIONS)
        (pod,) = await plane.list(resources.PODS)
        kept = {key: revision["metadata"][key] for key in ("labels", "ownerReferences")}
        labels = {**kept["labels"], "controller-revision-hash": "other"}
        metadata = {**kept, "name": "agent-other", "labels": labels}
        await plane.create(resources.CONTROLLER_REVISIONS, {**revision, "metadata": metadata, "revision": 2})
        await asyncio.sleep(10)
        (same,) = await plane.list(resources.PODS)
        assert same["metadata"]["uid"] == pod["metadata"]["uid"]
        assert same["metadata"]["labels"]["controller-revision-hash"] == "other"

    control_plane.run(test)


def test_a_daemon_set_adopts_pods_and_revisions_that_another_left_behind() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        await plane.create(resources.DAEMON_SETS, daemon())
        await asyncio.sleep(5)
        (pod,) = await plane.list(resources.PODS)
        await plane.delete(resources.DAEMON_SETS, "agent", propagation_policy="Orphan")
        await asyncio.sleep(5)
        second = {**daemon(), "metadata": {"name": "heir"}}
        await plane.create(resources.DAEMON_SETS, second)
        await asyncio.sleep(5)
        (revision,) = await plane.list(resources.CONTROLLER_REVISIONS)
        (same,) = await plane.list(resources.PODS)
        assert same["metadata"]["uid"] == pod["metadata"]["uid"]
        assert [each["name"] for each in revision["metadata"]["ownerReferences"]] == ["heir"]

    control_plane.run(test)


def test_failed_daemon_pods_are_replaced() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        await plane.create(resources.DAEMON_SETS, daemon())
        await asyncio.sleep(5)
        (pod,) = await plane.list(resources.PODS)
        name = pod["metadata"]["name"]
        await plane.patch(resources.PODS, name, {"status": {"phase": "Failed"}}, subresource="status")
        await asyncio.sleep(10)
        (again,) = await plane.list(resources.PODS)
        assert again["metadata"]["uid"] != pod["metadata"]["uid"]

    control_plane.run(test)


def test_daemon_pods_that_keep_failing_are_replaced_later_and_later() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        await plane.create(resources.DAEMON_SETS, daemon())
        await asyncio.sleep(60)
        made = [event for event in await plane.list(resources.EVENTS) if event["reason"] == "SuccessfulCreate"]
        # At 0, 0.5, 1.5, 3.5, 7.5, 15.5 and 31.5 seconds, more or less.
        assert 6 <= sum(event["count"] for event in made) <= 8
        await plane.patch(resources.DAEMON_SETS, "agent", {"spec": {"template": {"spec": {"hostNetwork": True}}}})
        await asyncio.sleep(2)
        assert {bool(pod["spec"].get("hostNetwork")) for pod in await plane.list(resources.PODS)} == {True}

    def make(plane: control_plane.ControlPlane) -> control_plane.Node:
        return control_plane.Node(
            plane, start_seconds=0.5, decide=lambda pod: control_plane.finished(plane.time, "Failed", 1)
        )

    control_plane.run(test, node=make)


def test_a_claim_without_a_class_gets_the_default_when_there_is_one() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        await plane.create(resources.PERSISTENT_VOLUME_CLAIMS, {"metadata": {"name": "any"}, "spec": spec})
        none = {"metadata": {"name": "none"}, "spec": {**spec, "storageClassName": ""}}
        await plane.create(resources.PERSISTENT_VOLUME_CLAIMS, none)
        await asyncio.sleep(20)
        for name, default in (("plain", "false"), ("usual", "true")):
            annotations = {"storageclass.kubernetes.io/is-default-class": default}
            made = {"metadata": {"name": name, "annotations": annotations}, "provisioner": "example.com/x"}
            await plane.create(resources.STORAGE_CLASSES, made)
            await asyncio.sleep(2)
        claims = {each["metadata"]["name"]: each for each in await plane.list(resources.PERSISTENT_VOLUME_CLAIMS)}
        assert claims["any"]["spec"]["storageClassName"] == "usual"
        assert claims["none"]["spec"]["storageClassName"] == ""

    control_plane.run(test)


def test_a_service_follows_labels_and_selectors_as_they_change() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        spec = {"ports": [{"port": 80}], "selector": {"app": "web", "tier": "front"}}
        await plane.create(resources.SERVICES, {"metadata": {"name": "web"}, "spec": spec})
        for name, labels in (("a", {"app": "web", "tier": "front"}), ("b", {"app": "web"}), ("c", {"app": "other"})):
            pod = control_plane.template("web")
            pod["metadata"] = {"name": name, "labels": labels}
            await plane.create(resources.PODS, pod)

        async def behind() -> set[str]:
            selector = "kubernetes.io/service-name=web"
            slices = await plane.list(resources.ENDPOINT_SLICES, label_selector=selector)
            found = {each["targetRef"]["name"] for one in slices for each in one["endpoints"] or ()}
            subsets = (await plane.get(resources.ENDPOINTS, "web")).get("subsets", ())
            older = {each["targetRef"]["name"] for one in subsets for each in one["addresses"]}
            assert found == older
            return found

        await asyncio.sleep(3)
        assert await behind() == {"a"}
        await plane.patch(resources.PODS, "b", {"metadata": {"labels": {"tier": "front"}}})
        await plane.patch(resources.PODS, "a", {"metadata": {"labels": {"app": "none"}}})
        await asyncio.sleep(2)
        assert await behind() == {"b"}
        await plane.patch(resources.SERVICES, "web", {"spec": {"selector": {"app": "other", "tier": None}}})
        await asyncio.sleep(2)
        assert await behind() == {"c"}

    control_plane.run(test)


def test_a_budget_says_how_many_pods_may_go() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        budget = {"metadata": {"name": "web"}, "spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": "web"}}}}
        await plane.create(resources.POD_DISRUPTION_BUDGETS, budget)
        await asyncio.sleep(2)
        told = {(each["reason"], each["message"]) for each in await plane.list(resources.EVENTS)}
        assert ("NoPods", "No matching pods found") in told
        await plane.create(resources.DEPLOYMENTS, control_plane.workload("web", 3))
        await asyncio.sleep(10)
        status = (await plane.get(resources.POD_DISRUPTION_BUDGETS, "web"))["status"]
        assert (status["currentHealthy"], status["desiredHealthy"], status["disruptionsAllowed"]) == (3, 2, 1)
        assert status["conditions"][0]["reason"] == "SufficientPods"
        half = {"spec": {"minAvailable": None, "maxUnavailable": "50%"}}
        await plane.patch(resources.POD_DISRUPTION_BUDGETS, "web", half)
        await asyncio.sleep(2)
        status = (await plane.get(resources.POD_DISRUPTION_BUDGETS, "web"))["status"]
        assert (status["expectedPods"], status["desiredHealthy"], status["disruptionsAllowed"]) == (3, 1, 2)

    control_plane.run(test)


def test_a_disruption_that_never_came_is_withdrawn() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        for name, reason in (("spared", "EvictionByEvictionAPI"), ("ending", "TerminationByKubelet")):
            spec = {"containers": [{"name": "main", "image": "one"}]}
            await plane.create(resources.PODS, {"metadata": {"name": name}, "spec": spec})
            stamp = plane.time.now().strftime("%Y-%m-%dT%H:%M:%SZ")
            told = {"type": "DisruptionTarget", "status": "True", "reason": reason, "lastTransitionTime": stamp}
            status = {"status": {"conditions": [told]}}
            await plane.patch(resources.PODS, name, status, kind="strategic", subresource="status")

        async def statuses() -> dict[str, str]:
            found = await plane.list(resources.PODS)
            return {
                pod["metadata"]["name"]: each["status"]
                for pod in found
                for each in pod["status"]["conditions"]
                if each["type"] == "DisruptionTarget"
            }

        await asyncio.sleep(110)
        assert await statuses() == {"spared": "True", "ending": "True"}
        await asyncio.sleep(20)
        assert await statuses() == {"spared": "False", "ending": "True"}

    control_plane.run(test, node=None)


def test_roles_gather_the_rules_of_what_carries_their_label() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        await asyncio.sleep(2)
        admin = await plane.get(resources.CLUSTER_ROLES, "admin")
        assert any("deployments" in rule.get("resources", ()) for rule in admin["rules"])
        rule = {"apiGroups": ["example.com"], "resources": ["things"], "verbs": ["get"]}
        labels = {"rbac.authorization.k8s.io/aggregate-to-view": "true"}
        await plane.create(resources.CLUSTER_ROLES, {"metadata": {"name": "things", "labels": labels}, "rules": [rule]})
        await asyncio.sleep(2)
        for name in ("view", "edit", "admin"):
            assert rule in (await plane.get(resources.CLUSTER_ROLES, name))["rules"]
        await plane.delete(resources.CLUSTER_ROLES, "things")
        await asyncio.sleep(2)
        assert rule not in (await plane.get(resources.CLUSTER_ROLES, "admin"))["rules"]

    control_plane.run(test)


def test_a_finished_job_lives_as_long_as_it_says() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        template = control_plane.template("work", restartPolicy="Never")
        spec = {"template": template, "ttlSecondsAfterFinished": 30}
        await plane.create(resources.JOBS, {"metadata": {"name": "work"}, "spec": spec})
        await asyncio.sleep(25)
        assert await plane.find(resources.JOBS, "work")
        await asyncio.sleep(30)
        assert await plane.find(resources.JOBS, "work") is None
        assert await plane.list(resources.PODS) == []

    def make(plane: control_plane.ControlPlane) -> control_plane.Node:
        return control_plane.Node(plane, decide=lambda pod: control_plane.finished(plane.time, "Succeeded"))

    control_plane.run(test, node=make)


def test_endpoints_that_users_write_are_mirrored() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        await plane.create(resources.SERVICES, {"metadata": {"name": "outside"}, "spec": {"ports": [{"port": 80}]}})
        subset: Object = {"addresses": [{"ip": "192.0.2.1"}], "ports": [{"port": 8080}]}
        await plane.create(resources.ENDPOINTS, {"metadata": {"name": "outside"}, "subsets": [subset]})
        await asyncio.sleep(2)
        selector = "kubernetes.io/service-name=outside"
        (found,) = await plane.list(resources.ENDPOINT_SLICES, label_selector=selector)
        assert found["endpoints"] == [{"addresses": ["192.0.2.1"], "conditions": {"ready": True}}]
        subset["addresses"].append({"ip": "192.0.2.2"})
        await plane.patch(resources.ENDPOINTS, "outside", {"subsets": [subset]})
        await asyncio.sleep(2)
        (found,) = await plane.list(resources.ENDPOINT_SLICES, label_selector=selector)
        assert len(found["endpoints"]) == 2
        await plane.delete(resources.ENDPOINTS, "outside")
        await asyncio.sleep(2)
        assert await plane.list(resources.ENDPOINT_SLICES, label_selector=selector) == []

    control_plane.run(test)


def test_a_service_without_pods_has_a_slice_that_says_so() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        spec = {"ports": [{"port": 80}], "selector": {"app": "none"}}
        await plane.create(resources.SERVICES, {"metadata": {"name": "none"}, "spec": spec})
        await asyncio.sleep(2)
        (found,) = await plane.list(resources.ENDPOINT_SLICES, label_selector="kubernetes.io/service-name=none")
        assert (found["endpoints"], found["ports"]) == (None, None)

    control_plane.run(test)


def test_an_ephemeral_volume_gets_a_claim_that_goes_with_its_pod() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        claim = {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}
        pod = control_plane.template("user", volumes=[{"name": "scratch", "ephemeral": {"volumeClaimTemplate": claim}}])
        pod["metadata"]["name"] = "user"
        await plane.create(resources.PODS, pod)
        await asyncio.sleep(5)
        assert await plane.find(resources.PERSISTENT_VOLUME_CLAIMS, "user-scratch")
        await plane.delete(resources.PODS, "user")
        await asyncio.sleep(10)
        assert await plane.find(resources.PERSISTENT_VOLUME_CLAIMS, "user-scratch") is None

    control_plane.run(test)


def test_a_class_of_attributes_outlives_the_last_volume_that_has_it() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        classes = resources.VOLUME_ATTRIBUTES_CLASSES
        for name in ("idle", "used"):
            await plane.create(classes, {"metadata": {"name": name}, "driverName": "e.com", "parameters": {"a": "b"}})
        source = {"driver": "e.com", "volumeHandle": "h"}
        spec = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "csi": source}
        volume = {"metadata": {"name": "v"}, "spec": {**spec, "volumeAttributesClassName": "used"}}
        await plane.create(resources.PERSISTENT_VOLUMES, volume)
        await asyncio.sleep(1)
        for name in ("idle", "used"):
            await plane.delete(classes, name)
        await asyncio.sleep(1)
        assert [found["metadata"]["name"] for found in await plane.list(classes)] == ["used"]
        await plane.delete(resources.PERSISTENT_VOLUMES, "v")
        await asyncio.sleep(2)
        assert await plane.list(classes) == []

    control_plane.run(test)


def test_a_range_of_service_addresses_is_used_when_it_is_ready_and_stays_while_it_is_in_use() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        def service(name: str) -> Object:
            ports = [{"port": 80}]
            return {"metadata": {"name": name}, "spec": {"clusterIP": f"203.0.113.{len(name)}", "ports": ports}}

        await plane.create(
            resources.SERVICE_CIDRS, {"metadata": {"name": "more"}, "spec": {"cidrs": ["203.0.113.0/24"]}}
        )
        await asyncio.sleep(1)
        cidr = await plane.get(resources.SERVICE_CIDRS, "more")
        assert cidr["metadata"]["finalizers"] == ["networking.k8s.io/service-cidr-finalizer"]
        assert [(each["type"], each["status"]) for each in cidr["status"]["conditions"]] == [("Ready", "True")]
        await plane.create(resources.SERVICES, service("a"))
        await plane.delete(resources.SERVICE_CIDRS, "more")
        await asyncio.sleep(10)
        cidr = await plane.get(resources.SERVICE_CIDRS, "more")
        assert [(each["status"], each["reason"]) for each in cidr["status"]["conditions"]] == [("False", "Terminating")]
        with pytest.raises(client.ApiError, match="not in the valid range"):
            await plane.create(resources.SERVICES, service("bb"))
        await plane.delete(resources.SERVICES, "a")
        await asyncio.sleep(5)
        assert await plane.find(resources.SERVICE_CIDRS, "more") is None

    control_plane.run(test)
