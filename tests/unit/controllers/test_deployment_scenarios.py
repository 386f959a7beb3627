"""Deployments and ReplicaSets against the real API server under virtual time."""

import asyncio
from typing import Any

from pinnace.api import resources
from pinnace.testing import control_plane

Object = dict[str, Any]


async def is_complete(plane: control_plane.ControlPlane, name: str, replicas: int) -> bool:
    deployment = await plane.get(resources.DEPLOYMENTS, name)
    status = deployment.get("status", {})
    counts = ("updatedReplicas", "replicas", "availableReplicas")
    is_observed: bool = status.get("observedGeneration") == deployment["metadata"]["generation"]
    return is_observed and all(status.get(field, 0) == replicas for field in counts)


async def conditions_of(plane: control_plane.ControlPlane, name: str) -> dict[str, tuple[str, str]]:
    deployment = await plane.get(resources.DEPLOYMENTS, name)
    return {each["type"]: (each["status"], each["reason"]) for each in deployment["status"].get("conditions", ())}


async def revisions_of(plane: control_plane.ControlPlane) -> dict[str, Object]:
    found = await plane.list(resources.REPLICA_SETS)
    return {each["metadata"]["annotations"]["deployment.kubernetes.io/revision"]: each for each in found}


def image(text: str) -> Object:
    return {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": text}]}}}}


async def pods_by_image(plane: control_plane.ControlPlane) -> dict[str, int]:
    counts: dict[str, int] = {}
    for pod in await plane.list(resources.PODS):
        name = pod["spec"]["containers"][0]["image"]
        counts[name] = counts.get(name, 0) + 1
    return counts


def test_a_deployment_becomes_available() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        await plane.create(resources.DEPLOYMENTS, control_plane.workload("web", 3))
        await plane.wait(lambda: is_complete(plane, "web", 3))
        deployment = await plane.get(resources.DEPLOYMENTS, "web")
        assert deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "1"
        assert await conditions_of(plane, "web") == {
            "Available": ("True", "MinimumReplicasAvailable"),
            "Progressing": ("True", "NewReplicaSetAvailable"),
        }
        (replica_set,) = await plane.list(resources.REPLICA_SETS)
        digest = replica_set["metadata"]["labels"]["pod-template-hash"]
        assert replica_set["metadata"]["name"] == f"web-{digest}"
        pods = await plane.list(resources.PODS, label_selector=f"pod-template-hash={digest}")
        assert len(pods) == 3
        events = await plane.list(resources.EVENTS)
        messages = {(event["involvedObject"]["kind"], event["reason"]): event["message"] for event in events}
        assert messages["Deployment", "ScalingReplicaSet"] == f"Scaled up replica set web-{digest} from 0 to 3"
        assert messages["ReplicaSet", "SuccessfulCreate"].startswith(f"Created pod: web-{digest}-")

    control_plane.run(test)


def test_a_rolling_update_keeps_within_its_limits_and_can_be_undone() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}
        await plane.create(resources.DEPLOYMENTS, control_plane.workload("web", 4, strategy=strategy))
        await plane.wait(lambda: is_complete(plane, "web", 4))
        violations: list[str] = []

        async def watch_limits() -> None:
            while True:
                pods = await plane.list(resources.PODS)
                alive = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
                ready = [
                    pod
                    for pod in alive
                    if any(
                        each["type"] == "Ready" and each["status"] == "True"
                        for each in pod["status"].get("conditions", ())
                    )
                ]
                if len(alive) > 5 or len(ready) < 3:
                    violations.append(f"{len(alive)} pods, {len(ready)} ready")
                await asyncio.sleep(0.05)

        watcher = asyncio.create_task(watch_limits())
        await plane.patch(resources.DEPLOYMENTS, "web", image("two"), kind="strategic")
        await plane.wait(lambda: is_complete(plane, "web", 4))
        assert await pods_by_image(plane) == {"two": 4}
        assert set(await revisions_of(plane)) == {"1", "2"}
        await plane.patch(resources.DEPLOYMENTS, "web", image("one"), kind="strategic")
        await plane.wait(lambda: is_complete(plane, "web", 4))
        watcher.cancel()
        assert violations == []
        assert await pods_by_image(plane) == {"one": 4}
        revisions = await revisions_of(plane)
        assert set(revisions) == {"2", "3"}
        assert revisions["3"]["metadata"]["annotations"]["deployment.kubernetes.io/revision-history"] == "1"

    control_plane.run(test)


