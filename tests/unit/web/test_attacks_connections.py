"""Strangers that connect and ask nothing."""

import asyncio

import pytest

from pinnace.web import connection, messages, server


async def _answer(request: messages.Request) -> messages.Response:
    return messages.Response(200, (), b"ok")


@pytest.mark.parametrize(("sent", "expected"), [(b"", b""), (b"GET / HTTP/1.1\r\nHost: a\r\n", b"HTTP/1.1 408 ")])
def test_who_asks_nothing_is_let_go_and_one_who_has_asked_stays(sent: bytes, expected: bytes) -> None:
    asyncio.run(_strangers_go(sent, expected))


async def _strangers_go(sent: bytes, expected: bytes) -> None:
    one = server.HttpServer(_answer, settings=server.Settings(limits=connection.Limits(first_seconds=0.05)))
    port = await one.start("127.0.0.1", 0)
    try:
        asker, to_asker = await asyncio.open_connection("127.0.0.1", port)
        to_asker.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await asker.readuntil(b"ok")).startswith(b"HTTP/1.1 200 ")
        strangers = [await asyncio.open_connection("127.0.0.1", port) for _ in range(200)]
        for _, writer in strangers:
            writer.write(sent)
        for reader, writer in strangers:
            assert (await reader.read())[:13] == expected
            writer.close()
        to_asker.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await asker.readuntil(b"ok")).startswith(b"HTTP/1.1 200 ")
        to_asker.close()
    finally:
        await one.stop(1.0)
    assert one.connection_count == 0
