"""The OpenAPI documents that clients ask for: v2 as a whole, v3 one per group and version.

Made on demand from the definitions with their descriptions (kubectl explain, apply and validation read them); the caller caches
the bytes under the hash that `v3_index` names. Nothing here is needed to serve objects.
"""

import functools
import hashlib
from collections.abc import Sequence
from typing import Any

import orjson

from pinnace.api import kinds
from pinnace.api import schema as schemas
from pinnace.api.openapi import documents, paths

VERSION = "v1.36.0"

_INFO = {"title": "Kubernetes", "version": VERSION}
_BEARER = {
    "description": "Bearer Token authentication",
    "in": "header",
    "name": "authorization",
    "type": "apiKey",
}


def v2_document(served: Sequence[kinds.Kind]) -> bytes:
    """`/openapi/v2`: every kind that is served, in Swagger 2.0."""
    made = documents.V2()
    found: dict[str, Any] = {}
    for kind in served:
        found.update(paths.of_kind(kind, made))
    wanted = [name for kind in served for name in documents.roots(kind)]
    return orjson.dumps(
        {
            "swagger": "2.0",
            "info": _INFO,
            "paths": dict(sorted(found.items())),
            "definitions": made.definitions(wanted, served),
            "securityDefinitions": {"BearerToken": _BEARER},
            "security": [{"BearerToken": []}],
        }
    )


def v3_index(served: Sequence[kinds.Kind]) -> dict[str, Any]:
    """`/openapi/v3`: where the documents are; the hash in each address changes when the document does."""
    found = {}
    for group, version in dict.fromkeys((kind.group, kind.version) for kind in served):
        path = f"apis/{group}/{version}" if group else f"api/{version}"
        digest = etag(f"{group}/{version}" if group else version, served)
        found[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={digest}"}
    return {"paths": found}


def etag(group_version: str, served: Sequence[kinds.Kind]) -> str:
    """Names the content of `v3_document(group_version, served)` without making it."""
    digest = hashlib.sha512(_definitions_digest())
    for kind in _of_group_version(group_version, served):
        digest.update(repr(kind).encode())
        if kind.own_openapi is not None:
            digest.update(orjson.dumps(kind.own_openapi))
    return digest.hexdigest().upper()


def v3_document(group_version: str, kinds_served: Sequence[kinds.Kind]) -> bytes:
    """`/openapi/v3/apis/apps/v1` is `v3_document("apps/v1", …)`, `/openapi/v3/api/v1` is `v3_document("v1", …)`.

    Raises KeyError where no kind of that group and version is served.
    """
    served = _of_group_version(group_version, kinds_served)
    if not served:
        raise KeyError(group_version)
    made = documents.V3()
    found: dict[str, Any] = {}
    for kind in served:
        found.update(paths.of_kind(kind, made))
    wanted = [name for kind in served for name in documents.roots(kind)]
    return orjson.dumps(
        {
            "openapi": "3.0.0",
            "info": _INFO,
            "paths": dict(sorted(found.items())),
            "components": {
                "schemas": made.definitions(wanted, served),
                "securitySchemes": {"BearerToken": _BEARER},
            },
        }
    )


def _of_group_version(group_version: str, served: Sequence[kinds.Kind]) -> list[kinds.Kind]:
    group, _, version = group_version.rpartition("/")
    return [kind for kind in served if (kind.group, kind.version) == (group, version)]


@functools.cache
def _definitions_digest() -> bytes:
    return hashlib.sha256(schemas.documented_bytes()).digest()
