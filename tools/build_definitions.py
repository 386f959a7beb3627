"""Compile the OpenAPI definitions of Kubernetes v1.36 into the tables that the wheel ships.

Hatch calls it as a build hook, for an editable install too; `python tools/build_definitions.py` does the same by hand.
The source is the PyPI package `kubernetes-validate`. Out come two files in `src/pinnace/api/definitions/`:

* `structure.zst`: every definition without prose, read at start: a JSON object, name -> OpenAPI v2 schema;
* `openapi.zst`: the same with descriptions and enumerations (`build_enums.py`), read only when somebody asks for the OpenAPI documents.

The source spells "nullable" as `"type": [x, "null"]` and a quantity or int-or-string as `oneOf`; both are turned back into
what upstream's document says.
"""

import importlib.util
import pathlib
from typing import Any

import orjson
import zstandard
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

VERSION = "v1.36.0-local"
TARGET = pathlib.Path(__file__).resolve().parent.parent / "src" / "pinnace" / "api" / "definitions"
ENUMS = pathlib.Path(__file__).resolve().parent / "enums.txt"
REF = "#/$defs/"

# What the source replaces by `oneOf`.
SPECIAL: dict[str, dict[str, str]] = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"type": "string", "format": "quantity"},
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"type": "string", "format": "int-or-string"},
}

# What upstream's document says and the source does not: defaults that the identity of list items depends on (server-side apply).
DEFAULTS: dict[str, dict[str, Any]] = {
    "io.k8s.api.core.v1.ContainerPort": {"protocol": "TCP"},
    "io.k8s.api.core.v1.ServicePort": {"protocol": "TCP"},
}


def plain(schema: Any) -> Any:
    """`schema` in upstream's own spelling: one type, references below `#/definitions/`."""
    if isinstance(schema, list):
        return [plain(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    out: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "properties":
            out[key] = {name: plain(item) for name, item in value.items()}
        elif key == "type" and isinstance(value, list):
            (out[key],) = [name for name in value if name != "null"]
        elif key == "$ref":
            out[key] = "#/definitions/" + value.removeprefix(REF)
        elif key == "enum" and None in value:
            out[key] = [item for item in value if item is not None]
        else:
            out[key] = plain(value)
    return out


def without_kind_enums(schema: dict[str, Any]) -> dict[str, Any]:
    """The source pins `apiVersion` and `kind` of top-level kinds by an enum that upstream does not have."""
    if "x-kubernetes-group-version-kind" in schema:
        for name in ("apiVersion", "kind"):
            schema.get("properties", {}).get(name, {}).pop("enum", None)
    return schema


def without_prose(schema: Any) -> Any:
    if isinstance(schema, list):
        return [without_prose(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: {name: without_prose(item) for name, item in value.items()}
        if key == "properties"
        else without_prose(value)
        for key, value in schema.items()
        if key not in ("description", "x-kubernetes-group-version-kind")
    }


def definitions() -> dict[str, Any]:
    # Found, not imported: the package's own import reads files that are not needed here.
    spec = importlib.util.find_spec("kubernetes_validate")
    if spec is None or spec.origin is None:
        raise SystemExit("kubernetes-validate is not installed: pip install kubernetes-validate==1.37.0")
    source = pathlib.Path(spec.origin).parent / "kubernetes-json-schema" / VERSION / "_definitions.json"
    found = orjson.loads(source.read_bytes())["$defs"]
    made = {name: SPECIAL.get(name) or without_kind_enums(plain(schema)) for name, schema in sorted(found.items())}
    for name, fields in DEFAULTS.items():
        for field, value in fields.items():
            made[name]["properties"][field]["default"] = value
    return made


def add_enums(whole: dict[str, Any]) -> None:
    """What a running server says of values and the published definitions do not. For readers: validation has its own words."""
    for line in ENUMS.read_text().splitlines():
        name, field, *values = line.split(" ")
        schema = whole.get(name, {}).get("properties", {}).get(field.removesuffix("[]"))
        if schema is not None:
            (schema["items"] if field.endswith("[]") else schema)["enum"] = [value.strip('"') for value in values]


def write(target: pathlib.Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    whole = definitions()
    compress = zstandard.ZstdCompressor(level=19).compress
    structure = {name: without_prose(schema) for name, schema in whole.items()}
    (target / "structure.zst").write_bytes(compress(orjson.dumps(structure)))
    add_enums(whole)
    (target / "openapi.zst").write_bytes(compress(orjson.dumps(whole)))


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg, misc, unused-ignore]
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        del version, build_data
        write(pathlib.Path(self.root) / "src" / "pinnace" / "api" / "definitions")


if __name__ == "__main__":
    write(TARGET)
