"""The API client: verbs on resources, over any transport.

Every component sees the cluster through this alone. Objects are plain dicts as the API serves them; never change one
that came from an informer: copy what you change.
"""

import dataclasses
from collections.abc import AsyncIterator, Mapping
from typing import Any, Literal, Protocol

from pinnace.client import resources
from pinnace.web import messages

Object = dict[str, Any]


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


class NotFound(ApiError):
    """404: it is not there (any more)."""


class AlreadyExists(ApiError):
    """409 AlreadyExists."""


class Conflict(ApiError):
    """409 Conflict: read again and decide again."""


class Expired(ApiError):
    """410: the resourceVersion is too old. List again."""


class Invalid(ApiError):
    """400 or 422: sending the same again will never work."""


class Forbidden(ApiError):
    """401 or 403."""


class Unavailable(ApiError):
    """429, 5xx, or no connection: try the same again later."""


class Transport(Protocol):
    """Carries a request to an API server. `HttpTransport` over TLS, `DirectTransport` within one process."""

    async def send(self, request: messages.Request) -> messages.Answer:
        """Raises `Unavailable` when no answer came."""
        ...

    async def close(self) -> None: ...


@dataclasses.dataclass(frozen=True, slots=True)
class WatchEvent:
    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
    object: Object


@dataclasses.dataclass(frozen=True, slots=True)
class ObjectList:
    items: list[Object]
    resource_version: str


class Client:
    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def get(
        self, resource: resources.Resource, namespace: str | None, name: str, *, subresource: str = ""
    ) -> Object:
        """Raises NotFound."""
        raise NotImplementedError

    async def list(
        self,
        resource: resources.Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> ObjectList:
        """All pages of one snapshot."""
        raise NotImplementedError

    async def create(
        self, resource: resources.Resource, namespace: str | None, obj: Object, *, name: str = "", subresource: str = ""
    ) -> Object:
        """Raises AlreadyExists, Invalid. `name` is needed for a subresource (binding, token, eviction) alone."""
        raise NotImplementedError

    async def update(self, resource: resources.Resource, obj: Object, *, subresource: str = "") -> Object:
        """Replace; namespace, name and resourceVersion come from the object's metadata. Raises NotFound, Conflict."""
        raise NotImplementedError

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
        raise NotImplementedError

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
        raise NotImplementedError

    def watch(
        self,
        resource: resources.Resource,
        namespace: str | None = None,
        *,
        resource_version: str,
        label_selector: str = "",
        field_selector: str = "",
    ) -> AsyncIterator[WatchEvent]:
        """Changes after `resource_version`, with bookmarks. Ends when the server ends it; raises Expired, Unavailable."""
        raise NotImplementedError

    async def close(self) -> None:
        await self._transport.close()
