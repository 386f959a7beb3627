"""The API client: verbs on resources, over any transport.

Every component sees the cluster through this alone. Objects are plain dicts as the API serves them; never change one
that came from an informer: copy what you change.
"""

import contextlib
import dataclasses
import urllib.parse
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Literal, Protocol, cast

import orjson

from pinnace.api import resources
from pinnace.client import streams
from pinnace.web import messages

Object = dict[str, Any]

PAGE_SIZE = 500

PATCH_TYPES = {
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "json": "application/json-patch+json",
    "apply": "application/apply-patch+yaml",
}


class ApiError(Exception):
    """The API refused: `status` is its `Status` object. Subclasses tell the caller what to do."""

    def __init__(self, status: Mapping[str, Any]) -> None:
        super().__init__(status.get("message", ""))
        self.status = status

    @property
    def code(self) -> int:
        return int(self.status.get("code", 0))

    @property
    def reason(self) -> str:
        return str(self.status.get("reason", ""))

    @property
    def is_namespace_going(self) -> bool:
        """Nothing new is made in a namespace that is being deleted."""
        causes = (self.status.get("details") or {}).get("causes") or ()
        return any(cause.get("reason") == "NamespaceTerminating" for cause in causes)

    @property
    def retry_after_seconds(self) -> float:
        """How long the server asks to wait before the next try; 0 when it does not say."""
        return float((self.status.get("details") or {}).get("retryAfterSeconds") or 0)


class NotFound(ApiError):
    """404: it is not there (any more)."""


class AlreadyExists(ApiError):
    """409 AlreadyExists."""


class Conflict(ApiError):
    """409 Conflict: read again and decide again."""


class Expired(ApiError):
    """410: the resourceVersion is too old. List again."""


class Invalid(ApiError):
    """400 or 422 (or another 4xx): sending the same again will never work."""


class Forbidden(ApiError):
    """401 or 403."""


class Unavailable(ApiError):
    """429, 5xx, or no connection: try the same again later."""


def unavailable(message: str) -> Unavailable:
    """What a transport raises when no answer came."""
    return Unavailable({"kind": "Status", "status": "Failure", "reason": "ServiceUnavailable", "message": message})


class Transport(Protocol):
    """Carries a request to an API server. `HttpTransport` over TLS, `DirectTransport` within one process."""

    async def send(self, request: messages.Request) -> messages.Answer:
        """Raises `Unavailable` when no answer came."""
        ...

    async def close(self) -> None: ...


EventType = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]


@dataclasses.dataclass(frozen=True, slots=True)
class WatchEvent:
    type: EventType
    object: Object


@dataclasses.dataclass(frozen=True, slots=True)
class ObjectList:
    items: list[Object]
    resource_version: str


