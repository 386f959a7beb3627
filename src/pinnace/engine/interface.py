"""What a container engine is: the one interface under the kubelet and, later, the Docker Engine API.

Every implementation passes `pinnace.testing.engine_contract`; `pinnace.testing.fake_engine` is one of them. The engine knows no
cluster: specs carry resolved values only (bytes, argument vectors, paths on the host).

* Containers and sandboxes belong to a monitor process each, not to the engine: an engine that is closed and opened again finds
  them as they were, running or exited, with their exit codes and without a lost log line.
* Every verb is idempotent where that has a meaning: stopping a stopped container, removing a missing one return quietly.
* What a failed `create_*` began it undoes; what a failed `remove_*` left it finishes when called again.
* Times are wall-clock nanoseconds since the epoch (0: has not happened).
"""

import dataclasses
import enum
import pathlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Literal, Protocol


class EngineError(Exception):
    """Any error of an engine; the text is fit for a user: what was tried, what was wrong, what would be right."""


class NoSuchObject(EngineError):
    """No container, sandbox or image of that name."""


class NameInUse(EngineError):
    """Another container has that name."""


class WrongStatus(EngineError):
    """The verb is not possible in the container's present status, which `status` carries."""

    def __init__(self, message: str, status: "ContainerStatus") -> None:
        super().__init__(message)
        self.status = status


class ImageError(EngineError):
    """The image cannot be found, fetched or unpacked. `is_permanent`: trying the same again will not help."""

    def __init__(self, message: str, *, is_permanent: bool = False) -> None:
        super().__init__(message)
        self.is_permanent = is_permanent


class StartError(EngineError):
    """The runtime could not start the process: no such command (exit code 127), not executable (126), other (128)."""

    def __init__(self, message: str, exit_code: int = 128) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class ContainerStatus(enum.Enum):
    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    EXITED = "exited"

    @property
    def can_start(self) -> bool:
        return self is ContainerStatus.CREATED

    @property
    def is_alive(self) -> bool:
        return self in (ContainerStatus.RUNNING, ContainerStatus.PAUSED)

    @property
    def is_terminal(self) -> bool:
        return self is ContainerStatus.EXITED


# ---------------------------------------------------------------- images


@dataclasses.dataclass(frozen=True, slots=True)
class Credentials:
    username: str = ""
    password: str = ""
    identity_token: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Image:
    id: str
    """`sha256:` digest of the image's configuration."""
    references: tuple[str, ...]
    """Full names with tags: `docker.io/library/nginx:1.27`."""
    digests: tuple[str, ...]
    """`docker.io/library/nginx@sha256:…` for what came from a registry."""
    size: int
    """Bytes of its layers, unpacked."""
    created_at: int
    user: str = ""
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    """`NAME=value`."""
    working_directory: str = ""
    stop_signal: str = ""
    exposed_ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Progress:
    """A step of long work: `current` of `total` bytes (0: not known) of `item`."""

    item: str
    status: str
    current: int = 0
    total: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Pruned:
    deleted: tuple[str, ...]
    """Names, ids and layers, as `remove` returns them."""
    reclaimed_bytes: int


class Images(Protocol):
    async def list(self) -> Sequence[Image]: ...

    async def get(self, reference: str) -> Image:
        """By name (normalised: `nginx` is `docker.io/library/nginx:latest`), digest, or id (prefix).

        Raises NoSuchObject; a permanent ImageError for what cannot be an image's name."""
        ...

    def pull(
        self, reference: str, credentials: Credentials | None = None, *, by_owner: bool = False
    ) -> AsyncIterator[Progress]:
        """Fetch and unpack; concurrent pulls of one layer share the work. Raises ImageError.

        `by_owner`: asked for by whoever owns the machine, and not by a pod, whose author must not make the node ask servers on its own
        loopback or link. Then also layers that are unpacked are fetched where they are not kept as they came."""
        ...

    def push(self, reference: str, credentials: Credentials | None = None) -> AsyncIterator[Progress]:
        """To the registry that the name says, byte for byte as it came. The last Progress has status `Pushed` and `NAME@DIGEST` as its
        item. Raises NoSuchObject, ImageError."""
        ...

    def save(self, names: Sequence[str]) -> AsyncIterator[bytes]:
        """An archive (OCI layout with docker's manifest.json) that `load` reads. Raises NoSuchObject, ImageError, both before the first
        piece."""
        ...

    async def configuration(self, reference: str) -> bytes:
        """The image's configuration document (OCI image-spec), whose digest is its id. Raises NoSuchObject."""
        ...

    def load(self, archive: pathlib.Path) -> AsyncIterator[Progress]:
        """A docker-archive or OCI-archive file (plain, gzip or zstd), every image in it. Raises ImageError.

        The last Progress has status `Loaded image` and the reference as its item."""
        ...

    async def tag(self, reference: str, new_reference: str) -> None: ...

    async def remove(self, reference: str, *, force: bool = False) -> Sequence[str]:
        """Untag; with its last name the image and the layers that nothing else uses go. Returns what was deleted.

        Raises NoSuchObject; EngineError while a container or a mount uses it, unless `force`."""
        ...

    async def prune(self, *, everything: bool = False) -> Pruned:
        """Remove the images without a name (or, `everything`, all) that no container and no mount uses."""
        ...

    async def mount(self, reference: str, target: pathlib.Path) -> None:
        """Show the image's files, read-only and not executable, at `target`, which is made; quiet when it is mounted there. The
        caller unmounts it; until then the image's layers stay. Raises NoSuchObject, EngineError."""
        ...


