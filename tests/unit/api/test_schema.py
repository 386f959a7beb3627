"""Schemas carry what merging, server-side apply and decoding need, from both sources."""

from pinnace.api import custom, schema


def _definition(name: str) -> schema.Schema:
    return schema.definition("io.k8s.api.core.v1." + name)


def test_lists_know_their_keys_and_how_they_merge() -> None:
    ports = _definition("Container").properties["ports"]
    assert (ports.list_type, ports.list_map_keys) == ("map", ("containerPort", "protocol"))
    assert (ports.patch_strategy, ports.patch_merge_key) == (("merge",), "containerPort")
    assert ports.items is not None
    assert ports.items.properties["protocol"].default == "TCP"
    assert _definition("PodSpec").properties["volumes"].patch_strategy == ("merge", "retainKeys")
    assert _definition("ObjectReference").map_type == "atomic"
    strategy = schema.definition("io.k8s.api.apps.v1.DeploymentSpec").properties["strategy"]
    assert strategy.patch_strategy == ("retainKeys",)
    assert "rollingUpdate" in strategy.properties


def test_special_scalars_are_recognised() -> None:
    requirements = _definition("ResourceRequirements")
    limits = requirements.properties["limits"].additional
    assert limits is not None
    assert limits.format == schema.QUANTITY
    assert _definition("ServicePort").properties["targetPort"].int_or_string
    meta = schema.definition(schema.OBJECT_META)
    assert meta.properties["creationTimestamp"].format == schema.TIME
    lease = schema.definition("io.k8s.api.coordination.v1.LeaseSpec")
    assert lease.properties["renewTime"].format == schema.MICRO_TIME
    assert _definition("Secret").properties["data"].additional is not None


def test_a_definition_may_contain_itself() -> None:
    name = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps"
    props = schema.definition(name)
    assert props.properties["properties"].additional is props


def test_custom_resources_take_the_same_path() -> None:
    made = schema.from_openapi_v3(
        {
            "type": "object",
            "properties": {
                "spec": {
                    "type": "object",
                    "required": ["size"],
                    "properties": {
                        "size": {"type": "integer", "minimum": 1},
                        "port": {"x-kubernetes-int-or-string": True},
                        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                        "items": {
                            "type": "array",
                            "x-kubernetes-list-type": "map",
                            "x-kubernetes-list-map-keys": ["name"],
                            "items": {"type": "object", "properties": {"name": {"type": "string"}}},
                        },
                    },
                }
            },
        }
    )
    spec = made.properties["spec"]
    assert made.properties["metadata"].name == schema.OBJECT_META
    assert spec.required == ("size",)
    assert spec.properties["size"].constraints == {"minimum": 1}
    assert spec.properties["port"].int_or_string
    assert spec.properties["free"].preserve_unknown
    assert spec.properties["items"].list_map_keys == ("name",)


def test_a_resource_without_a_schema_keeps_everything() -> None:
    kind = custom.kind("example.com", "v1", "Thing", "things")
    assert kind.schema.preserve_unknown
