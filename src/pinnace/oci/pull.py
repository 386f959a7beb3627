"""Pulling an image: find its manifest, download what is missing in parallel, unpack each layer as soon as it is there."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from pinnace.kit import clock
from pinnace.oci import configuration, content, images, references, registries, registry, transport
from pinnace.oci import registry_errors as errors

MAXIMUM_CONFIGURATION = 8 << 20
MAXIMUM_COMPLAINT = 2000
PARALLEL_DOWNLOADS = 4


class PullError(Exception):
    """The image could not be fetched. `is_permanent`: trying again will not help."""

    def __init__(self, message: str, *, is_permanent: bool = False) -> None:
        super().__init__(errors.printable(message, MAXIMUM_COMPLAINT))
        self.is_permanent = is_permanent


class Puller:
    """`settings` is asked at every pull; it and `carrier` are as `registries` and `transport` say."""

    def __init__(
        self,
        store: images.ImageStore,
        settings: Callable[[], registries.Registries],
        carrier: transport.Transport,
        time: clock.Clock,
    ) -> None:
        self._store = store
        self._settings = settings
        self._carrier = carrier
        self._clock = time
        self._slots = asyncio.Semaphore(PARALLEL_DOWNLOADS)

    async def pull(self, name: str, login: registries.Login, *, by_owner: bool = False) -> AsyncIterator[images.Step]:
        """Steps as `docker pull` tells them; the last one has the status `Pull complete` and the full name. Raises PullError.

        `by_owner`: not on behalf of a pod: servers of this machine may be asked, and content is fetched that running does not need.
        """
        try:
            reference = references.parse(name)
        except references.InvalidReference as error:
            raise PullError(str(error), is_permanent=True) from error
        steps: asyncio.Queue[images.Step] = asyncio.Queue()
        work = asyncio.create_task(self._pull(reference, login, steps.put_nowait, by_owner))
        try:
            async for step in images.told(work, steps):
                yield step
            record = await work
        except images.BadImage as error:
            raise PullError(f"{reference}: {error}", is_permanent=True) from error
        except (registry.RegistryError, transport.TransportError, content.ContentError) as error:
            is_permanent = isinstance(error, registry.RegistryError) and error.is_permanent
            raise PullError(f"{reference}: {error}", is_permanent=is_permanent) from error
        except (configuration.ConfigurationError, registries.SettingsError) as error:
            raise PullError(f"{reference}: {error}", is_permanent=True) from error
        finally:
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await work
        yield images.Step(str(reference), "Pull complete", record.size, record.size)

    async def _pull(
        self,
        reference: references.Reference,
        login: registries.Login,
        tell: Callable[[images.Step], None],
        by_owner: bool,
    ) -> images.ImageRecord:
        client, found = await self._find(reference, login, by_owner)
        first = found
        digest = found.digest
        document = configuration.parse_document(found.data, "manifest")
        for _ in range(4):  # an index may hold an index
            if not configuration.is_index(document, found.media_type):
                break
            selected = configuration.select_manifest(document, configuration.local_architecture())
            found = await client.manifest(selected.digest)
            document = configuration.parse_document(found.data, "manifest")
        manifest = configuration.parse_manifest(found.data)
        raw = await client.small_blob(manifest.configuration, MAXIMUM_CONFIGURATION)
        parsed = configuration.parse_configuration(raw)
        if len(parsed.diff_ids) != len(manifest.layers):
            raise configuration.ConfigurationError(
                f"image has {len(manifest.layers)} layers, its configuration names {len(parsed.diff_ids)}"
            )
        layers = dict(zip(parsed.diff_ids, manifest.layers, strict=True))
        blobs = self._store.content

        async def fetch(diff_id: str) -> images.LayerSource:
            return await self._download(client, layers[diff_id], diff_id, tell)

        def on_progress(diff_id: str, read: int) -> None:
            tell(images.Step(_short(layers[diff_id].digest), "Extracting", read, layers[diff_id].size))

        for diff_id, layer in layers.items():
            status = "Already exists" if self._store.layers.has(diff_id) else "Pulling fs layer"
            tell(images.Step(_short(layer.digest), status, 0, layer.size))
        names = [] if reference.digest else [str(reference)]
        described = configuration.Descriptor
        source = images.Source(
            described(found.digest, len(found.data), found.media_type),
            manifest.layers,
            None if first is found else described(first.digest, len(first.data), first.media_type),
        )
        leased = [
            manifest.configuration.digest,
            found.digest,
            first.digest,
            *(layer.digest for layer in manifest.layers),
        ]
        with blobs.keep(leased):
            for document_bytes in (raw, found.data, first.data):
                await asyncio.to_thread(blobs.write, document_bytes)
            if by_owner and self._store.keep_layer_blobs:
                for diff_id, layer in layers.items():
                    if self._store.layers.has(diff_id) and not blobs.has(layer.digest):
                        await fetch(diff_id)
            return await self._store.add(raw, fetch, names, [f"{reference.name}@{digest}"], on_progress, source)

    async def _find(
        self, reference: references.Reference, login: registries.Login, by_owner: bool
    ) -> tuple[registry.RegistryClient, registry.Fetched]:
        """The first endpoint that has the image. Raises RegistryError: of several failures the registry's own, which is the last."""
        failure: registry.RegistryError | None = None
        endpoints = self._settings().endpoints(reference, login, reach_everywhere=by_owner)
        for endpoint in endpoints:
            client = registry.RegistryClient(endpoint, self._carrier, self._clock)
            # Patience only with the last one: a mirror that fails, or HTTPS where HTTP is spoken, is simply passed over.
            tries = registry.TRIES if endpoint is endpoints[-1] else 1
            try:
                return client, await client.manifest(reference.version, tries)
            except registry.RegistryError as error:
                failure = error
        raise failure or registry.RegistryError(f"no registry is configured for {reference.domain}", is_permanent=True)

    async def _download(
        self,
        client: registry.RegistryClient,
        layer: configuration.Descriptor,
        diff_id: str,
        tell: Callable[[images.Step], None],
    ) -> images.LayerSource:
        item = _short(layer.digest)
        told = -1

        def on_progress(received: int) -> None:
            nonlocal told
            # A step for every piece would drown whoever shows them.
            if told < 0 or received - told >= 1 << 20 or received == layer.size:
                told = received
                tell(images.Step(item, "Downloading", received, layer.size))

        async with self._slots:
            path = await self._store.content.fetch(
                layer.digest, layer.size, lambda offset: client.blob(layer.digest, offset), on_progress
            )
        tell(images.Step(item, "Download complete", layer.size, layer.size))
        return images.LayerSource(diff_id, path, 0, layer.size)


def _short(digest: str) -> str:
    return digest.partition(":")[2][:12]