# ---------------------------------------------------------------- sandboxes


@dataclasses.dataclass(frozen=True, slots=True)
class SandboxSpec:
    """What the containers of one pod share: network, IPC and UTS namespaces, /dev/shm, a parent cgroup."""

    id: str
    """Chosen by the caller, unique: for a pod its uid (with an attempt, `uid-1`, after a sandbox died)."""
    hostname: str
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Kept and returned; the engine never looks at them."""
    host_network: bool = False
    host_ipc: bool = False
    host_pid: bool = False
    share_pid: bool = False
    """One PID namespace for all containers (needs a pause process)."""
    sysctls: Mapping[str, str] = dataclasses.field(default_factory=dict)
    resources: "Resources | None" = None
    """Limits of the parent cgroup; None: none."""
    group: str = ""
    """The group of sandboxes whose limits hold for it too (see `Engine.limit_group`); "": that of all."""
    shm_bytes: int = 64 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class Sandbox:
    id: str
    spec: SandboxSpec
    network_namespace: pathlib.Path | None
    """A path that `setns` and netlink can open; None with the host's network."""
    created_at: int
    is_ready: bool
    """False: its namespaces are gone (a reboot, say); it can only be removed."""


# ---------------------------------------------------------------- containers


@dataclasses.dataclass(frozen=True, slots=True)
class Resources:
    cpu_shares: int = 0
    """v1 shares; 0: the runtime's default."""
    cpu_quota_us: int = 0
    """Per `cpu_period_us`; 0: no limit."""
    cpu_period_us: int = 100_000
    memory_bytes: int = 0
    """0: no limit."""
    pids: int = 0
    cpuset_cpus: str = ""
    oom_score_adj: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Mount:
    source: pathlib.Path
    """On the host; must exist."""
    target: str
    """Absolute, in the container."""
    read_only: bool = False
    recursive_read_only: bool = False
    """With `read_only`: what is mounted below the source cannot be written either (Linux 5.12)."""
    no_exec: bool = False
    """Programs in it cannot be run."""
    propagation: Literal["private", "rslave", "rshared"] = "private"


@dataclasses.dataclass(frozen=True, slots=True)
class Security:
    user: str = ""
    """`uid`, `uid:gid`, `name` or `name:group`, looked up in the image; "": the image's own, `:group`: that one in another group."""
    supplemental_groups: tuple[int, ...] = ()
    image_groups: bool | None = None
    """Whether the groups that the image's /etc/group has the user in are added; None: unless `user` names a group."""
    privileged: bool = False
    add_capabilities: tuple[str, ...] = ()
    """Without `CAP_`; `ALL`."""
    drop_capabilities: tuple[str, ...] = ()
    read_only_root: bool = False
    no_new_privileges: bool = False
    run_as_non_root: bool = False
    """Refuse (StartError at create) where the resolved user is 0."""
    seccomp_unconfined: bool = False
    seccomp_profile: pathlib.Path | None = None
    """A file with a filter of the caller's own (`linux.seccomp` of the runtime specification), in place of the default one."""
    apparmor_profile: str = ""
    """Of those that the kernel has loaded; "": none."""
    masked_paths: bool = True


