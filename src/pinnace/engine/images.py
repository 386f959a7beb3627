"""The images of the engine: `oci.images`, `oci.pull`, `oci.push` and `oci.save` behind `interface.Images`."""

import asyncio
import pathlib
from collections.abc import AsyncIterator, Callable, Sequence

from pinnace.engine import carrier, interface, machine, records
from pinnace.kernel import mounts
from pinnace.oci import content, images, pull, push, references, registries, save


def describe(record: images.ImageRecord) -> interface.Image:
    parsed = record.parsed
    return interface.Image(
        id=record.id,
        references=record.references,
        digests=record.digests,
        size=record.size,
        created_at=parsed.created_ns,
        user=parsed.user,
        entrypoint=parsed.entrypoint,
        command=parsed.command,
        environment=parsed.environment,
        working_directory=parsed.working_directory,
        stop_signal=parsed.stop_signal,
        exposed_ports=parsed.exposed_ports,
        volumes=parsed.volumes,
        labels=parsed.labels,
    )


def find(here: machine.Machine, reference: str) -> interface.Image:
    """Raises NoSuchObject."""
    try:
        return describe(here.images.find(reference))
    except images.ImageNotFound as error:
        raise interface.NoSuchObject(str(error)) from error


class EngineImages:
    """Implements `interface.Images`."""

    def __init__(
        self,
        here: machine.Machine,
        settings: Callable[[], registries.Registries],
        docker_config: Callable[[], pathlib.Path | None],
    ) -> None:
        self._here = here
        self._docker_config = docker_config
        self._carrier = carrier.Carrier()
        self._puller = pull.Puller(here.images, settings, self._carrier, here.clock)
        self._pusher = push.Pusher(here.images, settings, self._carrier, here.clock)

    async def close(self) -> None:
        await self._carrier.close()

    async def list(self) -> Sequence[interface.Image]:
        return tuple(describe(record) for record in self._here.images.list())

    async def get(self, reference: str) -> interface.Image:
        try:
            return find(self._here, reference)
        except interface.NoSuchObject:
            try:
                references.parse(reference)
            except references.InvalidReference as error:
                raise interface.ImageError(str(error), is_permanent=True) from error
            raise

    async def pull(
        self, reference: str, credentials: interface.Credentials | None = None, *, by_owner: bool = False
    ) -> AsyncIterator[interface.Progress]:
        try:
            login = await self._login(reference, credentials)
            async for step in self._puller.pull(reference, login, by_owner=by_owner):
                yield interface.Progress(step.item, step.status, step.current, step.total)
        except pull.PullError as error:
            raise interface.ImageError(str(error), is_permanent=error.is_permanent) from error
        except registries.SettingsError as error:
            raise interface.ImageError(str(error), is_permanent=True) from error

    async def push(
        self, reference: str, credentials: interface.Credentials | None = None
    ) -> AsyncIterator[interface.Progress]:
        try:
            login = await self._login(reference, credentials)
            async for step in self._pusher.push(reference, login):
                yield interface.Progress(step.item, step.status, step.current, step.total)
        except images.ImageNotFound as error:
            raise interface.NoSuchObject(str(error)) from error
        except (push.PushError, registries.SettingsError) as error:
            raise interface.ImageError(str(error), is_permanent=True) from error

    async def save(self, names: Sequence[str]) -> AsyncIterator[bytes]:
        try:
            async for piece in save.save(self._here.images, names):
                yield piece
        except images.ImageNotFound as error:
            raise interface.NoSuchObject(str(error)) from error
        except content.ContentError as error:
            raise interface.ImageError(str(error), is_permanent=True) from error

    async def configuration(self, reference: str) -> bytes:
        try:
            return self._here.images.find(reference).raw.encode()
        except images.ImageNotFound as error:
            raise interface.NoSuchObject(str(error)) from error

    async def load(self, archive: pathlib.Path) -> AsyncIterator[interface.Progress]:
        try:
            async for step in self._here.images.load(archive):
                yield interface.Progress(step.item, step.status, step.current, step.total)
        except images.BadImage as error:
            raise interface.ImageError(str(error), is_permanent=True) from error

    async def tag(self, reference: str, new_reference: str) -> None:
        try:
            name = references.parse(new_reference)
            self._here.images.tag(reference, str(name))
        except references.InvalidReference as error:
            raise interface.EngineError(str(error)) from error
        except images.ImageNotFound as error:
            raise interface.NoSuchObject(str(error)) from error

    async def remove(self, reference: str, *, force: bool = False) -> Sequence[str]:
        here = self._here
        try:
            record, names = here.images.untag(reference)
        except images.ImageNotFound as error:
            raise interface.NoSuchObject(str(error)) from error
        is_last = set(names) >= set(record.references)
        users = [c for c in here.containers.values() if c.image_id == record.id]
        if is_last and users and not force:
            raise interface.EngineError(
                f"unable to remove image {reference}: container {users[0].spec.name} ({users[0].id[:12]}) is using it"
            )
        here.drop_stale_image_mounts()
        shown = [mount for mount in here.image_mounts.values() if mount.image_id == record.id]
        if is_last and shown and not force:
            raise interface.EngineError(f"unable to remove image {reference}: it is mounted at {shown[0].target}")
        if not here.images.remove(record, names):
            return names
        removed = await asyncio.to_thread(here.images.collect, here.layers_in_use())
        return (*names, record.id, *removed)

    async def prune(self, *, everything: bool = False) -> interface.Pruned:
        here = self._here
        here.drop_stale_image_mounts()
        used = {container.image_id for container in here.containers.values()}
        used |= {mount.image_id for mount in here.image_mounts.values()}
        deleted: list[str] = []
        before = await asyncio.to_thread(here.images.disk_bytes)
        for record in here.images.list():
            if record.id in used or (record.references and not everything):
                continue
            names = record.references
            here.images.remove(record, names)
            deleted += (*names, record.id)
        deleted += await asyncio.to_thread(here.images.collect, here.layers_in_use())
        return interface.Pruned(tuple(deleted), max(0, before - await asyncio.to_thread(here.images.disk_bytes)))

    async def mount(self, reference: str, target: pathlib.Path) -> None:
        here = self._here
        image = find(here, reference)
        if mounts.is_mounted(target):
            return
        shown = records.ImageMount(target, image.id, here.images.find(image.id).parsed.diff_ids)
        # Known before it is there: between the two nothing may collect the layers.
        records.write(here.image_mount_storage(target), shown)
        here.image_mounts[target] = shown
        try:
            await asyncio.to_thread(target.mkdir, parents=True, exist_ok=True)
            folders = [here.images.layers.directory(layer) for layer in reversed(shown.layers)]
            # Without a writable layer overlayfs wants two others.
            lower = [*folders, here.empty_folder(), here.empty_folder("2")][: max(2, len(folders))]
            flags = mounts.MS_RDONLY | mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC
            mounts.mount_overlay(target, lower, flags=flags)
        except OSError as error:
            raise interface.EngineError(f"cannot mount image {reference}: {error}") from error

    async def _login(self, reference: str, given: interface.Credentials | None) -> registries.Login:
        if given is not None:
            return registries.Login(given.username, given.password, given.identity_token)
        config = self._docker_config()
        if config is None:
            return registries.Login()
        try:
            domain = references.parse(reference).domain
        except references.InvalidReference as error:
            raise interface.ImageError(str(error), is_permanent=True) from error
        return await registries.docker_login(domain, config)
