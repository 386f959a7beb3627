"""PATCH: the four kinds, conflicts, server-side apply."""

import asyncio
from typing import Any

from pinnace.testing import api_server

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


def deployment() -> api_server.Object:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template},
    }


def test_merge_json_and_strategic_patches() -> None:
    async def scenario(api: api_server.Api) -> None:
        await api.create(DEPLOYMENTS, deployment())
        merged = await api.patch(f"{DEPLOYMENTS}/d", {"metadata": {"labels": {"x": "y"}}, "spec": {"replicas": 2}})
        assert merged.code == 200
        ops = [{"op": "replace", "path": "/spec/replicas", "value": 3}, {"op": "remove", "path": "/metadata/labels/x"}]
        assert (await api.patch(f"{DEPLOYMENTS}/d", ops, "json")).json["spec"]["replicas"] == 3
        change = {"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "s"}]}}}}
        after = (await api.patch(f"{DEPLOYMENTS}/d", change, "strategic")).json
        assert {container["name"] for container in after["spec"]["template"]["spec"]["containers"]} == {"c", "side"}
        replaced = (await api.patch(f"{DEPLOYMENTS}/d", change, "merge")).json
        assert [container["name"] for container in replaced["spec"]["template"]["spec"]["containers"]] == ["side"]

    api_server.run(scenario)


def test_patches_at_the_same_time_all_land() -> None:
    async def scenario(api: api_server.Api) -> None:
        await api.create(CONFIG_MAPS, {"metadata": {"name": "a"}})
        answers = await asyncio.gather(
            *(api.patch(f"{CONFIG_MAPS}/a", {"data": {f"k{number}": "v"}}) for number in range(20))
        )
        assert {answer.code for answer in answers} == {200}
        assert len((await api.get(f"{CONFIG_MAPS}/a"))["data"]) == 20

    api_server.run(scenario)


def test_a_patch_that_names_an_old_version_is_a_conflict() -> None:
    async def scenario(api: api_server.Api) -> None:
        made = await api.create(CONFIG_MAPS, {"metadata": {"name": "a"}})
        version = made["metadata"]["resourceVersion"]
        change = {"metadata": {"resourceVersion": version}, "data": {"x": "1"}}
        assert (await api.patch(f"{CONFIG_MAPS}/a", change)).code == 200
        second = await api.patch(f"{CONFIG_MAPS}/a", change | {"data": {"x": "2"}})
        assert (second.code, second.reason) == (409, "Conflict")

    api_server.run(scenario)


def test_what_a_patch_makes_is_checked_like_what_is_sent_whole() -> None:
    async def scenario(api: api_server.Api) -> None:
        await api.create(DEPLOYMENTS, deployment())
        invalid = await api.patch(f"{DEPLOYMENTS}/d", {"spec": {"replicas": -1}})
        assert (invalid.code, invalid.causes[0][1]) == (422, "spec.replicas")
        unknown = await api.patch(f"{DEPLOYMENTS}/d?fieldValidation=Strict", {"spec": {"replicsa": 1}})
        assert unknown.code == 422
        failed = await api.patch(f"{DEPLOYMENTS}/d", [{"op": "test", "path": "/spec/replicas", "value": 9}], "json")
        assert failed.code == 422
        text = await api.call("PATCH", f"{DEPLOYMENTS}/d", b"{}", headers={"content-type": "text/plain"})
        assert text.code == 415
        renamed = await api.patch(f"{DEPLOYMENTS}/d", {"metadata": {"name": "e"}})
        assert renamed.code == 400

    api_server.run(scenario)


def applied(api: api_server.Api, manager: str, force: bool = False, **data: str) -> Any:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data}
    query = f"fieldManager={manager}" + ("&force=true" if force else "")
    return api.patch(f"{CONFIG_MAPS}/a?{query}", config, "apply")


def test_apply_creates_then_owns_then_conflicts_then_takes_by_force() -> None:
    async def scenario(api: api_server.Api) -> None:
        assert (await applied(api, "one", x="1")).code == 201
        same = await applied(api, "one", x="1")
        assert same.code == 200
        assert same.json["metadata"]["resourceVersion"] == str(api.store.revision)
        refused = await applied(api, "two", x="2")
        assert (refused.code, refused.reason) == (409, "Conflict")
        assert refused.causes == [("FieldManagerConflict", ".data.x")]
        forced = await applied(api, "two", force=True, x="2")
        assert forced.json["data"] == {"x": "2"}
        entries = {entry["manager"]: entry for entry in forced.json["metadata"]["managedFields"]}
        assert entries["two"]["operation"] == "Apply"
        assert entries["two"]["fieldsV1"] == {"f:data": {"f:x": {}}}

    api_server.run(scenario)


