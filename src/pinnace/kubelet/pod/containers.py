"""Engine specs from pod specs. Pure: everything that had to be looked up is given."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

from pinnace.engine import interface
from pinnace.kubelet import settings as settings_module
from pinnace.kubelet.pod import environment, model, podfiles, podspec, qos
from pinnace.kubelet.volumes import interface as volumes
from pinnace.net import interface as net

DEFAULT_SHM_BYTES = 64 << 20
_PROPAGATION = {"HostToContainer": "rslave", "Bidirectional": "rshared"}


def container_name(pod: podspec.Object, name: str, attempt: int) -> str:
    return f"{podspec.name(pod)}_{podspec.namespace(pod)}_{podspec.uid(pod)}_{name}_{attempt}"


def sandbox_id(pod: podspec.Object, attempt: int) -> str:
    return podspec.uid(pod) if attempt == 0 else f"{podspec.uid(pod)}-{attempt}"


def pod_labels(pod: podspec.Object) -> dict[str, str]:
    return {
        model.POD_NAME_LABEL: podspec.name(pod),
        model.POD_NAMESPACE_LABEL: podspec.namespace(pod),
        model.POD_UID_LABEL: podspec.uid(pod),
    }


def sandbox_spec(pod: podspec.Object, attempt: int, settings: settings_module.Settings) -> interface.SandboxSpec:
    spec = pod["spec"]
    host_name, _ = podfiles.host_names(pod, settings.cluster_domain)
    security = spec.get("securityContext") or {}
    return interface.SandboxSpec(
        id=sandbox_id(pod, attempt),
        hostname=host_name,
        labels={**pod_labels(pod), model.SANDBOX_ATTEMPT_LABEL: str(attempt)},
        host_network=podspec.is_host_network(pod),
        host_ipc=bool(spec.get("hostIPC")),
        host_pid=bool(spec.get("hostPID")),
        share_pid=bool(spec.get("shareProcessNamespace")),
        sysctls={entry["name"].replace("/", "."): str(entry["value"]) for entry in security.get("sysctls") or ()},
        resources=qos.sandbox_resources(pod, settings.pod_pids_limit),
        group=qos.group(pod),
        shm_bytes=DEFAULT_SHM_BYTES,
    )


def host_ports(pod: podspec.Object) -> tuple[net.HostPort, ...]:
    if podspec.is_host_network(pod):
        return ()
    return tuple(
        net.HostPort(
            str(port.get("hostIP") or ""),
            int(port["hostPort"]),
            int(port["containerPort"]),
            str(port.get("protocol") or "TCP"),
        )
        for role, container in podspec.containers(pod)
        if role in (podspec.Role.MAIN, podspec.Role.SIDECAR)
        for port in container.get("ports") or ()
        if port.get("hostPort")
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Inputs:
    """What a container's spec needs besides its pod."""

    attempt: int
    image_id: str
    sandbox_id: str
    process: environment.Process
    mounts: tuple[interface.Mount, ...]
    devices: tuple[tuple[str, str, str], ...]
    memory_capacity: int
    settings: settings_module.Settings
    pid_of: str = ""
    """The container that an ephemeral one is aimed at."""
    round: int = 0


def container_spec(pod: podspec.Object, container: podspec.Object, inputs: Inputs) -> interface.ContainerSpec:
    name = container["name"]
    host_name, _ = podfiles.host_names(pod, inputs.settings.cluster_domain)
    return interface.ContainerSpec(
        name=container_name(pod, name, inputs.attempt),
        image=inputs.image_id,
        sandbox=inputs.sandbox_id,
        pid_of=inputs.pid_of,
        command=inputs.process.command,
        arguments=inputs.process.arguments,
        environment=(("HOSTNAME", host_name), *inputs.process.environment),
        working_directory=str(container.get("workingDir") or ""),
        mounts=inputs.mounts,
        devices=inputs.devices,
        resources=qos.container_resources(pod, container, inputs.memory_capacity),
        security=security(pod, container, inputs.settings.seccomp_dir),
        tty=bool(container.get("tty")),
        stdin=bool(container.get("stdin")),
        stdin_once=bool(container.get("stdinOnce")),
        log_path=inputs.settings.log_path(
            podspec.namespace(pod), podspec.name(pod), podspec.uid(pod), name, inputs.attempt
        ),
        stop_signal=str((container.get("lifecycle") or {}).get("stopSignal") or ""),
        labels={
            **pod_labels(pod),
            model.CONTAINER_NAME_LABEL: name,
            model.ATTEMPT_LABEL: str(inputs.attempt),
            **({model.ROUND_LABEL: str(inputs.round)} if inputs.round else {}),
            model.HASH_LABEL: str(container.get("image", "")),
            model.TERMINATION_PATH_LABEL: str(container.get("terminationMessagePath") or ""),
        },
    )


