"""Content: blobs by their digest, byte for byte as they came: layers (compressed as they were), configurations, manifests, indexes.

What containerd calls the content store. `images` says which blobs an image names, `layers` holds what was unpacked of them; here nothing
is known about either.

* A blob is whole and right, or not there: it is written beside, checked against its digest, and renamed into place.
* It is read at once, while the disk is still busy with it: `<hex>.unsynced` (which holds the boot's id) stands beside it until it
  is on the disk. A blob with that mark of another boot may be damaged and is dropped when the store opens.
* `<hex>.partial` is what an interrupted download left; the next one goes on behind it, for a day.
* Deletion is by reachability: `collect` takes what is neither used nor leased. A lease (`keep`) lives in this process alone: what a killed
  pull had fetched is reachable from nothing, and the next `collect` takes it.
"""

import asyncio
import contextlib
import hashlib
import os
import pathlib
import secrets
import weakref
from collections.abc import AsyncIterator, Callable, Collection, Iterator

from pinnace.kit import files

BLOCK = 1 << 20
PARTIAL, UNSYNCED = ".partial", ".unsynced"


class ContentError(Exception):
    """What came does not match its digest or its size, or a blob is not there."""


Fetch = Callable[[int], AsyncIterator[bytes]]
"""From an offset on, the blob's bytes in pieces."""


