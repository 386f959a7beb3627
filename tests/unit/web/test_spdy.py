"""SPDY/3.1: the codec as properties over frames and bytes, sessions over a connection in memory."""

import asyncio
import contextlib
import struct
import zlib
from collections.abc import Awaitable, Callable

import hypothesis
import pytest
from hypothesis import strategies

from pinnace.testing import pipe
from pinnace.web import messages, spdy, spdy_session

STREAMS = strategies.integers(1, 0x7FFFFFFF)
NAMES = strategies.text("abcdefghijklmnopqrstuvwxyz-:", min_size=1, max_size=20)
HEADERS = strategies.dictionaries(
    NAMES, strategies.text(strategies.characters(exclude_characters="\0", codec="utf-8"), max_size=60)
)
WORDS = strategies.integers(0, 0x7FFFFFFF)
FRAMES = strategies.one_of(
    strategies.builds(spdy.SynStream, STREAMS, HEADERS, strategies.booleans(), strategies.booleans()),
    strategies.builds(spdy.SynReply, STREAMS, HEADERS, strategies.booleans()),
    strategies.builds(spdy.StreamHeaders, STREAMS, HEADERS, strategies.booleans()),
    strategies.builds(spdy.Data, STREAMS, strategies.binary(max_size=3000), strategies.booleans()),
    strategies.builds(spdy.Reset, STREAMS, WORDS),
    strategies.builds(spdy.Settings, strategies.dictionaries(strategies.integers(0, 0xFFFFFF), WORDS, max_size=5)),
    strategies.builds(spdy.Ping, WORDS),
    strategies.builds(spdy.GoAway, WORDS, WORDS),
    strategies.builds(spdy.WindowUpdate, STREAMS, WORDS),
)


