"""Questions for others: the name servers of the node, one after the other, each with its own time."""

import asyncio
import pathlib
from collections.abc import Sequence

from pinnace.dns import wire

SECONDS = 2.0
"""For one name server; a client's own patience is five seconds."""

Upstreams = Sequence[tuple[str, int]]


async def ask(data: bytes, upstreams: Upstreams, *, stream: bool) -> bytes | None:
    """The first answer, as it is. None: nobody answered."""
    for upstream in upstreams:
        try:
            return await asyncio.wait_for(
                _ask_stream(data, upstream) if stream else _ask_datagram(data, upstream), SECONDS
            )
        except (TimeoutError, OSError, asyncio.IncompleteReadError):
            continue
    return None


async def ask_alias(query: wire.Query, alias: str, first: tuple[bytes, ...], upstreams: Upstreams) -> wire.Response:
    """What others say about `alias`, behind the records that lead to it: clients' resolvers do not follow by themselves.

    The name that was asked for exists whatever they say, or if they say nothing."""
    question = wire.name(alias) + query.question[-4:]
    data = query.header[:2] + b"\x01\0" + bytes([0, 1]) + bytes(6) + question
    answer = await ask(data, upstreams, stream=False)
    if answer is not None and answer[2] & 2:
        answer = await ask(data, upstreams, stream=True)
    try:
        found = wire.answers_of(answer) if answer is not None else ()
    except ValueError:
        found = ()
    return wire.Response(is_authoritative=False, first=first, answers=found)


def upstreams_of(resolv_conf: pathlib.Path, exclude: str) -> list[tuple[str, int]]:
    """The node's own name servers, but not ourselves."""
    try:
        lines = resolv_conf.read_text().splitlines()
    except OSError:
        return []
    servers = [line.split()[1] for line in lines if line.startswith("nameserver") and len(line.split()) > 1]
    return [(server, 53) for server in servers if server != exclude]


class _OneAnswer(asyncio.DatagramProtocol):
    def __init__(self, question: bytes) -> None:
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._identity = question[:2]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if data[:2] == self._identity and len(data) >= 12 and data[2] & 0x80 and not self.answer.done():
            self.answer.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc)


async def _ask_datagram(data: bytes, upstream: tuple[str, int]) -> bytes:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(lambda: _OneAnswer(data), remote_addr=upstream)
    try:
        transport.sendto(data)
        return await protocol.answer
    finally:
        transport.close()


async def _ask_stream(data: bytes, upstream: tuple[str, int]) -> bytes:
    reader, writer = await asyncio.open_connection(*upstream)
    try:
        writer.write(len(data).to_bytes(2, "big") + data)
        return await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
    finally:
        writer.close()
