"""WebSockets over a connection in memory: RFC 6455 as seen from both sides, and byte for byte where it matters."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable

import hypothesis
import pytest
from hypothesis import strategies
from wsproto import frame_protocol

from pinnace.testing import pipe
from pinnace.web import messages, websocket

KEY = "dGhlIHNhbXBsZSBub25jZQ=="


def run(main: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(main())  # type: ignore[arg-type]


def sockets(max_message: int = websocket.MAX_MESSAGE) -> tuple[websocket.WebSocket, websocket.WebSocket]:
    left, right = pipe.pair()
    return (
        websocket.WebSocket(left, is_client=True),
        websocket.WebSocket(right, is_client=False, max_message=max_message),
    )


def handshake(**changes: str) -> messages.Request:
    headers = {
        "connection": "keep-alive, Upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": KEY,
    }
    headers.update({name.replace("_", "-"): value for name, value in changes.items()})
    return messages.Request("GET", "/", headers=headers)


async def nothing(socket: websocket.WebSocket) -> None:
    return None


def test_the_accept_key_is_that_of_the_specification() -> None:
    answer = websocket.accept(handshake(), [""], nothing)
    assert isinstance(answer, messages.Upgrade)
    assert ("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") in answer.headers
    assert not any(name == "Sec-WebSocket-Protocol" for name, _ in answer.headers)


@pytest.mark.parametrize(
    ("offered", "known", "chosen"),
    [("a, b", ["b", "a"], "a"), ("x,b", ["b"], "b"), ("", ["", "b"], ""), ("a", [""], None), ("", ["b"], None)],
)
def test_the_clients_first_known_subprotocol_is_taken(offered: str, known: list[str], chosen: str | None) -> None:
    answer = websocket.accept(handshake(sec_websocket_protocol=offered), known, nothing)
    if chosen is None:
        assert isinstance(answer, messages.Response)
        assert answer.status == 403
        return
    assert isinstance(answer, messages.Upgrade)
    assert dict(answer.headers).get("Sec-WebSocket-Protocol", "") == chosen


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"connection": "keep-alive"}, 400),
        ({"upgrade": "h2c"}, 400),
        ({"sec_websocket_key": "c2hvcnQ="}, 400),
        ({"sec_websocket_key": "not base64 at all!!"}, 400),
        ({"sec_websocket_version": "8"}, 426),
    ],
)
def test_broken_handshakes_are_refused(changes: dict[str, str], status: int) -> None:
    answer = websocket.accept(handshake(**changes), [""], nothing)
    assert isinstance(answer, messages.Response)
    assert answer.status == status


@hypothesis.given(
    strategies.lists(strategies.one_of(strategies.binary(max_size=200_000), strategies.text()), max_size=6)
)
@hypothesis.settings(deadline=None, max_examples=40)
def test_messages_arrive_whole_in_order_and_of_their_kind(values: list[bytes | str]) -> None:
    async def main() -> None:
        for sender, receiver in (sockets(), sockets()[::-1]):

            async def send(sender: websocket.WebSocket = sender) -> None:
                for value in values:
                    await sender.send(value)
                await sender.close()

            task = asyncio.create_task(send())
            got: list[bytes | str] = []
            while (message := await receiver.receive()) is not None:
                kind, data = message
                got.append(data.decode() if kind is websocket.Kind.TEXT else data)
            assert got == values
            assert receiver.close_code == websocket.NORMAL
            await task
            assert sender.close_code == websocket.NORMAL

    run(main)


def test_fragments_with_a_ping_between_are_one_message_and_the_ping_is_answered() -> None:
    async def main() -> None:
        raw, end = pipe.pair()
        server = websocket.WebSocket(end, is_client=False)
        frames = frame_protocol.FrameProtocol(True, [])
        await raw.write(bytes(frames.send_data(b"one ", fin=False)))
        await raw.write(bytes(frames.ping(b"are you there")))
        await raw.write(bytes(frames.send_data(b"two", fin=True)))
        assert await server.receive() == (websocket.Kind.BINARY, b"one two")
        frames.receive_bytes(await raw.read())
        (pong,) = frames.received_frames()
        assert (pong.opcode, pong.payload) == (frame_protocol.Opcode.PONG, b"are you there")

    run(main)


def test_a_message_beyond_the_limit_closes_with_1009_however_it_is_cut() -> None:
    async def main() -> None:
        for pieces in ([b"x" * 1001], [b"x" * 10] * 101):
            raw, end = pipe.pair()
            server = websocket.WebSocket(end, is_client=False, max_message=1000)
            frames = frame_protocol.FrameProtocol(True, [])
            for index, piece in enumerate(pieces):
                await raw.write(bytes(frames.send_data(piece, fin=index == len(pieces) - 1)))
            assert await server.receive() is None
            assert server.close_code == websocket.TOO_BIG
            frames.receive_bytes(await raw.read())
            (close,) = frames.received_frames()
            assert close.payload == (1009, "message too big")
            assert end.is_closed

    run(main)


def test_close_codes_are_exchanged_and_a_lost_connection_has_its_own() -> None:
    async def main() -> None:
        client, server = sockets()
        task = asyncio.create_task(client.close(4321, "enough"))
        assert await server.receive() is None
        await task
        assert (client.close_code, server.close_code) == (4321, 4321)
        with pytest.raises(messages.Disconnected):
            await server.send(b"late")

        raw, end = pipe.pair()
        server = websocket.WebSocket(end, is_client=False)
        await raw.close()
        assert await server.receive() is None
        assert server.close_code == websocket.ABNORMAL

    run(main)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x82\x01a", 1002),  # not masked
        (b"\xf2\x81\0\0\0\0a", 1002),  # reserved bits
        (b"\x83\x81\0\0\0\0a", 1002),  # unknown opcode
        (b"\x80\x81\0\0\0\0a", 1002),  # continues nothing
        (b"\x09\x81\0\0\0\0a", 1002),  # a ping in fragments
        (b"\x81\x81\0\0\0\0\xff", 1007),  # not UTF-8
        (b"\x88\x81\0\0\0\0\x03", 1002),  # half a close code
    ],
)
def test_what_is_not_rfc_6455_closes_the_connection_with_the_right_code(data: bytes, code: int) -> None:
    async def main() -> None:
        raw, end = pipe.pair()
        server = websocket.WebSocket(end, is_client=False)
        await raw.write(data)
        assert await server.receive() is None
        assert server.close_code == code
        frames = frame_protocol.FrameProtocol(True, [])
        frames.receive_bytes(await raw.read())
        (close,) = frames.received_frames()
        assert isinstance(close.payload, tuple)
        assert close.payload[0] == code

    run(main)


@hypothesis.given(strategies.lists(strategies.binary(max_size=400), max_size=10))
@hypothesis.settings(deadline=None)
def test_any_bytes_end_in_messages_or_a_close(pieces: list[bytes]) -> None:
    """No uncaught exception, and nothing held beyond the limit."""

    async def main() -> None:
        raw, end = pipe.pair()
        server = websocket.WebSocket(end, is_client=False, max_message=500)

        async def feed() -> None:
            try:
                for piece in pieces:
                    await raw.write(piece)
                await raw.end()
            except messages.Disconnected:
                pass

        task = asyncio.create_task(feed())
        while (message := await server.receive()) is not None:
            assert len(message[1]) <= 500
        assert server.close_code is not None
        await task

    run(main)


def test_a_tunnel_is_a_stream_of_bytes() -> None:
    async def main() -> None:
        client, server = sockets()
        left, right = websocket.Tunnel(client), websocket.Tunnel(server)
        data = bytes(itertools.islice(itertools.cycle(range(256)), 300_000))

        async def send() -> None:
            await left.write(b"")
            for start in range(0, len(data), 70_000):
                await left.write(data[start : start + 70_000])
            await left.close()

        task = asyncio.create_task(send())
        got = b""
        while piece := await right.read():
            got += piece
        assert got == data
        await task

    run(main)
