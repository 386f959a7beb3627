"""The engine on a real machine: `interface.Engine`, each verb in a module of its own."""

import asyncio
import pathlib
from collections.abc import AsyncIterator, Callable, Sequence

from pinnace.engine import (
    attach,
    create,
    exec,
    images,
    interface,
    life,
    machine,
    recovery,
    remove,
    sandboxes,
    stats,
    stop,
    update,
)
from pinnace.kit import clock
from pinnace.oci import registries


class Engine:
    """Implements `interface.Engine`.

    `root`: blobs, layers, records, writable layers; kept. `run`: mounts, pins, sockets; may vanish at a reboot. `cgroup_parent`: the one
    group below which all of ours lie (`/pinnace-<name>`). `registry_settings`: as `oci.registries.load_registries` reads them;
    `docker_config`: a `~/.docker/config.json` whose logins are used where a pull brings none; both are asked at every pull.
    `keep_layer_blobs`: as `oci.images.ImageStore` says. One engine per pair of folders at a time.
    """

    def __init__(
        self,
        root: pathlib.Path,
        run: pathlib.Path,
        cgroup_parent: str,
        time: clock.Clock,
        registry_settings: Callable[[], registries.Registries] = registries.Registries,
        docker_config: Callable[[], pathlib.Path | None] = lambda: None,
        *,
        keep_layer_blobs: bool = True,
    ) -> None:
        self._here = machine.Machine(root, run, cgroup_parent, time, keep_layer_blobs=keep_layer_blobs)
        self._images = images.EngineImages(self._here, registry_settings, docker_config)
        self.images: interface.Images = self._images

    async def open(self) -> None:
        await recovery.recover(self._here)

    async def close(self) -> None:
        await self._images.close()
        await self._here.close()

    async def check(self) -> None:
        self._here.check()

    async def create_sandbox(self, spec: interface.SandboxSpec) -> interface.Sandbox:
        return await sandboxes.create(self._here, spec)

    async def remove_sandbox(self, sandbox_id: str) -> None:
        await asyncio.shield(sandboxes.remove_sandbox(self._here, sandbox_id))

    async def list_sandboxes(self) -> Sequence[interface.Sandbox]:
        return tuple(sandboxes.describe(self._here, record) for record in self._here.sandboxes.values())

    async def update_sandbox(self, sandbox_id: str, resources: interface.Resources) -> interface.Sandbox:
        return update.update_sandbox(self._here, sandbox_id, resources)

    async def limit_group(self, group: str, resources: interface.Resources) -> None:
        await asyncio.to_thread(sandboxes.limit_group, self._here, group, resources)

    async def create(self, spec: interface.ContainerSpec) -> interface.Container:
        return await create.create(self._here, spec)

    async def start(self, container_id: str) -> interface.Container:
        return await asyncio.shield(life.start(self._here, container_id))

    async def stop(self, container_id: str, timeout: float) -> interface.Container:
        return await stop.stop(self._here, container_id, timeout)

    async def kill(self, container_id: str, signal: str | int) -> None:
        await stop.kill(self._here, container_id, signal)

    async def update(self, container_id: str, resources: interface.Resources) -> interface.Container:
        return await update.update(self._here, container_id, resources)

    async def remove(self, container_id: str, *, force: bool = False) -> None:
        await asyncio.shield(remove.remove(self._here, container_id, force=force))

    async def inspect(self, container_id: str) -> interface.Container:
        return self._here.find(container_id).container()

    async def list(self) -> Sequence[interface.Container]:
        return tuple(record.container() for record in self._here.containers.values())

    async def wait(self, container_id: str) -> interface.Container:
        return await stop.wait(self._here, container_id)

    async def exec(
        self,
        container_id: str,
        command: Sequence[str],
        *,
        tty: bool = False,
        stdin: bool = False,
        environment: Sequence[tuple[str, str]] = (),
        user: str = "",
        working_directory: str = "",
        privileged: bool = False,
    ) -> interface.Streams:
        return await exec.execute(
            self._here, container_id, command, tty=tty, stdin=stdin, environment=environment, user=user,
            working_directory=working_directory, privileged=privileged,
        )  # fmt: skip

    async def attach(self, container_id: str, *, stdin: bool = False) -> interface.Streams:
        return await attach.attach(self._here, container_id, stdin=stdin)

    async def stats(self, container_id: str) -> interface.Stats:
        return await stats.stats(self._here, container_id)

    async def reopen_log(self, container_id: str) -> None:
        await stats.reopen_log(self._here, container_id)

    def events(self) -> AsyncIterator[interface.ContainerEvent]:
        return self._here.bus.subscribe()
