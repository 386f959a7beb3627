"""A real API server over the memory store, spoken to without a socket.

def test_x() -> None:
    async def scenario(api: api_server.Api) -> None:
        created = await api.create("/api/v1/namespaces/default/configmaps", {...})
    api_server.run(scenario)
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pinnace.apiserver import server, settings, users
from pinnace.apiserver.storage import envelope
from pinnace.kit import clock
from pinnace.store import interface, memory
from pinnace.web import messages

Object = dict[str, Any]

ADMIN = users.UserInfo("admin", groups=(users.MASTERS, users.AUTHENTICATED))
KEY = ec.generate_private_key(ec.SECP256R1()).private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
)
SECONDS = 60.0


class Answer:
    def __init__(self, response: messages.Response, body: bytes) -> None:
        self.code = response.status
        self.headers = {name.lower(): value for name, value in response.headers}
        self.warnings = [value for name, value in response.headers if name == "Warning"]
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        return str(self.json["message"])

    @property
    def reason(self) -> str:
        return str(self.json.get("reason", ""))

    @property
    def causes(self) -> list[tuple[str, str]]:
        """(reason, field) of each."""
        return [(cause["reason"], cause["field"]) for cause in self.json.get("details", {}).get("causes", [])]


def user(name: str, *groups: str) -> users.UserInfo:
    return users.UserInfo(name, groups=(*groups, users.AUTHENTICATED))


class Api:
    def __init__(self, api: server.ApiServer, store: interface.Store) -> None:
        self.server = api
        self.store = store

    async def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        who: users.UserInfo | None = ADMIN,
        headers: Mapping[str, str] | None = None,
        peer: messages.Peer | None = None,
    ) -> messages.Answer:
        """`who` None: as a request that nobody has authenticated. `body` bytes are sent as they are, anything else as JSON."""
        bare, _, query = path.partition("?")
        fields = {"content-type": "application/json", **(headers or {})}
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        request = messages.Request(
            method, bare, query, fields, messages.BytesBody(data), peer or messages.Peer(), user=who
        )
        return await self.server.handle(request)

    async def call(self, method: str, path: str, body: Any = None, **options: Any) -> Answer:
        response = await self.send(method, path, body, **options)
        assert isinstance(response, messages.Response)
        if isinstance(response.body, bytes):
            data = response.body
        elif isinstance(response.body, (list, tuple)):
            data = b"".join(response.body)
        else:
            data = b"".join([_joined(chunk) async for chunk in response.body])  # type: ignore[union-attr]
        return Answer(response, data)

    async def get(self, path: str, **options: Any) -> Any:
        return _expect(await self.call("GET", path, **options), 200)

    async def create(self, path: str, body: Any, **options: Any) -> Any:
        return _expect(await self.call("POST", path, body, **options), 201)

    async def replace(self, path: str, body: Any, **options: Any) -> Any:
        return _expect(await self.call("PUT", path, body, **options), 200)

    async def patch(self, path: str, body: Any, kind: str = "merge", **options: Any) -> Answer:
        media = {
            "merge": "application/merge-patch+json",
            "json": "application/json-patch+json",
            "strategic": "application/strategic-merge-patch+json",
            "apply": "application/apply-patch+yaml",
        }[kind]
        return await self.call("PATCH", path, body, headers={"content-type": media}, **options)

    @contextlib.asynccontextmanager
    async def watch(self, path: str, **options: Any) -> AsyncIterator["Watch"]:
        response = await self.send("GET", f"{path}{'&' if '?' in path else '?'}watch=1", **options)
        assert isinstance(response, messages.Response)
        assert response.status == 200
        stream = response.body
        assert not isinstance(stream, (bytes, list, tuple))
        watch = Watch(stream)  # type: ignore[arg-type]
        try:
            yield watch
        finally:
            await stream.aclose()  # type: ignore[union-attr]


class Watch:
    def __init__(self, stream: AsyncIterator[messages.Chunk]) -> None:
        self._stream = stream
        self._waiting: list[Object] = []

    async def next(self) -> Object:
        """The next event. Raises StopAsyncIteration at the end of the watch."""
        while not self._waiting:
            chunk = _joined(await anext(self._stream))
            self._waiting = [json.loads(line) for line in chunk.splitlines()]
        return self._waiting.pop(0)

    async def take(self, count: int) -> list[tuple[str, str]]:
        """(type, name) of the next events."""
        events = [await self.next() for _ in range(count)]
        return [(event["type"], event["object"]["metadata"].get("name", "")) for event in events]


def _joined(chunk: messages.Chunk) -> bytes:
    return chunk if isinstance(chunk, bytes) else b"".join(chunk)


def _expect(answer: Answer, code: int) -> Any:
    assert answer.code == code, answer.body
    return answer.json


def options(**changes: Any) -> settings.Settings:
    return settings.Settings(**{"service_account_key": KEY, "advertise_address": "192.0.2.7", **changes})


@contextlib.asynccontextmanager
async def serving(chosen: settings.Settings | None = None, time: clock.Clock | None = None) -> AsyncIterator[Api]:
    time = time or clock.SystemClock()
    store = memory.MemoryStore(envelope.stamp, time)
    api = server.ApiServer(store, time, chosen or options())
    await api.start()
    try:
        yield Api(api, store)
    finally:
        await api.stop()
        await store.close()


def run(scenario: Callable[[Api], Awaitable[None]], chosen: settings.Settings | None = None) -> None:
    async def main() -> None:
        async with asyncio.timeout(SECONDS), serving(chosen) as api:
            await scenario(api)

    asyncio.run(main())
