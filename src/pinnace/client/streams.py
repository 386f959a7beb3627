"""Bodies of answers, whichever of their three forms they have: joined, or cut into lines."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence

from pinnace.web import messages

AnswerBody = bytes | Sequence[bytes] | AsyncIterator[messages.Chunk]


async def read_all(body: AnswerBody) -> bytes:
    if isinstance(body, AsyncIterator):
        return b"".join([piece async for piece in _pieces(body)])
    return body if isinstance(body, bytes) else b"".join(body)


async def lines(body: AnswerBody) -> AsyncGenerator[bytes, None]:
    """The non-empty lines of `body` as they arrive. An unfinished last line is a cut connection and is dropped.

    The source is closed when the consumer stops, so that the server learns that nobody listens any more."""
    rest: list[bytes] = []
    pieces = _pieces(body)
    try:
        async for piece in pieces:
            *complete, tail = piece.split(b"\n")
            for line in complete:
                if rest:
                    line = b"".join([*rest, line])
                    rest.clear()
                if line:
                    yield line
            if tail:
                rest.append(tail)
    finally:
        await pieces.aclose()


async def _pieces(body: AnswerBody) -> AsyncGenerator[bytes, None]:
    if not isinstance(body, AsyncIterator):
        for piece in _flat(body):
            yield piece
        return
    try:
        async for chunk in body:
            for piece in _flat(chunk):
                yield piece
    finally:
        close = getattr(body, "aclose", None)
        if close is not None:
            await close()


def _flat(chunk: messages.Chunk) -> Sequence[bytes]:
    return (chunk,) if isinstance(chunk, bytes) else chunk
