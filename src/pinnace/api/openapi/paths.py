"""The paths of a kind: one operation per verb, with what clients look for in it.

kubectl finds a kind by `x-kubernetes-group-version-kind` of an operation, learns from the parameters of `patch` whether field
validation and dry run exist, and from the media types of its body which patches do.
"""

from typing import Any

from pinnace.api import kinds
from pinnace.api.openapi import documents

Json = dict[str, Any]

_JSON = "application/json"
_OBJECT_TYPES = (_JSON, "application/yaml")
_LIST_TYPES = (*_OBJECT_TYPES, "application/json;stream=watch")
_PATCH_TYPES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/apply-patch+yaml",
)
_STRATEGIC = "application/strategic-merge-patch+json"

# name -> (type, what it does)
_QUERY = {
    "pretty": ("string", "If 'true', then the output is pretty printed."),
    "dryRun": ("string", "When present, modifications are not persisted. The only valid value is All."),
    "fieldManager": ("string", "The name of who makes these changes, at most 128 printable characters."),
    "fieldValidation": ("string", "What happens to unknown and duplicate fields: Ignore, Warn or Strict."),
    "force": ("boolean", "Take over fields that another manager owns (server-side apply)."),
    "allowWatchBookmarks": ("boolean", "Ask a watch for events of type BOOKMARK."),
    "continue": ("string", "Where the next page begins, from the metadata of the page before."),
    "fieldSelector": ("string", "Restrict the answer by the values of fields."),
    "labelSelector": ("string", "Restrict the answer by labels."),
    "limit": ("integer", "The largest number of objects in one answer; the rest is had by `continue`."),
    "resourceVersion": ("string", "Constrains which state of the cluster may answer."),
    "resourceVersionMatch": ("string", "How resourceVersion is applied: NotOlderThan or Exact."),
    "sendInitialEvents": ("boolean", "Begin a watch with the objects that exist, then a bookmark."),
    "timeoutSeconds": ("integer", "How long the call may take."),
    "watch": ("boolean", "Watch for changes instead of listing once."),
    "gracePeriodSeconds": ("integer", "Seconds before the object is deleted; zero is at once."),
    "propagationPolicy": ("string", "What happens to dependents: Orphan, Background or Foreground."),
    "orphanDependents": ("boolean", "Deprecated: use propagationPolicy."),
}
_WRITE = ("dryRun", "fieldManager", "fieldValidation")
_PATCH = ("dryRun", "fieldManager", "fieldValidation", "force")
_DELETE = ("dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy")
_LIST = (
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
    "watch",
)
_DELETE_COLLECTION = (
    *_DELETE,
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
    "timeoutSeconds",
)

_METHODS = {
    "create": ("post", "post", "create"),
    "get": ("get", "get", "read"),
    "update": ("put", "put", "replace"),
    "patch": ("patch", "patch", "patch"),
    "delete": ("delete", "delete", "delete"),
    "deletecollection": ("delete", "deletecollection", "delete"),
    "list": ("get", "list", "list"),
}
_COLLECTION_VERBS = ("list", "create", "deletecollection")
_OBJECT_VERBS = ("get", "update", "patch", "delete")

Dialect = documents.V2 | documents.V3


def of_kind(kind: kinds.Kind, dialect: Dialect) -> Json:
    root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    scope = f"{root}/namespaces/{{namespace}}" if kind.namespaced else root
    collection = f"{scope}/{kind.plural}"
    found: Json = {}
    builder = _Builder(kind, dialect)
    operations = {verb: builder.operation(verb) for verb in kind.verbs if verb in _METHODS}
    # `list` and `deletecollection` answer to different methods, so that no operation hides another.
    _put(found, collection, builder, {verb: operations[verb] for verb in _COLLECTION_VERBS if verb in operations})
    _put(
        found,
        f"{collection}/{{name}}",
        builder,
        {verb: operations[verb] for verb in _OBJECT_VERBS if verb in operations},
    )
    if kind.namespaced and "list" in operations:
        everywhere = builder.operation("list", all_namespaces=True)
        found[f"{root}/{kind.plural}"] = {"get": everywhere, "parameters": builder.path_parameters("")}
    for sub in kind.subresources:
        item: Json = {_METHODS[verb][0]: builder.subresource(verb, sub) for verb in sub.verbs if verb in _METHODS}
        item["parameters"] = builder.path_parameters(f"{collection}/{{name}}/{sub.name}")
        found[f"{collection}/{{name}}/{sub.name}"] = item
    return found


def _put(found: Json, path: str, builder: "_Builder", operations: Json) -> None:
    if operations:
        item = {_METHODS[verb][0]: operation for verb, operation in operations.items()}
        found[path] = {**item, "parameters": builder.path_parameters(path)}


