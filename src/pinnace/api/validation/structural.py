"""Rules that a schema states.

`required` serves built-in kinds without rules of their own; `custom` serves custom resources, in the words of upstream's
schema validator (`spec.replicas in body must be of type integer: "string"`).
"""

import re
from collections.abc import Mapping
from typing import Any

from pinnace.api import errors, quantity
from pinnace.api import schema as schemas
from pinnace.api.validation import field, formats

Causes = field.Causes

_JSON_TYPES: dict[type, str] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    list: "array",
    dict: "object",
    type(None): "null",
}


def required(found: Causes, schema: schemas.Schema, value: Any, path: str) -> None:
    """Texts, lists and structures that must be there and not empty, wherever their owner is there."""
    if isinstance(value, dict):
        for name in schema.required:
            wanted = schema.properties[name]
            if (wanted.type in ("string", "array") and not value.get(name)) or (
                wanted.type == "object" and value.get(name) is None
            ):
                found.required(f"{path}.{name}" if path else name)
        for name, item in value.items():
            inner = schema.properties.get(name) or schema.additional
            if inner is not None and name not in ("metadata", "status"):
                required(found, inner, item, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and schema.items is not None:
        for index, item in enumerate(value):
            required(found, schema.items, item, f"{path}[{index}]")


def custom(found: Causes, schema: schemas.Schema, value: Any, path: str) -> None:
    if value is None and schema.nullable:
        return
    if not _has_type(schema, value):
        wanted = "integer,string" if schema.int_or_string else schema.type
        _body(
            found, path, value, f"must be of type {wanted}: {field.shown(_json_type(value))}", "FieldValueTypeInvalid"
        )
        return
    if schema.enum and value not in schema.enum:
        supported = ", ".join(field.shown(item) for item in schema.enum)
        found.append(
            errors.Cause(
                "FieldValueNotSupported",
                f"Unsupported value: {field.shown(value)}: supported values: {supported}",
                path,
            )
        )
    match value:
        case dict():
            _object(found, schema, value, path)
        case list():
            _array(found, schema, value, path)
        case str():
            _text(found, schema, value, path)
        case bool():
            pass
        case int() | float():
            _number(found, schema.constraints, value, path)
    _combined(found, schema.constraints, value, path)


def _json_type(value: Any) -> str:
    return _JSON_TYPES[type(value)]


def _has_type(schema: schemas.Schema, value: Any) -> bool:
    if schema.int_or_string:
        return isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool))
    match schema.type:
        case "any":
            return True
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "integer":
            is_whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
            return is_whole and not isinstance(value, bool)
    return _json_type(value) == schema.type


def _body(found: Causes, path: str, value: Any, what: str, reason: str = "FieldValueInvalid") -> None:
    shown = field.shown(_json_type(value) if isinstance(value, dict | list) else value)
    if reason == "FieldValueTypeInvalid":
        shown = field.shown(_json_type(value))
    found.append(errors.Cause(reason, f"Invalid value: {shown}: {path} in body {what}", path))


def _object(found: Causes, schema: schemas.Schema, value: dict[str, Any], path: str) -> None:
    for name in schema.required:
        if name not in value:
            found.required(f"{path}.{name}" if path else name)
    limits = schema.constraints
    if len(value) > limits.get("maxProperties", len(value)):
        found.too_many(path, len(value), limits["maxProperties"])
    if len(value) < limits.get("minProperties", 0):
        _body(found, path, value, f"should have at least {limits['minProperties']} properties")
    for name, item in value.items():
        inner = schema.properties.get(name) or schema.additional
        if inner is not None and inner.name != schemas.OBJECT_META:
            custom(found, inner, item, f"{path}.{name}" if path else name)


