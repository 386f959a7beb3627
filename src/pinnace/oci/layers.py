"""The layers on disk: `layers/<hex of the diffID>/diff`, each unpacked once however many images use it.

A layer is complete or not there: it is unpacked beside and renamed into place. Concurrent requests for one layer share the work.
Writing a gigabyte to the disk takes longer than unpacking it, so that happens behind: until the marker `synced` is there a layer
is believed only in the boot that made it, and dropped after a power loss.
"""

import asyncio
import contextlib
import dataclasses
import json
import os
import pathlib
import secrets
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from typing import Any

from pinnace.kernel import filesystem, paths, process
from pinnace.kit import files

WORKER = ("-I", "-m", "pinnace.oci.unpack_worker")


class LayerError(Exception):
    """A layer could not be unpacked: what was wrong with it."""


@dataclasses.dataclass(frozen=True, slots=True)
class LayerSource:
    """Where a layer's archive lies."""

    diff_id: str
    path: pathlib.Path
    offset: int
    length: int


class LayerStore:
    """`root` is ours alone; `parallel`: how many layers are unpacked at the same time."""

    def __init__(self, root: pathlib.Path, parallel: int = 0) -> None:
        self._root = root / "layers"
        self._temporary = root / "tmp"
        self._slots = asyncio.Semaphore(parallel or os.cpu_count() or 1)
        self._running: dict[str, asyncio.Task[None]] = {}
        self._pinned: dict[str, int] = {}
        self._syncing: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        """Make the folders; throw away what an earlier process left half done, or a power loss may have left empty."""
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        paths.remove_tree(self._temporary)
        self._temporary.mkdir(mode=0o700)
        for folder in list(self._root.iterdir()):
            if not _is_trustworthy(folder):
                paths.remove_tree(folder)

    @property
    def temporary(self) -> pathlib.Path:
        """A folder for half-done work on the same file system; emptied by `open`."""
        return self._temporary

    def directory(self, diff_id: str) -> pathlib.Path:
        return self._folder(diff_id) / "diff"

    def has(self, diff_id: str) -> bool:
        return (self._folder(diff_id) / "layer.json").exists()

    def size(self, diff_id: str) -> int:
        """Bytes of content; 0 when the layer is not there."""
        try:
            return int(json.loads((self._folder(diff_id) / "layer.json").read_bytes())["size"])
        except (OSError, ValueError, KeyError):
            return 0

    def disk_bytes(self) -> int:
        """Of the content of all layers."""
        return sum(self.size(f"sha256:{folder.name}") for folder in self._root.iterdir())

    @contextlib.contextmanager
    def keep(self, diff_ids: Collection[str]) -> Iterator[None]:
        """While inside, `collect` leaves these layers alone, although no image names them yet."""
        for diff_id in diff_ids:
            self._pinned[diff_id] = self._pinned.get(diff_id, 0) + 1
        try:
            yield
        finally:
            for diff_id in diff_ids:
                self._pinned[diff_id] -= 1
                if not self._pinned[diff_id]:
                    del self._pinned[diff_id]

    async def add(
        self, diff_id: str, fetch: Callable[[], Awaitable[LayerSource]], on_progress: Callable[[int], None]
    ) -> None:
        """Unpack a layer archive (plain, gzip or zstd) that `fetch` brings into a file. Returns at once when the layer is there.

        `on_progress`: bytes of the source read so far. Raises LayerError, and whatever `fetch` raises.
        """
        while not self.has(diff_id):
            running = self._running.get(diff_id)
            if running is None:
                running = asyncio.create_task(self._fetch_and_unpack(diff_id, fetch, on_progress))
                self._running[diff_id] = running
                running.add_done_callback(lambda _: self._running.pop(diff_id, None))
                try:
                    await running
                except asyncio.CancelledError:
                    running.cancel()
                    raise
            else:
                # Somebody else's work: its failure or cancellation is not ours, we then try ourselves.
                await asyncio.wait({running})

    def collect(self, used: Collection[str]) -> list[str]:
        """Remove every layer that is not `used`. Returns the diffIDs removed."""
        keep = {self._hex(diff_id) for diff_id in (*used, *self._pinned, *self._running)}
        removed = []
        for folder in list(self._root.iterdir()):
            if folder.name not in keep:
                # Renamed first: a layer that is half removed must not be taken for a whole one.
                grave = self._temporary / f"removed-{folder.name}-{secrets.token_hex(4)}"
                os.rename(folder, grave)
                paths.remove_tree(grave)
                removed.append(f"sha256:{folder.name}")
        return removed

    def _folder(self, diff_id: str) -> pathlib.Path:
        return self._root / self._hex(diff_id)

    @staticmethod
    def _hex(diff_id: str) -> str:
        algorithm, _, digest = diff_id.partition(":")
        if algorithm != "sha256" or len(digest) != 64 or not all(c in "0123456789abcdef" for c in digest):
            raise LayerError(f"not a sha256 digest: {diff_id[:100]!r}")
        return digest

    async def _fetch_and_unpack(
        self, diff_id: str, fetch: Callable[[], Awaitable[LayerSource]], on_progress: Callable[[int], None]
    ) -> None:
        await self._unpack(diff_id, await fetch(), on_progress)

    async def _unpack(self, diff_id: str, source: LayerSource, on_progress: Callable[[int], None]) -> None:
        folder = self._temporary / f"{self._hex(diff_id)}-{secrets.token_hex(4)}"
        async with self._slots:
            try:
                (folder / "diff").mkdir(parents=True, mode=0o755)
                (folder / "diff").chmod(0o755)
                request = {
                    "source": str(source.path), "offset": source.offset, "length": source.length,
                    "destination": str(folder / "diff"), "diff_id": diff_id,
                }  # fmt: skip
                answer = await _run_worker(request, on_progress)
                document = {"diff_id": diff_id, "boot": _boot(), **answer}
                files.write_atomic(folder / "layer.json", json.dumps(document).encode())
                os.rename(folder, self._folder(diff_id))
                syncing = asyncio.create_task(asyncio.to_thread(_sync, self._folder(diff_id)))
                self._syncing.add(syncing)
                syncing.add_done_callback(self._syncing.discard)
            except OSError as error:
                raise LayerError(f"cannot unpack layer {diff_id}: {error}") from error
            finally:
                await asyncio.to_thread(paths.remove_tree, folder)


