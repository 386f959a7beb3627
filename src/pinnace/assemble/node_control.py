"""The node's own UNIX socket, `RUN/node.sock`: images, for the command line. Both ends are in this file.

GET    /images                      the images, as JSON
POST   /images/load?archive=PATH    progress as JSON lines; the last ones name what was loaded, or carry `error`
DELETE /images/NAME?force=1         what was deleted, as JSON
"""

import dataclasses
import json
import pathlib
import urllib.parse
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Any

from pinnace.assemble import places
from pinnace.engine import interface
from pinnace.web import client, messages

MAX_ANSWER_BYTES = 64 << 20
LOADED = "Loaded image"


class ControlError(Exception):
    """The node refused or does not run; the text is fit for the user."""


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    item: str
    status: str


def socket_of(where: places.Places) -> pathlib.Path:
    return where.run / "node.sock"


def handler(images: interface.Images) -> messages.Handler:
    """The node's end. Only root reaches the socket (mode 0600): nothing is authenticated here."""

    async def handle(request: messages.Request) -> messages.Answer:
        query = request.query_values()
        try:
            if request.method == "GET" and request.path == "/images":
                return _json([dataclasses.asdict(image) for image in await images.list()])
            if request.method == "POST" and request.path == "/images/load":
                return messages.Response(body=_load(images, pathlib.Path(query["archive"][0])))
            if request.method == "DELETE" and request.path.startswith("/images/"):
                name = request.path.removeprefix("/images/")
                return _json(await images.remove(name, force="force" in query))
        except interface.EngineError as error:
            return _json({"error": str(error)}, 409)
        return _json({"error": f"no such call: {request.method} {request.path}"}, 404)

    return handle


async def _load(images: interface.Images, archive: pathlib.Path) -> AsyncIterator[bytes]:
    try:
        async for step in images.load(archive):
            yield json.dumps(dataclasses.asdict(step)).encode() + b"\n"
    except interface.EngineError as error:
        yield json.dumps({"error": str(error)}).encode() + b"\n"


def _json(value: Any, status: int = 200) -> messages.Response:
    return messages.Response(status, (("Content-Type", "application/json"),), json.dumps(value).encode())


class NodeControl:
    """The command line's end. Use as `async with NodeControl(where) as control`."""

    def __init__(self, where: places.Places) -> None:
        self._socket = socket_of(where)
        self._http = client.HttpClient()

    async def __aenter__(self) -> "NodeControl":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.close()

    async def images(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await self._read(await self._request("GET", "/images"))
        return found

    async def load(self, archive: pathlib.Path, show: Callable[[Step], None]) -> list[str]:
        """Returns the names of the images that were loaded. Raises ControlError."""
        path = "/images/load?" + urllib.parse.urlencode({"archive": str(archive)})
        loaded: list[str] = []
        rest = b""
        async with await self._request("POST", path) as response:
            async for piece in response.chunks():
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    step = json.loads(line)
                    if "error" in step:
                        raise ControlError(step["error"])
                    if step["status"] == LOADED:
                        loaded.append(step["item"])
                    show(Step(step["item"], step["status"]))
        return loaded

    async def remove(self, reference: str, *, force: bool) -> list[str]:
        path = f"/images/{urllib.parse.quote(reference)}" + ("?force=1" if force else "")
        deleted: list[str] = await self._read(await self._request("DELETE", path))
        return deleted

    async def _request(self, method: str, path: str) -> client.ClientResponse:
        try:
            return await self._http.request(method, f"unix://{self._socket}:{path}")
        except client.ConnectError as error:
            raise ControlError(f"the node does not run ({error}): start it with `pinnace up`") from error

    async def _read(self, response: client.ClientResponse) -> Any:
        value = json.loads(await response.read(MAX_ANSWER_BYTES))
        if response.status != 200:
            raise ControlError(value["error"])
        return value
