"""Defaults that a custom resource's own schema states."""

from typing import Any

import orjson

from pinnace.api import schema as schemas


def apply(schema: schemas.Schema, value: Any) -> None:
    """Fill `default`s into absent fields (and into nulls that are not allowed), then into what is inside."""
    if isinstance(value, dict):
        for name, field in schema.properties.items():
            is_missing = name not in value or (value[name] is None and not field.nullable)
            if is_missing and field.default is not None:
                # A copy: objects must not share what one of them may change.
                value[name] = orjson.loads(orjson.dumps(field.default))
            if name in value:
                apply(field, value[name])
        if schema.additional is not None:
            for name, item in value.items():
                if name not in schema.properties:
                    apply(schema.additional, item)
    elif isinstance(value, list) and schema.items is not None:
        for item in value:
            apply(schema.items, item)
