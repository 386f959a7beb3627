"""Pushing an image: what its name was pulled as, byte for byte, to the registry that a name says."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from pinnace.kit import clock
from pinnace.oci import configuration, content, images, references, registries, registry, registry_upload, transport
from pinnace.oci import registry_errors as errors

PARALLEL_UPLOADS = 4


class PushError(Exception):
    """The image was not pushed; says why, and what would help."""

    def __init__(self, message: str) -> None:
        super().__init__(errors.printable(message, 2000))


class Pusher:
    """`settings` is asked at every push."""

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

    async def push(self, name: str, login: registries.Login) -> AsyncIterator[images.Step]:
        """Steps as `docker push` tells them; the last one has the status `Pushed` and `NAME@DIGEST`. Raises PushError, ImageNotFound."""
        try:
            reference = references.parse(name)
        except references.InvalidReference as error:
            raise PushError(str(error)) from error
        if reference.digest:
            raise PushError(f"{reference}: cannot push a digest reference; give it a tag with `image tag`")
        record = self._store.find(str(reference))
        steps: asyncio.Queue[images.Step] = asyncio.Queue()
        work = asyncio.create_task(self._push(reference, record, login, steps.put_nowait))
        try:
            async for step in images.told(work, steps):
                yield step
            digest = await work
        except (
            registry.RegistryError,
            transport.TransportError,
            content.ContentError,
            configuration.ConfigurationError,
            registries.SettingsError,
        ) as error:
            raise PushError(f"{reference}: {error}") from error
        finally:
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await work
        yield images.Step(f"{reference}@{digest}", "Pushed")

    async def _push(
        self,
        reference: references.Reference,
        record: images.ImageRecord,
        login: registries.Login,
        tell: Callable[[images.Step], None],
    ) -> str:
        top, blobs = self._contents(reference, record)
        client = await self._client(reference, login)
        mount_from = self._neighbours(reference, record)
        slots = asyncio.Semaphore(PARALLEL_UPLOADS)

        async def send(blob: configuration.Descriptor) -> None:
            item = blob.digest.partition(":")[2][:12]
            async with slots:
                tell(images.Step(item, "Preparing", 0, blob.size))
                was_sent = await registry_upload.push_blob(
                    client,
                    blob,
                    lambda offset: self._store.content.read(blob.digest, offset),
                    lambda sent: tell(images.Step(item, "Pushing", sent, blob.size)),
                    mount_from=mount_from,
                )
            tell(images.Step(item, "Layer pushed" if was_sent else "Layer already exists", blob.size, blob.size))

        with self._store.content.keep([top.digest, *(blob.digest for blob in blobs)]):
            try:
                async with asyncio.TaskGroup() as group:
                    for blob in {blob.digest: blob for blob in blobs}.values():
                        group.create_task(send(blob))
            except BaseExceptionGroup as failures:
                raise failures.exceptions[0] from None
            document = self._store.content.read_small(top.digest, registry.MAXIMUM_MANIFEST)
            await registry_upload.put_manifest(client, reference.tag, document, top.media_type)
        return top.digest

    def _contents(
        self, reference: references.Reference, record: images.ImageRecord
    ) -> tuple[configuration.Descriptor, list[configuration.Descriptor]]:
        """The manifest, and the blobs that the registry must have before it. Of an index that stands for several platforms only this
        machine's is here: that one is pushed. Raises ContentError."""
        if record.manifest is None:
            raise content.ContentError(
                f"it is not kept as it came: pull it again with `image pull {reference.familiar_name}`"
            )
        document = self._store.content.read_small(record.manifest.digest, registry.MAXIMUM_MANIFEST)
        manifest = configuration.parse_manifest(document)
        blobs = [manifest.configuration, *manifest.layers]
        missing = [blob.digest for blob in blobs if not self._store.content.has(blob.digest)]
        if missing:
            raise content.ContentError(
                f"layer {missing[0]} is not kept as it came: set discard-unpacked-layers to false and pull the image again"
            )
        return record.manifest, blobs

    async def _client(self, reference: references.Reference, login: registries.Login) -> registry.RegistryClient:
        """Of the registry itself (mirrors are for reading); over plain HTTP only where the settings say so, or on this machine."""
        endpoints = self._settings().endpoints(reference, login, reach_everywhere=True)
        own = [endpoint for endpoint in endpoints if not endpoint.namespace]
        failure: registry.RegistryError | None = None
        for endpoint in own:
            client = registry.RegistryClient(endpoint, self._carrier, self._clock, "pull,push")
            try:
                # Patience only with the last one: HTTPS where HTTP is spoken is simply passed over.
                await registry_upload.has_manifest(client, reference.tag, registry.TRIES if endpoint is own[-1] else 1)
            except registry.RegistryError as error:
                if error.is_permanent:
                    raise
                failure = error
            else:
                return client
        raise failure or registry.RegistryError(f"no registry is configured for {reference.domain}")

    def _neighbours(self, reference: references.Reference, record: images.ImageRecord) -> tuple[str, ...]:
        """Repositories of the same registry that this image came from: its layers need not be sent again."""
        names = [references.parse(text) for text in (*record.digests, *record.references)]
        found = [name.path for name in names if name.domain == reference.domain and name.path != reference.path]
        return tuple(dict.fromkeys(found))[:1]
