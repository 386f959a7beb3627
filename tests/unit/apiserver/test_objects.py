"""Create, read, replace: what a client observes of one object."""

import asyncio

from pinnace.store import interface
from pinnace.testing import api_server

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


def config_map(name: str, **data: str) -> api_server.Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def test_a_created_object_is_read_back_byte_for_byte() -> None:
    async def scenario(api: api_server.Api) -> None:
        created = await api.call("POST", CONFIG_MAPS, config_map("a", x="1"))
        read = await api.call("GET", f"{CONFIG_MAPS}/a")
        assert created.code == 201
        assert created.body == read.body
        metadata = read.json["metadata"]
        assert metadata["namespace"] == "default"
        assert metadata["uid"]
        assert metadata["creationTimestamp"].endswith("Z")
        assert int(metadata["resourceVersion"]) == api.store.revision

    api_server.run(scenario)


def test_the_server_alone_says_what_only_the_server_may_say() -> None:
    async def scenario(api: api_server.Api) -> None:
        wanted = config_map("a")
        wanted["metadata"] |= {
            "uid": "mine",
            "creationTimestamp": "2001-01-01T00:00:00Z",
            "deletionTimestamp": "2001-01-01T00:00:00Z",
            "deletionGracePeriodSeconds": 5,
        }
        made = (await api.create(CONFIG_MAPS, wanted))["metadata"]
        assert made["uid"] != "mine"
        assert not made["creationTimestamp"].startswith("2001")
        assert "deletionTimestamp" not in made
        assert "deletionGracePeriodSeconds" not in made

    api_server.run(scenario)


def test_creating_what_is_there_is_a_conflict_and_changes_nothing() -> None:
    async def scenario(api: api_server.Api) -> None:
        await api.create(CONFIG_MAPS, config_map("a", x="1"))
        before = api.store.revision
        answer = await api.call("POST", CONFIG_MAPS, config_map("a", x="2"))
        assert (answer.code, answer.reason) == (409, "AlreadyExists")
        assert answer.message == 'configmaps "a" already exists'
        assert api.store.revision == before

    api_server.run(scenario)


def test_generated_names_keep_their_base_and_differ() -> None:
    async def scenario(api: api_server.Api) -> None:
        wanted = {"metadata": {"generateName": "run-"}}
        names = {(await api.create(CONFIG_MAPS, wanted))["metadata"]["name"] for _ in range(50)}
        assert len(names) == 50
        assert all(name.startswith("run-") and len(name) == 9 for name in names)

    api_server.run(scenario)


def test_an_object_without_a_name_is_invalid() -> None:
    async def scenario(api: api_server.Api) -> None:
        answer = await api.call("POST", CONFIG_MAPS, {"metadata": {}})
        assert (answer.code, answer.reason) == (422, "Invalid")
        assert answer.causes[0] == ("FieldValueRequired", "metadata.name")

    api_server.run(scenario)


def test_the_namespace_of_the_path_wins_and_another_one_is_refused() -> None:
    async def scenario(api: api_server.Api) -> None:
        wanted = config_map("a")
        wanted["metadata"]["namespace"] = "kube-system"
        answer = await api.call("POST", CONFIG_MAPS, wanted)
        assert (answer.code, answer.reason) == (400, "BadRequest")
        assert answer.message == "the namespace of the provided object does not match the namespace sent on the request"

    api_server.run(scenario)


def test_a_resource_version_on_creation_is_refused() -> None:
    async def scenario(api: api_server.Api) -> None:
        wanted = config_map("a")
        wanted["metadata"]["resourceVersion"] = "1"
        answer = await api.call("POST", CONFIG_MAPS, wanted)
        assert answer.code == 500
        assert answer.message == "resourceVersion should not be set on objects to be created"

    api_server.run(scenario)


def test_dry_run_answers_like_the_write_and_stores_nothing() -> None:
    async def scenario(api: api_server.Api) -> None:
        before = api.store.revision
        made = await api.create(f"{CONFIG_MAPS}?dryRun=All", config_map("a", x="1"))
        assert made["metadata"]["uid"]
        assert "resourceVersion" not in made["metadata"]
        assert api.store.revision == before
        await api.create(CONFIG_MAPS, config_map("a", x="1"))
        changed = await api.replace(f"{CONFIG_MAPS}/a?dryRun=All", config_map("a", x="2"))
        assert changed["data"] == {"x": "2"}
        assert (await api.get(f"{CONFIG_MAPS}/a"))["data"] == {"x": "1"}
        again = await api.call("POST", f"{CONFIG_MAPS}?dryRun=All", config_map("a"))
        assert again.reason == "AlreadyExists"
        wrong = await api.call("POST", f"{CONFIG_MAPS}?dryRun=Some", config_map("b"))
        assert wrong.code == 422

    api_server.run(scenario)


