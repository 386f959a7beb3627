"""Namespaces, service accounts and the garbage collector against the real API server under virtual time."""

import asyncio
from typing import Any

from pinnace.api import resources
from pinnace.client import client
from pinnace.controllers import manager
from pinnace.testing import control_plane
from pinnace.web import messages

Object = dict[str, Any]


def config_map(name: str, *owners: Object, finalizers: tuple[str, ...] = ()) -> Object:
    references = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
            "blockOwnerDeletion": True,
        }
        for owner in owners
    ]
    return {"metadata": {"name": name, "ownerReferences": references, "finalizers": list(finalizers)}}


async def names(plane: control_plane.ControlPlane, namespace: str = "default") -> set[str]:
    return {each["metadata"]["name"] for each in await plane.list(resources.CONFIG_MAPS, namespace)}


def test_every_namespace_gets_its_account_and_the_ca() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        await plane.create(resources.NAMESPACES, {"metadata": {"name": "team"}})
        await asyncio.sleep(1)
        assert await plane.find(resources.SERVICE_ACCOUNTS, "default", "team")
        found = await plane.get(resources.CONFIG_MAPS, "kube-root-ca.crt", "team")
        assert found["data"] == {"ca.crt": "PEM"}
        await plane.admin.delete(resources.SERVICE_ACCOUNTS, "team", "default")
        await plane.admin.patch(resources.CONFIG_MAPS, "team", "kube-root-ca.crt", {"data": {"ca.crt": "forged"}})
        await asyncio.sleep(1)
        assert await plane.find(resources.SERVICE_ACCOUNTS, "default", "team")
        assert (await plane.get(resources.CONFIG_MAPS, "kube-root-ca.crt", "team"))["data"] == {"ca.crt": "PEM"}

    control_plane.run(test, settings=manager.Settings(root_certificate="PEM"))


def test_a_deleted_namespace_goes_with_all_its_content_pods_first() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        await plane.create(resources.NAMESPACES, {"metadata": {"name": "team"}})
        await asyncio.sleep(1)
        await plane.admin.create(resources.CONFIG_MAPS, "team", config_map("held", finalizers=("example.com/hold",)))
        await plane.admin.create(resources.DEPLOYMENTS, "team", control_plane.workload("web", 2))
        await asyncio.sleep(5)
        await plane.admin.delete(resources.NAMESPACES, None, "team")
        await asyncio.sleep(15)
        namespace = await plane.get(resources.NAMESPACES, "team")
        found = {each["type"]: each for each in namespace["status"]["conditions"]}
        assert namespace["status"]["phase"] == "Terminating"
        assert found["NamespaceContentRemaining"]["message"] == (
            "Some resources are remaining: configmaps. has 1 resource instances"
        )
        assert found["NamespaceFinalizersRemaining"]["message"] == (
            "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances"
        )
        await plane.admin.patch(resources.CONFIG_MAPS, "team", "held", {"metadata": {"finalizers": None}})
        await asyncio.sleep(5)
        assert await plane.find(resources.NAMESPACES, "team") is None

    control_plane.run(test)


def test_what_cannot_be_listed_keeps_the_namespace_and_nothing_else() -> None:
    """As when the server behind an aggregated API is down."""

    async def test(plane: control_plane.ControlPlane) -> None:
        await plane.create(resources.NAMESPACES, {"metadata": {"name": "team"}})
        await asyncio.sleep(1)
        await plane.admin.create(resources.CONFIG_MAPS, "team", config_map("plain"))

        def fault(request: messages.Request) -> None:
            if request.path == "/apis/apps/v1/namespaces/team/deployments" and request.method == "GET":
                raise client.Unavailable({"code": 503, "reason": "ServiceUnavailable", "message": "nobody answers"})

        plane.fault = fault
        await plane.admin.delete(resources.NAMESPACES, None, "team")
        await asyncio.sleep(15)
        namespace = await plane.get(resources.NAMESPACES, "team")
        found = {each["type"]: each for each in namespace["status"]["conditions"]}
        assert found["NamespaceDeletionContentFailure"]["message"] == (
            "Failed to delete all resource types, 1 remaining: nobody answers"
        )
        assert await plane.find(resources.CONFIG_MAPS, "plain", "team") is None
        plane.fault = lambda request: None
        await asyncio.sleep(5)
        assert await plane.find(resources.NAMESPACES, "team") is None

    control_plane.run(test)


def test_dependents_go_when_their_last_owner_is_gone() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        one = await plane.create(resources.CONFIG_MAPS, config_map("one"))
        two = await plane.create(resources.CONFIG_MAPS, config_map("two"))
        await plane.create(resources.CONFIG_MAPS, config_map("child", one, two))
        await asyncio.sleep(2)
        await plane.delete(resources.CONFIG_MAPS, "one")
        await asyncio.sleep(5)
        child = await plane.get(resources.CONFIG_MAPS, "child")
        assert [each["name"] for each in child["metadata"]["ownerReferences"]] == ["two"]
        await plane.delete(resources.CONFIG_MAPS, "two")
        await asyncio.sleep(5)
        assert not {"one", "two", "child"} & await names(plane)

    control_plane.run(test)


def test_an_owner_of_the_same_name_and_another_uid_is_no_owner() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        owner = await plane.create(resources.CONFIG_MAPS, config_map("owner"))
        other = {"metadata": {**owner["metadata"], "uid": "00000000-0000-0000-0000-000000000000"}}
        await plane.create(resources.CONFIG_MAPS, config_map("child", other))
        await asyncio.sleep(5)
        assert "child" not in await names(plane)
        assert "owner" in await names(plane)

    control_plane.run(test)


