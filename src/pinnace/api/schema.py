"""Schemas: the structural facts about a kind, from the v1.36 definitions or from a custom resource's own OpenAPI v3.

Decoding, merging, server-side apply and validation all read the same `Schema`. Definitions are turned into schemas when
first asked for; a schema may refer to itself (JSONSchemaProps does), so never walk one without a value beside it.
"""

import dataclasses
import functools
import importlib.resources
from collections.abc import Mapping
from typing import Any

import orjson
import zstandard

REF = "#/definitions/"
OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
QUANTITY = "quantity"
INT_OR_STRING = "int-or-string"
TIME = "date-time"
MICRO_TIME = "date-time-micro"
BYTES = "byte"


@dataclasses.dataclass(slots=True, eq=False, repr=False)
class Schema:
    type: str = "any"
    """`object`, `array`, `string`, `integer`, `number`, `boolean`, `any`."""
    name: str = ""
    """Of the definition, where it is one: `io.k8s.api.core.v1.PodSpec`."""
    properties: dict[str, "Schema"] = dataclasses.field(default_factory=dict)
    additional: "Schema | None" = None
    """Of a map's values."""
    items: "Schema | None" = None
    required: tuple[str, ...] = ()
    enum: tuple[Any, ...] = ()
    format: str = ""
    """`int32`, `int64`, `double`, `byte`, `date-time`, `date-time-micro`, `quantity`, `int-or-string`, or a custom resource's own."""
    int_or_string: bool = False
    preserve_unknown: bool = False
    embedded_resource: bool = False
    nullable: bool = False
    list_type: str = "atomic"
    """`atomic`, `set`, `map`."""
    list_map_keys: tuple[str, ...] = ()
    map_type: str = "granular"
    """`granular`, `atomic`."""
    patch_strategy: tuple[str, ...] = ()
    """Of strategic merge: `merge`, `retainKeys`, `replace`."""
    patch_merge_key: str = ""
    unions: tuple[Mapping[str, Any], ...] = ()
    validations: tuple[Mapping[str, Any], ...] = ()
    """`x-kubernetes-validations`: CEL rules."""
    default: Any = None
    """None where there is no default."""
    constraints: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Of custom resources: `minimum`, `maxLength`, `pattern`, `oneOf` … as written."""
    compiled: Any = None
    """The decoder's own cache (`decode`)."""

    @property
    def is_typed(self) -> bool:
        """One of upstream's own structs, decoded as Go decodes those; objects of other schemas are trees that are pruned."""
        return bool(self.name)

    def __repr__(self) -> str:
        return f"<Schema {self.name or self.type}>"


_CONSTRAINT_NAMES = """
    minimum maximum exclusiveMinimum exclusiveMaximum multipleOf minLength maxLength pattern minItems maxItems uniqueItems
    minProperties maxProperties allOf anyOf oneOf not
"""
CONSTRAINTS = frozenset(_CONSTRAINT_NAMES.split())

_definitions: dict[str, Schema] = {}


def definition(name: str) -> Schema:
    """The schema of `io.k8s.api.core.v1.Pod`. Raises KeyError for a name that v1.36 does not have."""
    found = _definitions.get(name)
    if found is None:
        raw = structure()[name]
        # Known under its name before it is filled, because it may contain itself.
        found = _definitions[name] = Schema(name=name)
        _fill(found, raw)
        _special(found)
    return found


def from_openapi_v3(props: Mapping[str, Any], *, root: bool = True) -> Schema:
    """The schema that a CustomResourceDefinition states (JSONSchemaProps). At its root apiVersion, kind and metadata are added."""
    made = Schema()
    _fill(made, props)
    return _as_resource(made) if root else made


@functools.cache
def structure() -> dict[str, Any]:
    """Every definition without prose, in OpenAPI v2 spelling; not to be changed."""
    found: dict[str, Any] = orjson.loads(_read("structure.zst"))
    return found


