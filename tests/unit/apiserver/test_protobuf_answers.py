"""What a client gets that asks for protobuf, as typed Go clients do: the same objects, in every place where upstream serves them so."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.unit.apiserver import test_custom_kinds as custom

from pinnace.api import protobuf
from pinnace.api.protobuf import reading
from pinnace.apiserver.http import negotiate, serializers
from pinnace.testing import api_server

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
MEDIA = "application/vnd.kubernetes.protobuf"
ACCEPT = {"accept": MEDIA}
TABLE = ";as=Table;v=v1;g=meta.k8s.io"


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def items_of(data: bytes) -> list[bytes]:
    """The messages of a list."""
    (raw,) = [value for number, value in reading.entries(data[4:]) if number == 2]
    assert isinstance(raw, bytes)
    return [value for number, value in reading.entries(raw) if number == 2 and isinstance(value, bytes)]


async def frames_of(stream: AsyncIterator[Any], count: int) -> list[tuple[str, dict[str, Any]]]:
    """(type, object) of the next events, read as Go's framer does."""
    data, found = b"", []
    while len(found) < count:
        chunk = await anext(stream)
        data += chunk if isinstance(chunk, bytes) else b"".join(chunk)
        while len(data) >= 4 and len(data) >= 4 + (size := int.from_bytes(data[:4], "big")):
            event = dict(reading.entries(data[4 : 4 + size]))
            data = data[4 + size :]
            extension = dict(reading.entries(event[2]))  # type: ignore[arg-type]
            found.append((event[1].decode(), protobuf.parse(extension[1])))  # type: ignore[union-attr, arg-type]
    return found


def test_objects_go_in_and_come_out() -> None:
    async def scenario(api: api_server.Api) -> None:
        headers = {**ACCEPT, "content-type": MEDIA}
        created = await api.call("POST", CONFIG_MAPS, protobuf.encode(config_map("a", k="v")), headers=headers)
        assert (created.code, created.headers["content-type"]) == (201, MEDIA)
        shown = await api.call("GET", f"{CONFIG_MAPS}/a", headers=ACCEPT)
        assert protobuf.parse(shown.body) == protobuf.parse(created.body) == await api.get(f"{CONFIG_MAPS}/a")

    api_server.run(scenario)


def test_lists_are_joined_from_what_single_answers_hold() -> None:
    async def scenario(api: api_server.Api) -> None:
        for name in ("a", "b"):
            await api.create(CONFIG_MAPS, config_map(name, k=name))
        listed = await api.call("GET", CONFIG_MAPS, headers=ACCEPT)
        single = [(await api.call("GET", f"{CONFIG_MAPS}/{name}", headers=ACCEPT)).body for name in ("a", "b")]
        assert len(items_of(listed.body)) == 2
        for message, whole in zip(items_of(listed.body), single, strict=True):
            assert protobuf.envelope("v1", "ConfigMap", message) == whole
        partial = {"accept": f"{MEDIA};as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"}
        metadata = protobuf.parse((await api.call("GET", CONFIG_MAPS, headers=partial)).body)
        assert [item["metadata"]["name"] for item in metadata["items"]] == ["a", "b"]

    api_server.run(scenario)


def test_a_watch_is_length_delimited_and_each_event_is_encoded_once() -> None:
    async def scenario(api: api_server.Api) -> None:
        answers = [await api.send("GET", f"{CONFIG_MAPS}?watch=1", headers=ACCEPT) for _ in range(3)]
        streams: list[Any] = [answer.body for answer in answers]  # type: ignore[union-attr]
        assert ("Content-Type", f"{MEDIA};stream=watch") in answers[0].headers  # type: ignore[union-attr]
        made: list[bytes] = []
        whole = serializers.message
        serializers.message = lambda kind, obj: made.append(b"") or whole(kind, obj)  # type: ignore[func-returns-value]
        try:
            waiting = [asyncio.ensure_future(frames_of(stream, 2)) for stream in streams]
            await asyncio.sleep(0)
            await api.create(CONFIG_MAPS, config_map("a", k="v"))
            await api.call("DELETE", f"{CONFIG_MAPS}/a")
            found = [await one for one in waiting]
        finally:
            serializers.message = whole
        assert [[(kind, obj["data"]) for kind, obj in events] for events in found] == [
            [("ADDED", {"k": "v"}), ("DELETED", {"k": "v"})]
        ] * 3
        assert len(made) == 2
        for stream in streams:
            await stream.aclose()

    api_server.run(scenario)