@dataclasses.dataclass(frozen=True, slots=True)
class ContainerSpec:
    name: str
    """Unique among containers; for a pod's `podname_namespace_uid_container_attempt`."""
    image: str
    """A reference or id that `Images.get` finds."""
    sandbox: str | None = None
    """A sandbox's id; None: namespaces of its own (as `docker run`)."""
    pid_of: str = ""
    """The id of a running container whose PID namespace this one joins; "": its sandbox's, or one of its own."""
    command: tuple[str, ...] | None = None
    """Overrides the image's entrypoint; the image's command is then not used either."""
    arguments: tuple[str, ...] | None = None
    """Overrides the image's command."""
    environment: tuple[tuple[str, str], ...] = ()
    """Added to the image's; later ones win."""
    working_directory: str = ""
    mounts: tuple[Mount, ...] = ()
    devices: tuple[tuple[str, str, str], ...] = ()
    """(path on the host, path in the container, permissions `rwm`)."""
    resources: Resources = dataclasses.field(default_factory=Resources)
    security: Security = dataclasses.field(default_factory=Security)
    tty: bool = False
    stdin: bool = False
    stdin_once: bool = False
    log_path: pathlib.Path | None = None
    """Where the monitor writes the CRI log format; None: the engine chooses."""
    stop_signal: str = ""
    """"": the image's, else SIGTERM."""
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class User:
    """Whom the first process of a container runs as, looked up in its image."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    """Supplementary ones."""


@dataclasses.dataclass(frozen=True, slots=True)
class Container:
    id: str
    """64 hexadecimal digits."""
    spec: ContainerSpec
    image_id: str
    status: ContainerStatus
    pid: int
    """On the host; 0 unless alive."""
    created_at: int
    started_at: int
    finished_at: int
    exit_code: int
    """128+n for a death by signal n; meaningful only once exited."""
    oom_killed: bool
    log_path: pathlib.Path
    error: str = ""
    """Why it could not be started."""
    user: User | None = None
    """None: not known (a fake's, a record of an earlier version)."""


@dataclasses.dataclass(frozen=True, slots=True)
class ContainerEvent:
    """`start` and `die` of every container, also of those that died while nobody looked (told once at open)."""

    type: Literal["create", "start", "die", "oom", "remove"]
    container_id: str
    sandbox: str | None
    exit_code: int
    at: int


@dataclasses.dataclass(frozen=True, slots=True)
class Stats:
    cpu_nanoseconds: int = 0
    memory_usage_bytes: int = 0
    memory_working_set_bytes: int = 0
    pids: int = 0
    filesystem_bytes: int = 0
    """Of its writable layer: kept until it is removed."""


class Streams(Protocol):
    """The stdio of an exec or an attach. With a tty everything comes as stdout."""

    async def read(self) -> tuple[Literal["stdout", "stderr"], bytes] | None:
        """The next piece of output; None at the end of both."""
        ...

    async def write(self, data: bytes) -> None:
        """To stdin, waits while the process does not read. Quiet once stdin is closed."""
        ...

    async def close_stdin(self) -> None: ...
    async def resize(self, width: int, height: int) -> None: ...

    async def wait(self) -> int:
        """The exit code (exec: of its process; attach: of the container)."""
        ...

    async def close(self) -> None:
        """Detach; an exec that still runs is killed."""
        ...


class Engine(Protocol):
    images: Images

    async def open(self) -> None:
        """Find everything again that is on the disk, and the monitors that still run."""
        ...

    async def close(self) -> None:
        """Let go. Containers go on."""
        ...

    async def check(self) -> None:
        """Raises EngineError where no container could be started whatever its spec: it names what is missing. Costs next to nothing."""
        ...

    async def create_sandbox(self, spec: SandboxSpec) -> Sandbox: ...
    async def remove_sandbox(self, sandbox_id: str) -> None:
        """With every container in it (killed at once)."""
        ...

    async def list_sandboxes(self) -> Sequence[Sandbox]: ...
    async def update_sandbox(self, sandbox_id: str, resources: Resources) -> Sandbox:
        """New limits for the parent cgroup, kept in the sandbox's spec. Raises NoSuchObject, EngineError (nothing is kept then)."""
        ...

    async def limit_group(self, group: str, resources: Resources) -> None:
        """What the sandboxes of a group may use together, those that are there too; "": all sandboxes of the engine. 0 leaves a limit as
        it is. A group is made when it is first named, and never removed. Raises EngineError."""
        ...

    async def create(self, spec: ContainerSpec) -> Container:
        """Root filesystem mounted, process not started. Raises NameInUse, NoSuchObject (image), EngineError."""
        ...

    async def start(self, container_id: str) -> Container:
        """Returns once the process runs (execve succeeded). Raises StartError (the container is then exited), WrongStatus."""
        ...

    async def stop(self, container_id: str, timeout: float) -> Container:
        """Stop signal, after `timeout` seconds SIGKILL; returns once it is dead. 0: SIGKILL at once."""
        ...

    async def kill(self, container_id: str, signal: str | int) -> None: ...
    async def update(self, container_id: str, resources: Resources) -> Container:
        """New limits while it runs, kept in the container's spec; 0 takes a limit away, `oom_score_adj` stays as it was.

        Raises WrongStatus unless it is alive; EngineError for a memory limit below what it uses (nothing has changed then)."""
        ...

    async def remove(self, container_id: str, *, force: bool = False) -> None:
        """Its root filesystem, its cgroup and its records; not its log, where the caller chose `log_path`."""
        ...

    async def inspect(self, container_id: str) -> Container:
        """By id, id prefix or name. Raises NoSuchObject."""
        ...

    async def list(self) -> Sequence[Container]: ...
    async def wait(self, container_id: str) -> Container:
        """Returns once it is dead."""
        ...

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
    ) -> Streams:
        """Raises WrongStatus; a command that cannot be started ends with 126 or 127 from `wait` and its reason on stderr."""
        ...

    async def attach(self, container_id: str, *, stdin: bool = False) -> Streams: ...
    async def stats(self, container_id: str) -> Stats:
        """Of one that does not run: what it keeps on the disk, and zeros."""
        ...

    async def reopen_log(self, container_id: str) -> None:
        """After the caller renamed the log file (rotation)."""
        ...

    def events(self) -> AsyncIterator[ContainerEvent]:
        """From the moment of the call on. Each caller gets every event."""
        ...