def run(main: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(main())  # type: ignore[arg-type]


def joined(frames: list[spdy.Frame]) -> list[spdy.Frame]:
    """The parts of a data frame, as the decoder hands them on, in one."""
    result: list[spdy.Frame] = []
    for frame in frames:
        last = result[-1] if result else None
        if (
            isinstance(frame, spdy.Data)
            and isinstance(last, spdy.Data)
            and last.stream == frame.stream
            and not last.is_fin
        ):
            result[-1] = spdy.Data(frame.stream, last.data + frame.data, frame.is_fin)
        else:
            result.append(frame)
    return result


def test_the_dictionary_is_that_of_the_specification() -> None:
    """Its Adler-32 stands in every compressed header block of every SPDY/3 implementation."""
    assert len(spdy.DICTIONARY) == 1423
    assert zlib.adler32(spdy.DICTIONARY) == 0xE3C6A7C2


@hypothesis.given(strategies.lists(FRAMES, max_size=10), strategies.integers(1, 500))
@hypothesis.settings(deadline=None)
def test_frames_come_back_as_they_went_however_the_bytes_are_cut(frames: list[spdy.Frame], cut: int) -> None:
    encoder, decoder = spdy.Encoder(), spdy.Decoder()
    data = b"".join([encoder.encode(frame) for frame in frames])
    got = [frame for start in range(0, len(data), cut) for frame in decoder.feed(data[start : start + cut])]
    assert joined(got) == joined(frames)
    assert all(len(frame.data) <= cut for frame in got if isinstance(frame, spdy.Data))


@hypothesis.given(strategies.lists(strategies.binary(max_size=300), max_size=10))
def test_any_bytes_end_in_frames_or_a_protocol_error(pieces: list[bytes]) -> None:
    decoder = spdy.Decoder()
    try:
        for piece in pieces:
            list(decoder.feed(piece))
            assert len(decoder._buffer) <= spdy.MAX_CONTROL_BYTES + 8
    except spdy.ProtocolError:
        pass


@hypothesis.given(strategies.lists(FRAMES, min_size=1, max_size=5), strategies.data())
@hypothesis.settings(deadline=None)
def test_damaged_frames_end_in_frames_or_a_protocol_error(
    frames: list[spdy.Frame], draw: strategies.DataObject
) -> None:
    encoder, decoder = spdy.Encoder(), spdy.Decoder()
    data = bytearray(b"".join([encoder.encode(frame) for frame in frames]))
    for _ in range(draw.draw(strategies.integers(1, 4))):
        data[draw.draw(strategies.integers(0, len(data) - 1))] = draw.draw(strategies.integers(0, 255))
    with contextlib.suppress(spdy.ProtocolError):
        list(decoder.feed(bytes(data)))


def test_a_header_block_that_explodes_is_refused() -> None:
    deflate = zlib.compressobj(zdict=spdy.DICTIONARY)
    name = struct.pack(">II", 1, 1) + b"a" + struct.pack(">I", 10_000_000)
    block = deflate.compress(name + b"\0" * 10_000_000) + deflate.flush(zlib.Z_SYNC_FLUSH)
    frame = struct.pack(">HHII", 0x8003, spdy.SYN_REPLY, 4 + len(block), 1) + block
    with pytest.raises(spdy.ProtocolError, match="header block"):
        list(spdy.Decoder().feed(frame))
    with pytest.raises(spdy.ProtocolError, match="at most"):
        list(spdy.Decoder().feed(struct.pack(">HHI", 0x8003, spdy.SYN_REPLY, 0xFFFFFF)))
    with pytest.raises(spdy.ProtocolError, match="version 2"):
        list(spdy.Decoder().feed(struct.pack(">HHI", 0x8002, spdy.PING, 4) + b"\0\0\0\1"))


def test_unknown_control_frames_are_skipped() -> None:
    data = struct.pack(">HHI", 0x8003, 77, 3) + b"abc" + spdy.Encoder().encode(spdy.Ping(1))
    assert list(spdy.Decoder().feed(data)) == [spdy.Ping(1)]


def test_streams_carry_bytes_both_ways_and_end_each_for_itself() -> None:
    data = bytes(range(256)) * 2000

    async def main() -> None:
        left, right = pipe.pair()

        async def serve() -> None:
            async with spdy_session.Session(right) as session:
                while (stream := await session.accept()) is not None:
                    if stream.headers.get("kind") == "no":
                        await stream.reset()
                        continue
                    await session.reply(stream)
                    while piece := await stream.read():
                        await stream.write(piece)
                    await stream.write(b"end")
                    await stream.end()

        task = asyncio.create_task(serve())
        async with spdy_session.Session(left, is_client=True) as session:
            with pytest.raises(messages.Disconnected):
                await session.open({"Kind": "no"})
            stream = await session.open({"Kind": "yes"})

            async def send() -> None:
                await stream.write(data)
                await stream.end()

            sender = asyncio.create_task(send())
            got = b""
            while piece := await stream.read():
                got += piece
            assert got == data + b"end"
            await sender
            with pytest.raises(messages.Disconnected):
                await stream.write(b"after the end")
        await asyncio.wait_for(task, 5)

    run(main)


def test_a_stream_that_nobody_reads_stops_the_sender_and_not_the_memory() -> None:
    async def main() -> None:
        left, right = pipe.pair()
        async with spdy_session.Session(right) as server, spdy_session.Session(left, is_client=True) as client:
            opening = asyncio.create_task(client.open({}))
            stream = await server.accept()
            assert stream is not None
            await server.reply(stream)
            mine = await opening
            sender = asyncio.create_task(mine.write(bytes(4 << 20)))
            done, _ = await asyncio.wait([sender], timeout=0.2)
            assert not done
            assert stream._size <= spdy_session.HELD_BYTES + pipe.HELD_BYTES + spdy.MAX_DATA_BYTES
            got = 0
            while got < 4 << 20:
                got += len(await stream.read())
            await sender

    run(main)


def test_the_end_of_the_connection_ends_every_stream() -> None:
    async def main() -> None:
        left, right = pipe.pair()
        async with spdy_session.Session(right) as server:
            async with spdy_session.Session(left, is_client=True) as client:
                opening = asyncio.create_task(client.open({}))
                stream = await server.accept()
                assert stream is not None
                await server.reply(stream)
                await (await opening).write(b"last words")
            assert await stream.read() == b"last words"
            assert await stream.read() == b""
            assert await server.accept() is None
            with pytest.raises(messages.Disconnected):
                await stream.write(b"anyone?")
            await server.wait_ended(1)

    run(main)


def test_pings_are_answered_and_bad_stream_numbers_reset() -> None:
    async def main() -> None:
        left, right = pipe.pair()
        encoder, decoder = spdy.Encoder(), spdy.Decoder()
        async with spdy_session.Session(right) as server:
            for frame in (
                spdy.Ping(7),
                spdy.Ping(8),
                spdy.SynStream(5, {}),
                spdy.SynStream(3, {}),
                spdy.SynStream(2, {}),
            ):
                await left.write(encoder.encode(frame))
            await left.write(encoder.encode(spdy.Data(99, b"to nobody")))
            stream = await server.accept()
            assert stream is not None
            got: list[spdy.Frame] = []
            while len(got) < 3:
                got += decoder.feed(await left.read())
            assert got == [spdy.Ping(7), spdy.Reset(3, 1), spdy.Reset(2, 1)]
            await left.write(b"\x80\x01\0\0\0\0\0\0")
            await server.wait_ended(5)
            got += decoder.feed(await left.read())
            assert got[-1] == spdy.GoAway(5, 1)

    run(main)


@hypothesis.given(
    strategies.lists(
        strategies.one_of(FRAMES.map(lambda frame: spdy.Encoder().encode(frame)), strategies.binary(max_size=50))
    )
)
@hypothesis.settings(deadline=None, max_examples=60)
def test_a_session_survives_any_frames(pieces: list[bytes]) -> None:
    async def main() -> None:
        left, right = pipe.pair()

        async def feed() -> None:
            try:
                for piece in pieces:
                    await left.write(piece)
                await left.end()
            except messages.Disconnected:
                pass

        async def drain() -> None:
            while await left.read():
                pass

        async with spdy_session.Session(right) as server:
            tasks = [asyncio.create_task(feed()), asyncio.create_task(drain())]
            while (stream := await server.accept()) is not None:
                await stream.close()
        await asyncio.gather(*tasks)

    run(main)
