"""emptyDir: a folder that lives as long as its pod, on disk or (medium Memory) in a tmpfs."""

import os
import pathlib

from pinnace.api import quantity
from pinnace.kubelet.pod import podspec, qos
from pinnace.kubelet.volumes import interface

KIND = "empty-dir"


async def mount(context: interface.Context, name: str, source: podspec.Object) -> interface.Volume:
    folder = context.make_folder(KIND, name)
    medium = source.get("medium") or ""
    if medium == "Memory" and not context.mounts.is_mounted(folder):
        context.mounts.mount_tmpfs(
            folder, memory_size(context.pod, source, context.facts.allocatable.get("memory")), 0o777
        )
    elif medium.startswith("HugePages"):
        raise interface.VolumeError(f'medium "{medium}" is not supported on this node')
    folder.chmod(0o777)
    own(folder, interface.fs_group(context.pod))
    return interface.Volume(folder)


def memory_size(pod: podspec.Object, source: podspec.Object, allocatable: str | None) -> int | None:
    """The smallest of the size limit, the pod's memory limit and the node's memory; None: the kernel's default."""
    sizes = []
    if source.get("sizeLimit"):
        sizes.append(quantity.value(str(source["sizeLimit"])))
    resources = qos.pod_resources(pod)
    if resources is not None and resources.memory_bytes:
        sizes.append(resources.memory_bytes)
    if allocatable:
        sizes.append(quantity.value(allocatable))
    return min((size for size in sizes if size > 0), default=None)


def own(folder: pathlib.Path, group: int | None) -> None:
    """fsGroup: new files below inherit the group."""
    if group is not None:
        os.chown(folder, -1, group)
        folder.chmod(0o2777)