def test_field_validation_strict_refuses_warn_tells_ignore_is_silent() -> None:
    async def scenario(api: api_server.Api) -> None:
        wanted = {**config_map("a"), "colour": "red"}
        strict = await api.call("POST", f"{CONFIG_MAPS}?fieldValidation=Strict", wanted)
        assert strict.code == 400
        assert 'unknown field "colour"' in strict.message
        warned = await api.call("POST", f"{CONFIG_MAPS}?fieldValidation=Warn", wanted)
        assert warned.code == 201
        assert warned.warnings == ['299 - "unknown field \\"colour\\""']
        silent = await api.call("PUT", f"{CONFIG_MAPS}/a?fieldValidation=Ignore", wanted)
        assert silent.warnings == []
        assert "colour" not in silent.json

    api_server.run(scenario)


def test_exactly_one_of_many_writers_at_the_same_version_wins() -> None:
    """No lost update."""

    async def scenario(api: api_server.Api) -> None:
        made = await api.create(CONFIG_MAPS, config_map("a"))

        async def write(number: int) -> int:
            return (await api.call("PUT", f"{CONFIG_MAPS}/a", {**made, "data": {"by": str(number)}})).code

        codes = await asyncio.gather(*(write(number) for number in range(20)))
        assert sorted(codes) == [200] + [409] * 19

    api_server.run(scenario)


def test_an_update_without_a_version_overwrites_but_not_where_one_is_needed() -> None:
    async def scenario(api: api_server.Api) -> None:
        await api.create(CONFIG_MAPS, config_map("a", x="1"))
        assert (await api.replace(f"{CONFIG_MAPS}/a", config_map("a", x="2")))["data"] == {"x": "2"}
        leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
        await api.create(leases, {"metadata": {"name": "l"}, "spec": {}})
        answer = await api.call("PUT", f"{leases}/l", {"metadata": {"name": "l"}, "spec": {"holderIdentity": "me"}})
        assert (answer.code, answer.causes) == (422, [("FieldValueInvalid", "metadata.resourceVersion")])

    api_server.run(scenario)


