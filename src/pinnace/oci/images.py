"""Which images there are: names, configurations, layers, and the content that they came as.

One file per image (`images/<hex of the id>.json`), replaced atomically; everything is held in memory besides. A name belongs to one
image at a time. Layers (`layers`: unpacked) and blobs (`content`: as they came) are shared; `collect` removes those that neither an image
nor a container uses.

An image runs from its unpacked layers and its configuration, both of which it cannot be without. Its content is what a push and an
archive need: it may be missing, where an earlier version or `keep_layer_blobs=False` dropped it; a pull by the machine's owner brings it back.
"""

import asyncio
import contextlib
import dataclasses
import functools
import json
import logging
import pathlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from pinnace.kit import files
from pinnace.oci import archive, compression, configuration, content, layers, references, tar

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
    manifest: configuration.Descriptor | None = None
    """The one that names this configuration, as it came last; None: not known."""
    blobs: tuple[configuration.Descriptor, ...] = ()
    """Of the manifest's layers."""
    targets: Mapping[str, configuration.Descriptor] = dataclasses.field(default_factory=dict)
    """What a name stood for in its registry, where that was an index."""

    def content(self) -> Iterator[str]:
        """The digests of the documents that are kept of it, its layers' apart."""
        yield self.id
        if self.manifest is not None:
            yield self.manifest.digest
        yield from (target.digest for target in self.targets.values())


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """What an image came as: documents, byte for byte, and the descriptors of its layers."""

    manifest: configuration.Descriptor
    layers: tuple[configuration.Descriptor, ...]
    index: configuration.Descriptor | None = None


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
    """`keep_layer_blobs`: whether layers are kept as they came too, once unpacked: without, half the disk, and no push, no save."""

    def __init__(self, root: pathlib.Path, *, keep_layer_blobs: bool = True) -> None:
        self._root = root
        self._folder = root / "images"
        self.layers = layers.LayerStore(root)
        self.content = content.ContentStore(root)
        self.keep_layer_blobs = keep_layer_blobs
        self._records: dict[str, ImageRecord] = {}
        self._names: dict[str, str] = {}

    def open(self, *, drop_older_than_ns: int = 0) -> None:
        """Read everything; an image with a missing layer is dropped, with a warning. Partial downloads older than that are forgotten."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        files.remove_temporaries(self._folder)
        self.layers.open()
        self.content.open(drop_older_than_ns=drop_older_than_ns)
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
        source: Source | None = None,
    ) -> ImageRecord:
        """Fetch and unpack the layers that are missing (in parallel), then record the image under `names` (full references).

        `fetch` is asked by diffID. What `source` names must be leased by the caller. Raises BadImage, and whatever `fetch` raises.
        """
        try:
            parsed = configuration.parse_configuration(raw)
            with self.layers.keep(parsed.diff_ids):
                await self._unpack(parsed.diff_ids, fetch, on_progress)
                return self._record(raw, parsed, names, digests, source)
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
            content.ContentError,
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
        targets = {name: target for name, target in record.targets.items() if name not in names}
        for name in names:
            if self._names.get(name) == record.id:
                del self._names[name]
        if left:
            self._write(dataclasses.replace(record, references=left, targets=targets))
            return False
        self._records.pop(record.id, None)
        self._path(record.id).unlink(missing_ok=True)
        return True

    def collect(self, in_use: Collection[str], *, blobs_older_than_ns: int | None = None) -> Sequence[str]:
        """Remove the layers that no image names and that are not `in_use`, and the blobs that no image names (of those only the older
        ones, where asked: what a killed pull has fetched shortens the next). Returns the diffIDs."""
        self.content.collect(self._reachable(), older_than_ns=blobs_older_than_ns)
        used = {diff_id for record in self._records.values() for diff_id in record.parsed.diff_ids}
        return self.layers.collect(used | set(in_use))

    def disk_bytes(self) -> int:
        """Of layers and blobs. Blocking, a look at every one's size."""
        return self.layers.disk_bytes() + self.content.disk_bytes()

    # -------------------------------------------------------------- inside

    def _reachable(self) -> set[str]:
        records = self._records.values()
        found = {digest for record in records for digest in record.content()}
        if self.keep_layer_blobs:
            found |= {blob.digest for record in records for blob in record.blobs}
        return found

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

        async def add() -> ImageRecord:
            with contextlib.ExitStack() as leases:
                source = await self._keep_archived(path, image, leases)
                return await self.add(image.raw, fetch, names, (), on_progress, source)

        work = asyncio.create_task(add())
        try:
            async for step in told(work, steps):
                yield step
            record = await work
        finally:
            work.cancel()
        yield Step(names[0] if names else record.id, "Loaded image", record.size, record.size)

    async def _keep_archived(
        self, path: pathlib.Path, image: archive.ArchivedImage, leases: contextlib.ExitStack
    ) -> Source | None:
        """Keep what the archive holds of an image as it is; where it has no manifest (as `docker save` wrote them), one is made."""
        if not self.keep_layer_blobs:
            return None
        leases.enter_context(self.content.keep([configuration.digest_of(image.raw)]))
        await asyncio.to_thread(self.content.write, image.raw)
        blobs = []
        for section in image.layers:
            kind = await asyncio.to_thread(archive.compression_of, path, section)
            digest = section.digest
            if not digest or not self.content.has(digest):
                digest = await self.content.copy(path, section.offset, section.length)
            if section.digest not in ("", digest):
                raise archive.ArchiveError(f"blob {section.digest} does not match its digest")
            leases.enter_context(self.content.keep([digest]))
            blobs.append(configuration.Descriptor(digest, section.length, configuration.LAYER_TYPES[kind]))
        document = image.manifest or configuration.make_manifest(image.raw, blobs)
        manifest = configuration.describe(document)
        leases.enter_context(self.content.keep([manifest.digest]))
        await asyncio.to_thread(self.content.write, document)
        return Source(manifest, configuration.parse_manifest(document).layers)

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
        self,
        raw: bytes,
        parsed: configuration.Configuration,
        names: Sequence[str],
        digests: Sequence[str],
        source: Source | None,
    ) -> ImageRecord:
        identity = configuration.digest_of(raw)
        present = self._records.get(identity)
        if present is None:
            size = sum(self.layers.size(diff_id) for diff_id in dict.fromkeys(parsed.diff_ids))
            present = ImageRecord(identity, raw.decode(), parsed, (), (), size)
        if source is not None:
            index = {} if source.index is None else dict.fromkeys(names, source.index)
            targets = {name: target for name, target in present.targets.items() if name not in names} | index
            present = dataclasses.replace(present, manifest=source.manifest, blobs=source.layers, targets=targets)
        named = self._name(present, names, tuple(dict.fromkeys((*present.digests, *digests))))
        if not self.keep_layer_blobs:
            for blob in named.blobs:
                self.content.remove(blob.digest)
        return named

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
            "manifest": None if record.manifest is None else dataclasses.asdict(record.manifest),
            "blobs": [dataclasses.asdict(blob) for blob in record.blobs],
            "targets": {name: dataclasses.asdict(target) for name, target in record.targets.items()},
        }
        files.write_atomic(self._path(record.id), json.dumps(document).encode(), durable=True)
        self._records[record.id] = record

    def _read(self, path: pathlib.Path) -> ImageRecord | None:
        try:
            document = json.loads(path.read_bytes())
            parsed = configuration.parse_configuration(document["configuration"].encode())
            record = ImageRecord(
                document["id"], document["configuration"], parsed, tuple(document["references"]),
                tuple(document["digests"]), document["size"], **_content_of(document),
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


def _content_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """A record of an earlier version knows none of it: its image runs, and is pushed once it was pulled again."""
    described = configuration.Descriptor
    manifest = document.get("manifest")
    return {
        "manifest": described(**manifest) if manifest else None,
        "blobs": tuple(described(**blob) for blob in document.get("blobs") or ()),
        "targets": {name: described(**target) for name, target in (document.get("targets") or {}).items()},
    }