def test_an_applied_configuration_says_its_version() -> None:
    async def scenario(api: api_server.Api) -> None:
        refused = await api.patch(f"{CONFIG_MAPS}/a?fieldManager=m", {"kind": "ConfigMap", "data": {"k": "v"}}, "apply")
        assert refused.code == 400
        assert refused.message.endswith("Specified patch version: , expected: v1")

    api_server.run(scenario)


def test_what_a_manager_applies_no_more_goes() -> None:
    async def scenario(api: api_server.Api) -> None:
        await applied(api, "one", x="1", y="1")
        assert (await applied(api, "one", x="1")).json["data"] == {"x": "1"}

    api_server.run(scenario)


def test_apply_needs_a_manager_and_other_patches_cannot_force() -> None:
    async def scenario(api: api_server.Api) -> None:
        nobody = await api.patch(f"{CONFIG_MAPS}/a", {"apiVersion": "v1", "kind": "ConfigMap"}, "apply")
        assert (nobody.code, nobody.causes) == (422, [("FieldValueRequired", "fieldManager")])
        forced = await api.patch(f"{CONFIG_MAPS}/a?force=true", {})
        assert (forced.code, forced.causes) == (422, [("FieldValueForbidden", "force")])

    api_server.run(scenario)


def test_the_manager_of_an_update_is_named_by_the_query_or_the_user_agent() -> None:
    async def scenario(api: api_server.Api) -> None:
        headers = {"user-agent": "kubectl/v1.36 (linux)", "content-type": "application/json"}
        made = await api.create(CONFIG_MAPS, {"metadata": {"name": "a"}, "data": {"x": "1"}}, headers=headers)
        assert [entry["manager"] for entry in made["metadata"]["managedFields"]] == ["kubectl"]
        after = await api.patch(f"{CONFIG_MAPS}/a?fieldManager=me", {"data": {"y": "1"}})
        assert [entry["manager"] for entry in after.json["metadata"]["managedFields"]] == ["kubectl", "me"]

    api_server.run(scenario)


def test_a_patch_that_leads_to_no_such_object_is_invalid_in_its_one_field() -> None:
    """Upstream answers 422 with the cause `patch`, and kubectl prints `The request is invalid: patch: ...`."""

    async def scenario(api: api_server.Api) -> None:
        await api.create(DEPLOYMENTS, deployment())
        path = f"{DEPLOYMENTS}/d"
        wrong = {"spec": {"replicas": "many"}}
        strategic = await api.patch(path, wrong, "strategic")
        assert (strategic.code, strategic.reason) == (422, "Invalid")
        assert strategic.json["message"] == (
            ' "" is invalid: patch: Invalid value: "map[spec:map[replicas:many]]": unrecognized type: int32'
        )
        text = {"spec": {"template": {"spec": {"containers": [{"name": "c", "env": [{"name": "A", "value": 1}]}]}}}}
        assert (await api.patch(path, text, "strategic")).json["message"].endswith(": cannot convert int64 to string")
        merged = await api.patch(path, wrong)
        (cause,) = merged.json["details"]["causes"]
        assert (merged.code, cause["field"]) == (422, "patch")
        assert cause["message"].endswith(
            ": json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"
        )

    api_server.run(scenario)


def test_fields_that_a_patch_names_twice_are_told_or_refused() -> None:
    async def scenario(api: api_server.Api) -> None:
        await api.create(DEPLOYMENTS, deployment())
        path = f"{DEPLOYMENTS}/d?dryRun=All&fieldValidation="
        body = b'{"spec":{"unknown1":1,"paused":true,"paused":false}}'
        operations = b"""[{"op":"add","path":"/spec/unknown1","value":1,"foo":"bar"},
            {"op":"add","path":"/spec/paused","path":"/spec/paused","value":true}]"""
        found = 'duplicate field "spec.paused", unknown field "spec.unknown1"'
        of_operations = (
            'json patch unknown field "[0].foo", json patch duplicate field "[1].path", unknown field "spec.unknown1"'
        )
        for kind, data, complaints in (
            ("merge", body, found),
            ("strategic", body, found),
            ("json", operations, of_operations),
        ):
            refused = await api.patch(f"{path}Strict", data, kind)
            assert (refused.code, refused.reason) == (422, "Invalid")
            assert refused.json["message"].endswith(f": strict decoding error: {complaints}")
            warned = await api.patch(f"{path}Warn", data, kind)
            assert warned.code == 200
            told = [warning.split('"', 1)[1][:-1].replace('\\"', '"') for warning in warned.warnings]
            assert told == complaints.split(", ")
            assert not (await api.patch(f"{path}Ignore", data, kind)).warnings

    api_server.run(scenario)