class ContentStore:
    """`root` is ours alone."""

    def __init__(self, root: pathlib.Path) -> None:
        self._folder = root / "blobs"
        self._leased: dict[str, int] = {}
        self._fetching: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        self._syncing: set[asyncio.Task[None]] = set()

    def open(self, *, drop_older_than_ns: int) -> None:
        """Make the folder; forget partial downloads last written before that moment (nanoseconds since the epoch), and what a power
        loss may have damaged."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        files.remove_temporaries(self._folder)
        for path in list(self._folder.iterdir()):
            if path.suffix == PARTIAL and path.stat().st_mtime_ns < drop_older_than_ns:
                path.unlink()
            elif path.suffix == UNSYNCED:
                self._settle(path)

    # -------------------------------------------------------------- reading

    def path(self, digest: str) -> pathlib.Path:
        return self._folder / _hex(digest)

    def has(self, digest: str) -> bool:
        return self.path(digest).exists()

    def size(self, digest: str) -> int:
        """Raises ContentError."""
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError:
            raise ContentError(f"blob {digest} is not kept here") from None

    def disk_bytes(self) -> int:
        return sum(path.stat().st_size for path in self._folder.iterdir())

    def read_small(self, digest: str, limit: int) -> bytes:
        """A document. Raises ContentError."""
        if self.size(digest) > limit:
            raise ContentError(f"blob {digest} is larger than {limit} bytes")
        return self.path(digest).read_bytes()

    async def read(self, digest: str, offset: int = 0) -> AsyncIterator[bytes]:
        """Raises ContentError where it is not there."""
        self.size(digest)
        descriptor = os.open(self.path(digest), os.O_RDONLY | os.O_CLOEXEC)
        try:
            while piece := await asyncio.to_thread(os.pread, descriptor, BLOCK, offset):
                offset += len(piece)
                yield piece
        finally:
            os.close(descriptor)

    # -------------------------------------------------------------- writing

    def write(self, data: bytes) -> str:
        """A document; on the disk when this returns. Its digest."""
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        if not self.has(digest):
            files.write_atomic(self.path(digest), data, 0o600, durable=True)
        return digest

    async def fetch(self, digest: str, size: int, fetch: Fetch, on_progress: Callable[[int], None]) -> pathlib.Path:
        """The blob's path, fetched (the rest of it) where it is not there; of several callers one fetches.

        `on_progress`: bytes there so far. A failed fetch leaves what came for the next try; a wrong digest leaves nothing.
        Raises ContentError, and whatever `fetch` raises.
        """
        lock = self._fetching.get(digest)
        if lock is None:
            lock = self._fetching[digest] = asyncio.Lock()
        async with lock:
            return await self._fetch(digest, size, fetch, on_progress)

    async def _fetch(self, digest: str, size: int, fetch: Fetch, on_progress: Callable[[int], None]) -> pathlib.Path:
        target = self.path(digest)
        if target.exists():
            on_progress(size)
            return target
        partial = target.with_name(target.name + PARTIAL)
        descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            checksum, offset = await asyncio.to_thread(_hash_present, descriptor, size)
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
        self._put_in_place(partial, target)
        return target

    async def copy(self, source: pathlib.Path, offset: int, length: int) -> str:
        """A part of a file becomes a blob. Its digest. Raises ContentError, OSError."""
        beside = self._folder / f".copy.{secrets.token_hex(8)}"  # as `files.remove_temporaries` knows them
        try:
            digest = await asyncio.to_thread(_copy, source, offset, length, beside)
            if not self.has(digest):
                self._put_in_place(beside, self.path(digest))
            return digest
        finally:
            beside.unlink(missing_ok=True)

    # -------------------------------------------------------------- deleting

    @contextlib.contextmanager
    def keep(self, digests: Collection[str]) -> Iterator[None]:
        """While inside, `collect` leaves these blobs alone, although no image names them yet."""
        for digest in digests:
            self._leased[digest] = self._leased.get(digest, 0) + 1
        try:
            yield
        finally:
            for digest in digests:
                self._leased[digest] -= 1
                if not self._leased[digest]:
                    del self._leased[digest]

    def remove(self, digest: str) -> None:
        self.path(digest).unlink(missing_ok=True)
        self._mark_of(self.path(digest)).unlink(missing_ok=True)

    def collect(self, used: Collection[str], *, older_than_ns: int | None = None) -> list[str]:
        """Remove every blob that is neither `used` nor leased (and, where asked, was written before that moment); partial downloads
        stay. Returns the digests removed."""
        kept = {_hex(digest) for digest in (*used, *self._leased)}
        found = [path for path in self._folder.iterdir() if not path.suffix and path.name not in kept]
        removed = [
            f"sha256:{path.name}" for path in found if older_than_ns is None or path.stat().st_mtime_ns < older_than_ns
        ]
        for digest in removed:
            self.remove(digest)
        return removed

    # -------------------------------------------------------------- inside

    def _put_in_place(self, whole: pathlib.Path, target: pathlib.Path) -> None:
        mark = self._mark_of(target)
        # Before the rename, and journalled before it.
        mark.write_text(_boot())
        whole.rename(target)
        syncing = asyncio.get_running_loop().create_task(asyncio.to_thread(_sync, target, mark))
        self._syncing.add(syncing)
        syncing.add_done_callback(self._syncing.discard)

    def _settle(self, mark: pathlib.Path) -> None:
        blob = mark.with_suffix("")
        if mark.read_text() == _boot():
            _sync(blob, mark)
        else:
            blob.unlink(missing_ok=True)
            mark.unlink()

    @staticmethod
    def _mark_of(target: pathlib.Path) -> pathlib.Path:
        return target.with_name(target.name + UNSYNCED)


def _boot() -> str:
    return pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _sync(blob: pathlib.Path, mark: pathlib.Path) -> None:
    """Blocking. A blob that was removed meanwhile needs no mark either."""
    with contextlib.suppress(FileNotFoundError):
        descriptor = os.open(blob, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        files.sync_directory(blob.parent)
    mark.unlink(missing_ok=True)


def _copy(source: pathlib.Path, offset: int, length: int, target: pathlib.Path) -> str:
    checksum = hashlib.sha256()
    left = length
    with open(source, "rb", buffering=0) as readable, open(target, "xb", buffering=0) as writable:
        os.fchmod(writable.fileno(), 0o600)
        while left and (piece := os.pread(readable.fileno(), min(BLOCK, left), offset)):
            checksum.update(piece)
            _write(writable.fileno(), piece)
            offset += len(piece)
            left -= len(piece)
    if left:
        raise ContentError(f"{source.name} ends {left} bytes early")
    return f"sha256:{checksum.hexdigest()}"


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
