"""From protobuf to values of JSON's form, as upstream would print them: what Go leaves out when it is empty is left out here already.

Parsed by hand: a generic message layer would be walked a second time for the kinds whose JSON form is their own (quantities, times, int-or-strings).
"""

import base64
import datetime
import struct
from collections.abc import Callable, Iterator
from typing import Any

import orjson

from pinnace.api import omitempty, times
from pinnace.api.protobuf import fields

MAX_DEPTH = 100


class ProtobufError(ValueError):
    """The bytes are not what they should be; says where."""


def parse(data: bytes) -> dict[str, Any]:
    """The object in `data`. Raises ProtobufError."""
    if not data.startswith(fields.MAGIC):
        raise ProtobufError("the body does not begin with the bytes `k8s\\0`")
    type_meta: dict[str, Any] = {}
    raw = b""
    for number, value in entries(data[len(fields.MAGIC) :]):
        if number == 1 and isinstance(value, bytes):
            type_meta = {name: _text(part) for name, part in _named(value, ("apiVersion", "kind"))}
        elif number == 2 and isinstance(value, bytes):
            raw = value
        elif number in (3, 4) and value not in (b"", b"application/vnd.kubernetes.protobuf"):
            raise ProtobufError(f"the envelope holds {value!r}, which is not supported")
    api_version, kind = type_meta.get("apiVersion", ""), type_meta.get("kind", "")
    message = _message_of(api_version, kind)
    return {"apiVersion": api_version, "kind": kind, **_object(raw, message, 0)}


def _message_of(api_version: str, kind: str) -> str:
    name = fields.message_of(api_version, kind)
    if name is None:
        raise ProtobufError(f"no kind {kind!r} is registered for version {api_version!r} in protobuf form")
    return name


def _object(data: bytes, name: str, depth: int) -> dict[str, Any]:
    if depth > MAX_DEPTH:
        raise ProtobufError(f"messages are nested deeper than {MAX_DEPTH}")
    message = fields.table()[name]
    made: dict[str, Any] = {}
    for number, value in entries(data):
        field = message.get(number)
        if field is None:
            continue  # of a newer version than ours: dropped, as upstream does
        if field.form == "^":
            made |= _object(_bytes(value, field), field.message, depth + 1)
        elif field.form == "%":
            key, item = _map_entry(_bytes(value, field), field, depth)
            made.setdefault(field.name, {})[key] = item
        elif field.form == "*":
            made.setdefault(field.name, []).extend(_repeated(value, field, depth))
        else:
            _put(made, field, _value(value, field, depth))
    return made


def _put(made: dict[str, Any], field: fields.Field, value: Any) -> None:
    """The last one counts; an empty value is absence where JSON would not show it."""
    if (not value and omitempty.is_omitted(field)) or (value is None and (field.is_pointer or field.is_dropped)):
        made.pop(field.name, None)
    else:
        made[field.name] = value


def _value(value: int | bytes, field: fields.Field, depth: int) -> Any:
    if field.message:
        special = _SPECIAL.get(field.message) or _SPECIAL.get(field.message.rpartition(".")[2])
        data = _bytes(value, field)
        return special(data, field.message, depth + 1) if special else _object(data, field.message, depth + 1)
    match field.scalar:
        case "s":
            return _text(_bytes(value, field))
        case "y":
            return base64.b64encode(_bytes(value, field)).decode()
        case "d":
            return omitempty.number(struct.unpack("<d", _bytes(value, field))[0])
    if not isinstance(value, int):
        raise ProtobufError(f"field {field.name} is not a number")
    if field.scalar == "b":
        return value != 0
    return value - 2**64 if value >= 2**63 else value


def _repeated(value: int | bytes, field: fields.Field, depth: int) -> Iterator[Any]:
    if field.scalar in ("i", "b") and isinstance(value, bytes):  # packed
        at = 0
        while at < len(value):
            number, at = _varint(value, at)
            yield _value(number, field, depth)
    else:
        yield _value(value, field, depth)