def test_errors_discovery_and_metadata_have_their_form() -> None:
    async def scenario(api: api_server.Api) -> None:
        lost = await api.call("GET", f"{CONFIG_MAPS}/none", headers=ACCEPT)
        assert (lost.code, lost.headers["content-type"]) == (404, MEDIA)
        assert protobuf.parse(lost.body)["reason"] == "NotFound"
        for path, kind in (("/api", "APIVersions"), ("/apis", "APIGroupList"), ("/apis/apps/v1", "APIResourceList")):
            answer = await api.call("GET", path, headers=ACCEPT)
            assert protobuf.parse(answer.body) == {"apiVersion": "", **await api.get(path)}, kind
        aggregated = {"accept": f"{MEDIA};as=APIGroupDiscoveryList;v=v2;g=apidiscovery.k8s.io"}
        answer = await api.call("GET", "/apis", headers=aggregated)
        assert {item["metadata"]["name"] for item in protobuf.parse(answer.body)["items"]} >= {"apps", "batch"}

    api_server.run(scenario)


def test_tables_have_no_protobuf_form() -> None:
    async def scenario(api: api_server.Api) -> None:
        for query in ("", "?watch=1"):
            answer = await api.call("GET", CONFIG_MAPS + query, headers={"accept": MEDIA + TABLE})
            assert answer.code == 406
            status = protobuf.parse(answer.body)
            assert status["message"] == (
                "object *v1.Table does not implement the protobuf marshalling interface and cannot be encoded to a protobuf message"
            )
        first = await api.get(CONFIG_MAPS, headers={"accept": f"application/json{TABLE},{MEDIA}"})
        assert first["kind"] == "Table"

    api_server.run(scenario)


def test_custom_objects_are_json_for_who_accepts_that_too() -> None:
    async def scenario(api: api_server.Api) -> None:
        api.server.services.registry.add(custom.widget_kind())
        await api.create(custom.WIDGETS, {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "a"}})
        for path in (custom.WIDGETS, f"{custom.WIDGETS}/a"):
            assert (await api.call("GET", path, headers=ACCEPT)).code == 406
            both = await api.call("GET", path, headers={"accept": f"{MEDIA},application/json"})
            assert both.headers["content-type"] == "application/json"

    api_server.run(scenario)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (f"{MEDIA},application/json", serializers.PROTOBUF),
        (f"{MEDIA};q=0.4,application/json;q=0.5", serializers.JSON),
        (f"*/*,{MEDIA}", serializers.PROTOBUF),
        ("text/html, */*;q=0.1", serializers.JSON),
        (f"application/yaml;q=0,{MEDIA}", serializers.PROTOBUF),
        ("text/yaml", serializers.YAML),
    ],
)
def test_the_best_acceptable_form_is_chosen(accept: str, expected: serializers.Serializer) -> None:
    assert negotiate.form(accept).serializer is expected


def test_what_is_remembered_is_bounded_in_bytes() -> None:
    kind = next(kind for kind in custom.kinds.builtin().all() if kind.kind == "ConfigMap")
    messages = serializers.Messages(most_bytes=10_000)
    stored = [b'{"metadata":{"name":"%d"},"data":{"k":"%b"}}' % (number, b"x" * 1000) for number in range(50)]
    for data in stored:
        messages.get(kind, data)
    assert messages.get(kind, stored[-1]) is messages.get(kind, stored[-1])
    assert sum(len(key[2]) + len(made) for key, made in messages._made.items()) <= 10_000