def documented() -> dict[str, Any]:
    """Every definition with its descriptions. Large: not cached, the caller keeps what it makes of it."""
    found: dict[str, Any] = orjson.loads(documented_bytes())
    return found


def documented_bytes() -> bytes:
    return _read("openapi.zst")


def _read(name: str) -> bytes:
    packed = importlib.resources.files("pinnace.api").joinpath("definitions", name).read_bytes()
    return zstandard.decompress(packed)


def _fill(schema: Schema, raw: Mapping[str, Any]) -> None:
    schema.type = raw.get("type", "any")
    schema.format = raw.get("format", "")
    schema.properties = {name: _of_property(item) for name, item in raw.get("properties", {}).items()}
    schema.required = tuple(raw.get("required", ()))
    schema.enum = tuple(raw.get("enum") or ())
    schema.nullable = bool(raw.get("nullable", False))
    schema.default = raw.get("default")
    if "items" in raw:
        schema.items = _of_property(raw["items"])
    additional = raw.get("additionalProperties")
    if isinstance(additional, Mapping):
        schema.additional = _of_property(additional)
    elif additional is True:
        schema.preserve_unknown = True
    _extensions(schema, raw)
    schema.constraints = {key: raw[key] for key in CONSTRAINTS & raw.keys()}
    if schema.embedded_resource:
        schema.properties |= _resource_properties()
    if schema.format == INT_OR_STRING:
        schema.int_or_string = True
    if schema.int_or_string:
        schema.type, schema.format = "string", INT_OR_STRING


def _extensions(schema: Schema, raw: Mapping[str, Any]) -> None:
    """Take over what `x-kubernetes-*` says; beside a `$ref` it overrides what the definition itself says."""
    for key, value in raw.items():
        match key:
            case "x-kubernetes-list-type":
                schema.list_type = value
            case "x-kubernetes-list-map-keys":
                schema.list_map_keys = tuple(value)
            case "x-kubernetes-map-type":
                schema.map_type = value
            case "x-kubernetes-patch-strategy":
                schema.patch_strategy = tuple(value.split(","))
            case "x-kubernetes-patch-merge-key":
                schema.patch_merge_key = value
            case "x-kubernetes-unions":
                schema.unions = tuple(value)
            case "x-kubernetes-validations":
                schema.validations = tuple(value)
            case "x-kubernetes-int-or-string":
                schema.int_or_string = bool(value)
            case "x-kubernetes-preserve-unknown-fields":
                schema.preserve_unknown = bool(value)
            case "x-kubernetes-embedded-resource":
                schema.embedded_resource = bool(value)


def _of_property(raw: Mapping[str, Any]) -> Schema:
    reference = raw.get("$ref")
    if isinstance(reference, str):
        target = definition(reference.removeprefix(REF))
        if not any(key.startswith("x-kubernetes-") for key in raw) and "default" not in raw:
            return target
        own = dataclasses.replace(target, default=raw.get("default", target.default))
        _extensions(own, raw)
        return own
    made = Schema()
    _fill(made, raw)
    return made


def _special(schema: Schema) -> None:
    """Definitions whose JSON form is not what their structure says."""
    match schema.name.rpartition(".")[2]:
        case "MicroTime":
            schema.format = MICRO_TIME
        case "RawExtension" | "FieldsV1" | "Patch":
            schema.preserve_unknown = True
            # A set of fields is replaced as a whole, and so is an embedded object.
            schema.map_type = "atomic"


def _as_resource(schema: Schema) -> Schema:
    return dataclasses.replace(schema, type="object", properties={**schema.properties, **_resource_properties()})


def _resource_properties() -> dict[str, Schema]:
    text = Schema(type="string")
    return {"apiVersion": text, "kind": text, "metadata": definition(OBJECT_META)}


UNTYPED = Schema(type="object", preserve_unknown=True)
UNTYPED_RESOURCE = _as_resource(UNTYPED)
