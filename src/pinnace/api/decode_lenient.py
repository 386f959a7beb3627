"""The decoder's lenient road: finds every unknown and duplicate field, the first wrong type, and puts values into canonical form.

Taken only when `decode_strict` says no. Follows Go's decoder: null is absence, names are case-sensitive, a value of the wrong type ends
it with the words `json: cannot unmarshal string into Go struct field …`.
"""

import binascii
import dataclasses
import datetime
import re
from collections.abc import Iterable, Iterator
from typing import Any

from pinnace.api import decode_strict, omitempty, quantity, times
from pinnace.api import schema as schemas

MAX_STRICT_ERRORS = 100
_TIME_LAYOUT = "2006-01-02T15:04:05Z07:00"
_MICRO_LAYOUT = "2006-01-02T15:04:05.000000Z07:00"
# Go's parts of a moment in the order in which its parser looks for them.
_TIME_PARTS = (
    (r"\d{4}", "2006"),
    ("-", "-"),
    (r"(?:0[1-9]|1[0-2])", "01"),
    ("-", "-"),
    (r"\d{2}", "02"),
    ("T", "T"),
    (r"(?:[01]\d|2[0-3])", "15"),
    (":", ":"),
    (r"[0-5]\d", "04"),
    (":", ":"),
    (r"[0-5]\d", "05"),
)


class Mismatch(Exception):
    """The value cannot be decoded; the text is upstream's."""


class Duplicates(dict[str, Any]):
    """An object of which some name was given more than once; `pairs` is what was written, in order."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs


def from_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """For `json.loads(object_pairs_hook=…)`."""
    made = dict(pairs)
    return made if len(made) == len(pairs) else Duplicates(pairs)


def duplicates(value: Any, path: str = "") -> list[str]:
    """Complaints about every name that is given twice, wherever it is, in the order of the text."""
    found: list[str] = []
    if isinstance(value, list):
        for index, item in enumerate(value):
            found.extend(duplicates(item, f"{path}[{index}]"))
    elif isinstance(value, dict):
        seen: set[str] = set()
        for name, item in _pairs(value):
            inner = f"{path}.{name}" if path else name
            if name in seen:
                found.append(f'duplicate field "{inner}"')
            seen.add(name)
            found.extend(duplicates(item, inner))
    return list(dict.fromkeys(found))


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """Where the walk is: `path` as field errors print it, `go_path` and `struct` as Go's decoder does."""

    path: str = ""
    go_path: str = ""
    struct: str = ""

    def field(self, struct: str, name: str) -> "Place":
        return Place(
            f"{self.path}.{name}" if self.path else name, f"{self.go_path}.{name}" if self.go_path else name, struct
        )

    def key(self, name: str) -> "Place":
        return Place(f"{self.path}.{name}" if self.path else name, self.go_path, self.struct)

    def item(self, index: int) -> "Place":
        return Place(f"{self.path}[{index}]", self.go_path, self.struct)


ROOT = Place()
_ABSENT = object()


