"""Makes and starts one container: resolves what its spec refers to, gathers its mounts, calls the engine twice."""

import logging
import pathlib

from pinnace.engine import interface
from pinnace.kernel import paths
from pinnace.kit import files
from pinnace.kubelet.pod import containers, dependencies, environment, model, podspec, references, sandboxes, steps
from pinnace.kubelet.volumes import interface as volumes
from pinnace.kubelet.volumes import manager, subpath

log = logging.getLogger(__name__)

POD_FILES = (("etc-hosts", "/etc/hosts"), ("resolv.conf", "/etc/resolv.conf"), ("hostname", "/etc/hostname"))


class StartFailed(Exception):
    """`waiting` is the container's state from now on."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.waiting = model.Waiting(reason, message)


async def start(
    pod: podspec.Object,
    step: steps.StartContainer,
    addresses: tuple[str, ...],
    prepared: manager.Prepared,
    shared: dependencies.Dependencies,
    target_id: str = "",
) -> interface.Container:
    """The container, running; `target_id`: of the container whose processes it is to see.

    Raises StartFailed; where the process itself could not be started, the container stays, exited."""
    found = podspec.find_container(pod, step.name)
    if found is None:
        raise StartFailed("CreateContainerConfigError", f"container {step.name} is not in the pod's spec")
    container = found[1]
    path = podspec.field_path(pod, step.name)
    try:
        spec = await _spec(pod, container, step, addresses, prepared, shared, target_id)
    except (environment.ConfigError, volumes.VolumeError, references.NotSynced, OSError, ValueError) as error:
        # ValueError: what no path can be, a NUL in it, say.
        shared.recorder.warning(pod, "Failed", f"Error: {error}", field_path=path)
        raise StartFailed("CreateContainerConfigError", str(error)) from error
    try:
        made = await _create(spec, shared.engine)
    except interface.EngineError as error:
        shared.recorder.warning(pod, "Failed", f"Error: {error}", field_path=path)
        raise StartFailed("CreateContainerError", str(error)) from error
    shared.recorder.normal(pod, "Created", "Container created", field_path=path)
    try:
        running = await shared.engine.start(made.id)
    except interface.EngineError as error:
        shared.recorder.warning(pod, "Failed", f"Error: {error}", field_path=path)
        raise StartFailed("RunContainerError", str(error)) from error
    shared.recorder.normal(pod, "Started", "Container started", field_path=path)
    return running


async def _create(spec: interface.ContainerSpec, engine: interface.Engine) -> interface.Container:
    try:
        return await engine.create(spec)
    except interface.NameInUse:
        # Left by an agent that ended between making and starting it: it never ran.
        log.info("container %s was made and never started; making it anew", spec.name)
        await engine.remove(spec.name, force=True)
        return await engine.create(spec)


async def _spec(
    pod: podspec.Object,
    container: podspec.Object,
    step: steps.StartContainer,
    addresses: tuple[str, ...],
    prepared: manager.Prepared,
    shared: dependencies.Dependencies,
    target_id: str,
) -> interface.ContainerSpec:
    """Raises ConfigError, VolumeError, NotSynced, OSError."""
    await shared.references.wait_synced(podspec.uid(pod))
    sandboxes.ensure_files(pod, addresses, shared)
    process = environment.resolve(pod, container, _sources(pod, addresses, prepared, shared))
    image = await shared.engine.images.get(step.image_id)
    containers.check_non_root(pod, container, image)
    inputs = containers.Inputs(
        attempt=step.attempt,
        image_id=step.image_id,
        sandbox_id=step.sandbox_id,
        process=process,
        mounts=_mounts(pod, container, step, process, prepared, shared),
        devices=containers.block_devices(container, prepared.volumes),
        memory_capacity=shared.machine.memory_bytes,
        settings=shared.settings,
        pid_of=target_id,
        round=step.round,
    )
    spec = containers.container_spec(pod, container, inputs)
    assert spec.log_path is not None
    files.make_below(shared.settings.logs_dir, spec.log_path.parent.parent.name, spec.log_path.parent.name)
    return spec


def _sources(
    pod: podspec.Object, addresses: tuple[str, ...], prepared: manager.Prepared, shared: dependencies.Dependencies
) -> environment.Sources:
    namespace = podspec.namespace(pod)

    def find(kind: str, name: str) -> podspec.Object | None:
        return shared.references.peek(namespace, environment.Reference(kind, name))

    master = shared.services.get(*environment.MASTER_SERVICE)
    services = list(shared.services.list(namespace))
    if master is not None and namespace != environment.MASTER_SERVICE[0]:
        services.append(master)
    return environment.Sources(
        config_map=lambda name: find("configmap", name),
        secret=lambda name: find("secret", name),
        services=services,
        facts=shared.facts(addresses),
        env_file=lambda volume, path: _env_file(prepared, volume, path),
    )


ENV_FILE_BYTES = 64 << 10


def _env_file(prepared: manager.Prepared, volume: str, path: str) -> str | None:
    """A file that a container of the pod wrote: no link in it leads out of its volume. Raises ConfigError."""
    found = prepared.volumes.get(volume)
    if found is None:
        raise environment.ConfigError(f'cannot find volume "{volume}"')
    try:
        with paths.Tree(found.path) as tree:
            data = tree.read(path, ENV_FILE_BYTES)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise environment.ConfigError(f"couldn't read env file {path} of volume {volume}: {error}") from error
    return data.decode("utf-8", "surrogateescape")


def _mounts(
    pod: podspec.Object,
    container: podspec.Object,
    step: steps.StartContainer,
    process: environment.Process,
    prepared: manager.Prepared,
    shared: dependencies.Dependencies,
) -> tuple[interface.Mount, ...]:
    mounts = []
    for request in containers.mount_requests(container, prepared.volumes, process.environment):
        source = request.volume.path
        if request.sub_path:
            place = (
                shared.settings.pod_dir(podspec.uid(pod))
                / "volume-subpaths"
                / str(request.mount["name"])
                / step.name
                / str(request.index)
            )
            source = _bind_part(request, container, place, shared)
        mounts.append(containers.engine_mount(request, source))
    targets = {mount.target for mount in mounts}
    folder = shared.settings.pod_dir(podspec.uid(pod))
    mounts += [interface.Mount(folder / name, target) for name, target in POD_FILES if target not in targets]
    path = container.get("terminationMessagePath")
    if path and path not in targets:
        mounts.append(interface.Mount(termination_file(folder, step.name, step.attempt, make=True), str(path)))
    return tuple(mounts)


def _bind_part(
    request: containers.MountRequest, container: podspec.Object, place: pathlib.Path, shared: dependencies.Dependencies
) -> pathlib.Path:
    """Raises VolumeError. What is wrong with the path is for the log alone: it could tell a user about the host's files."""
    try:
        return subpath.bind(request.volume, request.sub_path, place, shared.volumes.mounts)
    except (volumes.VolumeError, OSError) as error:
        text = f'failed to prepare subPath for volumeMount "{request.mount["name"]}" of container "{container["name"]}"'
        log.warning("%s: %s", text, error)
        raise volumes.VolumeError(text) from error


def termination_file(folder: pathlib.Path, name: str, attempt: int, *, make: bool = False) -> pathlib.Path:
    path = folder / "containers" / name / str(attempt)
    if make:
        files.make_below(folder, "containers", name)
        path.touch()
        # Whatever user the container runs as may write it.
        path.chmod(0o666)
    return path
