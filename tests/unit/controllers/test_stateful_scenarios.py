"""StatefulSets, their claims, and volumes against the real API server under virtual time."""

import asyncio
from typing import Any

import pytest

from pinnace.api import resources
from pinnace.testing import control_plane

Object = dict[str, Any]


LOCAL = {
    "metadata": {"name": "local", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
    "provisioner": "pinnace.dev/local",
    "volumeBindingMode": "WaitForFirstConsumer",
}


def stateful(name: str = "db", replicas: int = 3, *, has_claims: bool = False, **spec: Any) -> Object:
    made = control_plane.workload(name, replicas, serviceName=name, **spec)
    if has_claims:
        claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        made["spec"]["volumeClaimTemplates"] = [{"metadata": {"name": "data"}, "spec": claim}]
    return made


async def pods(plane: control_plane.ControlPlane) -> dict[str, Object]:
    return {pod["metadata"]["name"]: pod for pod in await plane.list(resources.PODS)}


def is_ready(pod: Object) -> bool:
    return any(each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", ()))


async def status(plane: control_plane.ControlPlane, name: str = "db") -> Object:
    found: Object = (await plane.get(resources.STATEFUL_SETS, name))["status"]
    return found


def image(text: str) -> Object:
    return {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": text}]}}}}


def test_pods_start_one_after_the_other_and_end_in_reverse() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        await plane.create(resources.STATEFUL_SETS, stateful())
        wrong: list[str] = []

        async def watch() -> None:
            while True:
                found = await pods(plane)
                for number in range(1, 3):
                    before = found.get(f"db-{number - 1}")
                    if f"db-{number}" in found and (before is None or not is_ready(before)):
                        wrong.append(f"db-{number} without db-{number - 1}")
                await asyncio.sleep(0.05)

        watcher = asyncio.create_task(watch())
        await asyncio.sleep(10)
        found = await pods(plane)
        assert set(found) == {"db-0", "db-1", "db-2"}
        assert found["db-1"]["spec"]["hostname"] == "db-1"
        assert found["db-1"]["spec"]["subdomain"] == "db"
        labels = found["db-1"]["metadata"]["labels"]
        assert labels["statefulset.kubernetes.io/pod-name"] == "db-1"
        assert labels["apps.kubernetes.io/pod-index"] == "1"
        await plane.patch(resources.STATEFUL_SETS, "db", {"spec": {"replicas": 1}})
        await asyncio.sleep(10)
        assert set(await pods(plane)) == {"db-0"}
        watcher.cancel()
        assert wrong == []
        found_status = await status(plane)
        assert (found_status["readyReplicas"], found_status["availableReplicas"]) == (1, 1)

    control_plane.run(test)


def test_a_rolling_update_goes_from_the_highest_ordinal_down_to_the_partition() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}
        await plane.create(resources.STATEFUL_SETS, stateful(updateStrategy=strategy))
        await asyncio.sleep(10)
        before = await status(plane)
        await plane.patch(resources.STATEFUL_SETS, "db", image("two"), kind="strategic")
        await asyncio.sleep(20)
        images = {name: pod["spec"]["containers"][0]["image"] for name, pod in (await pods(plane)).items()}
        assert images == {"db-0": "one", "db-1": "two", "db-2": "two"}
        found = await status(plane)
        assert found["currentRevision"] == before["currentRevision"] != found["updateRevision"]
        assert (found["currentReplicas"], found["updatedReplicas"]) == (1, 2)
        await plane.delete(resources.PODS, "db-0")
        await asyncio.sleep(10)
        assert (await pods(plane))["db-0"]["spec"]["containers"][0]["image"] == "one"
        await plane.patch(
            resources.STATEFUL_SETS, "db", {"spec": {"updateStrategy": {"rollingUpdate": {"partition": 0}}}}
        )
        await asyncio.sleep(20)
        found = await status(plane)
        assert found["currentRevision"] == found["updateRevision"]
        assert (await pods(plane))["db-0"]["spec"]["containers"][0]["image"] == "two"

    control_plane.run(test)


def test_a_pod_that_its_node_refuses_is_replaced_again_and_again_but_in_peace() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        await plane.create(resources.STATEFUL_SETS, stateful(replicas=1))
        seen = set()
        for _ in range(200):
            pod = (await pods(plane)).get("db-0")
            if pod is not None and "phase" in pod.get("status", {}):
                seen.add(pod["metadata"]["uid"])
                if pod["status"]["phase"] != "Failed":
                    await plane.patch(resources.PODS, "db-0", {"status": {"phase": "Failed"}}, subresource="status")
            await asyncio.sleep(0.1)
        assert 5 < len(seen) <= 11

    control_plane.run(test, node=None)


def test_on_delete_updates_only_what_somebody_deletes() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        await plane.create(resources.STATEFUL_SETS, stateful(updateStrategy={"type": "OnDelete"}))
        await asyncio.sleep(10)
        await plane.patch(resources.STATEFUL_SETS, "db", image("two"), kind="strategic")
        await plane.delete(resources.PODS, "db-1")
        await asyncio.sleep(10)
        images = {name: pod["spec"]["containers"][0]["image"] for name, pod in (await pods(plane)).items()}
        assert images == {"db-0": "one", "db-1": "two", "db-2": "one"}

    control_plane.run(test)


def test_a_parallel_set_does_not_wait() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        await plane.create(resources.STATEFUL_SETS, stateful(podManagementPolicy="Parallel", ordinals={"start": 5}))
        await asyncio.sleep(2.5)
        assert set(await pods(plane)) == {"db-5", "db-6", "db-7"}

    def never_ready(plane: control_plane.ControlPlane) -> control_plane.Node:
        return control_plane.Node(plane, decide=lambda pod: control_plane.running(plane.time, ready=False))

    control_plane.run(test, node=never_ready)


def test_claims_get_a_folder_on_the_chosen_node_and_outlive_their_pods() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        await plane.create(resources.STORAGE_CLASSES, LOCAL)
        await plane.create(resources.STATEFUL_SETS, stateful(replicas=1, has_claims=True))
        await asyncio.sleep(2)
        claim = await plane.get(resources.PERSISTENT_VOLUME_CLAIMS, "data-db-0")
        assert claim["status"]["phase"] == "Pending"
        assert claim["spec"]["storageClassName"] == "local"
        chosen = {"volume.kubernetes.io/selected-node": "node"}
        await plane.patch(resources.PERSISTENT_VOLUME_CLAIMS, "data-db-0", {"metadata": {"annotations": chosen}})
        await asyncio.sleep(2)
        claim = await plane.get(resources.PERSISTENT_VOLUME_CLAIMS, "data-db-0")
        assert claim["status"]["phase"] == "Bound"
        assert claim["status"]["capacity"] == {"storage": "1Gi"}
        assert claim["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
        volume = await plane.get(resources.PERSISTENT_VOLUMES, claim["spec"]["volumeName"])
        assert volume["status"]["phase"] == "Bound"
        assert volume["spec"]["local"]["path"] == f"/volumes/{volume['metadata']['name']}"
        assert set(volume["metadata"]["finalizers"]) == {"kubernetes.io/pv-protection", "pinnace.dev/local-volume"}
        (pod,) = (await pods(plane)).values()
        sources = {each["name"]: each for each in pod["spec"]["volumes"]}
        assert sources["data"]["persistentVolumeClaim"] == {"claimName": "data-db-0"}
        await plane.delete(resources.STATEFUL_SETS, "db")
        await asyncio.sleep(10)
        assert await pods(plane) == {}
        assert (await plane.get(resources.PERSISTENT_VOLUME_CLAIMS, "data-db-0"))["status"]["phase"] == "Bound"
        await plane.delete(resources.PERSISTENT_VOLUME_CLAIMS, "data-db-0")
        await asyncio.sleep(5)
        assert await plane.find(resources.PERSISTENT_VOLUME_CLAIMS, "data-db-0") is None
        volume = await plane.get(resources.PERSISTENT_VOLUMES, volume["metadata"]["name"])
        assert volume["metadata"]["finalizers"] == ["pinnace.dev/local-volume"]
        assert "deletionTimestamp" in volume["metadata"]

    control_plane.run(test)


def test_a_bound_volume_that_is_deleted_goes_when_its_claim_does() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        await plane.create(resources.STORAGE_CLASSES, {**LOCAL, "volumeBindingMode": "Immediate"})
        spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        await plane.create(resources.PERSISTENT_VOLUME_CLAIMS, {"metadata": {"name": "data"}, "spec": spec})
        await asyncio.sleep(5)
        (volume,) = await plane.list(resources.PERSISTENT_VOLUMES)
        name = volume["metadata"]["name"]
        await plane.delete(resources.PERSISTENT_VOLUMES, name)
        await asyncio.sleep(5)
        volume = await plane.get(resources.PERSISTENT_VOLUMES, name)
        assert volume["status"]["phase"] == "Bound"
        assert "kubernetes.io/pv-protection" in volume["metadata"]["finalizers"]
        await plane.delete(resources.PERSISTENT_VOLUME_CLAIMS, "data")
        await asyncio.sleep(5)
        volume = await plane.get(resources.PERSISTENT_VOLUMES, name)
        assert volume["status"]["phase"] == "Released"
        assert volume["metadata"]["finalizers"] == ["pinnace.dev/local-volume"]

    control_plane.run(test)


def test_a_claim_in_use_stays_until_its_pod_is_gone() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        claim = {
            "metadata": {"name": "data"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        }
        await plane.create(resources.PERSISTENT_VOLUME_CLAIMS, claim)
        volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
        pod = control_plane.template("user", volumes=volumes)
        pod["metadata"]["name"] = "user"
        await plane.create(resources.PODS, pod)
        await asyncio.sleep(5)
        await plane.delete(resources.PERSISTENT_VOLUME_CLAIMS, "data")
        await asyncio.sleep(10)
        assert await plane.find(resources.PERSISTENT_VOLUME_CLAIMS, "data")
        await plane.delete(resources.PODS, "user")
        await asyncio.sleep(10)
        assert await plane.find(resources.PERSISTENT_VOLUME_CLAIMS, "data") is None

    control_plane.run(test)


def volume(name: str, size: str, **spec: Any) -> Object:
    made = {"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": f"/{name}"}, **spec}
    return {"metadata": {"name": name}, "spec": made}


def test_a_claim_gets_the_smallest_volume_that_holds_it_and_a_retained_one_is_released() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        for name, size in (("small", "1Gi"), ("right", "5Gi"), ("large", "10Gi")):
            await plane.create(resources.PERSISTENT_VOLUMES, volume(name, size))
        spec = {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "3Gi"}},
            "storageClassName": "",
        }
        await plane.create(resources.PERSISTENT_VOLUME_CLAIMS, {"metadata": {"name": "data"}, "spec": spec})
        await asyncio.sleep(3)
        claim = await plane.get(resources.PERSISTENT_VOLUME_CLAIMS, "data")
        assert claim["spec"]["volumeName"] == "right"
        assert claim["status"]["phase"] == "Bound"
        await plane.delete(resources.PERSISTENT_VOLUME_CLAIMS, "data")
        await asyncio.sleep(3)
        phases = {
            each["metadata"]["name"]: each["status"]["phase"] for each in await plane.list(resources.PERSISTENT_VOLUMES)
        }
        assert phases == {"small": "Available", "right": "Released", "large": "Available"}

    control_plane.run(test)


def test_a_volume_that_a_person_made_and_wants_deleted_fails_and_says_why() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        made = volume("v", "1Gi", persistentVolumeReclaimPolicy="Delete")
        await plane.create(resources.PERSISTENT_VOLUMES, made)
        spec = {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
            "storageClassName": "",
        }
        await plane.create(resources.PERSISTENT_VOLUME_CLAIMS, {"metadata": {"name": "data"}, "spec": spec})
        await asyncio.sleep(3)
        await plane.delete(resources.PERSISTENT_VOLUME_CLAIMS, "data")
        await asyncio.sleep(3)
        status = (await plane.get(resources.PERSISTENT_VOLUMES, "v"))["status"]
        assert status["phase"] == "Failed"
        assert status["message"] == (
            'error getting deleter volume plugin for volume "v": no deletable volume plugin matched'
        )

    control_plane.run(test)


def test_the_retention_policy_takes_claims_along() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        policy = {"whenDeleted": "Delete", "whenScaled": "Delete"}
        made = stateful(replicas=2, has_claims=True, persistentVolumeClaimRetentionPolicy=policy)
        await plane.create(resources.STATEFUL_SETS, made)
        await asyncio.sleep(10)
        await plane.patch(resources.STATEFUL_SETS, "db", {"spec": {"replicas": 1}})
        await asyncio.sleep(20)
        claims = {each["metadata"]["name"] for each in await plane.list(resources.PERSISTENT_VOLUME_CLAIMS)}
        assert claims == {"data-db-0"}
        await plane.delete(resources.STATEFUL_SETS, "db")
        await asyncio.sleep(20)
        assert await plane.list(resources.PERSISTENT_VOLUME_CLAIMS) == []

    control_plane.run(test)


def test_a_claim_that_is_going_holds_its_identity_back() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        await plane.create(resources.STATEFUL_SETS, stateful(replicas=1, has_claims=True))
        await asyncio.sleep(5)
        before = await plane.get(resources.PERSISTENT_VOLUME_CLAIMS, "data-db-0")
        held = {"metadata": {"finalizers": ["example.com/held"]}}
        await plane.patch(resources.PERSISTENT_VOLUME_CLAIMS, "data-db-0", held)
        await plane.delete(resources.PERSISTENT_VOLUME_CLAIMS, "data-db-0")
        await plane.delete(resources.PODS, "db-0")
        await asyncio.sleep(10)
        assert await pods(plane) == {}
        messages = [each["message"] for each in await plane.list(resources.EVENTS) if each["reason"] == "FailedCreate"]
        assert messages == ["create Pod db-0 in StatefulSet db failed error: pvc data-db-0 is being deleted"]
        await plane.patch(resources.PERSISTENT_VOLUME_CLAIMS, "data-db-0", {"metadata": {"finalizers": None}})
        await asyncio.sleep(10)
        assert set(await pods(plane)) == {"db-0"}
        after = await plane.get(resources.PERSISTENT_VOLUME_CLAIMS, "data-db-0")
        assert after["metadata"]["uid"] != before["metadata"]["uid"]

    control_plane.run(test)


@pytest.mark.parametrize(("limit", "expected"), [("10%", 1), ("60%", 1), ("67%", 2), (3, 3)])
def test_a_rolling_update_takes_no_more_pods_away_than_may_be_missing(limit: int | str, expected: int) -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": limit}}
        made = stateful(podManagementPolicy="Parallel", updateStrategy=strategy)
        await plane.create(resources.STATEFUL_SETS, made)
        await asyncio.sleep(10)
        await plane.patch(resources.STATEFUL_SETS, "db", image("broken"), kind="strategic")
        await asyncio.sleep(20)
        images = [pod["spec"]["containers"][0]["image"] for _, pod in sorted((await pods(plane)).items())]
        assert images == ["one"] * (3 - expected) + ["broken"] * expected

    def broken(plane: control_plane.ControlPlane) -> control_plane.Node:
        def decide(pod: Object) -> Object:
            is_broken = pod["spec"]["containers"][0]["image"] == "broken"
            return control_plane.running(plane.time, ready=not is_broken)

        return control_plane.Node(plane, decide=decide)

    control_plane.run(test, node=broken)