class _Builder:
    """Operations of one kind in one dialect."""

    def __init__(self, kind: kinds.Kind, dialect: Dialect) -> None:
        self._kind = kind
        self._dialect = dialect
        self._is_v3 = isinstance(dialect, documents.V3)
        self._tag = _title(kind.group) + "_" + kind.version if kind.group else "core_" + kind.version
        self._own = kind.definition

    def operation(self, verb: str, *, all_namespaces: bool = False) -> Json:
        kind = self._kind
        _, action, word = _METHODS[verb]
        scope = "Namespaced" if kind.namespaced and not all_namespaces else ""
        collection = "Collection" if verb == "deletecollection" else ""
        suffix = "ForAllNamespaces" if all_namespaces else ""
        answer = {
            "list": documents.list_name(kind),
            "delete": documents.STATUS,
            "deletecollection": documents.STATUS,
        }.get(verb, self._own)
        made = self._describe(
            f"{word}{_title(kind.group)}{kind.version.capitalize()}{collection}{scope}{kind.kind}{suffix}",
            f"{word} {'collection of' if collection else 'objects of kind' if verb == 'list' else 'the specified'} {kind.kind}",
            action,
            documents.group_version_kind(kind.group, kind.version, kind.kind),
        )
        return self._complete(made, verb, answer)

    def subresource(self, verb: str, sub: kinds.Subresource) -> Json:
        kind = self._kind
        name = documents.subresource_name(kind, sub)
        is_stream = name is None or sub.name == "log"
        _, action, word = _METHODS[verb]
        if name is None:
            action, word = "connect", f"connect{verb.capitalize()}"
        scope = "Namespaced" if kind.namespaced else ""
        made = self._describe(
            f"{word}{_title(kind.group)}{kind.version.capitalize()}{scope}{kind.kind}{sub.name.capitalize()}",
            f"{word} {sub.name} of the specified {kind.kind}",
            action,
            documents.group_version_kind(sub.group or kind.group, sub.version or kind.version, sub.kind),
        )
        return self._stream(made) if is_stream else self._complete(made, verb, name or self._own)

    def path_parameters(self, path: str) -> list[Json]:
        found = []
        if "{name}" in path:
            found.append(self._parameter("name", "string", f"name of the {self._kind.kind}", where="path"))
        if "{namespace}" in path:
            words = "object name and auth scope, such as for teams and projects"
            found.append(self._parameter("namespace", "string", words, where="path"))
        found.append(self._query("pretty"))
        return found

    def _describe(self, operation_id: str, description: str, action: str, gvk: Json) -> Json:
        return {
            "description": description,
            "operationId": operation_id,
            "tags": [self._tag],
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": gvk,
        }

    def _complete(self, made: Json, verb: str, answer: str) -> Json:
        names = {
            "list": _LIST,
            "create": _WRITE,
            "update": _WRITE,
            "patch": _PATCH,
            "delete": _DELETE,
            "deletecollection": _DELETE_COLLECTION,
        }.get(verb, ())
        made["parameters"] = [self._query(name) for name in names]
        if verb in ("create", "update"):
            self._body(made, answer, _OBJECT_TYPES, required=True)
        elif verb == "patch":
            strategic = (_STRATEGIC,) if self._kind.rules.merges_strategically else ()
            self._body(made, documents.PATCH, (*_PATCH_TYPES, *strategic), required=True)
        elif verb in ("delete", "deletecollection"):
            self._body(made, documents.DELETE_OPTIONS, _OBJECT_TYPES, required=False)
        codes = {
            "create": ("200", "201", "202"),
            "update": ("200", "201"),
            "patch": ("200", "201"),
            "delete": ("200", "202"),
        }
        produced = _LIST_TYPES if verb == "list" else _OBJECT_TYPES
        words = {"200": "OK", "201": "Created", "202": "Accepted"}
        made["responses"] = {
            **{code: self._response(words[code], answer, produced) for code in codes.get(verb, ("200",))},
            "401": {"description": "Unauthorized"},
        }
        if not self._is_v3:
            made["produces"] = list(produced)
            made["schemes"] = ["https"]
            made.setdefault("consumes", ["*/*"])
        return made

    def _stream(self, made: Json) -> Json:
        made["parameters"] = []
        plain: Json = {"type": "string"}
        if self._is_v3:
            made["responses"] = {"200": {"description": "OK", "content": {"*/*": {"schema": plain}}}}
        else:
            made["responses"] = {"200": {"description": "OK", "schema": plain}}
            made["consumes"] = made["produces"] = ["*/*"]
            made["schemes"] = ["https"]
        made["responses"]["401"] = {"description": "Unauthorized"}
        return made

    def _body(self, made: Json, name: str, types: tuple[str, ...], *, required: bool) -> None:
        schema = self._dialect.reference(name)
        if self._is_v3:
            body: Json = {"content": {media: {"schema": schema} for media in types}}
            if required:
                body["required"] = True
            made["requestBody"] = body
        else:
            body = {"in": "body", "name": "body", "schema": schema}
            if required:
                body["required"] = True
            made["parameters"].append(body)
            made["consumes"] = list(types)

    def _response(self, words: str, name: str, types: tuple[str, ...]) -> Json:
        schema = self._dialect.reference(name)
        if self._is_v3:
            return {"description": words, "content": {media: {"schema": schema} for media in types}}
        return {"description": words, "schema": schema}

    def _query(self, name: str) -> Json:
        kind, words = _QUERY[name]
        return self._parameter(name, kind, words, where="query")

    def _parameter(self, name: str, kind: str, words: str, *, where: str) -> Json:
        made: Json = {"name": name, "in": where, "description": words}
        if where == "path":
            made["required"] = True
        typed: Json = {"type": kind, "uniqueItems": True}
        return {**made, "schema": typed} if self._is_v3 else {**made, **typed}


def _title(group: str) -> str:
    """`RbacAuthorization` for rbac.authorization.k8s.io, `Core` for the core group."""
    if not group:
        return "Core"
    return "".join(part[:1].upper() + part[1:] for part in group.removesuffix(".k8s.io").split("."))
