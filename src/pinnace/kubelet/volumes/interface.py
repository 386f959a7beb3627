"""What a kind of volume is to the manager."""

import dataclasses
import pathlib
from collections.abc import Awaitable, Callable
from typing import Protocol

from pinnace.client import client
from pinnace.kit import clock, files
from pinnace.kubelet import settings as settings_module
from pinnace.kubelet.pod import environment, fields, podspec


class VolumeError(Exception):
    """The volume cannot be set up now; the text is upstream's, without its `MountVolume.SetUp failed …` prefix. Tried again.

    `step`: what failed, where it was not that; `volume`: the persistent volume's name, by which its failures are told."""

    def __init__(self, text: str, *, step: str = "MountVolume.SetUp failed", volume: str = "") -> None:
        super().__init__(text)
        self.step = step
        self.volume = volume


class Mounts(Protocol):
    """The mounts of the node's mount namespace: `kernel.mounts`, or a test's record."""

    def mount_tmpfs(self, target: pathlib.Path, size: int | None = None, mode: int = 0o755) -> None: ...
    def is_mounted(self, path: pathlib.Path) -> bool: ...
    def unmount_tree(self, path: pathlib.Path) -> None: ...
    def bind(
        self, source: pathlib.Path, target: pathlib.Path, *, read_only: bool = False, recursive: bool = False
    ) -> None: ...


Lookup = Callable[[environment.Reference], Awaitable[podspec.Object | None]]
"""A config map or secret of the pod's namespace; None: there is none."""


ShowImage = Callable[[podspec.Object, pathlib.Path], Awaitable[None]]
"""(source of an image volume, where): the image is mounted there. Raises VolumeError."""


@dataclasses.dataclass(frozen=True, slots=True)
class Context:
    """What a volume may use while it is set up or refreshed."""

    pod: podspec.Object
    api: client.Client
    lookup: Lookup
    facts: fields.Facts
    settings: settings_module.Settings
    mounts: Mounts
    time: clock.Clock
    show_image: ShowImage

    def folder(self, kind: str, name: str) -> pathlib.Path:
        """`pods/<uid>/volumes/kubernetes.io~<kind>/<name>`, as upstream lays it out."""
        root = self.settings.pod_dir(podspec.uid(self.pod)) / "volumes"
        return root / f"kubernetes.io~{kind}" / name

    def make_folder(self, kind: str, name: str) -> pathlib.Path:
        """That folder, made where it is missing. Raises OSError."""
        return files.make_below(self.settings.pods_dir, podspec.uid(self.pod), "volumes", f"kubernetes.io~{kind}", name)


@dataclasses.dataclass(frozen=True, slots=True)
class Volume:
    """A volume that is ready to be mounted into containers."""

    path: pathlib.Path
    read_only: bool = False
    no_exec: bool = False
    """Its programs cannot be run."""
    is_block: bool = False
    """`path` is a block device, for containers that name it among their `volumeDevices`."""
    owns_files: bool = True
    """False for the host's own files: fsGroup never touches them."""


def fs_group(pod: podspec.Object) -> int | None:
    group = (pod["spec"].get("securityContext") or {}).get("fsGroup")
    return None if group is None else int(group)
