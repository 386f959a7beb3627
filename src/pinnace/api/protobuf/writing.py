"""From values of JSON's form to protobuf, byte for byte as upstream's generated code writes them.

Fields go out in the order of their numbers, entries of maps in the order of their keys. A value that is no pointer in Go is always written: as
zero where the object does not have it. Each message is compiled once, to a list of small writers; what an absent struct is written
as is remembered.

The encoders expect canonical objects, as they are stored. A value of another type than its field's is a bug of the caller and raises
whatever comes of it; fields that are not known are left out.
"""

import base64
import functools
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pinnace.api import gojson, times
from pinnace.api.protobuf import fields

Object = dict[str, Any]
Encoder = Callable[[Any], bytes]
"""The bytes of a value, without its field's number and length."""
Writer = Callable[[Object, list[bytes]], None]
"""Appends a field of the object, tag and all."""

_EMPTY: Object = {}
# Behind the object's message: content encoding and type, which are empty.
_ENVELOPE_END = b"\x1a\0\x22\0"


def encode(obj: Object) -> bytes:
    """The object, or list of objects of one kind, in its envelope. Raises KeyError for a kind that has no protobuf form."""
    api_version, kind = obj.get("apiVersion", ""), obj.get("kind", "")
    name = fields.message_of(api_version, kind)
    if name is not None:
        return envelope(api_version, kind, _message(name)(obj))
    item = fields.message_of(api_version, kind.removesuffix("List"))
    if item is None or not kind.endswith("List"):
        raise KeyError(f"{api_version} {kind}")
    encoder = _message(item)
    return envelope(api_version, kind, list_message(obj["metadata"], [encoder(one) for one in obj["items"]]))


def message(api_version: str, kind: str, obj: Object) -> bytes:
    """The object alone: what `envelope` and `list_message` take. Raises KeyError."""
    name = fields.message_of(api_version, kind)
    if name is None:
        raise KeyError(f"{api_version} {kind}")
    return _message(name)(obj)


def has_form(api_version: str, kind: str) -> bool:
    return fields.message_of(api_version, kind) is not None


def envelope(api_version: str, kind: str, raw: bytes) -> bytes:
    type_meta = _delimited(b"\x0a", api_version.encode()) + _delimited(b"\x12", kind.encode())
    return b"".join((fields.MAGIC, _delimited(b"\x0a", type_meta), b"\x12", _varint(len(raw)), raw, _ENVELOPE_END))


def list_message(metadata: Object, items: Sequence[bytes]) -> bytes:
    """A list of messages of one kind: upstream's lists are all alike."""
    pieces = [_delimited(b"\x0a", _message("apis.meta.v1.ListMeta")(metadata))]
    for item in items:
        pieces += (b"\x12", _varint(len(item)), item)
    return b"".join(pieces)


def watch_frame(kind_of_event: bytes, enveloped: bytes) -> bytes:
    """One event of a watch: its length in four bytes, then a WatchEvent around the object in its envelope."""
    raw = _delimited(b"\x0a", enveloped)
    event = _delimited(b"\x0a", kind_of_event) + _delimited(b"\x12", raw)
    return len(event).to_bytes(4, "big") + event


# ---------------------------------------------------------------- messages


@functools.cache
def _message(name: str) -> Encoder:
    """Kept for ever: there are as many as there are messages."""
    special = _SPECIAL.get(name) or _SPECIAL.get(name.rpartition(".")[2])
    if special is not None:
        return special
    writers: list[Writer] = []

    # Filled at first use: a message may contain itself.
    def encoder(value: Any) -> bytes:
        if not writers:
            writers.extend(_writer(field) for _, field in sorted(fields.table()[name].items()))
        out: list[bytes] = []
        for write in writers:
            write(value, out)
        return b"".join(out)

    return encoder


def _writer(field: fields.Field) -> Writer:
    match field.form:
        case "*":
            return _repeated(field)
        case "%":
            return _mapping(field)
        case "^":
            return _embedded(field)
    return _optional(field) if field.is_pointer or field.scalar == "y" else _always(field)


def _encoder(field: fields.Field) -> Encoder:
    """Of one value, with its length where it has one."""
    if field.message:
        inner = _message(field.message)
        return lambda value: _sized(inner(value))
    return _SCALARS[field.scalar]


def _optional(field: fields.Field) -> Writer:
    name, tag, encoder = field.name, _tag(field), _encoder(field)

    def write(obj: Object, out: list[bytes]) -> None:
        value = obj.get(name)
        if value is not None:
            out.append(tag + encoder(value))

    return write


def _always(field: fields.Field) -> Writer:
    name, tag, encoder = field.name, _tag(field), _encoder(field)
    absent: bytes | None = None

    def write(obj: Object, out: list[bytes]) -> None:
        nonlocal absent
        value = obj.get(name)
        if value is not None:
            out.append(tag + encoder(value))
            return
        if absent is None:
            absent = tag + encoder(_ZERO.get(field.scalar) if field.scalar else _zero(field.message))
        out.append(absent)

    return write


