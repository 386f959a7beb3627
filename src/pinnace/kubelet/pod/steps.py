"""What `decide` may ask a worker to do. Each step has a key: at most one step of a key is carried out at a time."""

import dataclasses

from pinnace.kubelet.pod import podspec


@dataclasses.dataclass(frozen=True, slots=True)
class CreateSandbox:
    attempt: int
    replaces: str = ""
    """The id of a sandbox that died; it is removed first."""

    @property
    def key(self) -> str:
        return "sandbox"


@dataclasses.dataclass(frozen=True, slots=True)
class PrepareVolumes:
    @property
    def key(self) -> str:
        return "volumes"


@dataclasses.dataclass(frozen=True, slots=True)
class Resize:
    """Give the pod's cgroup and its running containers the limits that were granted."""

    @property
    def key(self) -> str:
        return "resize"


@dataclasses.dataclass(frozen=True, slots=True)
class EnsureImage:
    """Find or pull the image for the next start of `name`."""

    name: str

    @property
    def key(self) -> str:
        return f"image:{self.name}"


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
    def key(self) -> str:
        return f"start:{self.name}"


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
    def key(self) -> str:
        return f"kill:{self.id}"


@dataclasses.dataclass(frozen=True, slots=True)
class TearDown:
    """Every container is dead: remove the sandbox, give back the address, unmount the volumes."""

    @property
    def key(self) -> str:
        return "teardown"


Step = CreateSandbox | PrepareVolumes | Resize | EnsureImage | StartContainer | KillContainer | TearDown
