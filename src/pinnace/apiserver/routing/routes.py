"""The table of routes: everything that is served, and nothing else.

A row says method, where, which verb the authoriser is asked about, and who answers. `Table.match` turns a request into one row
and its attributes; what matches no row is answered NotFound, and only to those who may ask. Matching is splitting and dictionary
look-ups, no patterns.
"""

import dataclasses
from collections.abc import Awaitable, Callable, Mapping

from pinnace.api import errors, kinds
from pinnace.apiserver import context as contexts
from pinnace.apiserver.authz import attributes as authz
from pinnace.apiserver.http import query
from pinnace.apiserver.routing import paths
from pinnace.apiserver.verbs import create, delete, delete_collection, get, patch, update, watch
from pinnace.apiserver.verbs import list as listing
from pinnace.web import messages

Handler = Callable[[contexts.Context], Awaitable[messages.Answer]]


@dataclasses.dataclass(frozen=True, slots=True)
class Route:
    verb: str
    handler: Handler
    is_long: bool = False
    """Stays open: neither timed out nor counted as work in flight."""


COLLECTION: Mapping[str, Route] = {
    "GET": Route("list", listing.list_),
    "POST": Route("create", create.create),
    "DELETE": Route("deletecollection", delete_collection.delete_collection),
}
WATCH = Route("watch", watch.watch, is_long=True)
OBJECT: Mapping[str, Route] = {
    "GET": Route("get", get.get),
    "PUT": Route("update", update.update),
    "PATCH": Route("patch", patch.patch),
    "DELETE": Route("delete", delete.delete),
}
# Subresources that are a part of their object: the strategies and validations of the kind know what may change through each.
PARTS: Mapping[str, Route] = {
    "GET": Route("get", get.get),
    "PUT": Route("update", update.update),
    "PATCH": Route("patch", patch.patch),
}
_METHOD_VERBS = {
    "GET": "get",
    "HEAD": "get",
    "POST": "create",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
    "OPTIONS": "options",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Match:
    route: Route
    attributes: authz.Attributes
    kind: kinds.Kind | None = None
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    tail: str = ""


_NO_KIND = kinds.Kind("", "", "", "", "", False)


class Table:
    """`special`: (group, plural, subresource or "") -> method -> row, for what is more than a stored object or a part of one.
    `plain`: path -> row for what is no resource; `below`: the same for everything below a path."""

    def __init__(
        self,
        registry: kinds.Registry,
        special: Mapping[tuple[str, str, str], Mapping[str, Route]],
        plain: Mapping[str, Route],
        below: Mapping[str, Route],
    ) -> None:
        self._registry = registry
        self._special = special
        self._plain = plain
        self._below = below

    def match(self, method: str, path: str, options: query.Query) -> Match:
        found = paths.parse(path)
        if found is None:
            return self._match_plain(method, path)
        kind = self._registry.by_path(found.group, found.version, found.plural)
        if kind is None or not _fits(kind, found):
            return Match(_missing(method), _attributes(_METHOD_VERBS.get(method, "get"), found, found.name))
        route = self._route(kind, found, method, options)
        name = found.name or _selected_name(route.verb, options)
        attributes = _attributes(route.verb, found, name)
        namespace = found.namespace if kind.namespaced else ""
        return Match(route, attributes, kind, namespace, found.name, found.subresource, found.tail)

    def _route(self, kind: kinds.Kind, found: paths.ResourcePath, method: str, options: query.Query) -> Route:
        method = "GET" if method == "HEAD" else method
        special = self._special.get((kind.group, kind.plural, found.subresource))
        if found.subresource:
            declared = next((sub for sub in kind.subresources if sub.name == found.subresource), None)
            if declared is None or (found.tail and found.subresource != "proxy"):
                return _missing(method)
            row = (special or PARTS).get(method)
            return row if row is not None else _refused(kind, _METHOD_VERBS.get(method, method.lower()))
        if special is not None:
            row = special.get(f"{method} object" if found.name else method)
            if row is not None:
                return row
        if method == "GET" and (found.is_watch or (not found.name and options.values and options.flag("watch"))):
            return WATCH if "watch" in kind.verbs else _refused(kind, "watch")
        row = (OBJECT if found.name else COLLECTION).get(method)
        if row is None or row.verb not in kind.verbs or kind.is_virtual:
            return _refused(kind, row.verb if row is not None else _METHOD_VERBS.get(method, method.lower()))
        return row

    def _match_plain(self, method: str, path: str) -> Match:
        attributes = authz.Attributes(_METHOD_VERBS.get(method, method.lower()), path=path)
        if method in ("GET", "HEAD"):
            route = self._plain.get(path) or self._plain.get(path.rstrip("/"))
            if route is None:
                route = next((row for prefix, row in self._below.items() if path.startswith(prefix)), None)
            if route is not None:
                return Match(route, attributes._replace(verb=route.verb))
        return Match(_missing_page(), attributes)


def _fits(kind: kinds.Kind, found: paths.ResourcePath) -> bool:
    """A path must say the namespace of a namespaced kind's object, and none for a cluster's."""
    if kind.namespaced:
        return found.is_namespaced or not found.name
    return not found.is_namespaced


def _attributes(verb: str, found: paths.ResourcePath, name: str) -> authz.Attributes:
    namespace = found.namespace
    if found.plural == "namespaces" and not found.group and not found.is_namespaced:
        namespace = found.name
    return authz.Attributes(verb, found.group, found.version, found.plural, found.subresource, namespace, name)


def _selected_name(verb: str, options: query.Query) -> str:
    """A list or watch of one name is authorised like a request for it."""
    if verb not in ("list", "watch", "deletecollection") or not options.values:
        return ""
    for term in options.text("fieldSelector").split(","):
        field, separator, value = term.partition("=")
        if separator and field == "metadata.name":
            return value.removeprefix("=")
    return ""


def _missing(method: str) -> Route:
    return Route(_METHOD_VERBS.get(method, method.lower()), _not_found)


def _missing_page() -> Route:
    return Route("get", _not_found)


async def _not_found(_: contexts.Context) -> messages.Answer:
    raise errors.StatusError(404, "NotFound", "the server could not find the requested resource")


def _refused(kind: kinds.Kind, verb: str) -> Route:
    async def refuse(_: contexts.Context) -> messages.Answer:
        raise errors.StatusError(
            405, "MethodNotAllowed", "the server does not allow this method on the requested resource"
        )

    return Route(verb, refuse)
