"""Pushing to a registry (distribution-spec v1.1, "Pushing"): blobs that it does not have, then the manifest that names them.

Every byte is sent as it is kept: what was pulled has the same digests after it was pushed.
"""

import re
import urllib.parse
from collections.abc import AsyncIterator, Callable, Sequence

from pinnace.oci import configuration, registry, transport

DEFAULT_CHUNK = 0
_RANGE = re.compile(r"(?:bytes=)?0-(\d+)")

Read = Callable[[int], AsyncIterator[bytes]]
"""The blob's bytes from an offset on."""


async def has_blob(client: registry.RegistryClient, digest: str) -> bool:
    """Raises RegistryError."""
    return (await _drained(await client.ask("HEAD", f"blobs/{digest}", (200, 404)))).status == 200


async def has_manifest(client: registry.RegistryClient, version: str, tries: int = registry.TRIES) -> bool:
    """Raises RegistryError."""
    accept = (("Accept", registry.ACCEPT),)
    return (
        await _drained(await client.ask("HEAD", f"manifests/{version}", (200, 404), accept, tries=tries))
    ).status == 200


async def put_manifest(client: registry.RegistryClient, version: str, data: bytes, media_type: str) -> None:
    """By tag or digest. Raises RegistryError, also where the registry says that it keeps something else."""
    headers = (("Content-Type", media_type),)
    answer = await _drained(await client.ask("PUT", f"manifests/{version}", (200, 201, 202), headers, data))
    kept = answer.headers.get("docker-content-digest", "")
    if kept and kept != configuration.digest_of(data):
        raise registry.RegistryError(f"{client.endpoint.url} keeps {kept[:80]} for what was pushed as {version}")


async def push_blob(
    client: registry.RegistryClient,
    descriptor: configuration.Descriptor,
    read: Read,
    on_progress: Callable[[int], None],
    *,
    mount_from: Sequence[str] = (),
    chunk: int = DEFAULT_CHUNK,
) -> bool:
    """Make sure that the registry has the blob; False when it had it. `mount_from`: repositories of the same registry that may have it.

    `chunk`: bytes per request; 0: all in one, which every registry takes, while some take no chunks. Where a connection breaks, a
    chunked upload goes on behind what the registry has. Raises RegistryError, and whatever `read` raises.
    """
    if await has_blob(client, descriptor.digest):
        return False
    session = await _begin(client, descriptor.digest, mount_from)
    if session is None:
        return False
    if chunk <= 0:
        await _put_whole(client, session, descriptor, read, on_progress)
        return True
    offset = 0
    while offset < descriptor.size:
        size = min(chunk, descriptor.size - offset)
        session, offset = await _patch(client, session, read, offset, size)
        on_progress(offset)
    await _finish(client, session, descriptor.digest)
    return True


async def _begin(client: registry.RegistryClient, digest: str, mount_from: Sequence[str]) -> str | None:
    """The location of a new upload; None when the blob was mounted from another repository instead."""
    client.session.further_repositories = tuple(mount_from)
    for repository in mount_from:
        query = urllib.parse.urlencode({"mount": digest, "from": repository})
        answer = await _drained(await client.ask("POST", f"blobs/uploads/?{query}", (201, 202)))
        if answer.status == 201:
            return None
        # Not there (or not ours to read): the registry began an upload instead, which is as good as any.
        return _location(client, answer)
    return _location(client, await _drained(await client.ask("POST", "blobs/uploads/", (202,))))


async def _put_whole(
    client: registry.RegistryClient,
    session: str,
    descriptor: configuration.Descriptor,
    read: Read,
    on_progress: Callable[[int], None],
) -> None:
    async def body() -> AsyncIterator[bytes]:
        sent = 0
        async for piece in read(0):
            sent += len(piece)
            yield piece
            on_progress(sent)

    headers = (("Content-Type", "application/octet-stream"), ("Content-Length", str(descriptor.size)))
    for failures in range(registry.TRIES):
        try:
            await _drained(
                await client.ask("PUT", _with_digest(session, descriptor.digest), (201, 204), headers, body, 1)
            )
        except registry.RegistryError as error:
            if error.is_permanent or failures + 1 == registry.TRIES:
                raise
            await client.pause(failures)
            session = _location(client, await _drained(await client.ask("POST", "blobs/uploads/", (202,))))
        else:
            return


async def _patch(client: registry.RegistryClient, session: str, read: Read, offset: int, size: int) -> tuple[str, int]:
    """Send `size` bytes from `offset` on. The session's next location, and how much the registry has."""

    async def body() -> AsyncIterator[bytes]:
        left = size
        async for piece in read(offset):
            yield piece[:left]
            left -= min(left, len(piece))
            if not left:
                return

    headers = (
        ("Content-Type", "application/octet-stream"),
        ("Content-Length", str(size)),
        ("Content-Range", f"{offset}-{offset + size - 1}"),
    )
    for failures in range(registry.TRIES):
        try:
            answer = await _drained(await client.ask("PATCH", session, (202, 204), headers, body, 1))
            return _location(client, answer), offset + size
        except registry.RegistryError as error:
            if error.is_permanent or failures + 1 == registry.TRIES:
                raise
            await client.pause(failures)
            answer = await _drained(await client.ask("GET", session, (202, 204)))
            has = _RANGE.fullmatch(answer.headers.get("range", ""))
            reached = int(has[1]) + 1 if has else 0
            if reached != offset:
                return _location(client, answer) if "location" in answer.headers else session, reached
    raise AssertionError("the last try returns or raises")


async def _finish(client: registry.RegistryClient, session: str, digest: str) -> None:
    await _drained(await client.ask("PUT", _with_digest(session, digest), (201, 204)))


def _with_digest(session: str, digest: str) -> str:
    return session + ("&" if "?" in session else "?") + urllib.parse.urlencode({"digest": digest})


def _location(client: registry.RegistryClient, answer: transport.Response) -> str:
    location = answer.headers.get("location", "")
    if not location:
        raise registry.RegistryError(f"{client.endpoint.url} began an upload without saying where")
    return client.url(location)


async def _drained(answer: transport.Response) -> transport.Response:
    """Whatever it says is not needed; its connection is."""
    try:
        await answer.read(registry.MAXIMUM_MANIFEST)
    except transport.TransportError as error:
        raise registry.RegistryError(str(error)) from error
    return answer