class Walk:
    """One walk over one object. `is_typed` is false for custom resources.

    Their wrong types are validation's to report, and their duplicates are looked for in all that they hold (`duplicates`).
    """

    def __init__(self, is_typed: bool) -> None:
        self.strict_errors: list[str] = []
        self._is_typed = is_typed

    def run(self, schema: schemas.Schema, value: Any) -> Any:
        """`value` in canonical form, without unknown fields. Raises Mismatch."""
        return self._value(schema, value, ROOT)

    def _complain(self, what: str) -> None:
        if len(self.strict_errors) < MAX_STRICT_ERRORS and what not in self.strict_errors:
            self.strict_errors.append(what)

    def _value(self, schema: schemas.Schema, value: Any, place: Place) -> Any:
        if schema.name and not self._is_typed:
            # The metadata of a custom resource is as typed as everybody's.
            inner = Walk(is_typed=True)
            inner.strict_errors = self.strict_errors
            return inner._value(schema, value, place)
        match schema.type:
            case "object":
                return self._object(schema, value, place)
            case "array":
                return self._array(schema, value, place)
            case "any":
                return plain(value)
        return self._scalar(schema, value, place)

    def _object(self, schema: schemas.Schema, value: Any, place: Place) -> Any:
        if not isinstance(value, dict):
            return self._mismatch(schema, value, place)
        if schema.properties:
            return self._struct(schema, value, place)
        if schema.additional is not None:
            return self._map(schema.additional, value, place)
        if schema.preserve_unknown:
            return plain(value)
        for name in value:
            self._complain(f'unknown field "{place.key(name).path}"')
        return {}

    def _struct(self, schema: schemas.Schema, value: dict[str, Any], place: Place) -> dict[str, Any]:
        owner = schema.name.rpartition(".")[2]
        out: dict[str, Any] = {}
        seen: set[str] = set()
        vanishing = omitempty.vanishing(schema.name)
        for name, item in _pairs(value):
            field = schema.properties.get(name)
            inner = place.field(owner, name)
            if field is None:
                if schema.preserve_unknown:
                    out[name] = plain(item)
                else:
                    self._complain(f'unknown field "{inner.path}"')
                continue
            if name in seen and self._is_typed:
                self._complain(f'duplicate field "{inner.path}"')
            seen.add(name)
            made = _ABSENT if item is None and not field.nullable else self._value(field, item, inner)
            if made is _ABSENT or (made is None and not field.nullable) or (not made and name in vanishing):
                out.pop(name, None)
            else:
                out[name] = made
        return out

    def _map(self, values: schemas.Schema, value: dict[str, Any], place: Place) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for name, item in _pairs(value):
            inner = place.key(name)
            if name in out and self._is_typed:
                self._complain(f'duplicate field "{inner.path}"')
            out[name] = self._element(values, item, inner)
        return out

    def _array(self, schema: schemas.Schema, value: Any, place: Place) -> Any:
        if not isinstance(value, list):
            return self._mismatch(schema, value, place)
        if schema.items is None:
            return [plain(item) for item in value]
        return [self._element(schema.items, item, place.item(index)) for index, item in enumerate(value)]

    def _element(self, schema: schemas.Schema, value: Any, place: Place) -> Any:
        """Of a list or map, where null stands for the zero value."""
        if value is None and self._is_typed:
            return zero(schema)
        return self._value(schema, value, place)

    def _scalar(self, schema: schemas.Schema, value: Any, place: Place) -> Any:
        if decode_strict.predicate(schema)(value):
            return value
        if schema.type == "number" and isinstance(value, float):
            return omitempty.number(value)
        if not self._is_typed:
            return value
        match schema.format:
            case schemas.QUANTITY:
                return _quantity(value)
            case schemas.TIME if isinstance(value, str):
                return _time(value)
            case schemas.MICRO_TIME if isinstance(value, str):
                return _micro_time(value)
            case schemas.TIME | schemas.MICRO_TIME:
                raise Mismatch(f"json: cannot unmarshal {shown(value)} into Go value of type string")
            case schemas.BYTES if isinstance(value, str):
                return _base64(value)
            case schemas.INT_OR_STRING:
                raise Mismatch(f"json: cannot unmarshal {shown(value)} into Go value of type int32")
        return self._mismatch(schema, value, place)

    def _mismatch(self, schema: schemas.Schema, value: Any, place: Place) -> Any:
        if not self._is_typed:
            return value
        what = shown(value, is_number=schema.type in ("integer", "number"))
        where = f"Go struct field {place.struct}.{place.go_path}" if place.struct else "Go value"
        raise Mismatch(f"json: cannot unmarshal {what} into {where} of type {go_type(schema)}")