def test_an_update_that_changes_nothing_writes_nothing() -> None:
    async def scenario(api: api_server.Api) -> None:
        made = await api.create(CONFIG_MAPS, config_map("a", x="1"))
        before = api.store.revision
        again = await api.replace(f"{CONFIG_MAPS}/a", made)
        assert again["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
        assert api.store.revision == before

    api_server.run(scenario)


def test_a_stale_uid_or_another_name_is_refused() -> None:
    async def scenario(api: api_server.Api) -> None:
        await api.create(CONFIG_MAPS, config_map("a"))
        stale = config_map("a", x="1")
        stale["metadata"]["uid"] = "old"
        assert (await api.call("PUT", f"{CONFIG_MAPS}/a", stale)).code == 409
        other = await api.call("PUT", f"{CONFIG_MAPS}/a", config_map("b"))
        assert other.message == "the name of the object (b) does not match the name on the URL (a)"

    api_server.run(scenario)


def test_put_creates_only_kinds_that_allow_it() -> None:
    async def scenario(api: api_server.Api) -> None:
        assert (await api.call("PUT", f"{CONFIG_MAPS}/a", config_map("a"))).code == 404
        leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
        assert (await api.call("PUT", f"{leases}/l", {"metadata": {"name": "l"}})).code == 201

    api_server.run(scenario)


def test_status_and_object_are_written_apart() -> None:
    async def scenario(api: api_server.Api) -> None:
        path = "/apis/apps/v1/namespaces/default/deployments"
        template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
        wanted = {
            "metadata": {"name": "d"},
            "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template},
            "status": {"replicas": 7},
        }
        made = await api.create(path, wanted)
        assert made["status"].get("replicas", 0) == 0
        assert made["metadata"]["generation"] == 1
        made["status"] = {"replicas": 3}
        made["spec"]["replicas"] = 9
        after = await api.replace(f"{path}/d/status", made)
        assert (after["status"]["replicas"], after["spec"]["replicas"]) == (3, 1)
        assert after["metadata"]["generation"] == 1
        after["spec"]["replicas"] = 5
        after["status"] = {}
        scaled = await api.replace(f"{path}/d", after)
        assert (scaled["status"]["replicas"], scaled["spec"]["replicas"]) == (3, 5)
        assert scaled["metadata"]["generation"] == 2

    api_server.run(scenario)


def test_yaml_in_and_out() -> None:
    async def scenario(api: api_server.Api) -> None:
        body = b"metadata: {name: a}\ndata: {x: '1'}\n"
        made = await api.call("POST", CONFIG_MAPS, body, headers={"content-type": "application/yaml"})
        assert made.code == 201
        shown = await api.call("GET", f"{CONFIG_MAPS}/a", headers={"accept": "application/yaml"})
        assert shown.headers["content-type"] == "application/yaml"
        assert b"kind: ConfigMap" in shown.body

    api_server.run(scenario)


def test_forms_that_are_not_spoken_are_named() -> None:
    async def scenario(api: api_server.Api) -> None:
        shown = await api.call("GET", f"{CONFIG_MAPS}/a", headers={"accept": "text/html"})
        await api.create(CONFIG_MAPS, config_map("a"))
        shown = await api.call("GET", f"{CONFIG_MAPS}/a", headers={"accept": "text/html"})
        assert (shown.code, shown.reason) == (406, "NotAcceptable")
        sent = await api.call("POST", CONFIG_MAPS, b"x", headers={"content-type": "text/plain"})
        assert (sent.code, sent.reason) == (415, "UnsupportedMediaType")
        assert shown.json["message"] == (
            "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf"
        )
        cbor = await api.call("POST", CONFIG_MAPS, b"x", headers={"content-type": "application/cbor"})
        assert cbor.json["message"] == (
            "the body of the request was in an unknown format - accepted media types include: "
            "application/json, application/yaml, application/vnd.kubernetes.protobuf"
        )
        watch = await api.call("GET", f"{CONFIG_MAPS}?watch=1", headers={"accept": "application/yaml"})
        assert watch.code == 406
        assert b"application/json;stream=watch" in watch.body

    api_server.run(scenario)


def test_a_body_beyond_the_limit_is_413() -> None:
    async def scenario(api: api_server.Api) -> None:
        answer = await api.call("POST", CONFIG_MAPS, b'{"data":"' + b"x" * (3 << 20) + b'"}')
        assert (answer.code, answer.reason) == (413, "RequestEntityTooLarge")

    api_server.run(scenario)


def test_partial_metadata_and_tables() -> None:
    async def scenario(api: api_server.Api) -> None:
        await api.create(CONFIG_MAPS, config_map("a", x="1"))
        partial = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
        shown = await api.get(f"{CONFIG_MAPS}/a", headers={"accept": partial})
        assert (shown["kind"], shown["metadata"]["name"]) == ("PartialObjectMetadata", "a")
        assert "data" not in shown
        listed = await api.get(CONFIG_MAPS, headers={"accept": partial.replace("Metadata", "MetadataList")})
        assert listed["kind"] == "PartialObjectMetadataList"
        table = await api.get(CONFIG_MAPS, headers={"accept": "application/json;as=Table;v=v1;g=meta.k8s.io"})
        assert table["kind"] == "Table"
        assert table["metadata"]["resourceVersion"]
        assert [row["cells"][0] for row in table["rows"]] == ["a"]
        assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"

    api_server.run(scenario)


def test_an_object_written_through_one_version_is_read_through_the_other() -> None:
    """events.k8s.io/v1 and v1 Events are one object; autoscaling/v1 and v2 are one autoscaler."""

    async def scenario(api: api_server.Api) -> None:
        event = {
            "metadata": {"name": "e"},
            "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
            "message": "hello",
            "reason": "Testing",
            "type": "Normal",
        }
        await api.create("/api/v1/namespaces/default/events", event)
        shown = await api.get("/apis/events.k8s.io/v1/namespaces/default/events/e")
        assert (shown["apiVersion"], shown["note"], shown["regarding"]["name"]) == ("events.k8s.io/v1", "hello", "p")
        listed = await api.get("/apis/events.k8s.io/v1/events?fieldSelector=regarding.name=p")
        assert [item["note"] for item in listed["items"]] == ["hello"]
        scaler = {
            "metadata": {"name": "h"},
            "spec": {
                "scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"},
                "maxReplicas": 3,
                "targetCPUUtilizationPercentage": 50,
            },
        }
        made = await api.create("/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers", scaler)
        assert made["status"] == {"currentReplicas": 0, "desiredReplicas": 0}
        newer = await api.get("/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers/h")
        assert newer["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 50

    api_server.run(scenario)


def test_what_has_no_metadata_has_no_table() -> None:
    async def scenario(api: api_server.Api) -> None:
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        asked = {"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}}
        table = "application/json;as=Table;v=v1;g=meta.k8s.io"
        headers = {"accept": table, "content-type": "application/json"}
        assert (await api.call("POST", path, asked, headers=headers)).code == 406
        headers["accept"] = f"{table},application/json"
        assert (await api.create(path, asked, headers=headers))["status"]["allowed"]

    api_server.run(scenario)


def test_a_write_that_the_disk_has_no_room_for_is_refused_clearly_and_reads_go_on() -> None:
    async def scenario(api: api_server.Api) -> None:
        path = "/api/v1/namespaces/default/configmaps"
        await api.create(path, {"metadata": {"name": "there"}})
        commit = api.store._maybe_commit  # type: ignore[attr-defined]

        def refuse() -> None:
            api.store._refuse((), interface.NoSpace("no space left on the disk"))  # type: ignore[attr-defined]

        api.store._maybe_commit = refuse  # type: ignore[attr-defined]
        refused = await api.call("POST", path, {"metadata": {"name": "more"}})
        assert (refused.code, refused.reason) == (507, "InsufficientStorage")
        assert refused.message == "no space left on the disk: nothing was changed; free some and try again"
        assert (await api.call("GET", f"{path}/there")).code == 200
        assert (await api.call("GET", "/readyz")).code == 500
        assert (await api.call("GET", "/livez")).code == 200
        api.store._maybe_commit = commit  # type: ignore[attr-defined]
        assert (await api.call("POST", path, {"metadata": {"name": "more"}})).code == 201
        assert (await api.call("GET", "/readyz")).code == 200

    api_server.run(scenario)
