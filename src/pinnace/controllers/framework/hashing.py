"""Short names for templates: the same template gives the same hash, written with letters that spell no words."""

from typing import Any

from pinnace.api import gojson

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


def template_hash(template: Any, collisions: int = 0) -> str:
    """As upstream's ComputeHash: FNV-1a over a canonical form and the number of collisions so far.

    The form is another one (upstream's is how a debugging library prints Go's structs). Nothing depends on it: upstream finds a Deployment's
    ReplicaSets, and a DaemonSet's revisions, by their templates, and reads the hash from their labels.
    """
    data = gojson.dumps_map(template)
    if collisions:
        data += str(collisions).encode()
    return safe_encode(str(fnv32a(data)))


def revision_hash(data: Any, collisions: int = 0) -> str:
    """As upstream's HashControllerRevision: FNV-1 over the bytes of the revision's data and the number of collisions."""
    return safe_encode(str(fnv32(gojson.dumps_map(data) + str(collisions).encode())))


def fnv32(data: bytes) -> int:
    value = 0x811C9DC5
    for byte in data:
        value = (value * 0x01000193) & 0xFFFFFFFF ^ byte
    return value


def fnv32a(data: bytes) -> int:
    value = 0x811C9DC5
    for byte in data:
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value


def safe_encode(text: str) -> str:
    """As upstream's rand.SafeEncodeString."""
    return "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in text.encode())
