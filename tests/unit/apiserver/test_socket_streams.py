"""Logs and watches over WebSockets: what a browser (or upstream's own tests) reads message by message."""

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator

import pytest

from pinnace.apiserver import proxying
from pinnace.apiserver.http import socket_streams
from pinnace.testing import api_server
from pinnace.web import client, messages, websocket
from pinnace.web import server as web_server

TOKEN = "base64url.bearer.authorization.k8s.io.c2VjcmV0"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


@contextlib.asynccontextmanager
async def connected(handler: messages.Handler, path: str, *protocols: str) -> AsyncIterator[websocket.WebSocket]:
    """A client's socket to a server with this handler."""
    listener = web_server.HttpServer(handler)
    port = await listener.start("127.0.0.1", 0)
    http = client.HttpClient()
    try:
        socket = await websocket.connect(http, f"http://127.0.0.1:{port}{path}", protocols=protocols)
        try:
            yield socket
        finally:
            await socket.close()
    finally:
        await http.close()
        await listener.stop(0)


async def all_of(socket: websocket.WebSocket) -> list[tuple[websocket.Kind, bytes]]:
    found = []
    while (message := await socket.receive()) is not None:
        found.append(message)
    return found


@pytest.mark.parametrize(
    ("offered", "chosen", "expected"),
    [
        ((), "", (websocket.Kind.BINARY, b"alive\n")),
        (("binary.k8s.io",), "binary.k8s.io", (websocket.Kind.BINARY, b"alive\n")),
        ((TOKEN, "binary.k8s.io"), "binary.k8s.io", (websocket.Kind.BINARY, b"alive\n")),
        (("base64.binary.k8s.io",), "base64.binary.k8s.io", (websocket.Kind.TEXT, base64.b64encode(b"alive\n"))),
    ],
)
def test_a_log_comes_in_the_form_that_was_asked_for_and_ends_with_the_connection(
    offered: tuple[str, ...], chosen: str, expected: tuple[websocket.Kind, bytes]
) -> None:
    async def handler(request: messages.Request) -> messages.Answer:
        async def body() -> AsyncIterator[bytes]:
            yield b"alive\n"

        return socket_streams.log(request, messages.Response(200, (), body()))

    async def main() -> None:
        async with connected(handler, "/", *offered) as socket:
            assert socket.subprotocol == chosen
            assert await all_of(socket) == [expected]
            assert socket.close_code == websocket.NORMAL

    asyncio.run(main())


def test_a_client_that_leaves_ends_what_it_listened_to() -> None:
    left = asyncio.Event()

    async def handler(request: messages.Request) -> messages.Answer:
        async def endless() -> AsyncIterator[bytes]:
            try:
                yield b"one"
                await asyncio.Event().wait()
            finally:
                left.set()

        return socket_streams.log(request, messages.Response(200, (), endless()))

    async def main() -> None:
        async with connected(handler, "/") as socket:
            assert await socket.receive() == (websocket.Kind.BINARY, b"one")
            await socket.close()
            async with asyncio.timeout(5):
                await left.wait()

    asyncio.run(main())


def test_a_refusal_stays_an_answer() -> None:
    request = messages.Request("GET", "/", headers={"connection": "upgrade", "upgrade": "websocket"})
    refusal = messages.Response(404, (), b"no such pod")
    assert socket_streams.log(request, refusal) is refusal
    plain = messages.Response(200, (), b"lines")
    assert socket_streams.log(messages.Request("GET", "/"), plain) is plain


def test_every_event_of_a_watch_is_one_text_message() -> None:
    async def scenario(api: api_server.Api) -> None:
        async def handler(request: messages.Request) -> messages.Answer:
            request.user = api_server.ADMIN
            return await api.server.handle(request)

        for name in ("a", "b"):
            await api.create(CONFIG_MAPS, {"metadata": {"name": name}})
        path = f"{CONFIG_MAPS}?watch=1&resourceVersion=0&timeoutSeconds=60"
        async with connected(handler, path) as socket:
            seen = [await socket.receive() for _ in range(2)]
            await api.create(CONFIG_MAPS, {"metadata": {"name": "c"}})
            seen.append(await socket.receive())
        found = [(message[0], json.loads(message[1])) for message in seen if message is not None]
        assert {kind for kind, _ in found} == {websocket.Kind.TEXT}
        assert [(event["type"], event["object"]["metadata"]["name"]) for _, event in found] == [
            ("ADDED", "a"),
            ("ADDED", "b"),
            ("ADDED", "c"),
        ]

    api_server.run(scenario)


def test_a_browsers_token_is_not_passed_on() -> None:
    headers = {"sec-websocket-protocol": f"{TOKEN}, v5.channel.k8s.io", "authorization": "Bearer x", "accept": "*/*"}
    assert proxying.passed_on(headers) == [("sec-websocket-protocol", "v5.channel.k8s.io"), ("accept", "*/*")]
