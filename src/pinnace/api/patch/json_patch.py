"""JSON patch (RFC 6902) as API servers apply it.

Two leniencies of upstream's library are kept because clients rely on them: `replace` of a key that an object does not have
adds it, and negative indices count from the end of a list.
"""

import re
from typing import Any

import orjson

from pinnace.api import errors

MAX_OPERATIONS = 10_000
MAX_COPIED_BYTES = 3 * 1024 * 1024

_INDEX = re.compile(r"[+-]?[0-9]+", re.ASCII)


class _Inapplicable(Exception):
    """An operation does not fit the document."""


def apply(obj: Any, ops: Any) -> Any:
    """`obj` after all of `ops`. Raises StatusError: 400 for what is not a patch, 413 for too many operations, 422 for one that fails.

    Upstream does not tell the client why an operation failed; the reason is kept in the error's cause (`__cause__`).
    """
    if ops is None:
        return obj
    if not isinstance(ops, list):
        raise errors.bad_request(f"json: cannot unmarshal {_go_type(ops)} into Go value of type jsonpatch.Patch")
    for op in ops:
        if not isinstance(op, dict):
            raise errors.bad_request(f"json: cannot unmarshal {_go_type(op)} into Go value of type jsonpatch.Operation")
    if len(ops) > MAX_OPERATIONS:
        raise errors.StatusError(
            413,
            "RequestEntityTooLarge",
            "Request entity too large: The allowed maximum operations in a JSON patch is "
            f"{MAX_OPERATIONS}, got {len(ops)}",
        )
    try:
        return _apply_all(obj, ops)
    except _Inapplicable as why:
        raise errors.StatusError(
            422, "Invalid", "the server rejected our request due to an error in our request"
        ) from why


def _apply_all(document: Any, ops: list[dict[str, Any]]) -> Any:
    copied = 0
    for op in ops:
        kind = op.get("op")
        if kind == "copy":
            value = _get(document, _pointer(op, "from"))
            copied += len(orjson.dumps(value))
            if copied > MAX_COPIED_BYTES:
                raise _Inapplicable(f"the copies add up to {copied} bytes, more than {MAX_COPIED_BYTES}")
            document = _add(document, _pointer(op, "path"), value)
        elif kind == "move":
            source = _pointer(op, "from")
            value = _get(document, source)
            document = _add(_remove(document, source), _pointer(op, "path"), value)
        elif kind == "add":
            document = _add(document, _pointer(op, "path"), op.get("value"))
        elif kind == "remove":
            document = _remove(document, _pointer(op, "path"))
        elif kind == "replace":
            document = _replace(document, op)
        elif kind == "test":
            _test(document, op)
        else:
            raise _Inapplicable(f"unexpected kind: {kind}")
    return document


def _pointer(op: dict[str, Any], field: str) -> str:
    path = op.get(field)
    if not isinstance(path, str):
        raise _Inapplicable(f"{op.get('op')} operation without a usable {field}")
    return path


def _steps(path: str) -> list[str]:
    """The reference tokens of a JSON pointer (RFC 6901)."""
    parts = path.split("/")
    if len(parts) < 2:
        raise _Inapplicable(f"document is missing path {path!r}")
    return [part.replace("~1", "/").replace("~0", "~") for part in parts[1:]]


def _index(items: list[Any], key: str, size: int) -> int:
    if not _INDEX.fullmatch(key):
        raise _Inapplicable(f"{key!r} is not an index")
    index = int(key)
    if not -size <= index < size:
        raise _Inapplicable(f"index {index} is outside of a list of {len(items)}")
    return index + size if index < 0 else index


def _child(container: Any, key: str) -> Any:
    """The value below `container`; None where an object has no such key."""
    if isinstance(container, dict):
        return container.get(key)
    if isinstance(container, list):
        return container[_index(container, key, len(container))]
    raise _Inapplicable(f"no path through a scalar at {key!r}")


def _get(document: Any, path: str) -> Any:
    for step in _steps(path):
        document = _child(document, step)
    return document


def _add(document: Any, path: str, value: Any) -> Any:
    return _change(document, _steps(path), lambda container, key: _added(container, key, value))


def _added(container: Any, key: str, value: Any) -> Any:
    if isinstance(container, dict):
        return {**container, key: value}
    position = len(container) if key == "-" else _index(container, key, len(container) + 1)
    return [*container[:position], value, *container[position:]]


def _remove(document: Any, path: str) -> Any:
    return _change(document, _steps(path), _removed)


def _removed(container: Any, key: str) -> Any:
    if isinstance(container, dict):
        if key not in container:
            raise _Inapplicable(f"cannot remove the key {key!r}, which is not there")
        return {name: value for name, value in container.items() if name != key}
    position = _index(container, key, len(container))
    return [*container[:position], *container[position + 1 :]]


def _replace(document: Any, op: dict[str, Any]) -> Any:
    path, value = _pointer(op, "path"), op.get("value")
    if path == "":
        if not isinstance(value, dict | list):
            raise _Inapplicable("the whole document can only become an object or a list")
        return value
    return _change(document, _steps(path), lambda container, key: _replaced(container, key, value))


def _replaced(container: Any, key: str, value: Any) -> Any:
    if isinstance(container, dict):
        return {**container, key: value}
    position = _index(container, key, len(container))
    return [*container[:position], value, *container[position + 1 :]]


def _test(document: Any, op: dict[str, Any]) -> None:
    path = _pointer(op, "path")
    found = _get(document, path) if path else document
    if not equal(found, op.get("value")):
        raise _Inapplicable(f"testing value {path} failed")


def _change(container: Any, steps: list[str], change: Any) -> Any:
    """A copy of `container` in which the container at the end of `steps` went through `change`."""
    if not isinstance(container, dict | list):
        raise _Inapplicable(f"document is missing the path that leads to {steps[0]!r}")
    if len(steps) == 1:
        return change(container, steps[0])
    below = _change(_child(container, steps[0]), steps[1:], change)
    return _replaced(container, steps[0], below)


def equal(left: Any, right: Any) -> bool:
    """JSON equality: true is not 1, and 1 is not 1.0."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(equal(value, right[key]) for key, value in left.items())
    if isinstance(left, list):
        return len(left) == len(right) and all(map(equal, left, right))
    return bool(left == right)


def _go_type(value: Any) -> str:
    """What Go's JSON decoder calls a value in its errors."""
    match value:
        case bool():
            return "bool"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case None:
            return "null"
        case _:
            return "object"
