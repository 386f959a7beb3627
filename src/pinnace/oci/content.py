"""Blobs by their digest, verified while they are written, resumable.

`<root>/blobs/<hex>` is whole and right; `<hex>.partial` is what an interrupted download left. A blob is kept only until it is unpacked:
the layers and configurations made of it are what stays.
"""

import hashlib
import os
import pathlib
from collections.abc import AsyncIterator, Callable

BLOCK = 1 << 20


class ContentError(Exception):
    """What came does not match its digest or its size."""


Fetch = Callable[[int], AsyncIterator[bytes]]
"""From an offset on, the blob's bytes in pieces."""


class ContentStore:
    def __init__(self, root: pathlib.Path) -> None:
        self._folder = root / "blobs"

    def open(self, *, drop_older_than_ns: int) -> None:
        """Make the folder; forget blobs and partial downloads last written before that moment (nanoseconds since the epoch)."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for path in self._folder.iterdir():
            if path.stat().st_mtime_ns < drop_older_than_ns:
                path.unlink(missing_ok=True)

    def path(self, digest: str) -> pathlib.Path:
        return self._folder / _hex(digest)

    def has(self, digest: str) -> bool:
        return self.path(digest).exists()

    def remove(self, digest: str) -> None:
        self.path(digest).unlink(missing_ok=True)

    async def fetch(self, digest: str, size: int, fetch: Fetch, on_progress: Callable[[int], None]) -> pathlib.Path:
        """The blob's path, fetched (the rest of it) where it is not there. One caller per digest at a time.

        `on_progress`: bytes there so far. A failed fetch leaves what came for the next try; a wrong digest leaves nothing.
        Raises ContentError, and whatever `fetch` raises.
        """
        target = self.path(digest)
        if target.exists():
            on_progress(size)
            return target
        partial = target.with_name(f"{target.name}.partial")
        descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            checksum, offset = _hash_present(descriptor, size)
            on_progress(offset)
            if offset < size:
                async for piece in fetch(offset):
                    offset += len(piece)
                    if offset > size:
                        partial.unlink()
                        raise ContentError(f"blob {digest} is larger than the {size} bytes its manifest says")
                    checksum.update(piece)
                    _write(descriptor, piece)
                    on_progress(offset)
            if offset < size:
                raise ContentError(f"blob {digest} ended after {offset} of {size} bytes")
            if f"sha256:{checksum.hexdigest()}" != digest:
                partial.unlink()
                raise ContentError(f"what was sent for blob {digest} is sha256:{checksum.hexdigest()}")
        finally:
            os.close(descriptor)
        os.rename(partial, target)
        return target


def _hash_present(descriptor: int, size: int) -> tuple["hashlib._Hash", int]:
    """The checksum over what an earlier try left, positioned after it; from the beginning where that is too much."""
    checksum = hashlib.sha256()
    if os.fstat(descriptor).st_size > size:
        os.ftruncate(descriptor, 0)
    position = 0
    while block := os.read(descriptor, BLOCK):
        checksum.update(block)
        position += len(block)
    return checksum, position


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _hex(digest: str) -> str:
    algorithm, _, value = digest.partition(":")
    if algorithm != "sha256" or len(value) != 64 or set(value) - set("0123456789abcdef"):
        raise ContentError(f"not a sha256 digest: {digest[:100]!r}")
    return value