def test_recreate_ends_all_old_pods_before_it_starts_new_ones() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        await plane.create(resources.DEPLOYMENTS, control_plane.workload("web", 3, strategy={"type": "Recreate"}))
        await plane.wait(lambda: is_complete(plane, "web", 3))
        mixed: list[dict[str, int]] = []

        async def watch() -> None:
            while True:
                counts = await pods_by_image(plane)
                if len(counts) > 1:
                    mixed.append(counts)
                await asyncio.sleep(0.05)

        watcher = asyncio.create_task(watch())
        await plane.patch(resources.DEPLOYMENTS, "web", image("two"), kind="strategic")
        await plane.wait(lambda: is_complete(plane, "web", 3))
        watcher.cancel()
        assert mixed == []
        assert await pods_by_image(plane) == {"two": 3}

    control_plane.run(test)


def test_a_paused_deployment_scales_but_does_not_roll_over() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        await plane.create(resources.DEPLOYMENTS, control_plane.workload("web", 2))
        await plane.wait(lambda: is_complete(plane, "web", 2))
        await plane.patch(resources.DEPLOYMENTS, "web", {"spec": {"paused": True}})
        await plane.patch(resources.DEPLOYMENTS, "web", image("two"), kind="strategic")
        await plane.patch(resources.DEPLOYMENTS, "web", {"spec": {"replicas": 4}})
        await asyncio.sleep(20)
        assert await pods_by_image(plane) == {"one": 4}
        assert (await conditions_of(plane, "web"))["Progressing"] == ("Unknown", "DeploymentPaused")
        await plane.patch(resources.DEPLOYMENTS, "web", {"spec": {"paused": False}})
        await plane.wait(lambda: is_complete(plane, "web", 4))
        assert await pods_by_image(plane) == {"two": 4}
        assert (await conditions_of(plane, "web"))["Progressing"] == ("True", "NewReplicaSetAvailable")

    control_plane.run(test)


def test_a_rollout_that_stands_still_exceeds_its_deadline() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        await plane.create(resources.DEPLOYMENTS, control_plane.workload("web", 2, progressDeadlineSeconds=30))
        await asyncio.sleep(25)
        assert (await conditions_of(plane, "web"))["Progressing"] == ("True", "ReplicaSetUpdated")
        await asyncio.sleep(15)
        found = await conditions_of(plane, "web")
        assert found["Progressing"] == ("False", "ProgressDeadlineExceeded")
        assert found["Available"] == ("False", "MinimumReplicasUnavailable")

    def never_ready(plane: control_plane.ControlPlane) -> control_plane.Node:
        return control_plane.Node(plane, decide=lambda pod: control_plane.running(plane.time, ready=False))

    control_plane.run(test, node=never_ready)


def test_old_revisions_beyond_the_limit_are_deleted() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        await plane.create(resources.DEPLOYMENTS, control_plane.workload("web", 1, revisionHistoryLimit=2))
        await plane.wait(lambda: is_complete(plane, "web", 1))
        for text in ("two", "three", "four", "five"):
            await plane.patch(resources.DEPLOYMENTS, "web", image(text), kind="strategic")
            await plane.wait(lambda: is_complete(plane, "web", 1))
        await asyncio.sleep(5)
        assert set(await revisions_of(plane)) == {"3", "4", "5"}

    control_plane.run(test)


