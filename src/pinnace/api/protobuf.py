"""Objects in Kubernetes' protobuf form, as values of JSON's form: what typed Go clients send.

The envelope is four bytes, `k8s\\0`, then `runtime.Unknown`, which carries the type and the object's message
(apimachinery, runtime/serializer/protobuf). `protobuf_fields.txt` holds the field numbers, one message a line:
`name number:field:type …`, where a type is `s` (text), `i` (integer), `b` (flag), `y` (bytes), `d` (double) or a message,
after `*` (repeated), `%` (map from text) or `^` (embedded: its fields are the parent's). What comes out is canonicalised by
`decode`, which knows which zero values upstream drops.

Parsed by hand: a generic message layer would be walked a second time for the kinds whose JSON form is their own (quantities, times, int-or-strings).
"""

import base64
import datetime
import functools
import importlib.resources
import re
import struct
from collections.abc import Callable, Iterator
from typing import Any

import orjson

MAGIC = b"k8s\0"
MAX_DEPTH = 100


class ProtobufError(ValueError):
    """The bytes are not what they should be; says where."""


class _Field:
    __slots__ = ("form", "message", "name", "scalar")

    def __init__(self, name: str, form: str, scalar: str, message: str) -> None:
        self.name = name
        self.form = form
        self.scalar = scalar
        self.message = message


_Message = dict[int, _Field]
_TYPE = re.compile(r"([*%^]?)(?:([sibyd])|(\.?[A-Za-z][\w.]+))")


class _Table:
    """Messages by name; a line is read when its message is first met."""

    def __init__(self) -> None:
        text = importlib.resources.files("pinnace.api").joinpath("protobuf_fields.txt").read_text()
        self._lines = {line.partition(" ")[0]: line for line in text.splitlines()}
        self._messages: dict[str, _Message] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._lines

    def __getitem__(self, name: str) -> _Message:
        found = self._messages.get(name)
        if found is None:
            package = name.rpartition(".")[0]
            found = self._messages[name] = dict(_field(word, package) for word in self._lines[name].split(" ")[1:])
        return found


def _field(word: str, package: str) -> tuple[int, _Field]:
    number, name, kind = word.split(":", 2)
    parts = _TYPE.fullmatch(kind)
    assert parts is not None, word
    message = parts[3] or ""
    return int(number), _Field(
        name, parts[1], parts[2] or "", package + message if message.startswith(".") else message
    )


@functools.cache
def _fields() -> _Table:
    """Read at the first object that comes in this form."""
    return _Table()


def parse(data: bytes) -> dict[str, Any]:
    """The object in `data`. Raises ProtobufError."""
    if not data.startswith(MAGIC):
        raise ProtobufError("the body does not begin with the bytes `k8s\\0`")
    type_meta: dict[str, Any] = {}
    raw = b""
    for number, value in _entries(data[len(MAGIC) :]):
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
    group, _, version = api_version.rpartition("/")
    package = f"{_PACKAGES.get(group) or group.partition('.')[0]}.{version}"
    for name in (f"{package}.{kind}", f"apis.meta.v1.{kind}"):
        if name in _fields():
            return name
    raise ProtobufError(f"no kind {kind!r} is registered for version {api_version!r} in protobuf form")


_PACKAGES = {"": "core", "internal.apiserver.k8s.io": "apiserverinternal"}


def _object(data: bytes, name: str, depth: int) -> dict[str, Any]:
    if depth > MAX_DEPTH:
        raise ProtobufError(f"messages are nested deeper than {MAX_DEPTH}")
    message = _fields()[name]
    made: dict[str, Any] = {}
    for number, value in _entries(data):
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
            made[field.name] = _value(value, field, depth)
    return made


def _value(value: int | bytes, field: _Field, depth: int) -> Any:
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
            return struct.unpack("<d", _bytes(value, field))[0]
    if not isinstance(value, int):
        raise ProtobufError(f"field {field.name} is not a number")
    if field.scalar == "b":
        return value != 0
    return value - 2**64 if value >= 2**63 else value


def _repeated(value: int | bytes, field: _Field, depth: int) -> Iterator[Any]:
    if field.scalar in ("i", "b") and isinstance(value, bytes):  # packed
        at = 0
        while at < len(value):
            number, at = _varint(value, at)
            yield _value(number, field, depth)
    else:
        yield _value(value, field, depth)


def _map_entry(data: bytes, field: _Field, depth: int) -> tuple[str, Any]:
    key, item = "", None
    for number, value in _entries(data):
        if number == 1:
            key = _text(_bytes(value, field))
        elif number == 2:
            item = _value(value, field, depth)
    if item is None:
        item = _value(b"", field, depth) if field.message or field.scalar in ("s", "y") else _value(0, field, depth)
    return key, item


def _entries(data: bytes) -> Iterator[tuple[int, int | bytes]]:
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
    for number, value in _entries(data):
        if 1 <= number <= len(names) and isinstance(value, bytes):
            yield names[number - 1], value


def _bytes(value: int | bytes, field: _Field) -> bytes:
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
    return next((_text(value) for number, value in _entries(data) if number == 1 and isinstance(value, bytes)), "0")


def _moment(data: bytes) -> datetime.datetime | None:
    numbers = {number: value for number, value in _entries(data) if isinstance(value, int)}
    seconds, nanos = numbers.get(1, 0), numbers.get(2, 0)
    if seconds >= 2**63:
        seconds -= 2**64
    try:
        moment = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(seconds=seconds)
        return moment + datetime.timedelta(microseconds=nanos // 1000) if data else None
    except (OverflowError, ValueError):
        raise ProtobufError(f"time of {seconds} seconds is out of range") from None


def _time(data: bytes, name: str, depth: int) -> str | None:
    moment = _moment(data)
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _micro_time(data: bytes, name: str, depth: int) -> str | None:
    moment = _moment(data)
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _int_or_string(data: bytes, name: str, depth: int) -> int | str:
    made = _object(data, "util.intstr.IntOrString", depth)
    return str(made.get("strVal", "")) if made.get("type", 0) == 1 else int(made.get("intVal", 0))


def _json(data: bytes, name: str, depth: int) -> Any:
    raw = next((value for number, value in _entries(data) if number == 1 and isinstance(value, bytes)), b"")
    if not raw:
        return None
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise ProtobufError(f"embedded JSON: {error}") from None


def _items(data: bytes, name: str, depth: int) -> list[str]:
    return [_text(value) for number, value in _entries(data) if number == 1 and isinstance(value, bytes)]


def _either(*names: str) -> Callable[[bytes, str, int], Any]:
    """The first of these fields that is there is the whole value."""

    def convert(data: bytes, name: str, depth: int) -> Any:
        made = _object(data, name, depth)
        return next((made[one] for one in names if one in made), None)

    return convert


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
    "apiextensions.v1.JSONSchemaPropsOrBool": _either("schema", "allows"),
    "apiextensions.v1.JSONSchemaPropsOrArray": _either("jSONSchemas", "schema"),
    "apiextensions.v1.JSONSchemaPropsOrStringArray": _either("property", "schema"),
}
