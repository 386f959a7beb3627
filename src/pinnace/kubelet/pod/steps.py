"""What `decide` may ask a worker to do. Each step has a key: at most one step of a key is carried out at a time."""

import dataclasses
import enum
from typing import NamedTuple

from pinnace.kubelet.pod import podspec


class Kind(enum.Enum):
    """What a task of a pod does; `decide` asks for some of them, the others follow from those."""

    SANDBOX = "sandbox"
    VOLUMES = "volumes"
    REFRESH = "refresh"
    """Of volumes whose content changes."""
    RESIZE = "resize"
    IMAGE = "image"
    START = "start"
    HOOK = "hook"
    """postStart."""
    KILL = "kill"
    TEARDOWN = "teardown"

    @property
    def blocks_teardown(self) -> bool:
        """It may still make or use something in the sandbox."""
        match self:
            case Kind.SANDBOX | Kind.VOLUMES | Kind.START | Kind.KILL:
                return True
            case Kind.REFRESH | Kind.RESIZE | Kind.IMAGE | Kind.HOOK | Kind.TEARDOWN:
                return False

    @property
    def is_needless_while_stopping(self) -> bool:
        match self:
            case Kind.VOLUMES | Kind.REFRESH | Kind.IMAGE | Kind.HOOK:
                return True
            case Kind.SANDBOX | Kind.RESIZE | Kind.START | Kind.KILL | Kind.TEARDOWN:
                return False

    @property
    def is_preparation(self) -> bool:
        """Of a new pod: mostly over in milliseconds."""
        match self:
            case Kind.SANDBOX | Kind.VOLUMES | Kind.IMAGE:
                return True
            case Kind.REFRESH | Kind.RESIZE | Kind.START | Kind.HOOK | Kind.KILL | Kind.TEARDOWN:
                return False


class StepKey(NamedTuple):
    """Of what is under way at most once."""

    kind: Kind
    of: str = ""
    """A container's name (images, starts) or id (kills, hooks); "": the pod's."""

    def __str__(self) -> str:
        return f"{self.kind.value}:{self.of}" if self.of else self.kind.value


SANDBOX = StepKey(Kind.SANDBOX)
VOLUMES = StepKey(Kind.VOLUMES)
REFRESH = StepKey(Kind.REFRESH)
RESIZE = StepKey(Kind.RESIZE)
TEARDOWN = StepKey(Kind.TEARDOWN)


def image(name: str) -> StepKey:
    return StepKey(Kind.IMAGE, name)


def start(name: str) -> StepKey:
    return StepKey(Kind.START, name)


def hook(container_id: str) -> StepKey:
    return StepKey(Kind.HOOK, container_id)


def kill(container_id: str) -> StepKey:
    return StepKey(Kind.KILL, container_id)


@dataclasses.dataclass(frozen=True, slots=True)
class CreateSandbox:
    attempt: int
    replaces: str = ""
    """The id of a sandbox that died; it is removed first."""

    @property
    def key(self) -> StepKey:
        return SANDBOX


@dataclasses.dataclass(frozen=True, slots=True)
class PrepareVolumes:
    @property
    def key(self) -> StepKey:
        return VOLUMES


@dataclasses.dataclass(frozen=True, slots=True)
class Resize:
    """Give the pod's cgroup and its running containers the limits that were granted."""

    @property
    def key(self) -> StepKey:
        return RESIZE


@dataclasses.dataclass(frozen=True, slots=True)
class EnsureImage:
    """Find or pull the image for the next start of `name`."""

    name: str

    @property
    def key(self) -> StepKey:
        return image(self.name)


@dataclasses.dataclass(frozen=True, slots=True)
class StartContainer:
    name: str
    role: podspec.Role
    attempt: int
    image_id: str
    sandbox_id: str
    replaces: str = ""
    """The id of the last attempt: kept for `logs --previous`, while older ones go."""
    round: int = 0

    @property
    def key(self) -> StepKey:
        return start(self.name)


@dataclasses.dataclass(frozen=True, slots=True)
class KillContainer:
    id: str
    name: str
    grace_seconds: int
    message: str = ""
    """For the event; "": `Stopping container <name>`."""
    after: tuple[str, ...] = ()
    """Ids of containers that must be dead before this one is sent its signal (sidecars stop last)."""
    restart: bool = False
    """The container is to run again whatever its exit code (a failed probe, a changed definition)."""
    skips_pre_stop: bool = False

    @property
    def key(self) -> StepKey:
        return kill(self.id)


@dataclasses.dataclass(frozen=True, slots=True)
class TearDown:
    """Every container is dead: remove the sandbox, give back the address, unmount the volumes."""

    @property
    def key(self) -> StepKey:
        return TEARDOWN


Step = CreateSandbox | PrepareVolumes | Resize | EnsureImage | StartContainer | KillContainer | TearDown