def test_a_new_pod_is_available_only_after_its_minimum_of_ready_seconds() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        await plane.create(resources.DEPLOYMENTS, control_plane.workload("web", 1, minReadySeconds=20))
        await asyncio.sleep(15)
        assert (await plane.get(resources.DEPLOYMENTS, "web"))["status"].get("availableReplicas", 0) == 0
        await asyncio.sleep(10)
        assert await is_complete(plane, "web", 1)

    control_plane.run(test)


def test_a_replica_set_adopts_what_matches_and_releases_what_no_longer_does() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        orphan = control_plane.template("web")
        orphan["metadata"]["name"] = "orphan"
        await plane.create(resources.PODS, orphan)
        await plane.create(resources.REPLICA_SETS, control_plane.workload("web", 2))
        await asyncio.sleep(5)
        pods = await plane.list(resources.PODS)
        assert len(pods) == 2
        assert {pod["metadata"]["ownerReferences"][0]["name"] for pod in pods} == {"web"}
        await plane.patch(resources.PODS, "orphan", {"metadata": {"labels": {"app": "other"}}})
        await asyncio.sleep(5)
        pods = await plane.list(resources.PODS)
        assert len(pods) == 3
        assert "ownerReferences" not in (await plane.get(resources.PODS, "orphan"))["metadata"]

    control_plane.run(test)


def test_a_refused_pod_shows_in_conditions_and_events() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        quota = {"metadata": {"name": "none"}, "spec": {"hard": {"pods": "1"}}}
        await plane.create(resources.RESOURCE_QUOTAS, quota)
        await plane.create(resources.DEPLOYMENTS, control_plane.workload("web", 3))
        await asyncio.sleep(10)
        found = await conditions_of(plane, "web")
        assert found["ReplicaFailure"] == ("True", "FailedCreate")
        events = await plane.list(resources.EVENTS, field_selector="reason=FailedCreate")
        assert "exceeded quota" in events[0]["message"]
        assert len(await plane.list(resources.PODS)) == 1

    control_plane.run(test)


async def roll_back(plane: control_plane.ControlPlane, revision: str) -> Object:
    asked = {"metadata": {"annotations": {"deprecated.deployment.rollback.to": revision}}}
    await plane.patch(resources.DEPLOYMENTS, "web", asked)
    await asyncio.sleep(10)
    deployment = await plane.get(resources.DEPLOYMENTS, "web")
    assert "deprecated.deployment.rollback.to" not in deployment["metadata"]["annotations"]
    return deployment


def test_a_deployment_goes_back_to_the_revision_that_its_annotation_names() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        made = control_plane.workload("web", 1)
        made["metadata"]["annotations"] = {"cause": "one"}
        await plane.create(resources.DEPLOYMENTS, made)
        await asyncio.sleep(5)
        await roll_back(plane, "0")
        for text in ("two", "three"):
            await plane.patch(resources.DEPLOYMENTS, "web", {"metadata": {"annotations": {"cause": text}}})
            await plane.patch(resources.DEPLOYMENTS, "web", image(text), kind="strategic")
            await asyncio.sleep(10)
        for revision, expected, number in (
            ("1", "one", "4"),
            ("0", "three", "5"),
            ("5", "three", "5"),
            ("9", "three", "5"),
        ):
            found = await roll_back(plane, revision)
            assert found["spec"]["template"]["spec"]["containers"][0]["image"] == expected
            assert found["metadata"]["annotations"]["cause"] == expected
            assert found["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == number
            assert "pod-template-hash" not in found["spec"]["template"]["metadata"]["labels"]
            assert await pods_by_image(plane) == {expected: 1}
        told = [each["reason"] for each in await plane.list(resources.EVENTS) if "Rollback" in each["reason"]]
        assert sorted(set(told)) == [
            "DeploymentRollback",
            "DeploymentRollbackRevisionNotFound",
            "DeploymentRollbackTemplateUnchanged",
        ]

    control_plane.run(test)
