"""DELETE: grace, finalizers, policies, preconditions, collections, namespaces."""

import datetime

import pytest

from pinnace.api import kinds
from pinnace.apiserver.verbs import deleting
from pinnace.testing import api_server

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"


async def a_pod(api: api_server.Api, *, node: str = "n1", **metadata: object) -> api_server.Object:
    await api.call("POST", ACCOUNTS, {"metadata": {"name": "default"}})
    pod = {"metadata": {"name": "p", **metadata}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    if node:
        pod["spec"]["nodeName"] = node
    made: api_server.Object = await api.create(PODS, pod)
    return made


def test_most_kinds_go_at_once_and_a_status_says_so() -> None:
    async def scenario(api: api_server.Api) -> None:
        made = await api.create(CONFIG_MAPS, {"metadata": {"name": "a"}})
        answer = await api.call("DELETE", f"{CONFIG_MAPS}/a")
        assert answer.json["status"] == "Success"
        assert answer.json["details"] == {"name": "a", "kind": "configmaps", "uid": made["metadata"]["uid"]}
        assert (await api.call("GET", f"{CONFIG_MAPS}/a")).code == 404
        assert (await api.call("DELETE", f"{CONFIG_MAPS}/a")).code == 404

    api_server.run(scenario)


def test_a_running_pod_is_given_its_time_and_goes_when_its_node_says() -> None:
    async def scenario(api: api_server.Api) -> None:
        await a_pod(api)
        first = (await api.call("DELETE", f"{PODS}/p")).json["metadata"]
        assert first["deletionGracePeriodSeconds"] == 30
        assert first["generation"] == 2
        shorter = (await api.call("DELETE", f"{PODS}/p?gracePeriodSeconds=5")).json["metadata"]
        assert shorter["deletionGracePeriodSeconds"] == 5
        assert shorter["deletionTimestamp"] < first["deletionTimestamp"]
        longer = (await api.call("DELETE", f"{PODS}/p?gracePeriodSeconds=60")).json["metadata"]
        assert longer["deletionGracePeriodSeconds"] == 5
        assert (await api.call("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 0})).code == 200
        assert (await api.call("GET", f"{PODS}/p")).code == 404

    api_server.run(scenario)


def test_a_pod_that_no_node_has_goes_at_once() -> None:
    async def scenario(api: api_server.Api) -> None:
        await a_pod(api, node="")
        assert (await api.call("DELETE", f"{PODS}/p")).json["kind"] == "Pod"
        assert (await api.call("GET", f"{PODS}/p")).code == 404

    api_server.run(scenario)


def test_an_object_stays_until_its_last_finalizer_goes() -> None:
    async def scenario(api: api_server.Api) -> None:
        finalizers = ["example.com/a", "example.com/b"]
        await api.create(CONFIG_MAPS, {"metadata": {"name": "a", "finalizers": finalizers}})
        marked = (await api.call("DELETE", f"{CONFIG_MAPS}/a")).json["metadata"]
        assert marked["deletionTimestamp"]
        assert marked["deletionGracePeriodSeconds"] == 0
        await api.patch(f"{CONFIG_MAPS}/a", {"metadata": {"finalizers": ["example.com/b"]}})
        more = await api.patch(f"{CONFIG_MAPS}/a", {"metadata": {"finalizers": ["example.com/b", "example.com/c"]}})
        assert more.code == 422
        async with api.watch(f"{CONFIG_MAPS}?resourceVersion={api.store.revision}") as watch:
            assert (await api.patch(f"{CONFIG_MAPS}/a", {"metadata": {"finalizers": None}})).code == 200
            assert await watch.take(1) == [("DELETED", "a")]
        assert (await api.call("GET", f"{CONFIG_MAPS}/a")).code == 404

    api_server.run(scenario)


@pytest.mark.parametrize(
    ("options", "finalizers"),
    [({"propagationPolicy": "Foreground"}, ["foregroundDeletion"]), ({"propagationPolicy": "Orphan"}, ["orphan"])],
)
def test_policies_leave_their_finalizer_for_the_garbage_collector(
    options: dict[str, str], finalizers: list[str]
) -> None:
    async def scenario(api: api_server.Api) -> None:
        await api.create(CONFIG_MAPS, {"metadata": {"name": "a"}})
        answer = await api.call("DELETE", f"{CONFIG_MAPS}/a", options)
        assert answer.code == 200
        assert answer.json["metadata"]["finalizers"] == finalizers

    api_server.run(scenario)


def test_who_asks_in_the_old_way_is_told_that_the_object_is_still_there() -> None:
    async def scenario(api: api_server.Api) -> None:
        await api.create(CONFIG_MAPS, {"metadata": {"name": "a", "finalizers": ["example.com/a"]}})
        answer = await api.call("DELETE", f"{CONFIG_MAPS}/a", {"orphanDependents": False})
        assert answer.code == 202

    api_server.run(scenario)


def test_preconditions_guard_against_deleting_another_object() -> None:
    async def scenario(api: api_server.Api) -> None:
        made = await api.create(CONFIG_MAPS, {"metadata": {"name": "a"}})
        for wrong in ({"uid": "other"}, {"resourceVersion": "1"}):
            answer = await api.call("DELETE", f"{CONFIG_MAPS}/a", {"preconditions": wrong})
            assert (answer.code, answer.reason) == (409, "Conflict")
        right = {key: made["metadata"][key] for key in ("uid", "resourceVersion")}
        assert (await api.call("DELETE", f"{CONFIG_MAPS}/a", {"preconditions": right})).code == 200

    api_server.run(scenario)


def test_a_dry_deletion_deletes_nothing() -> None:
    async def scenario(api: api_server.Api) -> None:
        await api.create(CONFIG_MAPS, {"metadata": {"name": "a"}})
        before = api.store.revision
        assert (await api.call("DELETE", f"{CONFIG_MAPS}/a?dryRun=All")).code == 200
        assert api.store.revision == before

    api_server.run(scenario)


def test_a_collection_goes_by_selector() -> None:
    async def scenario(api: api_server.Api) -> None:
        for name, label in (("a", "x"), ("b", "x"), ("c", "y")):
            await api.create(CONFIG_MAPS, {"metadata": {"name": name, "labels": {"l": label}}})
        gone = (await api.call("DELETE", f"{CONFIG_MAPS}?labelSelector=l%3Dx")).json
        assert [item["metadata"]["name"] for item in gone["items"]] == ["a", "b"]
        left = await api.get(CONFIG_MAPS)
        assert [item["metadata"]["name"] for item in left["items"]] == ["c"]

    api_server.run(scenario)


def test_a_namespace_terminates_refuses_what_is_new_and_goes_when_finalized() -> None:
    async def scenario(api: api_server.Api) -> None:
        await api.create("/api/v1/namespaces", {"metadata": {"name": "n"}})
        going = (await api.call("DELETE", "/api/v1/namespaces/n")).json
        assert going["status"]["phase"] == "Terminating"
        refused = await api.call("POST", "/api/v1/namespaces/n/configmaps", {"metadata": {"name": "a"}})
        assert refused.code == 403
        assert refused.message == (
            'configmaps "a" is forbidden: unable to create new content in namespace n because it is being terminated'
        )
        assert refused.causes == [("NamespaceTerminating", "metadata.namespace")]
        going["spec"]["finalizers"] = []
        await api.replace("/api/v1/namespaces/n/finalize", going)
        assert (await api.call("GET", "/api/v1/namespaces/n")).code == 404

    api_server.run(scenario)


def test_nothing_is_created_in_a_namespace_that_is_not_there_and_the_systems_stay() -> None:
    async def scenario(api: api_server.Api) -> None:
        answer = await api.call("POST", "/api/v1/namespaces/nope/configmaps", {"metadata": {"name": "a"}})
        assert (answer.code, answer.message) == (404, 'namespaces "nope" not found')
        kept = await api.call("DELETE", "/api/v1/namespaces/kube-system")
        assert kept.code == 403
        assert kept.message == 'namespaces "kube-system" is forbidden: this namespace may not be deleted'

    api_server.run(scenario)


NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("pod", "asked", "grace"),
    [
        ({"spec": {"nodeName": "n", "terminationGracePeriodSeconds": 7}}, None, 7),
        ({"spec": {"nodeName": "n", "terminationGracePeriodSeconds": 7}}, 3, 3),
        ({"spec": {"nodeName": "n"}}, -1, 1),
        ({"spec": {"nodeName": "n"}, "status": {"phase": "Succeeded"}}, None, 0),
        ({"spec": {}}, 30, 0),
        ({"spec": {"nodeName": "n"}}, 0, 0),
    ],
)
def test_how_long_a_pod_is_given(pod: api_server.Object, asked: int | None, grace: int) -> None:
    kind = kinds.builtin().by_kind("", "v1", "Pod")
    assert kind is not None
    action = deleting.plan(kind, {"metadata": {"name": "p"}, **pod}, deleting.Options(asked), NOW)
    if grace:
        assert isinstance(action, deleting.Mark)
        assert action.obj["metadata"]["deletionGracePeriodSeconds"] == grace
    else:
        assert isinstance(action, deleting.Remove)
