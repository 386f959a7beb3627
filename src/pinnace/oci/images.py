"""Which images there are: names, configurations, layers.

One file per image (`images/<hex of the id>.json`), replaced atomically; everything is held in memory besides. A name belongs to one
image at a time. Layers are shared; `collect` removes those that neither an image nor a container uses.
"""

import asyncio
import dataclasses
import functools
import json
import logging
import pathlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from typing import Any

from pinnace.kit import files
from pinnace.oci import archive, compression, configuration, layers, references, tar

LayerSource = layers.LayerSource

log = logging.getLogger(__name__)

SHORTEST_PREFIX = 4


class ImageNotFound(Exception):
    """No image of that name or id."""


class BadImage(Exception):
    """The image, or the archive it came in, is damaged or not supported: trying again will not help."""


@dataclasses.dataclass(frozen=True, slots=True)
class ImageRecord:
    id: str
    raw: str
    """The configuration as it came."""
    parsed: configuration.Configuration
    references: tuple[str, ...]
    digests: tuple[str, ...]
    size: int


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """`current` of `total` bytes of `item`; a loaded image has the status `Loaded image` and its name as item."""

    item: str
    status: str
    current: int = 0
    total: int = 0


async def told(work: asyncio.Task[Any], steps: asyncio.Queue[Step]) -> AsyncIterator[Step]:
    """What is put into `steps` until `work` is done; how that ended is for its owner to ask."""
    while not work.done() or not steps.empty():
        following = asyncio.ensure_future(steps.get())
        try:
            await asyncio.wait({work, following}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # Also when whoever listens is stopped: nobody else knows of it.
            if not following.done():
                following.cancel()
        if not following.cancelled() and following.done():
            yield following.result()


class ImageStore:
    def __init__(self, root: pathlib.Path) -> None:
        self._root = root
        self._folder = root / "images"
        self.layers = layers.LayerStore(root)
        self._records: dict[str, ImageRecord] = {}
        self._names: dict[str, str] = {}

    def open(self) -> None:
        """Read everything; an image with a missing layer is dropped, with a warning."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        files.remove_temporaries(self._folder)
        self.layers.open()
        self._records.clear()
        self._names.clear()
        for path in sorted(self._folder.glob("*.json")):
            record = self._read(path)
            if record is None:
                path.unlink()
                continue
            self._records[record.id] = record
            self._names.update(dict.fromkeys(record.references, record.id))

    def list(self) -> tuple[ImageRecord, ...]:
        return tuple(self._records.values())

    def find(self, text: str) -> ImageRecord:
        """By full id, name, digest or unambiguous prefix of an id. Raises ImageNotFound."""
        identity = text if text.startswith("sha256:") else f"sha256:{text}"
        if record := self._records.get(identity):
            return record
        if record := self._find_by_name(text):
            return record
        prefix = text.removeprefix("sha256:")
        if len(prefix) >= SHORTEST_PREFIX:
            found = [r for r in self._records.values() if r.id.removeprefix("sha256:").startswith(prefix)]
            if len(found) == 1:
                return found[0]
        raise ImageNotFound(f"no such image: {text}")

    async def add(
        self,
        raw: bytes,
        fetch: Callable[[str], Awaitable[LayerSource]],
        names: Sequence[str],
        digests: Sequence[str] = (),
        on_progress: Callable[[str, int], None] = lambda _diff_id, _read: None,
    ) -> ImageRecord:
        """Fetch and unpack the layers that are missing (in parallel), then record the image under `names` (full references).

        `fetch` is asked by diffID. Raises BadImage, and whatever `fetch` raises.
        """
        try:
            parsed = configuration.parse_configuration(raw)
            with self.layers.keep(parsed.diff_ids):
                await self._unpack(parsed.diff_ids, fetch, on_progress)
                return self._record(raw, parsed, names, digests)
        except (configuration.ConfigurationError, layers.LayerError) as error:
            raise BadImage(str(error)) from error

    async def load(self, path: pathlib.Path) -> AsyncIterator[Step]:
        """Every image of an archive file (plain, gzip or zstd). Raises BadImage."""
        spool = self.layers.temporary / f"load-{secrets.token_hex(4)}.tar"
        try:
            is_spooled = await asyncio.to_thread(archive.decompress_to, path, spool)
            plain = spool if is_spooled else path
            images = await asyncio.to_thread(archive.read_archive, plain)
            for image in images:
                async for step in self._load_one(plain, image):
                    yield step
        except FileNotFoundError:
            raise BadImage(f"{path}: no such file") from None
        except (
            archive.ArchiveError,
            compression.CompressionError,
            tar.TarError,
            configuration.ConfigurationError,
            references.InvalidReference,
            OSError,
        ) as error:
            raise BadImage(f"{path.name}: {error}") from error
        finally:
            spool.unlink(missing_ok=True)

    def tag(self, text: str, name: str) -> ImageRecord:
        """Give the image another name, taken from the image that had it. Raises ImageNotFound."""
        record = self.find(text)
        return self._name(record, [name], record.digests)

    def untag(self, text: str) -> tuple[ImageRecord, tuple[str, ...]]:
        """What naming `text` for removal means: the image, and the names that would go (all of them when named by id)."""
        record = self.find(text)
        try:
            name = str(references.parse(text))
        except references.InvalidReference:
            return record, record.references
        return (record, (name,)) if name in record.references else (record, record.references)

    def remove(self, record: ImageRecord, names: Collection[str]) -> bool:
        """Take `names` away; True when those were the last and the image is gone (its layers until `collect`)."""
        left = tuple(name for name in record.references if name not in names)
        for name in names:
            if self._names.get(name) == record.id:
                del self._names[name]
        if left:
            self._write(dataclasses.replace(record, references=left))
            return False
        self._records.pop(record.id, None)
        self._path(record.id).unlink(missing_ok=True)
        return True

    def collect(self, in_use: Collection[str]) -> Sequence[str]:
        """Remove the layers that no image names and that are not `in_use`. Returns their diffIDs."""
        used = {diff_id for record in self._records.values() for diff_id in record.parsed.diff_ids}
        return self.layers.collect(used | set(in_use))

    # -------------------------------------------------------------- inside

    async def _load_one(self, path: pathlib.Path, image: archive.ArchivedImage) -> AsyncIterator[Step]:
        names = [str(references.parse(name)) for name in image.names]
        sources = {
            diff_id: LayerSource(diff_id, path, section.offset, section.length)
            for diff_id, section in zip(image.parsed.diff_ids, image.layers, strict=True)
        }

        async def fetch(diff_id: str) -> LayerSource:
            return sources[diff_id]

        steps: asyncio.Queue[Step] = asyncio.Queue()

        def on_progress(diff_id: str, read: int) -> None:
            steps.put_nowait(Step(diff_id[7:19], "Loading layer", read, sources[diff_id].length))

        work = asyncio.create_task(self.add(image.raw, fetch, names, (), on_progress))
        try:
            async for step in told(work, steps):
                yield step
            record = await work
        finally:
            work.cancel()
        yield Step(names[0] if names else record.id, "Loaded image", record.size, record.size)

    async def _unpack(
        self,
        diff_ids: Sequence[str],
        fetch: Callable[[str], Awaitable[LayerSource]],
        on_progress: Callable[[str, int], None],
    ) -> None:
        async def unpack(diff_id: str) -> None:
            await self.layers.add(diff_id, functools.partial(fetch, diff_id), functools.partial(on_progress, diff_id))

        try:
            async with asyncio.TaskGroup() as group:
                for diff_id in dict.fromkeys(diff_ids):
                    group.create_task(unpack(diff_id))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None

    def _find_by_name(self, text: str) -> ImageRecord | None:
        try:
            reference = references.parse(text)
        except references.InvalidReference:
            return None
        if reference.digest:
            wanted = f"{reference.name}@{reference.digest}"
            return next((record for record in self._records.values() if wanted in record.digests), None)
        identity = self._names.get(str(reference))
        return self._records[identity] if identity else None

    def _record(
        self, raw: bytes, parsed: configuration.Configuration, names: Sequence[str], digests: Sequence[str]
    ) -> ImageRecord:
        identity = configuration.digest_of(raw)
        present = self._records.get(identity)
        if present is None:
            size = sum(self.layers.size(diff_id) for diff_id in dict.fromkeys(parsed.diff_ids))
            present = ImageRecord(identity, raw.decode(), parsed, (), (), size)
        return self._name(present, names, tuple(dict.fromkeys((*present.digests, *digests))))

    def _name(self, record: ImageRecord, names: Sequence[str], digests: tuple[str, ...]) -> ImageRecord:
        for name in names:
            owner = self._names.get(name)
            if owner is not None and owner != record.id:
                other = self._records[owner]
                # The image that loses its last name stays, nameless, as docker keeps it.
                self._write(dataclasses.replace(other, references=tuple(r for r in other.references if r != name)))
        named = dataclasses.replace(
            record, references=tuple(dict.fromkeys((*record.references, *names))), digests=digests
        )
        self._write(named)
        self._names.update(dict.fromkeys(names, record.id))
        return named

    def _write(self, record: ImageRecord) -> None:
        document = {
            "id": record.id,
            "configuration": record.raw,
            "references": record.references,
            "digests": record.digests,
            "size": record.size,
        }
        files.write_atomic(self._path(record.id), json.dumps(document).encode(), durable=True)
        self._records[record.id] = record

    def _read(self, path: pathlib.Path) -> ImageRecord | None:
        try:
            document = json.loads(path.read_bytes())
            parsed = configuration.parse_configuration(document["configuration"].encode())
            record = ImageRecord(
                document["id"], document["configuration"], parsed, tuple(document["references"]),
                tuple(document["digests"]), document["size"],
            )  # fmt: skip
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("image record %s cannot be read and is dropped: %s", path.name, error)
            return None
        missing = [diff_id for diff_id in parsed.diff_ids if not self.layers.has(diff_id)]
        if missing:
            log.warning("image %s lacks layer %s and is dropped", record.references or record.id, missing[0])
            return None
        return record

    def _path(self, identity: str) -> pathlib.Path:
        return self._folder / f"{identity.removeprefix('sha256:')}.json"