def _zero(name: str) -> Any:
    """What the encoder of a message takes for one that is not there."""
    return None if name in _SPECIAL or name.rpartition(".")[2] in _SPECIAL else _EMPTY


def _repeated(field: fields.Field) -> Writer:
    name, tag, encoder = field.name, _tag(field), _encoder(field)

    def write(obj: Object, out: list[bytes]) -> None:
        out.extend(tag + encoder(value) for value in obj.get(name) or ())

    return write


def _mapping(field: fields.Field) -> Writer:
    name, tag, encoder = field.name, _tag(field), _encoder(field)
    value_tag = bytes([0x10 | _WIRE.get(field.scalar, 2)])

    def write(obj: Object, out: list[bytes]) -> None:
        found: Object = obj.get(name) or _EMPTY
        # The order of bytes: that of Go's strings.
        for key in sorted(found, key=str.encode):
            value = found[key]
            entry = b"\x0a" + _text(key)
            if value is not None or field.scalar != "y":
                entry += value_tag + encoder(value)
            out.append(tag + _sized(entry))

    return write


def _embedded(field: fields.Field) -> Writer:
    tag, encoder = _tag(field), _message(field.message)

    def write(obj: Object, out: list[bytes]) -> None:
        out.append(tag + _sized(encoder(obj)))

    return write


# ---------------------------------------------------------------- values

# Wire types: numbers in as many bytes as they need, eight bytes, and all that says its length.
_WIRE = {"i": 0, "b": 0, "d": 1}
_ZERO: Mapping[str, Any] = {"s": "", "i": 0, "b": False, "d": 0.0}


def _tag(field: fields.Field) -> bytes:
    return _varint(field.number << 3 | _WIRE.get(field.scalar, 2))


def _varint(value: int) -> bytes:
    if 0 <= value < 0x80:
        return _SMALL[value]
    value &= 2**64 - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


_SMALL = tuple(bytes([value]) for value in range(0x80))


def _sized(data: bytes) -> bytes:
    return _varint(len(data)) + data


def _delimited(tag: bytes, data: bytes) -> bytes:
    return tag + _varint(len(data)) + data


def _text(value: str) -> bytes:
    return _sized(value.encode())


def _bytes(value: str) -> bytes:
    return _sized(base64.b64decode(value))


_SCALARS: Mapping[str, Encoder] = {
    "s": _text,
    "i": _varint,
    "b": lambda value: b"\1" if value else b"\0",
    "y": _bytes,
    "d": lambda value: struct.pack("<d", value),
}


# ---------------------------------------------------------------- messages whose JSON form is their own


def _quantity(value: str | None) -> bytes:
    return b"\x0a" + _text("0" if value is None else value)


def _time(value: str | None) -> bytes:
    if value is None or times.shown(value) is None:
        return b""
    seconds, microseconds = times.to_unix(value)
    return b"\x08" + _varint(seconds) + b"\x10" + _varint(microseconds * 1000)


def _int_or_string(value: int | str | None) -> bytes:
    if isinstance(value, str):
        return b"\x08\1\x10\0\x1a" + _text(value)
    return b"\x08\0\x10" + _varint(value or 0) + b"\x1a\0"


def _json(value: Any) -> bytes:
    return b"" if value is None else _delimited(b"\x0a", gojson.dumps(value))


def _items(value: Sequence[str] | None) -> bytes:
    return b"".join(b"\x0a" + _text(item) for item in value or ())


def _schema_or_flag(value: Any) -> bytes:
    if isinstance(value, dict):
        return b"\x08\1\x12" + _sized(_schema(value))
    return b"\x08\1" if value else b"\x08\0"


def _schema_or_schemas(value: Any) -> bytes:
    if isinstance(value, dict):
        return b"\x0a" + _sized(_schema(value))
    return b"".join(b"\x12" + _sized(_schema(one)) for one in value or ())


def _schema_or_texts(value: Any) -> bytes:
    if isinstance(value, dict):
        return b"\x0a" + _sized(_schema(value))
    return b"".join(b"\x12" + _text(one) for one in value or ())


def _schema(value: Object) -> bytes:
    return _message("apiextensions.v1.JSONSchemaProps")(value)


_SPECIAL: Mapping[str, Encoder] = {
    "api.resource.Quantity": _quantity,
    "apis.meta.v1.Time": _time,
    "apis.meta.v1.MicroTime": _time,
    "util.intstr.IntOrString": _int_or_string,
    "apis.meta.v1.FieldsV1": _json,
    "runtime.RawExtension": _json,
    "apiextensions.v1.JSON": _json,
    "ExtraValue": _items,
    "apis.meta.v1.Verbs": _items,
    "apiextensions.v1.JSONSchemaPropsOrBool": _schema_or_flag,
    "apiextensions.v1.JSONSchemaPropsOrArray": _schema_or_schemas,
    "apiextensions.v1.JSONSchemaPropsOrStringArray": _schema_or_texts,
}
