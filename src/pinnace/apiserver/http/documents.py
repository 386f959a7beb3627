"""OpenAPI documents as bytes: made when first asked for, kept until the kinds that they tell of change."""

import asyncio
import dataclasses
import hashlib
from collections.abc import Callable, Sequence

import orjson

from pinnace.api import kinds, openapi
from pinnace.api.openapi import protobuf

Served = Sequence[kinds.Kind]

# No version of an API is called so.
_V2, _V2_PROTOBUF, _V3_INDEX = _OF_ALL_KINDS = ("openapi v2", "openapi v2 protobuf", "openapi v3")


@dataclasses.dataclass(frozen=True, slots=True)
class Document:
    body: bytes
    etag: str


class Documents:
    """One is made at a time, off the loop: it takes longer than others should wait. Bounded by what is served."""

    def __init__(self, registry: kinds.Registry) -> None:
        self._registry = registry
        self._made: dict[str, tuple[str, Document]] = {}
        """By name, with what it was made of."""
        self._turn = asyncio.Lock()
        registry.follow(self._forget)

    def _forget(self) -> None:
        """Of groups that are served no longer."""
        served = {kind.api_version for kind in self._registry.all()}
        self._made = {name: made for name, made in self._made.items() if name in served or name in _OF_ALL_KINDS}

    async def v2(self) -> Document:
        return await self._of_all(_V2, openapi.v2_document)

    async def v2_protobuf(self) -> Document:
        return await self._of_all(
            _V2_PROTOBUF, lambda served: protobuf.encode(orjson.loads(openapi.v2_document(served)))
        )

    async def v3_index(self) -> Document:
        return await self._of_all(_V3_INDEX, lambda served: orjson.dumps(openapi.v3_index(served)))

    async def v3(self, api_version: str) -> Document | None:
        """None where nothing of that group and version is served. Kinds of other groups that come or go leave it as it is."""
        served = self._registry.all()
        if not any(kind.api_version == api_version for kind in served):
            return None
        source = openapi.etag(api_version, served)
        return await self._get(api_version, source, lambda: openapi.v3_document(api_version, served))

    async def _of_all(self, name: str, make: Callable[[Served], bytes]) -> Document:
        served = self._registry.all()
        return await self._get(name, str(self._registry.generation), lambda: make(served))

    async def _get(self, name: str, source: str, make: Callable[[], bytes]) -> Document:
        """`source` names what the document is made of."""
        found = self._made.get(name)
        if found is None or found[0] != source:
            async with self._turn:
                found = self._made.get(name)
                if found is None or found[0] != source:
                    body = await asyncio.to_thread(make)
                    found = source, Document(body, '"' + hashlib.sha512(body).hexdigest().upper() + '"')
                    self._made[name] = found
        return found[1]