def test_foreground_deletion_waits_for_its_dependents() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        owner = await plane.create(resources.CONFIG_MAPS, config_map("owner"))
        await plane.create(resources.CONFIG_MAPS, config_map("child", owner, finalizers=("example.com/hold",)))
        await asyncio.sleep(2)
        await plane.delete(resources.CONFIG_MAPS, "owner", propagation_policy="Foreground")
        await asyncio.sleep(10)
        assert (await plane.get(resources.CONFIG_MAPS, "owner"))["metadata"]["finalizers"] == ["foregroundDeletion"]
        assert "deletionTimestamp" in (await plane.get(resources.CONFIG_MAPS, "child"))["metadata"]
        await plane.patch(resources.CONFIG_MAPS, "child", {"metadata": {"finalizers": None}})
        await asyncio.sleep(10)
        assert not {"owner", "child"} & await names(plane)

    control_plane.run(test)


def test_orphaned_dependents_stay_without_their_owner() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        owner = await plane.create(resources.CONFIG_MAPS, config_map("owner"))
        await plane.create(resources.CONFIG_MAPS, config_map("child", owner))
        await asyncio.sleep(2)
        await plane.delete(resources.CONFIG_MAPS, "owner", propagation_policy="Orphan")
        await asyncio.sleep(10)
        assert "owner" not in await names(plane)
        assert "ownerReferences" not in (await plane.get(resources.CONFIG_MAPS, "child"))["metadata"]

    control_plane.run(test)


def test_deleting_a_deployment_takes_its_replica_sets_and_pods() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        for policy in ("Background", "Foreground"):
            await plane.create(resources.DEPLOYMENTS, control_plane.workload("web", 3))
            await asyncio.sleep(5)
            await plane.delete(resources.DEPLOYMENTS, "web", propagation_policy=policy)
            await asyncio.sleep(20)
            assert await plane.find(resources.DEPLOYMENTS, "web") is None
            assert await plane.list(resources.REPLICA_SETS) == []
            assert await plane.list(resources.PODS) == []

    control_plane.run(test)


def test_objects_that_own_each_other_are_collected() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        a = await plane.create(resources.CONFIG_MAPS, config_map("a"))
        b = await plane.create(resources.CONFIG_MAPS, config_map("b", a))
        references = config_map("a", b)["metadata"]["ownerReferences"]
        await plane.patch(resources.CONFIG_MAPS, "a", {"metadata": {"ownerReferences": references}})
        await asyncio.sleep(2)
        await plane.delete(resources.CONFIG_MAPS, "a", propagation_policy="Foreground")
        await asyncio.sleep(10)
        assert not {"a", "b"} & await names(plane)

    control_plane.run(test)


def test_token_secrets_end_with_their_account() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        account = await plane.create(resources.SERVICE_ACCOUNTS, {"metadata": {"name": "robot"}})
        annotations = {
            "kubernetes.io/service-account.name": "robot",
            "kubernetes.io/service-account.uid": account["metadata"]["uid"],
        }
        metadata = {"name": "token", "annotations": annotations}
        await plane.create(resources.SECRETS, {"metadata": metadata, "type": "kubernetes.io/service-account-token"})
        await asyncio.sleep(2)
        assert await plane.find(resources.SECRETS, "token")
        await plane.delete(resources.SERVICE_ACCOUNTS, "robot")
        await asyncio.sleep(2)
        assert await plane.find(resources.SECRETS, "token") is None

    control_plane.run(test)


def test_token_secrets_without_an_account_are_deleted() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        metadata = {"name": "token", "annotations": {"kubernetes.io/service-account.name": "nobody"}}
        await plane.create(resources.SECRETS, {"metadata": metadata, "type": "kubernetes.io/service-account-token"})
        await asyncio.sleep(2)
        assert await plane.find(resources.SECRETS, "token") is None

    control_plane.run(test)


def test_token_secrets_are_completed_when_the_rest_is_there() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        await plane.stop_controllers()
        await plane.create(resources.NAMESPACES, {"metadata": {"name": "fresh"}})
        await plane.create(resources.SERVICE_ACCOUNTS, {"metadata": {"name": "robot"}}, "fresh")
        metadata = {"name": "token", "annotations": {"kubernetes.io/service-account.name": "robot"}}
        secret = {"metadata": metadata, "type": "kubernetes.io/service-account-token"}
        first = await plane.create(resources.SECRETS, secret, "fresh")
        assert "ca.crt" not in first["data"]  # Nobody has published it in this namespace yet.
        plane.start_controllers(settings)
        await asyncio.sleep(2)
        found = await plane.get(resources.SECRETS, "token", "fresh")
        assert found["data"].keys() == {"token", "ca.crt", "namespace"}

    settings = manager.Settings(root_certificate="PEM")
    control_plane.run(test, settings=settings)


def test_nothing_is_collected_while_the_api_does_not_answer() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        owner = await plane.create(resources.CONFIG_MAPS, config_map("owner"))
        await asyncio.sleep(2)

        def refuse_reads(request: Any) -> None:
            if request.method == "GET" and request.path.endswith("/configmaps/owner"):
                raise client.unavailable("not now")

        plane.fault = refuse_reads
        stale = {"metadata": {**owner["metadata"], "name": "owner"}}
        await plane.create(resources.CONFIG_MAPS, config_map("child", stale))
        await asyncio.sleep(30)
        assert "child" in await names(plane)

    control_plane.run(test)
