"""Objects of any built-in kind, made at random from the table of fields: what a client could send, zero values and all."""

import base64
import random
from typing import Any

from pinnace.api import kinds
from pinnace.api.protobuf import fields

MOST_DEPTH = 7
_TIMES = ("2026-01-02T03:04:05Z", "0001-01-01T00:00:02Z", "0999-12-31T23:59:59Z", "9999-12-31T23:59:59Z")
_TEXTS = ("", "a", "web", "ü<&>\u2028", "1")


def of_kind(kind: kinds.Kind, rng: random.Random) -> dict[str, Any]:
    message = fields.of_definition(kind.definition)
    assert message is not None, kind
    return {"apiVersion": kind.api_version, "kind": kind.kind, **_object(message, rng, 0)}


def _object(message: str, rng: random.Random, depth: int) -> dict[str, Any]:
    chance = 0.9 if depth < 2 else 0.35
    return {
        name: _field(field, rng, depth + 1)
        for name, field in fields.flat(message)
        if depth < MOST_DEPTH and rng.random() < chance
    }


def _field(field: fields.Field, rng: random.Random, depth: int) -> Any:
    if field.form == "*":
        return [_value(field, rng, depth) for _ in range(rng.randrange(3))]
    if field.form == "%":
        return {key: _value(field, rng, depth) for key in rng.sample(("b", "a", "é", "z"), rng.randrange(3))}
    return _value(field, rng, depth)


def _value(field: fields.Field, rng: random.Random, depth: int) -> Any:
    match field.scalar:
        case "s":
            return rng.choice(_TEXTS)
        case "i":
            return rng.choice((0, 1, 127, 128, -1, 2**31 - 1))
        case "b":
            return rng.random() < 0.5
        case "y":
            return base64.b64encode(rng.randbytes(rng.randrange(1, 4))).decode()
        case "d":
            return rng.choice((0, 1.5, -2))
    return _message(field.message, rng, depth)


def _message(message: str, rng: random.Random, depth: int) -> Any:
    match message.rpartition(".")[2]:
        case "Quantity":
            return rng.choice(("0", "1", "100m", "1Gi"))
        case "Time":
            return rng.choice(_TIMES)
        case "MicroTime":
            return rng.choice(_TIMES)[:-1] + rng.choice((".000000Z", ".000002Z", ".123456Z"))
        case "IntOrString":
            return rng.choice((0, 80, -1, "", "http", "25%"))
        case "RawExtension" | "FieldsV1":
            return {"f:a": {}, "b": [1, "<"]}
        case "JSON":
            return rng.choice(("x", 1, [1], {"a": None}, False))
        case "ExtraValue" | "Verbs":
            return rng.sample(("get", "list"), rng.randrange(1, 3))
        case "JSONSchemaPropsOrBool":
            return rng.choice((True, False, {"type": "string"}))
        case "JSONSchemaPropsOrArray":
            return rng.choice(({"type": "string"}, [{"type": "string"}]))
        case "JSONSchemaPropsOrStringArray":
            return rng.choice(({"type": "string"}, ["a"]))
    return _object(message, rng, depth)
