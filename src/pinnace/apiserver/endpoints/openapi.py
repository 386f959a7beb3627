"""`/openapi/v2`, `/openapi/v3`."""

from pinnace.apiserver import context as contexts
from pinnace.apiserver.http import documents, negotiate, respond
from pinnace.web import messages

_V3 = "/openapi/v3/"


_V2_PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
# How Go clients write it, though `@` may not stand there.
_V2_PROTOBUF_NAMES = (_V2_PROTOBUF, "application/com.github.proto-openapi.spec.v2@v1.0+protobuf")


async def v2(context: contexts.Context) -> messages.Answer:
    """JSON, or the protobuf form where that is what the client would rather have."""
    first = context.accept.partition(",")[0].partition(";")[0].strip().lower()
    if first in _V2_PROTOBUF_NAMES:
        return _answer(context, await context.services.documents.v2_protobuf(), _V2_PROTOBUF)
    negotiate.document_form(context.accept)
    return _answer(context, await context.services.documents.v2())


async def v3_index(context: contexts.Context) -> messages.Answer:
    return _answer(context, await context.services.documents.v3_index())


async def v3_document(context: contexts.Context) -> messages.Answer:
    """`/openapi/v3/api/v1`, `/openapi/v3/apis/<group>/<version>`."""
    negotiate.document_form(context.accept)
    parts = context.request.path[len(_V3) :].strip("/").split("/")
    found = None
    if parts[0] == "api" and len(parts) == 2:
        found = await context.services.documents.v3(parts[1])
    elif parts[0] == "apis" and len(parts) == 3:
        found = await context.services.documents.v3(f"{parts[1]}/{parts[2]}")
    return respond.no_page() if found is None else _answer(context, found)


def _answer(context: contexts.Context, found: documents.Document, media: str = "application/json") -> messages.Answer:
    headers = [("Content-Type", media), ("ETag", found.etag), ("Cache-Control", "no-cache, private")]
    if context.query.text("hash"):
        headers[2] = ("Cache-Control", "public, immutable")
    if context.request.headers.get("if-none-match") == found.etag:
        return messages.Response(304, headers, b"")
    return messages.Response(200, headers, found.body)
