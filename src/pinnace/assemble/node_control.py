"""The node's own UNIX socket, `RUN/node.sock`: images, for the command line. Both ends are in this file.

GET    /images                      the images, as JSON
GET    /images/one?name=NAME        one image and its configuration, as JSON
GET    /images/save?name=NAME…      an archive
POST   /images/load?archive=PATH    progress as JSON lines; the last ones name what was loaded, or carry `error`
POST   /images/pull?name=NAME       the same
POST   /images/push?name=NAME       the same
POST   /images/tag?name=NAME&new=NAME
POST   /images/prune?all=1          what was deleted and the bytes that came free, as JSON
DELETE /images/NAME?force=1         what was deleted, as JSON
"""

import dataclasses
import json
import pathlib
import urllib.parse
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any

from pinnace.assemble import places
from pinnace.engine import interface
from pinnace.web import client, messages

MAX_ANSWER_BYTES = 64 << 20
LOADED, PULLED, PUSHED = "Loaded image", "Pull complete", "Pushed"
_CALLS = {
    "/images/one": "GET", "/images/save": "GET", "/images/load": "POST", "/images/pull": "POST", "/images/push": "POST",
    "/images/tag": "POST", "/images/prune": "POST",
}  # fmt: skip


class ControlError(Exception):
    """The node refused or does not run; the text is fit for the user."""


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    item: str
    status: str
    current: int = 0
    total: int = 0


def socket_of(where: places.Places) -> pathlib.Path:
    return where.run / "node.sock"


def handler(images: interface.Images) -> messages.Handler:
    """The node's end. Only root reaches the socket (mode 0600): nothing is authenticated here."""

    async def handle(request: messages.Request) -> messages.Answer:
        query = request.query_values()
        try:
            if request.method == "GET" and request.path == "/images":
                return _json([dataclasses.asdict(image) for image in await images.list()])
            if request.path in _CALLS and request.method == _CALLS[request.path]:
                return await _call(images, request.path.rpartition("/")[2], query)
            if request.method == "DELETE" and request.path.startswith("/images/"):
                name = request.path.removeprefix("/images/")
                return _json(await images.remove(name, force="force" in query))
        except interface.EngineError as error:
            return _json({"error": str(error)}, 409)
        return _json({"error": f"no such call: {request.method} {request.path}"}, 404)

    return handle


async def _call(images: interface.Images, verb: str, query: Mapping[str, Sequence[str]]) -> messages.Response:
    name = query.get("name", [""])[0]
    match verb:
        case "one":
            document = json.loads(await images.configuration(name))
            return _json({**dataclasses.asdict(await images.get(name)), "configuration": document})
        case "save":
            pieces = images.save(query.get("name", ()))
            # What is wrong shows before the first piece: then there is an answer to say it in.
            first = await anext(pieces)
            return messages.Response(body=_joined(first, pieces))
        case "load":
            return messages.Response(body=_told(images.load(pathlib.Path(query["archive"][0]))))
        case "pull":
            return messages.Response(body=_told(images.pull(name, by_owner=True)))
        case "push":
            return messages.Response(body=_told(images.push(name)))
        case "tag":
            await images.tag(name, query["new"][0])
            return _json({})
        case _:
            return _json(dataclasses.asdict(await images.prune(everything="all" in query)))


async def _joined(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece


async def _told(steps: AsyncIterator[interface.Progress]) -> AsyncIterator[bytes]:
    try:
        async for step in steps:
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
        return await self._follow("/images/load", {"archive": str(archive)}, LOADED, show)

    async def pull(self, name: str, show: Callable[[Step], None]) -> list[str]:
        """Returns the image's full name. Raises ControlError."""
        return await self._follow("/images/pull", {"name": name}, PULLED, show)

    async def push(self, name: str, show: Callable[[Step], None]) -> list[str]:
        """Returns `NAME@DIGEST`. Raises ControlError."""
        return await self._follow("/images/push", {"name": name}, PUSHED, show)

    async def tag(self, name: str, new: str) -> None:
        await self._read(
            await self._request("POST", "/images/tag?" + urllib.parse.urlencode({"name": name, "new": new}))
        )

    async def prune(self, *, everything: bool) -> dict[str, Any]:
        pruned: dict[str, Any] = await self._read(
            await self._request("POST", "/images/prune" + ("?all=1" if everything else ""))
        )
        return pruned

    async def image(self, name: str) -> dict[str, Any]:
        """With its `configuration`."""
        found: dict[str, Any] = await self._read(
            await self._request("GET", "/images/one?" + urllib.parse.urlencode({"name": name}))
        )
        return found

    async def save(self, names: Sequence[str], write: Callable[[bytes], Any]) -> None:
        """Raises ControlError; nothing was written then."""
        path = "/images/save?" + urllib.parse.urlencode([("name", name) for name in names])
        async with await self._request("GET", path) as response:
            if response.status != 200:
                await self._read(response)
            async for piece in response.chunks():
                write(piece)

    async def _follow(self, path: str, query: Mapping[str, str], last: str, show: Callable[[Step], None]) -> list[str]:
        """What the steps with the status `last` name."""
        path += "?" + urllib.parse.urlencode(query)
        loaded: list[str] = []
        rest = b""
        async with await self._request("POST", path) as response:
            async for piece in response.chunks():
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    step = json.loads(line)
                    if "error" in step:
                        raise ControlError(step["error"])
                    if step["status"] == last:
                        loaded.append(step["item"])
                    show(Step(**step))
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