def _map_entry(data: bytes, field: fields.Field, depth: int) -> tuple[str, Any]:
    key, item = "", None
    for number, value in entries(data):
        if number == 1:
            key = _text(_bytes(value, field))
        elif number == 2:
            item = _value(value, field, depth)
    if item is None:
        item = _value(b"", field, depth) if field.message or field.scalar in ("s", "y") else _value(0, field, depth)
    return key, item


def entries(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(field number, value) in their order; fixed-width values come as their bytes."""
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire == 2:
            size, at = _varint(data, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ProtobufError(f"wire type {wire} of field {number} is not known")
        if size > end - at:
            raise ProtobufError("unexpected EOF")
        yield number, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data):
            raise ProtobufError("unexpected EOF")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (2**64 - 1), at
        shift += 7
        if shift > 63:
            raise ProtobufError("integer overflow")


def _named(data: bytes, names: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    for number, value in entries(data):
        if 1 <= number <= len(names) and isinstance(value, bytes):
            yield names[number - 1], value


def _bytes(value: int | bytes, field: fields.Field) -> bytes:
    if isinstance(value, bytes):
        return value
    raise ProtobufError(f"field {field.name} is a number where a message or text belongs")


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ProtobufError("a text is not UTF-8") from None


# ---------------------------------------------------------------- messages whose JSON form is their own


def _quantity(data: bytes, name: str, depth: int) -> str:
    return next((_text(value) for number, value in entries(data) if number == 1 and isinstance(value, bytes)), "0")


def _moment(data: bytes) -> datetime.datetime | None:
    if not data:
        return None
    numbers = {number: value for number, value in entries(data) if isinstance(value, int)}
    seconds, nanoseconds = numbers.get(1, 0), numbers.get(2, 0)
    if seconds >= 2**63:
        seconds -= 2**64
    try:
        return times.of_unix(seconds, nanoseconds)
    except OverflowError:
        raise ProtobufError(f"time of {seconds} seconds is out of range") from None


def _time(data: bytes, name: str, depth: int) -> str | None:
    moment = _moment(data)
    return None if moment is None else times.shown(times.text(moment))


def _micro_time(data: bytes, name: str, depth: int) -> str | None:
    moment = _moment(data)
    return None if moment is None else times.shown(times.micro_text(moment))


def _int_or_string(data: bytes, name: str, depth: int) -> int | str:
    made = _object(data, "util.intstr.IntOrString", depth)
    return str(made.get("strVal", "")) if made.get("type", 0) == 1 else int(made.get("intVal", 0))


def _json(data: bytes, name: str, depth: int) -> Any:
    raw = next((value for number, value in entries(data) if number == 1 and isinstance(value, bytes)), b"")
    if not raw:
        return None
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise ProtobufError(f"embedded JSON: {error}") from None


def _items(data: bytes, name: str, depth: int) -> list[str]:
    return [_text(value) for number, value in entries(data) if number == 1 and isinstance(value, bytes)]


def _schema_or_flag(data: bytes, name: str, depth: int) -> Any:
    made = _object(data, name, depth)
    return made.get("schema", made.get("allows", False))


def _schema_or_list(data: bytes, name: str, depth: int) -> Any:
    """The list is one of schemas or of texts."""
    made = _object(data, name, depth)
    return next((made[one] for one in ("schema", "jSONSchemas", "property") if one in made), None)


_SPECIAL: dict[str, Callable[[bytes, str, int], Any]] = {
    "api.resource.Quantity": _quantity,
    "apis.meta.v1.Time": _time,
    "apis.meta.v1.MicroTime": _micro_time,
    "util.intstr.IntOrString": _int_or_string,
    "apis.meta.v1.FieldsV1": _json,
    "runtime.RawExtension": _json,
    "apiextensions.v1.JSON": _json,
    "ExtraValue": _items,
    "apis.meta.v1.Verbs": _items,
    "apiextensions.v1.JSONSchemaPropsOrBool": _schema_or_flag,
    "apiextensions.v1.JSONSchemaPropsOrArray": _schema_or_list,
    "apiextensions.v1.JSONSchemaPropsOrStringArray": _schema_or_list,
}
