"""What is wrong with a patch, in upstream's words (apiserver/pkg/endpoints/handlers/patch.go). Pure.

A patch that leads to no object of its kind is 422 Invalid with the one cause `patch`, whatever the same object would get in a PUT.
"""

import re
from collections.abc import Sequence
from typing import Any

import orjson

from pinnace.api import decode_lenient, errors
from pinnace.api.validation import field

_OPERATION_FIELDS = frozenset(("op", "path", "from", "value"))
_PREFIX = re.compile(
    r"\S+ in version \S+ cannot be handled as a \S+: |the object provided is unrecognized \(must be of type \S+\): "
)
_WRONG_TYPE = re.compile(r"json: cannot unmarshal (\S+)(?: (\S+))? into .* of type (\S+)")
_KINDS = {"string": "string", "bool": "bool", "number": "int64", "array": "slice", "object": "map", "null": "nil"}


def complaints(change: Any, *, is_json_patch: bool) -> tuple[str, ...]:
    """Of the patch itself, before it is applied: names given twice; for a JSON patch, unknown ones of its operations too."""
    if not is_json_patch:
        return tuple(decode_lenient.duplicates(change))
    found: list[str] = []
    for index, operation in enumerate(change if isinstance(change, list) else ()):
        if isinstance(operation, dict):
            found += _of_operation(operation, f"[{index}]")
    return tuple(dict.fromkeys(f"json patch {complaint}" for complaint in found))


def _of_operation(operation: dict[str, Any], path: str) -> list[str]:
    found, seen = [], set()
    for name, value in operation.pairs if isinstance(operation, decode_lenient.Duplicates) else operation.items():
        if name in seen:
            found.append(f'duplicate field "{path}.{name}"')
        elif name not in _OPERATION_FIELDS:
            found.append(f'unknown field "{path}.{name}"')
        seen.add(name)
        found += decode_lenient.duplicates(value, f"{path}.{name}")
    return found


def refused(change: Any, patched: Any, error: errors.StatusError, *, is_strategic: bool) -> errors.StatusError:
    """`error` is what decoding `patched`, the outcome of `change`, led to."""
    prefix = _PREFIX.match(error.message)
    why = error.message[prefix.end() :] if prefix else error.message
    if is_strategic:
        value, why = go_text(change), _converter_text(why)
    else:
        value = orjson.dumps(patched).decode()
    return _invalid(value, why)


def strict(change: Any, patched: Any, found: Sequence[str], *, is_strategic: bool) -> errors.StatusError:
    """`found`: what a request with `fieldValidation=Strict` may not contain."""
    value = go_text(change) if is_strategic else orjson.dumps(patched).decode()
    return _invalid(value, f"strict decoding error: {', '.join(found)}")


def _invalid(value: str, why: str) -> errors.StatusError:
    cause = errors.Cause("FieldValueInvalid", f"Invalid value: {field.quoted(value)}: {why}", "patch")
    return errors.invalid("", "", "", [cause])


def go_text(value: Any) -> str:
    """Go's `%+v` of a decoded value: `map[spec:map[replicas:3]]`."""
    match value:
        case dict():
            return "map[" + " ".join(f"{name}:{go_text(value[name])}" for name in sorted(value)) + "]"
        case list():
            return "[" + " ".join(go_text(item) for item in value) + "]"
        case None:
            return "<nil>"
        case bool():
            return "true" if value else "false"
    return str(value)


def _converter_text(why: str) -> str:
    """What the road from a map to an object says where the road from JSON says `json: cannot unmarshal`."""
    found = _WRONG_TYPE.fullmatch(why)
    if found is None:
        return why
    given, number, wanted = found.groups()
    kind = "float64" if number and not number.lstrip("-").isdigit() else _KINDS.get(given, given)
    if wanted.startswith("[]"):
        return f"cannot restore slice from {kind}"
    if wanted.startswith("map["):
        return f"cannot restore map from {kind}"
    if "." in wanted:
        return f"cannot restore struct from: {kind}"
    if wanted == "string" and given == "number":
        return f"cannot convert {kind} to string"
    return f"unrecognized type: {wanted}"
