"""Reading URL paths: which resource, namespace, name and subresource a path means. Pure; knows no kinds and no handlers."""

from typing import NamedTuple

# A segment after a namespace's name that is a part of the namespace itself, not a resource inside it.
_NAMESPACE_PARTS = frozenset({"status", "finalize"})
_SHORTEST_WITH_NAMESPACE = 3


class ResourcePath(NamedTuple):
    group: str
    version: str
    plural: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    tail: str = ""
    """What follows a subresource (`proxy/<tail>`), with its leading slash."""
    is_watch: bool = False
    """The old form `/api/v1/watch/...`."""
    is_namespaced: bool = False
    """Whether the path names a namespace that the resource is in."""


def parse(path: str) -> ResourcePath | None:
    """None for what is no resource: `/version`, `/apis/apps/v1`, anything else."""
    parts = path.split("/")
    if len(parts) < 4 or parts[0]:
        return None
    if parts[1] == "api":
        group, version, rest = "", parts[2], parts[3:]
    elif parts[1] == "apis" and len(parts) > 4:
        group, version, rest = parts[2], parts[3], parts[4:]
        if not group:
            return None
    else:
        return None
    if not rest[-1] and len(rest) > 1:
        return _with_tail(group, version, rest)
    return _resource(group, version, rest)


def is_name(text: str) -> bool:
    """Whether `text` can stand as the name in a path: what cannot names nothing, and nobody is authorised by it."""
    return text not in (".", "..") and "/" not in text and "%" not in text


def _with_tail(group: str, version: str, rest: list[str]) -> ResourcePath | None:
    """A path that ends in a slash: one more slash matters only to what is proxied."""
    found = _resource(group, version, rest)
    if found is not None and found.subresource == "proxy":
        return found
    return _resource(group, version, rest[:-1])


def _resource(group: str, version: str, rest: list[str]) -> ResourcePath | None:
    is_watch = rest[0] == "watch" and len(rest) > 1
    if is_watch:
        rest = rest[1:]
    namespace, is_namespaced = "", False
    if rest[0] == "namespaces" and len(rest) >= _SHORTEST_WITH_NAMESPACE and rest[2] not in _NAMESPACE_PARTS:
        namespace, rest, is_namespaced = rest[1], rest[2:], True
        if not namespace:
            return None
    plural = rest[0]
    if not plural:
        return None
    name = rest[1] if len(rest) > 1 else ""
    subresource = rest[2] if len(rest) > 2 else ""
    tail = "/" + "/".join(rest[3:]) if len(rest) > 3 else ""
    if len(rest) > 1 and not name:
        return None
    return ResourcePath(group, version, plural, namespace, name, subresource, tail, is_watch, is_namespaced)
