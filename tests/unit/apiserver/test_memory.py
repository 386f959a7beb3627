"""Remembering answers changes none of them."""

from typing import Any

import pytest

from pinnace.apiserver.storage import memo
from pinnace.testing import api_server

PODS = "/api/v1/namespaces/default/pods"


def pod(name: str, **spec: Any) -> api_server.Object:
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}], **spec}}


def test_pods_that_differ_in_name_and_token_volume_alone_have_one_content() -> None:
    first = pod("a", volumes=[{"name": "kube-api-access-aaaaa"}])
    second = pod("b", volumes=[{"name": "kube-api-access-bbbbb"}])
    assert memo.pod_content(first) == memo.pod_content(second)


@pytest.mark.parametrize(
    "other",
    [
        pod("b", volumes=[{"name": "kube-api-access-aaaaa"}, {"name": "kube-api-access-aaaaa"}]),
        pod("b", volumes=[{"name": "kube-api-access-bbbbb"}], hostname="kube-api-access-aaaaa"),
        pod("b", hostname="x"),
        {**pod("b"), "metadata": {"name": "b", "labels": {"a": "b"}}},
    ],
)
def test_pods_that_differ_in_anything_else_do_not(other: api_server.Object) -> None:
    first = pod("a", volumes=[{"name": "kube-api-access-aaaaa"}])
    twice = pod("a", volumes=[{"name": "kube-api-access-aaaaa"}, {"name": "kube-api-access-bbbbb"}])
    assert memo.pod_content(other) not in (memo.pod_content(first), memo.pod_content(twice))


@pytest.mark.parametrize("odd", [pod("a.b"), pod(""), pod("A"), pod("a", volumes=[{"name": "v", "ephemeral": {}}])])
def test_a_pod_whose_name_matters_is_looked_at_itself(odd: api_server.Object) -> None:
    assert memo.pod_content(odd) is None


def test_a_pod_is_judged_by_what_it_is_whatever_was_judged_before() -> None:
    async def scenario(api: api_server.Api) -> None:
        await api.create("/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
        for _ in range(2):
            bad = await api.call("POST", PODS, pod("bad", restartPolicy="Sometimes"))
            assert (bad.code, bad.causes) == (422, [("FieldValueNotSupported", "spec.restartPolicy")])
        for name in ("a", "b"):
            await api.create(PODS, pod(name))
        named = await api.call("POST", PODS, pod("Not_A_Name"))
        assert (named.code, named.causes[0][1]) == (422, "metadata.name")

    api_server.run(scenario)


def test_each_object_has_its_own_managers_and_times() -> None:
    async def scenario(api: api_server.Api) -> None:
        path = "/api/v1/namespaces/default/configmaps"
        made = []
        for name, agent in (("a", "one/1"), ("b", "one/1"), ("c", "two/1")):
            headers = {"user-agent": agent, "content-type": "application/json"}
            made.append(await api.create(path, {"metadata": {"name": name}, "data": {"x": name}}, headers=headers))
        assert [item["metadata"]["managedFields"][0]["manager"] for item in made] == ["one", "one", "two"]
        changed = await api.patch(f"{path}/a?fieldManager=one", {"data": {"y": "1"}})
        assert changed.json["metadata"]["managedFields"][0]["fieldsV1"]["f:data"] == {".": {}, "f:x": {}, "f:y": {}}
        untouched = await api.create(path, {"metadata": {"name": "d"}, "data": {"x": "a"}}, headers=headers)
        assert untouched["metadata"]["managedFields"][0]["fieldsV1"] == {"f:data": {".": {}, "f:x": {}}}

    api_server.run(scenario)


def test_only_so_many_answers_are_kept() -> None:
    kept: memo.Remembered[int] = memo.Remembered()
    for number in range(memo.MOST + 1):
        assert kept.get((), b"%d" % number, lambda number=number: number) == number  # type: ignore[misc]
    assert kept.get((), b"0", lambda: -1) == -1
    assert kept.get((), b"x" * (memo.LONGEST + 1), lambda: 1) == 1
    assert kept.get((), b"x" * (memo.LONGEST + 1), lambda: 2) == 2
