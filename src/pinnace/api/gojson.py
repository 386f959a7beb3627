"""JSON as Go's encoding/json writes it, for what upstream compares as bytes or hashes.

It differs from what `orjson` writes in the characters that Go escapes for the sake of HTML. Keys of maps are sorted there and members of
structs are not: `dumps` keeps the order of the value, `dumps_map` is for what Go holds as maps.
"""

from typing import Any

import orjson

# As they stand in UTF-8; outside of texts none of them can be.
_ESCAPES = (
    (b"<", b"\\u003c"),
    (b">", b"\\u003e"),
    (b"&", b"\\u0026"),
    (b"\xe2\x80\xa8", b"\\u2028"),
    (b"\xe2\x80\xa9", b"\\u2029"),
)
# Whole numbers that a float64, which is what Go's maps hold, cannot tell apart begin here.
_EXACT = 2**53


def escaped(data: bytes) -> bytes:
    """JSON with Go's escapes in its texts. Costs a search for each where there is nothing to escape."""
    for plain, escape in _ESCAPES:
        if plain in data:
            data = data.replace(plain, escape)
    return data


def dumps(value: Any) -> bytes:
    return escaped(orjson.dumps(value))


def dumps_map(value: Any) -> bytes:
    """As Go writes what it has read into a `map[string]any`: sorted, and with the numbers that are left of it."""
    return escaped(orjson.dumps(_as_floats(value), option=orjson.OPT_SORT_KEYS))


def _as_floats(value: Any) -> Any:
    if value.__class__ is int:
        return value if abs(value) <= _EXACT else int(float(value))
    if isinstance(value, dict):
        return {key: _as_floats(item) for key, item in value.items()}
    return [_as_floats(item) for item in value] if isinstance(value, list) else value
