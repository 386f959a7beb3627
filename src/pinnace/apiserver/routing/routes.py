"""The table of routes: everything that is served, and nothing else.

A row says which verb the authoriser is asked about and who answers; where it stands says for which method and path. `Table.match`
turns a request into one row and its attributes by asking one link after the other; what no link knows is answered NotFound, and only
to those who may ask. Matching is splitting and dictionary look-ups, no patterns.
"""

import dataclasses
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple, Protocol

from pinnace.api import errors, kinds
from pinnace.apiserver import context as contexts
from pinnace.apiserver.authz import attributes as authz
from pinnace.apiserver.http import query, respond
from pinnace.apiserver.routing import paths
from pinnace.apiserver.storage import filters
from pinnace.apiserver.subresources import scale
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
    is_exempt: bool = False
    """Answered at once however much there is to do: whether the server lives is asked when it has most to do."""
    is_installed: bool = True
    """False: answers what nothing serves, under whatever words a stranger has thought of."""


Methods = Mapping[str, Route]
"""By the method of the request; HEAD is GET."""

COLLECTION: Methods = {
    "GET": Route("list", listing.list_),
    "POST": Route("create", create.create),
    "DELETE": Route("deletecollection", delete_collection.delete_collection),
}
WATCH = Route("watch", watch.watch, is_long=True)
OBJECT: Methods = {
    "GET": Route("get", get.get),
    "PUT": Route("update", update.update),
    "PATCH": Route("patch", patch.patch),
    "DELETE": Route("delete", delete.delete),
}
# Subresources that are a part of their object: the strategies and validations of the kind know what may change through each.
PARTS: Methods = {
    "GET": Route("get", get.get),
    "PUT": Route("update", update.update),
    "PATCH": Route("patch", patch.patch),
}
SCALE: Methods = {
    "GET": Route("get", scale.get),
    "PUT": Route("update", scale.update),
    "PATCH": Route("patch", scale.patch),
}
_METHOD_VERBS = {
    "GET": "get",
    "HEAD": "get",
    "POST": "create",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
}
"""Of one object. Other methods have no verb of their own: who may do everything may ask them."""

_MANY = frozenset({"list", "watch", "deletecollection"})
"""Verbs that a field selector narrows."""

NO_KIND = kinds.Kind("", "", "", "", "", False)


@dataclasses.dataclass(frozen=True, slots=True)
class Match:
    route: Route
    attributes: authz.Attributes
    kind: kinds.Kind = NO_KIND
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    tail: str = ""


class Place(NamedTuple):
    """Where in a resource something else is served than in all of them."""

    group: str
    plural: str
    subresource: str = ""
    is_object: bool = False
    """The objects of the resource rather than their collection."""


Rows = Mapping[Place, Methods]


class Link(Protocol):
    """One part of what the server knows: built-in and custom kinds, pages, APIs of other servers."""

    def match(self, method: str, path: str, found: paths.ResourcePath | None, options: query.Query) -> Match | None:
        """`found`: `path` as that of a resource. None: not mine, the next link is asked."""
        ...


class Table:
    """A chain of links; the first that knows a path has it."""

    def __init__(self, *links: Link) -> None:
        self._links = links

    def match(self, method: str, path: str, options: query.Query) -> Match:
        found = paths.parse(path)
        for link in self._links:
            match = link.match(method, path, found, options)
            if match is not None:
                return match
        if found is None:
            verb = "get" if method == "HEAD" else method.lower()
            return Match(_unknown(verb, _no_page), authz.Attributes(verb, path=path))
        verb = _asked_verb(method, found, options)
        return Match(_unknown(verb, _no_page), _attributes(verb, found, found.name))


