"""A streamed answer carried by a WebSocket: what logs and watches become for clients that ask for one, browsers above all.

The direction is one way: what the client sends is read and dropped, so that its pings are answered and its going away is seen.
"""

import asyncio
import base64
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable

from pinnace.apiserver.authn import authenticate
from pinnace.web import messages, websocket

BINARY, BASE64 = "binary.k8s.io", "base64.binary.k8s.io"


def log(request: messages.Request, answer: messages.Answer) -> messages.Answer:
    """Bytes as they come, each piece one message: binary, or text in base 64 where the client asked for that."""
    if not _is_stream(request, answer):
        return answer
    protocols = [name for name in _offered(request) if name in (BINARY, BASE64)]
    encodes = protocols[:1] == [BASE64]

    def encoded(data: bytes) -> bytes | str:
        return base64.b64encode(data).decode() if encodes else data

    return _accept(request, answer, ("", BINARY, BASE64), lambda data: [encoded(data)])


def watch(request: messages.Request, answer: messages.Answer) -> messages.Answer:
    """Every event one text message. Whatever protocol a client names is fine: there is only this one."""
    if not _is_stream(request, answer):
        return answer
    return _accept(
        request, answer, ("", *_offered(request)), lambda data: [line.decode() for line in data.splitlines()]
    )


def _is_stream(request: messages.Request, answer: messages.Answer) -> bool:
    return websocket.is_websocket(request) and isinstance(answer, messages.Response) and answer.status == 200


def _offered(request: messages.Request) -> list[str]:
    """Without the one that is a token in disguise."""
    return [name for name in websocket.requested_protocols(request) if not authenticate.is_token_protocol(name)]


def _accept(
    request: messages.Request,
    answer: messages.Answer,
    protocols: tuple[str, ...],
    split: Callable[[bytes], list[bytes | str]],
) -> messages.Answer:
    assert isinstance(answer, messages.Response)
    pieces = _pieces(answer)

    async def run(socket: websocket.WebSocket) -> None:
        async with contextlib.aclosing(pieces):
            tasks = [asyncio.ensure_future(_listen(socket)), asyncio.ensure_future(_send(socket, pieces, split))]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                ends = await asyncio.gather(*tasks, return_exceptions=True)
        failures = [end for end in ends if isinstance(end, Exception)]
        await socket.close(websocket.INTERNAL_ERROR if failures else websocket.NORMAL)
        for failure in failures:
            raise failure

    return websocket.accept(request, protocols, run)


async def _listen(socket: websocket.WebSocket) -> None:
    while await socket.receive_piece() is not None:
        pass


async def _send(
    socket: websocket.WebSocket, pieces: AsyncIterator[bytes], split: Callable[[bytes], list[bytes | str]]
) -> None:
    with contextlib.suppress(messages.Disconnected):
        async for data in pieces:
            for message in split(data):
                await socket.send(message)


async def _pieces(answer: messages.Response) -> AsyncGenerator[bytes, None]:
    body = answer.body
    if isinstance(body, bytes):
        yield body
    elif isinstance(body, AsyncIterator):
        async for chunk in body:
            yield chunk if isinstance(chunk, bytes) else b"".join(chunk)
    else:
        yield b"".join(body)
