"""The decoder's strict road, and its fast one: is this value already exactly what would be stored?

For each schema one compiled predicate: True says that a value has no unknown field, no null, no wrong type, nothing that is
written in another than its canonical form, and no empty value that disappears. Most input is like that; whatever is not takes
the thorough road (`decode_lenient`), which says why or puts it right. A predicate never says True where `decode_lenient` would change
something or complain (a property that the tests hold).
"""

import binascii
import datetime
import re
from collections.abc import Callable
from typing import Any

from pinnace.api import omitempty, quantity, times
from pinnace.api import schema as schemas

Predicate = Callable[[Any], bool]

INT_RANGES = {"int32": (-(2**31), 2**31 - 1), "int64": (-(2**63), 2**63 - 1)}
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)
_MICRO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)


def is_clean(schema: schemas.Schema, value: Any) -> bool:
    return predicate(schema)(value)


def predicate(schema: schemas.Schema) -> Predicate:
    """Compiled once for a schema and kept on it."""
    if schema.compiled is None:
        schema.compiled = _compile(schema)
    made: Predicate = schema.compiled
    return made


def _compile(schema: schemas.Schema) -> Predicate:
    match schema.type:
        case "object" if schema.properties:
            return _struct(schema)
        case "object" if schema.additional is not None:
            return _map(schema.additional)
        case "object":
            return _is_object if schema.preserve_unknown else _is_empty_object
        case "array" if schema.items is not None:
            return _array(schema.items)
        case "array":
            return _is_array
        case "string":
            return _STRINGS.get(schema.format, _is_text)
        case "integer":
            return _integer(schema.format)
        case "number":
            return _is_number
        case "boolean":
            return _is_flag
    return _is_anything


def _struct(schema: schemas.Schema) -> Predicate:
    fields: dict[str, Predicate] = {}
    unknown: Predicate | None = _is_anything if schema.preserve_unknown else None

    # Filled at first use: a schema may contain itself.
    def clean(value: Any) -> bool:
        if value.__class__ is not dict:
            return False
        if not fields:
            _fill_fields(schema, fields)
        for key, item in value.items():
            check = fields.get(key, unknown)
            if check is None or not check(item):
                return False
        return True

    return clean


def _fill_fields(schema: schemas.Schema, fields: dict[str, Predicate]) -> None:
    vanishing, nullable = omitempty.vanishing(schema.name), omitempty.nullable(schema.name)
    for name, item in schema.properties.items():
        check = predicate(item)
        if name in nullable:
            check = _or_null(check)
        elif name in vanishing:
            check = _is_full_text if check is _is_text else _truthy(check)
        fields[name] = check


def _truthy(check: Predicate) -> Predicate:
    def full(value: Any) -> bool:
        return bool(value) and check(value)

    return full


def _or_null(check: Predicate) -> Predicate:
    def clean(value: Any) -> bool:
        return value is None or check(value)

    return clean


def _map(values: schemas.Schema) -> Predicate:
    check = predicate(values)

    def clean(value: Any) -> bool:
        if value.__class__ is not dict:
            return False
        for item in value.values():  # noqa: SIM110 (a loop costs half of a generator here)
            if not check(item):
                return False
        return True

    return clean


def _array(items: schemas.Schema) -> Predicate:
    # Not compiled before the first item: the items may be of the very schema that is being compiled.
    check: Predicate | None = None

    def clean(value: Any) -> bool:
        nonlocal check
        if value.__class__ is not list:
            return False
        if check is None:
            check = predicate(items)
        for item in value:  # noqa: SIM110
            if not check(item):
                return False
        return True

    return clean


def _integer(form: str) -> Predicate:
    low, high = INT_RANGES.get(form, INT_RANGES["int64"])

    def clean(value: Any) -> bool:
        return value.__class__ is int and low <= value <= high

    return clean


def _is_text(value: Any) -> bool:
    return value.__class__ is str


def _is_full_text(value: Any) -> bool:
    return value.__class__ is str and value != ""


def _is_flag(value: Any) -> bool:
    return value.__class__ is bool


def _is_number(value: Any) -> bool:
    return value.__class__ is int or (value.__class__ is float and not value.is_integer())


def _is_object(value: Any) -> bool:
    return value.__class__ is dict


def _is_empty_object(value: Any) -> bool:
    return value.__class__ is dict and not value


def _is_array(value: Any) -> bool:
    return value.__class__ is list


def _is_anything(value: Any) -> bool:
    return value is not None


def _is_quantity(value: Any) -> bool:
    if value.__class__ is not str:
        return False
    try:
        return bool(quantity.canonical(value) == value)
    except ValueError:
        return False


def _is_int_or_string(value: Any) -> bool:
    if value.__class__ is int:
        low, high = INT_RANGES["int32"]
        return bool(low <= value <= high)
    return value.__class__ is str


def _is_time(value: Any) -> bool:
    return value.__class__ is str and _TIME.fullmatch(value) is not None and _is_moment(value)


def _is_micro_time(value: Any) -> bool:
    return value.__class__ is str and _MICRO_TIME.fullmatch(value) is not None and _is_moment(value)


def _is_moment(value: str) -> bool:
    try:
        datetime.datetime.fromisoformat(value)
    except ValueError:
        return False
    return times.shown(value) is not None


def _is_base64(value: Any) -> bool:
    if value.__class__ is not str:
        return False
    try:
        binascii.a2b_base64(value, strict_mode=True)
    except ValueError:
        return False
    return True


_STRINGS: dict[str, Predicate] = {
    schemas.QUANTITY: _is_quantity,
    schemas.INT_OR_STRING: _is_int_or_string,
    schemas.TIME: _is_time,
    schemas.MICRO_TIME: _is_micro_time,
    schemas.BYTES: _is_base64,
}