class Kinds:
    """The kinds of the registry as it is at that moment. `special`: what is more than a stored object or a part of one."""

    def __init__(self, registry: kinds.Registry, special: Rows) -> None:
        self._registry = registry
        self._special = special
        self._installed = frozenset((kind.group, kind.version) for kind in registry.all())
        """Versions that have been there from the start say themselves what they do not have; where the others end no page begins."""

    def match(self, method: str, path: str, found: paths.ResourcePath | None, options: query.Query) -> Match | None:
        if found is None:
            return None
        kind = self._registry.by_path(found.group, found.version, found.plural)
        if kind is None or not _fits(kind, found) or (found.is_watch and found.subresource):
            if (found.group, found.version) not in self._installed:
                return None
            verb = _asked_verb(method, found, options)
            return Match(_unknown(verb, _not_found), _attributes(verb, found, found.name))
        route = self._route(kind, found, method, options)
        attributes = _attributes(route.verb, found, found.name)
        if route.verb in _MANY and "fieldSelector" in options.values and not found.is_watch:
            attributes = _selecting(attributes, kind, options)
        namespace = found.namespace if kind.namespaced else ""
        return Match(route, attributes, kind, namespace, found.name, found.subresource, found.tail)

    def _route(self, kind: kinds.Kind, found: paths.ResourcePath, method: str, options: query.Query) -> Route:
        method = "GET" if method == "HEAD" else method
        if found.is_watch and method != "GET":
            return _refused("watch")
        place = Place(kind.group, kind.plural, found.subresource, bool(found.name) and not found.subresource)
        special = self._special.get(place)
        if found.subresource:
            if kind.subresource(found.subresource) is None or (found.tail and found.subresource != "proxy"):
                is_installed = (kind.group, kind.version) in self._installed
                return _unknown(_verb(method), _not_found if is_installed else _no_such_part)
            rows = special or (SCALE if found.subresource == "scale" else PARTS)
            return rows.get(method) or _refused(_verb(method))
        if method == "GET" and (found.is_watch or (not found.name and options.values and options.flag("watch"))):
            return WATCH if "watch" in kind.verbs else _refused("watch")
        if special is not None and method in special:
            return special[method]
        row = (OBJECT if found.name else COLLECTION).get(method)
        if row is None or row.verb not in kind.verbs or kind.is_virtual:
            return _refused(row.verb if row is not None else _verb(method))
        return row


class Pages:
    """Paths that are no resource, by their whole path."""

    def __init__(self, rows: Mapping[str, Route]) -> None:
        self._rows = rows

    def match(self, method: str, path: str, found: paths.ResourcePath | None, options: query.Query) -> Match | None:
        if found is not None or method not in ("GET", "HEAD"):
            return None
        route = self._rows.get(path) or self._rows.get(path.rstrip("/"))
        return None if route is None else Match(route, authz.Attributes(route.verb, path=path))


class PagesBelow:
    """The same for everything below a path that ends in a slash."""

    def __init__(self, rows: Mapping[str, Route]) -> None:
        self._rows = rows

    def match(self, method: str, path: str, found: paths.ResourcePath | None, options: query.Query) -> Match | None:
        if found is not None or method not in ("GET", "HEAD"):
            return None
        route = next((row for prefix, row in self._rows.items() if path.startswith(prefix)), None)
        return None if route is None else Match(route, authz.Attributes(route.verb, path=path))


def _verb(method: str) -> str:
    return _METHOD_VERBS.get(method, "")


def _asked_verb(method: str, found: paths.ResourcePath, options: query.Query) -> str:
    """What a request wants of a resource that is not there, read as if it were."""
    verb = _verb(method)
    if found.is_watch:
        return "watch"
    if found.name or verb not in ("get", "delete"):
        return verb
    if verb == "delete":
        return "deletecollection"
    return "watch" if options.flag("watch") else "list"


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


def _selecting(asked: authz.Attributes, kind: kinds.Kind, options: query.Query) -> authz.Attributes:
    """With what the selector fixes, read as the filter reads it. A list or watch of one name is authorised like a request for it;
    a collection is deleted by nobody who may only delete by name, as upstream has it."""
    try:
        chosen = filters.selected_fields(kind, options)
    except ValueError:
        return asked  # Refused once it is known who asks.
    fixed = tuple((each.field, each.value) for each in chosen.requirements if each.operator == "=")
    name = chosen.required_value("metadata.name") or ""
    if asked.verb == "deletecollection" or not paths.is_name(name):
        name = ""
    return asked._replace(fields=fixed, name=name)


async def _no_page(_: contexts.Context) -> messages.Answer:
    return respond.no_page()


async def _not_found(_: contexts.Context) -> messages.Answer:
    raise errors.StatusError(404, "NotFound", "the server could not find the requested resource")


async def _no_such_part(context: contexts.Context) -> messages.Answer:
    raise context.not_found()


async def _not_allowed(_: contexts.Context) -> messages.Answer:
    raise errors.StatusError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")


def _unknown(verb: str, handler: Handler) -> Route:
    return Route(verb, handler, is_installed=False)


def _refused(verb: str) -> Route:
    return Route(verb, _not_allowed)
