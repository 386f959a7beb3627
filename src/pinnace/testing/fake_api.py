"""A small API server in memory: storage verbs and watches for any path, no kinds, no admission.

For tests of what sits on top of `client`: it numbers revisions, refuses stale writes, keeps a watch history that can be cut
(`compact`), and lets a test stand in the way of requests (`fault`). What depends on kinds (defaults, validation,
subresources, selectors) belongs in tests against the real API server.
"""

import asyncio
import copy
import dataclasses
import itertools
from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson

from pinnace.api import errors
from pinnace.web import messages

Object = dict[str, Any]
Fault = Callable[[messages.Request], None]
"""Called before each request is handled; raises what the client shall meet."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Change:
    revision: int
    collection: str
    namespace: str
    type: str
    object: Object


@dataclasses.dataclass(frozen=True, slots=True)
class _Target:
    collection: str
    """`/apis/apps/v1/deployments`"""
    namespace: str
    name: str
    subresource: str

    @property
    def key(self) -> tuple[str, str, str]:
        return self.collection, self.namespace, self.name

    @property
    def plural(self) -> str:
        return self.collection.rpartition("/")[2]


class FakeApi:
    """`handle` is a `messages.Handler`."""

    def __init__(self) -> None:
        self.fault: Fault = lambda request: None
        self.requests: list[messages.Request] = []
        self.objects: dict[tuple[str, str, str], Object] = {}
        self.revision = 1
        self._oldest = 0
        self._history: list[_Change] = []
        self._changed = asyncio.Condition()
        self._uids = itertools.count(1)
        self._cut = 0

    async def handle(self, request: messages.Request) -> messages.Answer:
        self.requests.append(request)
        self.fault(request)
        try:
            return await self._route(request)
        except errors.StatusError as error:
            return messages.Response(error.code, [("content-type", "application/json")], orjson.dumps(error.to_json()))

    def compact(self) -> None:
        """Forget the history: a watch from an earlier revision than now is answered with Expired."""
        self._oldest = self.revision
        self._history.clear()

    async def cut_watches(self) -> None:
        """End every watch that is open."""
        async with self._changed:
            self._cut += 1
            self._changed.notify_all()

    async def _route(self, request: messages.Request) -> messages.Answer:
        target = _target(request.path)
        query = {key: values[-1] for key, values in request.query_values().items()}
        raw = await request.body.read(1 << 20)
        body = orjson.loads(raw) if raw else {}
        if request.method == "GET":
            if query.get("watch") == "true":
                return self._watch(target, int(query["resourceVersion"]))
            return _answer(self._get(target) if target.name else self._list(target, query))
        if request.method == "POST":
            return _answer(await self._create(target, body), 201)
        if request.method == "PUT":
            return _answer(await self._replace(target, body))
        if request.method == "PATCH":
            return _answer(await self._replace(target, _merged(self._get(target), body)))
        if request.method == "DELETE":
            return _answer(await self._delete(target, body))
        raise errors.method_not_supported("", target.plural, request.method)

    def _get(self, target: _Target) -> Object:
        if target.key not in self.objects:
            raise errors.not_found("", target.plural, target.name)
        return self.objects[target.key]

    def _list(self, target: _Target, query: dict[str, str]) -> Object:
        items = [
            obj
            for (collection, namespace, _), obj in sorted(self.objects.items())
            if collection == target.collection and target.namespace in ("", namespace)
        ]
        start = int(query.get("continue") or 0)
        stop = start + int(query.get("limit") or len(items) or 1)
        metadata = {"resourceVersion": str(self.revision)}
        if stop < len(items):
            metadata["continue"] = str(stop)
        return {"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items[start:stop]}

    async def _create(self, target: _Target, obj: Object) -> Object:
        name = obj["metadata"].get("name") or f"{obj['metadata']['generateName']}{next(self._uids):05d}"
        target = dataclasses.replace(target, name=name)
        if target.key in self.objects:
            raise errors.already_exists("", target.plural, name)
        made = copy.deepcopy(obj)
        made["metadata"] |= {"name": name, "uid": f"uid-{next(self._uids)}"}
        if target.namespace:
            made["metadata"]["namespace"] = target.namespace
        return await self._commit(target, "ADDED", made)

    async def _replace(self, target: _Target, obj: Object) -> Object:
        current = self._get(target)
        version = obj["metadata"].get("resourceVersion")
        if version and version != current["metadata"]["resourceVersion"]:
            raise errors.conflict("", target.plural, target.name, errors.OBJECT_MODIFIED)
        return await self._commit(target, "MODIFIED", copy.deepcopy(obj))

    async def _delete(self, target: _Target, options: Object) -> Object:
        current = self._get(target)
        uid = (options.get("preconditions") or {}).get("uid")
        if uid and uid != current["metadata"]["uid"]:
            raise errors.conflict("", target.plural, target.name, "the UID in the precondition does not match")
        return await self._commit(target, "DELETED", copy.deepcopy(current))

    async def _commit(self, target: _Target, kind: str, obj: Object) -> Object:
        self.revision += 1
        obj["metadata"]["resourceVersion"] = str(self.revision)
        if kind == "DELETED":
            del self.objects[target.key]
        else:
            self.objects[target.key] = obj
        self._history.append(_Change(self.revision, target.collection, target.namespace, kind, obj))
        async with self._changed:
            self._changed.notify_all()
        return obj

    def _watch(self, target: _Target, revision: int) -> messages.Response:
        if revision < self._oldest:
            raise errors.expired(f"too old resource version: {revision} ({self._oldest})")
        return messages.Response(200, [("content-type", "application/json")], self._events(target, revision))

    async def _events(self, target: _Target, revision: int) -> AsyncIterator[messages.Chunk]:
        cut = self._cut
        while self._cut == cut:
            if revision < self._oldest:
                yield orjson.dumps({"type": "ERROR", "object": errors.expired("too old").to_json()}) + b"\n"
                return
            changes = [change for change in self._history if change.revision > revision]
            revision = self.revision
            for change in changes:
                if change.collection == target.collection and target.namespace in ("", change.namespace):
                    yield orjson.dumps({"type": change.type, "object": change.object}) + b"\n"
            async with self._changed:
                if revision == self.revision and self._cut == cut:
                    await self._changed.wait()


def _target(path: str) -> _Target:
    parts = path.strip("/").split("/")
    size = 2 if parts[0] == "api" else 3
    prefix, rest = parts[:size], parts[size:]
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in ("finalize", "status"):
        namespace, rest = rest[1], rest[2:]
    plural, name, subresource = [*rest, "", ""][:3]
    return _Target("/" + "/".join([*prefix, plural]), namespace, name, subresource)


def _merged(current: Any, patch: Any) -> Any:
    """RFC 7396."""
    if isinstance(patch, list):
        return [item for item in patch if not (isinstance(item, dict) and item.get("$patch") == "delete")]
    if not isinstance(patch, dict):
        return patch
    result = dict(current) if isinstance(current, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merged(result.get(key), value)
    return result


def _answer(obj: Object, status: int = 200) -> messages.Response:
    return messages.Response(status, [("content-type", "application/json")], orjson.dumps(obj))
