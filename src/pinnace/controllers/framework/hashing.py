"""Short names for templates: the same template gives the same hash, written with letters that spell no words."""

from typing import Any

import orjson

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


def template_hash(template: Any, collisions: int = 0) -> str:
    """As upstream's ComputeHash: FNV-1a over a canonical form and the number of collisions so far."""
    data = orjson.dumps(template, option=orjson.OPT_SORT_KEYS)
    if collisions:
        data += str(collisions).encode()
    return safe_encode(str(fnv32a(data)))


def fnv32a(data: bytes) -> int:
    value = 0x811C9DC5
    for byte in data:
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value


def safe_encode(text: str) -> str:
    """As upstream's rand.SafeEncodeString."""
    return "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in text.encode())