class Client:
    def __init__(self, transport: Transport, *, user_agent: str = "pinnace") -> None:
        """`user_agent` names the writer in managedFields, as upstream's components do (`kubelet`, `kube-scheduler` …)."""
        self._transport = transport
        self._headers = {"accept": "application/json", "user-agent": user_agent}

    async def get(
        self, resource: resources.Resource, namespace: str | None, name: str, *, subresource: str = ""
    ) -> Object:
        """Raises NotFound."""
        return cast(Object, await self._call("GET", resource.path(namespace, name, subresource)))

    async def get_path(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        """The decoded JSON at any path: discovery, `/version`."""
        return await self._call("GET", path, query)

    async def list(
        self,
        resource: resources.Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> ObjectList:
        """All of one snapshot."""

        async def gather(limit: int) -> ObjectList:
            whole = ObjectList([], "")
            pages = self.pages(
                resource, namespace, label_selector=label_selector, field_selector=field_selector, limit=limit
            )
            async with contextlib.aclosing(pages):
                async for page in pages:
                    whole = ObjectList(whole.items + page.items, page.resource_version)
            return whole

        try:
            return await gather(PAGE_SIZE)
        except Expired:
            # The snapshot went away between two pages: a single large page cannot suffer that.
            return await gather(0)

    async def pages(
        self,
        resource: resources.Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = PAGE_SIZE,
    ) -> AsyncGenerator[ObjectList, None]:
        """One snapshot, `limit` objects at a time (0: all at once). Raises Expired when the snapshot went away between two pages."""
        query = _selectors(label_selector, field_selector)
        if limit:
            query["limit"] = str(limit)
        following = ""
        while True:
            asked = {**query, "continue": following} if following else query
            page = await self._call("GET", resource.path(namespace), asked)
            items, metadata = page.get("items") or [], page["metadata"]
            for item in items:
                # Items of a built-in list carry no type of their own, events of a watch do: callers see one form.
                item.setdefault("apiVersion", resource.api_version)
                item.setdefault("kind", resource.kind)
            yield ObjectList(items, metadata.get("resourceVersion", ""))
            following = metadata.get("continue", "")
            if not following:
                return

    async def create(
        self, resource: resources.Resource, namespace: str | None, obj: Object, *, name: str = "", subresource: str = ""
    ) -> Object:
        """Raises AlreadyExists, Invalid. `name` is needed for a subresource (binding, token, eviction) alone."""
        path = resource.path(namespace, name, subresource)
        return cast(Object, await self._call("POST", path, body=orjson.dumps(obj)))

    async def update(self, resource: resources.Resource, obj: Object, *, subresource: str = "") -> Object:
        """Replace; namespace, name and resourceVersion come from the object's metadata. Raises NotFound, Conflict."""
        metadata = obj["metadata"]
        path = resource.path(metadata.get("namespace"), metadata["name"], subresource)
        return cast(Object, await self._call("PUT", path, body=orjson.dumps(obj)))

    async def patch(
        self,
        resource: resources.Resource,
        namespace: str | None,
        name: str,
        patch: Any,
        *,
        kind: Literal["merge", "strategic", "json", "apply"] = "merge",
        subresource: str = "",
        field_manager: str = "",
        force: bool = False,
    ) -> Object:
        query = {"fieldManager": field_manager} if field_manager else {}
        if force:
            query["force"] = "true"
        path = resource.path(namespace, name, subresource)
        content_type = PATCH_TYPES[kind]
        return cast(Object, await self._call("PATCH", path, query, orjson.dumps(patch), content_type=content_type))

    async def delete(
        self,
        resource: resources.Resource,
        namespace: str | None,
        name: str,
        *,
        uid: str = "",
        resource_version: str = "",
        grace_period_seconds: int | None = None,
        propagation_policy: Literal["Background", "Foreground", "Orphan", ""] = "",
    ) -> Object:
        """With `uid` / `resource_version` as preconditions. Raises NotFound, Conflict."""
        options = delete_options(uid, resource_version, grace_period_seconds, propagation_policy)
        return cast(Object, await self._call("DELETE", resource.path(namespace, name), body=orjson.dumps(options)))

    async def delete_collection(
        self,
        resource: resources.Resource,
        namespace: str | None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        propagation_policy: Literal["Background", "Foreground", "Orphan", ""] = "",
    ) -> None:
        """Everything of the resource (in one namespace), or what the selectors match."""
        options = delete_options("", "", None, propagation_policy)
        query = _selectors(label_selector, field_selector)
        await self._call("DELETE", resource.path(namespace), query, orjson.dumps(options))

    async def watch(
        self,
        resource: resources.Resource,
        namespace: str | None = None,
        *,
        resource_version: str,
        label_selector: str = "",
        field_selector: str = "",
    ) -> AsyncGenerator[WatchEvent, None]:
        """Changes after `resource_version`, with bookmarks. Ends when the server ends it; raises Expired, Unavailable.

        The objects may be shared with other watchers of this process: never change them."""
        query = _selectors(label_selector, field_selector)
        query |= {"watch": "true", "allowWatchBookmarks": "true", "resourceVersion": resource_version}
        response = await self._send("GET", resource.path(namespace), query)
        if response.status != 200:
            raise error_of(response.status, await streams.read_all(response.body))
        async with contextlib.aclosing(_events(response)) as events:
            async for kind, obj in events:
                if kind == "ERROR":
                    raise error_for(obj)
                yield WatchEvent(cast(EventType, kind), obj)

    async def close(self) -> None:
        await self._transport.close()

    async def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: bytes = b"",
        *,
        content_type: str = "application/json",
    ) -> Any:
        response = await self._send(method, path, query, body, content_type)
        data = await streams.read_all(response.body)
        if not 200 <= response.status < 300:
            raise error_of(response.status, data)
        return orjson.loads(data)

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: bytes = b"",
        content_type: str = "",
    ) -> messages.Response:
        headers = self._headers
        if body:
            headers = {**headers, "content-type": content_type, "content-length": str(len(body))}
        request = messages.Request(method, path, urllib.parse.urlencode(query or {}), headers, messages.BytesBody(body))
        answer = await self._transport.send(request)
        if isinstance(answer, messages.Upgrade):
            raise TypeError(f"{method} {path} answered with an upgrade; expected a response")
        return answer


async def _events(response: messages.Response) -> AsyncGenerator[tuple[str, Object], None]:
    """(type, object), ERROR among them, from whichever form the answer has."""
    if response.objects is not None:
        async with contextlib.aclosing(response.objects) as batches:
            async for batch in batches:
                for event in batch:
                    yield event
        return
    async with contextlib.aclosing(streams.lines(response.body)) as lines:
        async for line in lines:
            event = orjson.loads(line)
            yield event["type"], event["object"]


def delete_options(
    uid: str, resource_version: str, grace_period_seconds: int | None, propagation_policy: str
) -> dict[str, Any]:
    options: dict[str, Any] = {"kind": "DeleteOptions", "apiVersion": "v1"}
    preconditions = {key: value for key, value in (("uid", uid), ("resourceVersion", resource_version)) if value}
    if preconditions:
        options["preconditions"] = preconditions
    if grace_period_seconds is not None:
        options["gracePeriodSeconds"] = grace_period_seconds
    if propagation_policy:
        options["propagationPolicy"] = propagation_policy
    return options


def error_of(code: int, body: bytes) -> ApiError:
    """The error that an answer with a code of 300 or more means; the body need not be a `Status`."""
    try:
        status = orjson.loads(body)
    except orjson.JSONDecodeError:
        status = None
    if not isinstance(status, dict) or status.get("kind") != "Status":
        text = body[:1024].decode(errors="replace")
        status = {"kind": "Status", "status": "Failure", "message": text or f"the server answered {code}"}
    return error_for({**status, "code": code})


def error_for(status: Mapping[str, Any]) -> ApiError:
    code = int(status.get("code") or 500)
    if code == 409:
        return AlreadyExists(status) if status.get("reason") == "AlreadyExists" else Conflict(status)
    if code in _ERRORS:
        return _ERRORS[code](status)
    return Invalid(status) if 400 <= code < 500 else Unavailable(status)


_ERRORS: dict[int, type[ApiError]] = {
    401: Forbidden,
    403: Forbidden,
    404: NotFound,
    408: Unavailable,
    410: Expired,
    429: Unavailable,
}


def _selectors(label_selector: str, field_selector: str) -> dict[str, str]:
    pairs = (("labelSelector", label_selector), ("fieldSelector", field_selector))
    return {key: value for key, value in pairs if value}