def _boot() -> str:
    return pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _is_trustworthy(folder: pathlib.Path) -> bool:
    if (folder / "synced").exists():
        return True
    try:
        return bool(json.loads((folder / "layer.json").read_bytes()).get("boot", _boot()) == _boot())
    except (OSError, ValueError, AttributeError):
        return False


def _sync(folder: pathlib.Path) -> None:
    """Everything of the layer to the disk, then the marker that says so. Blocking. A layer removed meanwhile needs neither."""
    with contextlib.suppress(FileNotFoundError):
        filesystem.sync_filesystem(folder)
        (folder / "synced").touch()
        filesystem.sync_filesystem(folder)


async def _run_worker(request: dict[str, Any], on_progress: Callable[[int], None]) -> dict[str, Any]:
    in_read, in_write = os.pipe2(os.O_CLOEXEC)
    out_read, out_write = os.pipe2(os.O_CLOEXEC)
    try:
        # One request is smaller than a pipe's buffer: this write never waits.
        os.write(in_write, json.dumps(request).encode())
        child = process.spawn(
            (sys.executable, *WORKER), stdin=in_read, stdout=out_write, stderr=process.NULL,
            environment=process.DEFAULT_ENVIRONMENT,
        )  # fmt: skip
    except process.ProcessError as error:
        os.close(out_read)
        raise LayerError(str(error)) from error
    finally:
        for descriptor in (in_read, in_write, out_write):
            os.close(descriptor)
    try:
        answer: dict[str, Any] = {}
        async for line in _lines(out_read):
            message = json.loads(line)
            if "read" in message:
                on_progress(message["read"])
            else:
                answer = message
        code = await child.wait()
    finally:
        child.kill()
        os.close(out_read)
        await child.wait()
    if "error" in answer:
        raise LayerError(f"layer {request['diff_id']}: {answer['error']}")
    if code or not answer:
        raise LayerError(f"layer {request['diff_id']}: the unpacking process ended with code {code}")
    return answer


async def _lines(descriptor: int) -> AsyncIterator[bytes]:
    os.set_blocking(descriptor, False)
    rest = b""
    while piece := await process.read_some(descriptor):
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield line
