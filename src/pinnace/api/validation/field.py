"""Collecting what is wrong with an object, in the words of upstream's field errors.

Paths are texts: `spec.containers[0].name`, `metadata.labels[app]`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from pinnace.api import errors

Fields = dict[str, Any]

IMMUTABLE = "field is immutable"
NOT_NEGATIVE = "must be greater than or equal to 0"
POSITIVE = "must be greater than zero"


class Causes(list[errors.Cause]):
    """In the order in which they were found."""

    def required(self, path: str, detail: str = "") -> None:
        self._add("FieldValueRequired", path, "Required value", detail)

    def invalid(self, path: str, value: Any, detail: str) -> None:
        self._add("FieldValueInvalid", path, f"Invalid value: {shown(value)}", detail)

    def contradictory(self, path: str, detail: str) -> None:
        """Invalid as a whole: no one value is to blame, so none is shown."""
        self._add("FieldValueInvalid", path, "Invalid value", detail)

    def not_supported(self, path: str, value: Any, supported: Iterable[str]) -> None:
        quoted = ", ".join(shown(name) for name in supported)
        detail = f"supported values: {quoted}" if quoted else ""
        self._add("FieldValueNotSupported", path, f"Unsupported value: {shown(value)}", detail)

    def duplicate(self, path: str, value: Any, detail: str = "") -> None:
        self._add("FieldValueDuplicate", path, f"Duplicate value: {shown(value)}", detail)

    def forbidden(self, path: str, detail: str) -> None:
        self._add("FieldValueForbidden", path, "Forbidden", detail)

    def not_found(self, path: str, value: Any, detail: str = "") -> None:
        self._add("FieldValueNotFound", path, f"Not found: {shown(value)}", detail)

    def too_long(self, path: str, limit: int) -> None:
        self._add("FieldValueTooLong", path, "Too long", f"may not be more than {limit} bytes")

    def too_many(self, path: str, count: int, limit: int) -> None:
        self._add("FieldValueTooMany", path, f"Too many: {count}", f"must have at most {limit} items")

    def messages(self, path: str, value: Any, messages: Iterable[str]) -> None:
        for message in messages:
            self.invalid(path, value, message)

    def one_of(self, path: str, value: Any, supported: Sequence[str], *, is_sorted: bool = True) -> None:
        """Required when empty, else one of `supported`."""
        if not value:
            self.required(path)
        else:
            self.maybe_one_of(path, value, supported, is_sorted=is_sorted)

    def maybe_one_of(self, path: str, value: Any, supported: Sequence[str], *, is_sorted: bool = True) -> None:
        """One of `supported`, or absent."""
        if value is not None and value not in supported:
            self.not_supported(path, value, sorted(supported) if is_sorted else supported)

    def not_negative(self, path: str, value: int | None) -> None:
        if value is not None and value < 0:
            self.invalid(path, value, NOT_NEGATIVE)

    def in_range(self, path: str, value: int | None, low: int, high: int) -> None:
        if value is not None and not low <= value <= high:
            self.invalid(path, value, between(low, high))

    def unchanged(self, path: str, new: Any, old: Any) -> None:
        if (new or None) != (old or None):
            self.invalid(path, new, IMMUTABLE)

    def _add(self, reason: str, path: str, message: str, detail: str) -> None:
        self.append(errors.Cause(reason, f"{message}: {detail}" if detail else message, path))


def between(low: int, high: int) -> str:
    return f"must be between {low} and {high}, inclusive"


def shown(value: Any) -> str:
    """As Go prints a value in a field error: texts quoted, numbers plain, structures as JSON."""
    match value:
        case None:
            return "null"
        case str():
            return quoted(value)
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
    return orjson.dumps(value).decode()


_ESCAPES = {
    '"': '\\"',
    "\\": "\\\\",
    "\n": "\\n",
    "\t": "\\t",
    "\r": "\\r",
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\v": "\\v",
}


def quoted(text: str) -> str:
    """Go's %q."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join(_escaped(character) for character in text) + '"'


def _escaped(character: str) -> str:
    known = _ESCAPES.get(character)
    if known is not None:
        return known
    if character.isprintable():
        return character
    code = ord(character)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def part(owner: Mapping[str, Any] | None, name: str) -> Fields:
    """A structure inside another, empty where it is absent."""
    found = (owner or {}).get(name)
    return found if isinstance(found, dict) else {}


def items(owner: Mapping[str, Any] | None, name: str) -> list[Any]:
    found = (owner or {}).get(name)
    return found if isinstance(found, list) else []