def security(pod: podspec.Object, container: podspec.Object, profiles: pathlib.Path) -> interface.Security:
    """`profiles`: the folder of the node's own seccomp profiles."""
    common = pod["spec"].get("securityContext") or {}
    own = container.get("securityContext") or {}
    user, group = own.get("runAsUser", common.get("runAsUser")), own.get("runAsGroup", common.get("runAsGroup"))
    groups = [int(group) for group in common.get("supplementalGroups") or ()]
    if common.get("fsGroup") is not None:
        groups.append(int(common["fsGroup"]))
    capabilities = own.get("capabilities") or {}
    seccomp = own.get("seccompProfile") or common.get("seccompProfile") or {}
    apparmor = own.get("appArmorProfile") or common.get("appArmorProfile") or {}
    privileged = bool(own.get("privileged"))
    return interface.Security(
        user=_user(user, group),
        image_groups=common.get("supplementalGroupsPolicy") != "Strict",
        supplemental_groups=tuple(dict.fromkeys(groups)),
        privileged=privileged,
        add_capabilities=tuple(_capability(name) for name in capabilities.get("add") or ()),
        drop_capabilities=tuple(_capability(name) for name in capabilities.get("drop") or ()),
        read_only_root=bool(own.get("readOnlyRootFilesystem")),
        no_new_privileges=own.get("allowPrivilegeEscalation") is False,
        run_as_non_root=bool(own.get("runAsNonRoot", common.get("runAsNonRoot"))),
        # Upstream's kubelet runs containers without a profile unless told otherwise.
        seccomp_unconfined=seccomp.get("type", "Unconfined") == "Unconfined",
        seccomp_profile=profiles / str(seccomp.get("localhostProfile", ""))
        if seccomp.get("type") == "Localhost"
        else None,
        # `RuntimeDefault` is the runtime's choice, and this one has no profile of its own.
        apparmor_profile=str(apparmor.get("localhostProfile", "")) if apparmor.get("type") == "Localhost" else "",
        masked_paths=not privileged and own.get("procMount") != "Unmasked",
    )


def _user(user: object, group: object) -> str:
    name = "" if user is None else str(user)
    return f"{name}:{group}" if group is not None else name


def _capability(name: str) -> str:
    return str(name).upper().removeprefix("CAP_")


def check_non_root(pod: podspec.Object, container: podspec.Object, image: interface.Image) -> None:
    """Raises ConfigError in upstream's words where runAsNonRoot forbids this container's user."""
    common, own = pod["spec"].get("securityContext") or {}, container.get("securityContext") or {}
    if not own.get("runAsNonRoot", common.get("runAsNonRoot")):
        return
    wanted = own.get("runAsUser", common.get("runAsUser"))
    user = "" if wanted is None else str(wanted)
    where = f'(pod: "{podspec.full_name(pod)}", container: {container["name"]})'
    if user:
        if user == "0":
            raise environment.ConfigError(f"container's runAsUser breaks non-root policy {where}")
        return
    image_user = image.user.partition(":")[0]
    if image_user in ("", "0", "root"):
        raise environment.ConfigError(f"container has runAsNonRoot and image will run as root {where}")
    if not image_user.isdigit():
        raise environment.ConfigError(
            f"container has runAsNonRoot and image has non-numeric user ({image_user}), "
            f"cannot verify user is non-root {where}"
        )


# ---------------------------------------------------------------- mounts


