"""Emptiness as Go prints it: which empty values disappear from JSON (`omitempty`), and which are there though nobody set them.

In upstream's types an optional field is a pointer (its zero value is kept and printed) or a plain value with `omitempty` (its zero value is
the same as absence, and in protobuf, where it is always written, the only form of it). A struct that is no pointer is never empty to Go,
and what has no `omitempty` is printed as it is: 0, "" or null. The facts are those of the wire's table (`pinnace.api.protobuf.fields`),
looked up by the full name of the type: fields of one name differ between types of one name.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any

from pinnace.api.protobuf import fields

Completer = Callable[[Any], None]


@functools.cache
def vanishing(definition: str) -> frozenset[str]:
    """The fields of the type `io.k8s.api.core.v1.Pod` whose empty value is the same as their absence; none of a type without a name."""
    return frozenset(name for name, field in fields.by_definition(definition).items() if is_omitted(field))


@functools.cache
def nullable(definition: str) -> frozenset[str]:
    """The fields of a type that upstream prints as null: lists and maps without `omitempty`, and moments that are no pointers."""
    message = fields.of_definition(definition)
    zeros = _zeros(message) if message else ()
    pointers = {name for name, field in fields.by_definition(definition).items() if field.is_pointer}
    return frozenset(name for name, zero in zeros if zero is None) - pointers


def number(value: float) -> float:
    """As Go prints it: 2.0 is 2."""
    return int(value) if value.is_integer() and abs(value) < _EXPONENT_FROM else value


_EXPONENT_FROM = 1e21


def is_omitted(field: fields.Field) -> bool:
    if field.is_pointer or field.is_printed:
        return False
    return bool(field.form or field.scalar)


def complete(definition: str, value: dict[str, Any]) -> None:
    """Add to a value of this type, in place, what upstream prints of it and it does not have: `status: {}`, `resources: {}`, `rules: null`.

    An empty list that is printed becomes null: upstream's storage cannot tell the two apart. Types that the table does not know are left as they are.
    """
    message = fields.of_definition(definition)
    if message is not None and _has_printed(message):
        _completer(message)(value)


@functools.cache
def _completer(message: str) -> Completer:
    zeros: list[tuple[str, Any]] = []
    lists: list[str] = []
    children: list[tuple[str, Completer]] = []
    is_compiled = False

    # Filled at first use: a type may contain itself.
    def run(value: Any) -> None:
        nonlocal is_compiled
        if not is_compiled:
            zeros.extend(_zeros(message))
            lists.extend(name for name, field in fields.flat(message) if field.is_printed and field.form)
            children.extend(_children(message))
            is_compiled = True
        for name, zero in zeros:
            if name not in value:
                value[name] = {} if zero is _STRUCT else zero
        for name in lists:
            if not value[name]:
                value[name] = None
        for name, child in children:
            found = value.get(name)
            if found is not None:
                child(found)

    return run


_STRUCT: Any = object()
_SCALARS = {"s": "", "i": 0, "b": False, "d": 0}
# Structs whose JSON is one value: what the empty one is printed as.
VALUES = {
    "api.resource.Quantity": "0",
    "apis.meta.v1.Time": None,
    "apis.meta.v1.MicroTime": None,
    "util.intstr.IntOrString": 0,
    "runtime.RawExtension": None,
    "apis.meta.v1.Verbs": None,
}


def _zeros(message: str) -> Iterator[tuple[str, Any]]:
    for name, field in fields.flat(message):
        is_struct = field.form == "" and field.message and not field.is_pointer
        if field.is_printed and not is_struct:
            is_null = field.form or field.is_pointer
            yield name, None if is_null else _SCALARS.get(field.scalar)
        elif is_struct and not field.is_dropped:
            yield name, VALUES.get(field.message, _STRUCT)


def _children(message: str) -> Iterator[tuple[str, Completer]]:
    for name, field in fields.flat(message):
        if not field.message or not _has_printed(field.message):
            continue
        inner = _completer(field.message)
        if field.form == "%":
            yield name, _of_each(inner, dict.values)
        elif field.form == "*":
            yield name, _of_each(inner, iter)
        else:
            yield name, _of_schemas if "JSONSchemaProps" in field.message else inner


def _of_each(inner: Completer, items: Callable[[Any], Any]) -> Completer:
    def run(value: Any) -> None:
        for item in items(value):
            if item.__class__ is dict:
                inner(item)

    return run


def _of_schemas(value: Any) -> None:
    """Of a field that holds a schema, several of them, or something else instead."""
    schema = _completer("apiextensions.v1.JSONSchemaProps")
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, dict):
            schema(item)


@functools.cache
def _has_printed(message: str) -> bool:
    """Whether something may be missing in a value of this type or anywhere in it."""
    seen, left = {message}, [message]
    while left:
        name = left.pop()
        if name in VALUES:
            continue
        if next(_zeros(name), None) is not None:
            return True
        inner = {field.message for _, field in fields.flat(name) if field.message} - seen
        seen |= inner
        left += inner
    return False
