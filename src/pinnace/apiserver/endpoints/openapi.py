"""`/openapi/v2`, `/openapi/v3`: documents, made once and kept as bytes."""

import asyncio
import hashlib
from collections.abc import Callable

import orjson

from pinnace.api import errors, openapi
from pinnace.api.openapi import protobuf
from pinnace.apiserver import context as contexts
from pinnace.apiserver.http import negotiate
from pinnace.web import messages

_V3 = "/openapi/v3/"


_V2_PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
# How Go clients write it, though `@` may not stand there.
_V2_PROTOBUF_NAMES = (_V2_PROTOBUF, "application/com.github.proto-openapi.spec.v2@v1.0+protobuf")


async def v2(context: contexts.Context) -> messages.Answer:
    """JSON, or the protobuf form where that is what the client would rather have."""
    registry = context.services.registry
    first = context.accept.partition(",")[0].partition(";")[0].strip().lower()
    if first in _V2_PROTOBUF_NAMES:
        return await _document(
            context, "v2 protobuf", lambda: protobuf.encode(orjson.loads(openapi.v2_document(registry))), _V2_PROTOBUF
        )
    negotiate.form(context.accept, negotiate.NONE)
    return await _document(context, "v2", lambda: openapi.v2_document(registry))


async def v3_index(context: contexts.Context) -> messages.Answer:
    registry = context.services.registry
    return await _document(context, "v3", lambda: orjson.dumps(openapi.v3_index(registry)))


async def v3_document(context: contexts.Context) -> messages.Answer:
    """`/openapi/v3/api/v1`, `/openapi/v3/apis/<group>/<version>`."""
    negotiate.form(context.accept, negotiate.NONE)
    registry = context.services.registry
    path = context.request.path[len(_V3) :].strip("/")
    parts = path.split("/")
    if parts[0] == "api" and len(parts) == 2:
        group, version = "", parts[1]
    elif parts[0] == "apis" and len(parts) == 3:
        group, version = parts[1], parts[2]
    else:
        raise errors.StatusError(404, "NotFound", "the server could not find the requested resource")
    if not any(kind.group == group and kind.version == version for kind in registry.all()):
        raise errors.StatusError(404, "NotFound", "the server could not find the requested resource")
    name = f"{group}/{version}" if group else version
    return await _document(context, path, lambda: openapi.v3_document(name, registry))


async def _document(
    context: contexts.Context, name: str, make: Callable[[], bytes], media: str = "application/json"
) -> messages.Answer:
    """Made off the loop the first time: it takes longer than others should wait."""
    cache = context.services.documents
    if name not in cache:
        body = await asyncio.to_thread(make)
        cache[name] = (body, '"' + hashlib.sha512(body).hexdigest().upper() + '"')
    body, tag = cache[name]
    headers = [("Content-Type", media), ("ETag", tag), ("Cache-Control", "no-cache, private")]
    if context.query.text("hash"):
        headers[2] = ("Cache-Control", "public, immutable")
    if context.request.headers.get("if-none-match") == tag:
        return messages.Response(304, headers, b"")
    return messages.Response(200, headers, body)
