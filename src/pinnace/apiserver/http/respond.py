"""Answers: stored bytes as they are wherever that is what was asked for, other forms where they are."""

import asyncio
import zlib
from collections.abc import Sequence
from typing import Any

import orjson

from pinnace.api import errors
from pinnace.apiserver.http import negotiate, serializers
from pinnace.web import messages

Headers = Sequence[tuple[str, str]]

JSON_HEADERS: Headers = (("Content-Type", "application/json"), ("Cache-Control", "no-cache, private"))

# Below this size compressing costs more than sending; upstream's threshold.
COMPRESS_FROM = 128 * 1024
COMPRESSION_LEVEL = 1
# Upstream's bounds: of each text where all together are too long, and of all.
LONGEST_WARNING = 256
MOST_WARNINGS = 4096
MOST_WARNING_FIELDS = 64
"""Fewer than upstream: Python's own client gives up at a hundred fields in one answer."""


def warning_headers(warnings: Sequence[str]) -> list[tuple[str, str]]:
    """`Warning: 299 - "text"`, each text once; bounded as upstream bounds them: when all together are too long, each is cut."""
    texts = [text for text in dict.fromkeys(warnings) if text]
    if sum(map(len, texts)) > MOST_WARNINGS:
        texts = [text[:LONGEST_WARNING] for text in texts]
    headers: list[tuple[str, str]] = []
    total = 0
    for text in texts:
        if total >= MOST_WARNINGS or len(headers) >= MOST_WARNING_FIELDS:
            break
        total += len(text)
        shown = "".join(character if character.isprintable() else " " for character in text)
        shown = shown.replace("\\", "\\\\").replace('"', '\\"')
        headers.append(("Warning", f'299 - "{shown}"'))
    return headers


def raw(body: bytes | Sequence[bytes], status: int = 200, warnings: Sequence[str] = ()) -> messages.Response:
    """JSON that is there already."""
    headers = JSON_HEADERS if not warnings else [*JSON_HEADERS, *warning_headers(warnings)]
    return messages.Response(status, headers, body)


def written(
    body: bytes | Sequence[bytes], form: negotiate.Form, status: int = 200, warnings: Sequence[str] = ()
) -> messages.Response:
    """What `form`'s serializer wrote."""
    if form.serializer is serializers.JSON:
        return raw(body, status, warnings)
    headers = (("Content-Type", form.serializer.media), ("Cache-Control", "no-cache, private"))
    return messages.Response(status, [*headers, *warning_headers(warnings)], body)


def value(
    obj: Any, form: negotiate.Form = negotiate.PLAIN, status: int = 200, warnings: Sequence[str] = ()
) -> messages.Response:
    """Raises 406."""
    return written(form.serializer.encode(obj), form, status, warnings)


def no_page() -> messages.Response:
    """Of a path that no part of the server knows, as Go's own HTTP server says it."""
    return text("404 page not found\n", 404)


def text(body: str, status: int = 200) -> messages.Response:
    return messages.Response(
        status,
        (
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Cache-Control", "no-cache, private"),
            ("X-Content-Type-Options", "nosniff"),
        ),
        body.encode(),
    )


def status(
    error: errors.StatusError, form: negotiate.Form = negotiate.PLAIN, warnings: Sequence[str] = ()
) -> messages.Response:
    answer = value(error.to_json(), form, error.code, warnings)
    if error.retry_after_seconds:
        answer.headers = [*answer.headers, ("Retry-After", str(error.retry_after_seconds))]
    return answer


# Programs whose answers people read.
_READERS = ("curl", "Wget", "Mozilla/5.0")


def _wants_pretty(request: messages.Request) -> bool:
    if "pretty=" in request.query:
        asked = request.query_values().get("pretty", ["false"])[0]
        return asked.lower() in ("", "1", "t", "true")
    return request.headers.get("user-agent", "").startswith(_READERS)


async def maybe_indent(request: messages.Request, answer: messages.Answer) -> messages.Answer:
    """JSON over several lines, for whoever asks for it and for programs whose answers people read."""
    if not isinstance(answer, messages.Response) or not _wants_pretty(request):
        return answer
    body = answer.body
    if not isinstance(body, (bytes, list, tuple)) or ("Content-Type", "application/json") not in answer.headers:
        return answer
    whole = body if isinstance(body, bytes) else b"".join(body)
    answer.body = await asyncio.to_thread(lambda: orjson.dumps(orjson.loads(whole), option=orjson.OPT_INDENT_2))
    return answer


async def maybe_compress(request: messages.Request, answer: messages.Answer) -> messages.Answer:
    """Gzip what is large, when the client accepts it and is not on this machine (where bandwidth costs nothing)."""
    if not isinstance(answer, messages.Response) or "gzip" not in request.headers.get("accept-encoding", ""):
        return answer
    if request.peer.address.startswith(("127.", "[::1]", "::1")) or not request.peer.address:
        return answer
    body = answer.body
    if not isinstance(body, (bytes, list, tuple)):
        return answer
    size = len(body) if isinstance(body, bytes) else sum(map(len, body))
    if size < COMPRESS_FROM:
        return answer
    pieces = [body] if isinstance(body, bytes) else body
    answer.body = await asyncio.to_thread(_gzip, pieces)
    answer.headers = [*answer.headers, ("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding")]
    return answer


def _gzip(pieces: Sequence[bytes]) -> bytes:
    packer = zlib.compressobj(COMPRESSION_LEVEL, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    return b"".join([*(packer.compress(piece) for piece in pieces), packer.flush()])