def _array(found: Causes, schema: schemas.Schema, value: list[Any], path: str) -> None:
    limits = schema.constraints
    if len(value) > limits.get("maxItems", len(value)):
        found.too_many(path, len(value), limits["maxItems"])
    if len(value) < limits.get("minItems", 0):
        _body(found, path, value, f"should have at least {limits['minItems']} items")
    seen: list[Any] = []
    for index, item in enumerate(value):
        if schema.items is not None:
            custom(found, schema.items, item, f"{path}[{index}]")
        key = item
        if schema.list_type == "map" and isinstance(item, dict):
            key = {name: item[name] for name in schema.list_map_keys if name in item}
        if schema.list_type in ("set", "map"):
            if key in seen:
                found.duplicate(f"{path}[{index}]", key)
            seen.append(key)


def _text(found: Causes, schema: schemas.Schema, value: str, path: str) -> None:
    limits = schema.constraints
    if len(value) > limits.get("maxLength", len(value)):
        found.append(
            errors.Cause("FieldValueTooLong", f"Too long: may not be more than {limits['maxLength']} bytes", path)
        )
    if len(value) < limits.get("minLength", 0):
        _body(found, path, value, f"should be at least {limits['minLength']} chars long")
    pattern = limits.get("pattern")
    if pattern is not None and not _searches(pattern, value):
        _body(found, path, value, f"should match '{pattern}'")
    if schema.format and not _has_format(schema.format, value):
        _body(found, path, value, f"must be of type {schema.format}: {field.quoted(value)}")


def _searches(pattern: str, value: str) -> bool:
    """A pattern that this engine does not know holds nothing against a value: upstream refuses it with the definition."""
    try:
        return re.search(pattern, value) is not None
    except re.error:
        return True


def _has_format(name: str, value: str) -> bool:
    match name:
        case "ipv4" | "ipv6":
            parsed = formats.parse_ip(value)
            return parsed is not None and parsed.version == int(name[-1])
        case "cidr":
            return not formats.cidr(value)
        case "uuid":
            return (
                re.fullmatch(r"(?i)[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}", value) is not None
            )
        case "date":
            return re.fullmatch(r"\d{4}-\d\d-\d\d", value) is not None
        case "date-time":
            return re.fullmatch(r"(?i)\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(z|[+-]\d\d:\d\d)", value) is not None
        case "quantity":
            return _is_quantity(value)
    return True


def _is_quantity(value: str) -> bool:
    try:
        quantity.parse(value)
    except ValueError:
        return False
    return True


def _number(found: Causes, limits: Mapping[str, Any], value: float, path: str) -> None:
    low, high = limits.get("minimum"), limits.get("maximum")
    if low is not None and (value < low or (limits.get("exclusiveMinimum") and value == low)):
        what = "greater than" if limits.get("exclusiveMinimum") else "greater than or equal to"
        _body(found, path, value, f"should be {what} {low}")
    if high is not None and (value > high or (limits.get("exclusiveMaximum") and value == high)):
        what = "less than" if limits.get("exclusiveMaximum") else "less than or equal to"
        _body(found, path, value, f"should be {what} {high}")
    step = limits.get("multipleOf")
    if step and value % step:
        _body(found, path, value, f"should be a multiple of {step}")


def _combined(found: Causes, limits: Mapping[str, Any], value: Any, path: str) -> None:
    for part in limits.get("allOf", ()):
        custom(found, _parsed(part), value, path)
    if "anyOf" in limits and not any(_holds(part, value) for part in limits["anyOf"]):
        _body(found, path, value, "must validate at least one schema (anyOf)")
    if "oneOf" in limits and sum(_holds(part, value) for part in limits["oneOf"]) != 1:
        _body(found, path, value, "must validate one and only one schema (oneOf)")
    if "not" in limits and _holds(limits["not"], value):
        _body(found, path, value, "must not validate the schema (not)")


def _holds(part: Mapping[str, Any], value: Any) -> bool:
    own = Causes()
    custom(own, _parsed(part), value, "")
    return not own


def _parsed(part: Mapping[str, Any]) -> schemas.Schema:
    return schemas.from_openapi_v3(part, root=False)