@dataclasses.dataclass(frozen=True, slots=True)
class MountRequest:
    """A volume mount with its volume found and its subPath expanded; "" is the whole volume."""

    volume: volumes.Volume
    sub_path: str
    index: int
    mount: podspec.Object


def mount_requests(
    container: podspec.Object, ready: Mapping[str, volumes.Volume], variables: Sequence[tuple[str, str]]
) -> list[MountRequest]:
    """Raises ConfigError."""
    known = dict(variables)
    requests = []
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        volume = ready.get(mount["name"])
        if volume is None:
            raise environment.ConfigError(
                f'cannot find volume "{mount["name"]}" to mount into container "{container["name"]}"'
            )
        sub_path = str(mount.get("subPath") or "")
        if mount.get("subPathExpr"):
            sub_path = _expand_sub_path(str(mount["subPathExpr"]), known)
        requests.append(MountRequest(volume, sub_path, index, mount))
    return requests


def block_devices(container: podspec.Object, ready: Mapping[str, volumes.Volume]) -> tuple[tuple[str, str, str], ...]:
    """(path on the host, path in the container, permissions) of its block volumes. Raises ConfigError."""
    found = []
    for device in container.get("volumeDevices") or ():
        volume = ready.get(device["name"])
        if volume is None or not volume.is_block:
            raise environment.ConfigError(
                f'cannot find volume "{device["name"]}" to pass into container "{container["name"]}"'
            )
        found.append((str(volume.path), str(device["devicePath"]), "rm" if volume.read_only else "rwm"))
    return tuple(found)


def _expand_sub_path(expression: str, variables: Mapping[str, str]) -> str:
    """Unlike elsewhere a name without a value is an error: the path would be another one. Raises ConfigError."""
    missing: list[str] = []

    def lookup(name: str) -> str | None:
        if not variables.get(name):
            missing.append(name)
        return variables.get(name)

    path = environment.expand(expression, lookup)
    if missing:
        raise environment.ConfigError(f'missing value for "{missing[0]}"')
    return path


def engine_mount(request: MountRequest, source: pathlib.Path) -> interface.Mount:
    target = str(request.mount["mountPath"])
    return interface.Mount(
        source=source,
        target=target if target.startswith("/") else f"/{target}",
        read_only=bool(request.mount.get("readOnly")) or request.volume.read_only,
        recursive_read_only=podspec.is_recursively_read_only(request.mount),
        no_exec=request.volume.no_exec,
        propagation=_PROPAGATION.get(str(request.mount.get("mountPropagation")), "private"),  # type: ignore[arg-type]
    )


# ---------------------------------------------------------------- back from the engine


def view(container: interface.Container) -> model.ContainerView:
    """What a pure decision needs to know of an engine's container; moments of the monotonic clock are the caller's to add."""
    labels = container.spec.labels
    alive = container.status.is_alive
    state = model.State.RUNNING if alive else model.State.EXITED
    if container.status is interface.ContainerStatus.CREATED:
        state = model.State.CREATED
    # An error of a container that did run (its monitor died, say) is no failed start.
    failed = bool(container.error) and state is model.State.EXITED and not container.started_at
    return model.ContainerView(
        id=container.id,
        name=labels.get(model.CONTAINER_NAME_LABEL, ""),
        attempt=int(labels.get(model.ATTEMPT_LABEL, "0")),
        round=int(labels.get(model.ROUND_LABEL, "0")),
        sandbox_id=container.spec.sandbox or "",
        state=state,
        image=labels.get(model.HASH_LABEL, container.spec.image),
        image_id=container.image_id,
        exit_code=START_ERROR_EXIT_CODE if failed else container.exit_code,
        oom_killed=container.oom_killed,
        start_failed=failed,
        error=container.error,
        created_ns=container.created_at,
        started_ns=container.started_at,
        finished_ns=container.finished_at,
        user=container.user,
    )


START_ERROR_EXIT_CODE = 128
"""What a container that could not be started reports, as with containerd."""


def sandbox_attempt(sandbox: interface.Sandbox) -> int:
    return int(sandbox.spec.labels.get(model.SANDBOX_ATTEMPT_LABEL, "0"))
