"""Definitions in the dialects of OpenAPI v2 and v3, and only those that a document's paths lead to."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pinnace.api import kinds
from pinnace.api import schema as schemas

Json = dict[str, Any]

META = "io.k8s.apimachinery.pkg.apis.meta.v1."
STATUS = META + "Status"
DELETE_OPTIONS = META + "DeleteOptions"
PATCH = META + "Patch"
OBJECT_META = META + "ObjectMeta"
LIST_META = META + "ListMeta"
_SCALE = "io.k8s.api.autoscaling.v1.Scale"

_QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
_INT_OR_STRING = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
_QUANTITY_WORDS = "Quantity is a fixed-point representation of a number, such as 100m, 1.5 or 2Gi."
_INT_OR_STRING_WORDS = "IntOrString is a number or a text, such as 8080, http or 25%."
_API_VERSION_WORDS = "APIVersion defines the versioned schema of this representation of an object."
_KIND_WORDS = "Kind is a string value representing the REST resource this object represents."


def list_name(kind: kinds.Kind) -> str:
    return kind.definition + "List"


def roots(kind: kinds.Kind) -> list[str]:
    """The definitions that the paths of `kind` refer to."""
    found = [kind.definition, STATUS, DELETE_OPTIONS, PATCH]
    if "list" in kind.verbs:
        found.append(list_name(kind))
    for sub in kind.subresources:
        name = subresource_name(kind, sub)
        if name is not None:
            found.append(name)
    return found


def subresource_name(kind: kinds.Kind, sub: kinds.Subresource) -> str | None:
    """The definition of what a subresource speaks; None for streams (exec, proxy …)."""
    if sub.kind == kind.kind:
        return kind.definition
    if sub.kind == "Scale":
        return _SCALE
    name = kinds.definition_name(sub.group or kind.group, sub.version or kind.version, sub.kind)
    return name if name in schemas.structure() else None


class _Dialect:
    prefix = ""

    def __init__(self) -> None:
        self._raw = schemas.documented()

    def reference(self, name: str) -> Json:
        return {"$ref": self.prefix + name}

    def definitions(self, wanted: Iterable[str], served: Sequence[kinds.Kind]) -> Json:
        """`wanted` and what they refer to, by name in order."""
        for kind in served:
            if kind.own_openapi is not None:
                self._add_own(kind, kind.own_openapi)
        found: Json = {}
        waiting = list(wanted)
        while waiting:
            name = waiting.pop()
            if name in found or name not in self._raw:
                continue
            raw = self._raw[name]
            found[name] = self.special(name) or self.convert(raw)
            waiting.extend(_references(raw))
        return dict(sorted(found.items()))

    def convert(self, raw: Any) -> Any:
        raise NotImplementedError

    def special(self, name: str) -> Json | None:
        raise NotImplementedError

    def _add_own(self, kind: kinds.Kind, props: Mapping[str, Any]) -> None:
        name = kind.definition
        self._raw[name] = _custom(kind, props)
        self._raw[list_name(kind)] = _custom_list(kind, name)


class V2(_Dialect):
    prefix = schemas.REF

    def convert(self, raw: Any) -> Any:
        if isinstance(raw, list):
            return [self.convert(item) for item in raw]
        if not isinstance(raw, Mapping):
            return raw
        # Swagger 2.0 knows neither alternatives nor nullable: what a custom resource says with them is left out.
        return {
            key: {name: self.convert(item) for name, item in value.items()}
            if key == "properties"
            else self.convert(value)
            for key, value in raw.items()
            if key not in ("oneOf", "anyOf", "not", "nullable")
        }

    def special(self, name: str) -> Json | None:
        if name == _QUANTITY:
            return {"description": _QUANTITY_WORDS, "type": "string"}
        if name == _INT_OR_STRING:
            return {"description": _INT_OR_STRING_WORDS, "format": "int-or-string", "type": "string"}
        return None


class V3(_Dialect):
    prefix = "#/components/schemas/"

    def convert(self, raw: Any) -> Any:
        if isinstance(raw, list):
            return [self.convert(item) for item in raw]
        if not isinstance(raw, Mapping):
            return raw
        reference = raw.get("$ref")
        if isinstance(reference, str):
            return self._referring(reference, raw)
        return {
            key: {name: self.convert(item) for name, item in value.items()}
            if key == "properties"
            else self.convert(value)
            for key, value in raw.items()
        }

    def _referring(self, reference: str, raw: Mapping[str, Any]) -> Json:
        """Beside a reference nothing else may stand, so that what does makes it the only part of an `allOf`."""
        target = self.reference(reference.removeprefix(schemas.REF))
        rest = {key: self.convert(value) for key, value in raw.items() if key != "$ref"}
        return {"allOf": [target], **rest} if rest else target

    def special(self, name: str) -> Json | None:
        if name == _QUANTITY:
            return {"description": _QUANTITY_WORDS, "oneOf": [{"type": "string"}, {"type": "number"}]}
        if name == _INT_OR_STRING:
            return {
                "description": _INT_OR_STRING_WORDS,
                "format": "int-or-string",
                "oneOf": [{"type": "integer"}, {"type": "string"}],
            }
        return None


def _references(raw: Any) -> list[str]:
    found: list[str] = []
    if isinstance(raw, list):
        for item in raw:
            found.extend(_references(item))
    elif isinstance(raw, Mapping):
        reference = raw.get("$ref")
        if isinstance(reference, str):
            found.append(reference.removeprefix(schemas.REF))
        for value in raw.values():
            if isinstance(value, Mapping | list):
                found.extend(_references(value))
    return found


def _custom(kind: kinds.Kind, props: Mapping[str, Any]) -> Json:
    properties = {
        "apiVersion": {"description": _API_VERSION_WORDS, "type": "string"},
        "kind": {"description": _KIND_WORDS, "type": "string"},
        "metadata": {"$ref": schemas.REF + OBJECT_META, "description": "Standard object's metadata."},
        **{
            name: item
            for name, item in props.get("properties", {}).items()
            if name not in ("apiVersion", "kind", "metadata")
        },
    }
    return {
        **props,
        "type": "object",
        "properties": properties,
        "x-kubernetes-group-version-kind": [group_version_kind(kind.group, kind.version, kind.kind)],
    }


def _custom_list(kind: kinds.Kind, name: str) -> Json:
    return {
        "description": f"{kind.kind}List is a list of {kind.kind}",
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"description": _API_VERSION_WORDS, "type": "string"},
            "kind": {"description": _KIND_WORDS, "type": "string"},
            "metadata": {"$ref": schemas.REF + LIST_META, "description": "Standard list metadata."},
            "items": {
                "description": f"List of {kind.plural}.",
                "type": "array",
                "items": {"$ref": schemas.REF + name},
            },
        },
        "x-kubernetes-group-version-kind": [group_version_kind(kind.group, kind.version, kind.kind + "List")],
    }


def group_version_kind(group: str, version: str, kind: str) -> Json:
    return {"group": group, "kind": kind, "version": version}
