"""The Swagger 2.0 document in protobuf form: the only one in which kubectl and other Go clients read `/openapi/v2`.

Field numbers are those of `openapi.v2.Document` (google/gnostic, openapiv2/OpenAPIv2.proto). What the document never holds is not in the
tables; `encode` refuses it rather than leave it out.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson

from pinnace.api import errors

Json = Mapping[str, Any]
Encode = Callable[[Any], bytes]
"""A value -> the bytes of its message, or of its fields with their tags."""


def encode(document: Json) -> bytes:
    """Raises 500 where the document holds what the tables do not."""
    return _document(document)


def _varint(number: int) -> bytes:
    made = bytearray()
    while number > 0x7F:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    made.append(number)
    return bytes(made)


def _delimited(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _text(number: int) -> Encode:
    return lambda value: _delimited(number, str(value).encode())


def _texts(number: int) -> Encode:
    return lambda values: b"".join(_delimited(number, value.encode()) for value in values)


def _flag(number: int) -> Encode:
    return lambda value: _varint(number << 3) + bytes([bool(value)])


def _part(number: int, message: Encode) -> Encode:
    return lambda value: _delimited(number, message(value))


def _parts(number: int, message: Encode) -> Encode:
    return lambda values: b"".join(_delimited(number, message(value)) for value in values)


def _named(number: int, pairs: Iterable[tuple[str, Any]], message: Encode) -> bytes:
    """A map, as messages of a name (1) and a value (2)."""
    return b"".join(
        _delimited(number, _delimited(1, name.encode()) + _delimited(2, message(value))) for name, value in pairs
    )


def _pairs(number: int, message: Encode) -> Encode:
    return lambda values: _named(number, values.items(), message)


def _any(value: Any) -> bytes:
    """Values without a form of their own are YAML, which JSON is."""
    return _delimited(2, orjson.dumps(value))


def _message(fields: Mapping[str, Encode], extensions: int) -> Encode:
    """`extensions`: the number of the field that holds what begins with `x-`."""

    def encode_message(value: Json) -> bytes:
        made = []
        for key, item in value.items():
            if key.startswith("x-"):
                made.append(_named(extensions, [(key, item)], _any))
            elif key in fields:
                made.append(fields[key](item))
            else:
                raise errors.internal(f"the OpenAPI document holds {key!r}, which its protobuf form cannot say")
        return b"".join(made)

    return encode_message


def _schema(value: Json) -> bytes:
    return _SCHEMA(value)


def _additional(value: bool | Json) -> bytes:
    return _flag(2)(value) if isinstance(value, bool) else _delimited(1, _schema(value))


def _type(value: str | list[str]) -> bytes:
    return _texts(1)([value] if isinstance(value, str) else value)


def _parameter(value: Json) -> bytes:
    """ParametersItem: a reference, the body, or one of the other places."""
    if "$ref" in value:
        return _delimited(2, _text(1)(value["$ref"]))
    if value["in"] == "body":
        return _delimited(1, _delimited(1, _BODY(value)))
    place, fields = _PLACES[value["in"]]
    return _delimited(1, _delimited(2, _delimited(place, fields(value))))


def _integer(number: int) -> Encode:
    return lambda value: _varint(number << 3) + _varint(value)


_SCHEMA = _message(
    {
        "$ref": _text(1),
        "format": _text(2),
        "title": _text(3),
        "description": _text(4),
        "default": _part(5, _any),
        "maxLength": _integer(11),
        "minLength": _integer(12),
        "pattern": _text(13),
        "maxItems": _integer(14),
        "minItems": _integer(15),
        "uniqueItems": _flag(16),
        "maxProperties": _integer(17),
        "minProperties": _integer(18),
        "required": _texts(19),
        "enum": _parts(20, _any),
        "additionalProperties": _part(21, _additional),
        "type": _part(22, _type),
        "items": _part(23, _part(1, _schema)),
        "allOf": _parts(24, _schema),
        "properties": _part(25, _pairs(1, _schema)),
        "example": _part(30, _any),
    },
    extensions=31,
)
_BODY = _message(
    {"description": _text(1), "name": _text(2), "in": _text(3), "required": _flag(4), "schema": _part(5, _schema)},
    extensions=6,
)
_COMMON = {"required": _flag(1), "in": _text(2), "description": _text(3), "name": _text(4)}
_PLACES = {
    "header": (1, _message({**_COMMON, "type": _text(5), "format": _text(6), "uniqueItems": _flag(18)}, 22)),
    "formData": (2, _message({**_COMMON, "type": _text(6), "format": _text(7), "uniqueItems": _flag(20)}, 23)),
    "query": (3, _message({**_COMMON, "type": _text(6), "format": _text(7), "uniqueItems": _flag(20)}, 23)),
    "path": (4, _message({**_COMMON, "type": _text(5), "format": _text(6), "uniqueItems": _flag(18)}, 22)),
}
_RESPONSE = _message({"description": _text(1), "schema": _part(2, _part(1, _schema))}, extensions=5)
_OPERATION = _message(
    {
        "tags": _texts(1),
        "summary": _text(2),
        "description": _text(3),
        "operationId": _text(5),
        "produces": _texts(6),
        "consumes": _texts(7),
        "parameters": _parts(8, _parameter),
        "responses": _part(9, _pairs(1, _part(1, _RESPONSE))),
        "schemes": _texts(10),
        "deprecated": _flag(11),
    },
    extensions=13,
)
_PATH = _message(
    {
        "get": _part(2, _OPERATION),
        "put": _part(3, _OPERATION),
        "post": _part(4, _OPERATION),
        "delete": _part(5, _OPERATION),
        "options": _part(6, _OPERATION),
        "head": _part(7, _OPERATION),
        "patch": _part(8, _OPERATION),
        "parameters": _parts(9, _parameter),
    },
    extensions=10,
)
_API_KEY = _message({"type": _text(1), "name": _text(2), "in": _text(3), "description": _text(4)}, extensions=5)
_document = _message(
    {
        "swagger": _text(1),
        "info": _part(2, _message({"title": _text(1), "version": _text(2), "description": _text(3)}, extensions=7)),
        "paths": _part(8, _pairs(2, _PATH)),
        "definitions": _part(9, _pairs(1, _schema)),
        "security": _parts(12, _pairs(1, _texts(1))),
        "securityDefinitions": _part(13, _pairs(1, _part(2, _API_KEY))),
    },
    extensions=16,
)