def plain(value: Any) -> Any:
    """`value` without the memory of its duplicates."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def zero(schema: schemas.Schema) -> Any:
    match schema.type:
        case "object":
            return {}
        case "array":
            return []
        case "string":
            return "0" if schema.format == schemas.QUANTITY else ""
        case "boolean":
            return False
        case "integer" | "number":
            return 0
    return None


def go_type(schema: schemas.Schema) -> str:
    """As Go prints the type: `v1.PodSpec`, `[]string`, `map[string]string`, `int32`."""
    match schema.type:
        case "object" if schema.name:
            return ".".join(schema.name.split(".")[-2:])
        case "object":
            return f"map[string]{go_type(schema.additional)}" if schema.additional else "map[string]interface {}"
        case "array":
            return f"[]{go_type(schema.items)}" if schema.items else "[]interface {}"
        case "string":
            return {schemas.BYTES: "[]uint8", schemas.QUANTITY: "resource.Quantity"}.get(schema.format, "string")
        case "boolean":
            return "bool"
        case "integer":
            return schema.format or "int64"
        case "number":
            return "float64"
    return "interface {}"


def _pairs(value: dict[str, Any]) -> Iterable[tuple[str, Any]] | Iterator[tuple[str, Any]]:
    return value.pairs if isinstance(value, Duplicates) else value.items()


def shown(value: Any, *, is_number: bool = True) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "bool"
        case int() | float():
            return f"number {_number(value)}" if is_number else "number"
        case str():
            return "string"
        case list():
            return "array"
    return "object"


def _number(value: float) -> str:
    return repr(value)


def _quantity(value: Any) -> str:
    text = value if isinstance(value, str) else _number(value) if type(value) in (int, float) else ""
    try:
        return quantity.canonical(text)
    except ValueError as error:
        raise Mismatch(str(error)) from None


def _time(value: str) -> str | None:
    if not value:
        raise Mismatch(_time_wrong(value, _TIME_LAYOUT, _TIME_PARTS))
    match = re.fullmatch(r"(.{19})(?:[.,]\d+)?(Z|[+-]\d\d:\d\d)", value, re.ASCII)
    if match is None:
        raise Mismatch(_time_wrong(value, _TIME_LAYOUT, _TIME_PARTS))
    return times.shown(times.text(_moment(match[1] + match[2], value, _TIME_LAYOUT)))


def _micro_time(value: str) -> str | None:
    parts = (*_TIME_PARTS, (r"\.\d{6}", ".000000"))
    if re.fullmatch(r".{19}\.\d{6}(Z|[+-]\d\d:\d\d)", value, re.ASCII) is None:
        raise Mismatch(_time_wrong(value, _MICRO_LAYOUT, parts))
    return times.shown(times.micro_text(_moment(value, value, _MICRO_LAYOUT)))


def _moment(text: str, value: str, layout: str) -> datetime.datetime:
    wrong = _time_wrong(value, layout, _TIME_PARTS)
    if not re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", text, re.ASCII):
        raise Mismatch(wrong)
    try:
        return datetime.datetime.fromisoformat(text).astimezone(datetime.UTC)
    except (ValueError, OverflowError):
        raise Mismatch(wrong) from None


def _time_wrong(value: str, layout: str, parts: Iterable[tuple[str, str]]) -> str:
    rest = value
    for pattern, name in parts:
        found = re.match(pattern, rest, re.ASCII)
        if found is None:
            return f'parsing time "{value}" as "{layout}": cannot parse "{rest}" as "{name}"'
        rest = rest[found.end() :]
    if not re.fullmatch(r"(?:[.,]\d+)?(?:Z|[+-]\d\d:\d\d)", rest, re.ASCII):
        return f'parsing time "{value}" as "{layout}": cannot parse "{rest}" as "Z07:00"'
    return f'parsing time "{value}": day out of range'


def _base64(value: str) -> str:
    text = value.replace("\r", "").replace("\n", "")
    try:
        binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        raise Mismatch(f"illegal base64 data at input byte {_base64_wrong_at(text)}") from None
    return text


def _base64_wrong_at(text: str) -> int:
    for index, character in enumerate(text):
        if not (character.isascii() and (character.isalnum() or character in "+/")):
            # Padding is right only as the end of the last group of four.
            if character == "=" and index % 4 >= 2 and text[index:] in ("=", "=="):
                continue
            return index
    return len(text) - len(text) % 4 if len(text) % 4 else len(text)
