"""The OpenAPI documents hold together and say what kubectl looks for."""

import re
from typing import Any

import orjson
import pytest

from pinnace.api import custom, errors, kinds, openapi
from pinnace.api.openapi import protobuf
from pinnace.api.protobuf import reading

REGISTRY = kinds.builtin()
GROUP_VERSIONS = sorted({kind.api_version for kind in REGISTRY.all()})


def _custom() -> kinds.Kind:
    props = {
        "type": "object",
        "description": "A thing.",
        "properties": {
            "spec": {"type": "object", "description": "Wanted.", "properties": {"size": {"type": "integer"}}}
        },
    }
    return custom.kind(
        "stable.example.com",
        "v1",
        "Thing",
        "things",
        openapi=props,
    )


@pytest.mark.parametrize("group_version", GROUP_VERSIONS)
def test_every_reference_of_a_v3_document_leads_somewhere(group_version: str) -> None:
    data = openapi.v3_document(group_version, REGISTRY.all())
    schemas = orjson.loads(data)["components"]["schemas"]
    for name in set(re.findall(rb'"#/components/schemas/([^"]+)"', data)):
        assert name.decode() in schemas


def test_the_v2_document_is_whole_and_its_operations_are_unique() -> None:
    data = openapi.v2_document(REGISTRY.all())
    document = orjson.loads(data)
    for name in set(re.findall(rb'"#/definitions/([^"]+)"', data)):
        assert name.decode() in document["definitions"]
    operations = [
        operation["operationId"]
        for path in document["paths"].values()
        for method, operation in path.items()
        if method != "parameters"
    ]
    assert len(operations) == len(set(operations)) > 500


def test_the_protobuf_form_says_the_same_as_the_json() -> None:
    """Read back by field number: paths (8), definitions (9), a name (1) and a schema (2) of each, its description (4)."""

    def fields(data: bytes, number: int) -> list[bytes]:
        return [value for found, value in reading.entries(data) if found == number and isinstance(value, bytes)]

    data = openapi.v2_document(REGISTRY.all())
    document = orjson.loads(data)
    encoded = protobuf.encode(document)
    definitions = {fields(one, 1)[0].decode(): fields(one, 2)[0] for one in fields(fields(encoded, 9)[0], 1)}
    assert set(definitions) == set(document["definitions"])
    for name, schema_bytes in definitions.items():
        said = document["definitions"][name]
        assert [text.decode() for text in fields(schema_bytes, 4)] == [said["description"]] * ("description" in said)
        properties = [fields(one, 1)[0].decode() for part in fields(schema_bytes, 25) for one in fields(part, 1)]
        assert properties == list(said.get("properties", {}))
    assert [fields(one, 1)[0].decode() for one in fields(fields(encoded, 8)[0], 2)] == list(document["paths"])


def test_what_the_protobuf_form_cannot_say_is_refused_not_dropped() -> None:
    with pytest.raises(errors.StatusError, match="oneOf"):
        protobuf.encode({"definitions": {"a": {"oneOf": []}}})


def test_the_index_names_every_group_and_version() -> None:
    paths = openapi.v3_index(REGISTRY.all())["paths"]
    assert set(paths) == {f"apis/{name}" if "/" in name else f"api/{name}" for name in GROUP_VERSIONS}
    digest = openapi.etag("apps/v1", REGISTRY.all())
    assert paths["apis/apps/v1"] == {"serverRelativeURL": f"/openapi/v3/apis/apps/v1?hash={digest}"}


def test_a_hash_changes_with_its_document_alone() -> None:
    other = kinds.builtin()
    other.add(_custom())
    assert openapi.etag("apps/v1", other.all()) == openapi.etag("apps/v1", REGISTRY.all())
    before = openapi.etag("stable.example.com/v1", other.all())
    other.remove(_custom())
    assert openapi.etag("stable.example.com/v1", other.all()) != before


def test_an_unknown_group_has_no_document() -> None:
    with pytest.raises(KeyError):
        openapi.v3_document("example.com/v1", REGISTRY.all())


def _patch(document: Any, path: str) -> Any:
    return document["paths"][path]["patch"]


def test_kubectl_finds_what_patches_and_parameters_a_kind_knows() -> None:
    document = orjson.loads(openapi.v3_document("apps/v1", REGISTRY.all()))
    patch = _patch(document, "/apis/apps/v1/namespaces/{namespace}/deployments/{name}")
    assert patch["x-kubernetes-group-version-kind"] == {"group": "apps", "kind": "Deployment", "version": "v1"}
    assert patch["x-kubernetes-action"] == "patch"
    assert {"dryRun", "fieldManager", "fieldValidation", "force"} <= {item["name"] for item in patch["parameters"]}
    assert set(patch["requestBody"]["content"]) == {
        "application/apply-patch+yaml",
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/strategic-merge-patch+json",
    }


def test_kubectl_explain_finds_kinds_and_words() -> None:
    document = orjson.loads(openapi.v3_document("v1", REGISTRY.all()))
    listing = document["paths"]["/api/v1/namespaces/{namespace}/pods"]["get"]
    wanted = listing["x-kubernetes-group-version-kind"]
    schemas = document["components"]["schemas"]
    (pod,) = [found for found in schemas.values() if wanted in found.get("x-kubernetes-group-version-kind", ())]
    assert pod["description"].startswith("Pod is a collection of containers")
    assert pod["properties"]["spec"]["allOf"] == [{"$ref": "#/components/schemas/io.k8s.api.core.v1.PodSpec"}]
    assert pod["properties"]["spec"]["description"]
    spec = schemas["io.k8s.api.core.v1.PodSpec"]
    assert spec["required"] == ["containers"]
    volumes = spec["properties"]["volumes"]
    assert volumes["x-kubernetes-patch-strategy"] == "merge,retainKeys"
    assert volumes["x-kubernetes-list-map-keys"] == ["name"]
    assert schemas["io.k8s.apimachinery.pkg.util.intstr.IntOrString"]["oneOf"] == [
        {"type": "integer"},
        {"type": "string"},
    ]


def test_custom_resources_are_documented_too() -> None:
    registry = kinds.builtin()
    registry.add(_custom())
    document = orjson.loads(openapi.v3_document("stable.example.com/v1", registry.all()))
    path = "/apis/stable.example.com/v1/namespaces/{namespace}/things/{name}"
    assert "application/strategic-merge-patch+json" not in _patch(document, path)["requestBody"]["content"]
    thing = document["components"]["schemas"]["com.example.stable.v1.Thing"]
    assert thing["description"] == "A thing."
    assert set(thing["properties"]) == {"apiVersion", "kind", "metadata", "spec"}
    assert "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta" in document["components"]["schemas"]
    swagger = orjson.loads(openapi.v2_document(registry.all()))
    assert "com.example.stable.v1.ThingList" in swagger["definitions"]


def test_fields_name_the_values_that_they_may_have() -> None:
    container = orjson.loads(openapi.v2_document(REGISTRY.all()))["definitions"]["io.k8s.api.core.v1.Container"][
        "properties"
    ]
    assert container["imagePullPolicy"]["enum"] == ["Always", "IfNotPresent", "Never"]
    document = orjson.loads(openapi.v3_document("v1", [kind for kind in REGISTRY.all() if kind.api_version == "v1"]))[
        "components"
    ]["schemas"]
    service = document["io.k8s.api.core.v1.ServiceSpec"]["properties"]
    assert service["ipFamilies"]["items"]["enum"] == ["", "IPv4", "IPv6"]
