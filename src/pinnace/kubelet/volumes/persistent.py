"""persistentVolumeClaim and ephemeral: the folder of the persistent volume that a claim is bound to (local or hostPath).

fsGroup is for local volumes alone: the files of a hostPath volume are the host's, and what is mounted read-only stays as it is.
"""

import os
import pathlib
import stat

from pinnace.api import pods, resources
from pinnace.client import client
from pinnace.kubelet.pod import podspec
from pinnace.kubelet.volumes import host_path, interface


class ClaimError(interface.VolumeError):
    """The claim itself is not there or not bound: nothing that was tried failed, so that the pod looks again after a while."""


LOCAL_VOLUME = "pinnace.dev/local-volume"
"""Annotation and finalizer of the volumes whose folder this node makes and removes."""


def claim_name(pod: podspec.Object, volume: podspec.Object) -> str | None:
    """None: not a volume with a claim."""
    if volume.get("persistentVolumeClaim"):
        return str(volume["persistentVolumeClaim"]["claimName"])
    if volume.get("ephemeral"):
        return f"{podspec.name(pod)}-{volume['name']}"
    return None


async def mount(context: interface.Context, volume: podspec.Object) -> interface.Volume:
    """Raises VolumeError until the claim is bound."""
    pod = context.pod
    name = claim_name(pod, volume)
    assert name is not None
    # Read anew each time: a node may get a claim of its pods, not watch it.
    try:
        claim = await context.api.get(resources.PERSISTENT_VOLUME_CLAIMS, podspec.namespace(pod), name)
    except client.ApiError as error:
        raise ClaimError(
            f"error processing PVC {podspec.namespace(pod)}/{name}: failed to fetch PVC from API server: {error}"
        ) from error
    if volume.get("ephemeral") and not _is_owned_by(claim, pod):
        raise ClaimError(
            f"PVC {podspec.namespace(pod)}/{name} was not created for pod {podspec.namespace(pod)}/{podspec.name(pod)} "
            "(pod is not owner)"
        )
    if (claim.get("status") or {}).get("phase") != "Bound" or not claim["spec"].get("volumeName"):
        raise ClaimError(f"error processing PVC {podspec.namespace(pod)}/{name}: PVC is not bound")
    try:
        persistent = await context.api.get(resources.PERSISTENT_VOLUMES, None, claim["spec"]["volumeName"])
    except client.ApiError as error:
        raise ClaimError(f"error processing PVC {podspec.namespace(pod)}/{name}: {error}") from error
    await _require_node(context, persistent)
    mode = persistent["spec"].get("volumeMode") or "Filesystem"
    _require_use(pod, volume["name"], mode)
    path = _path(context, persistent)
    read_only = bool((volume.get("persistentVolumeClaim") or {}).get("readOnly"))
    if mode == "Block":
        return _block(persistent, path, read_only)
    if not read_only and not persistent["spec"].get("hostPath"):
        own_tree(path, interface.fs_group(pod), _changes_on_mismatch_only(pod))
    return interface.Volume(path, read_only=read_only)


def _require_use(pod: podspec.Object, name: str, mode: str) -> None:
    """File systems are mounted, block devices are not. Raises VolumeError."""
    wrong = "volumeMounts" if mode == "Block" else "volumeDevices"
    for _, container in podspec.containers(pod):
        if any(each["name"] == name for each in container.get(wrong) or ()):
            raise interface.VolumeError(f"volume {name} has volumeMode {mode}, but is specified in {wrong}")


def _block(persistent: podspec.Object, path: pathlib.Path, read_only: bool) -> interface.Volume:
    name = persistent["metadata"]["name"]
    if not persistent["spec"].get("local"):
        raise interface.VolumeError("no volume plugin matched: only local volumes are block devices here", volume=name)
    if not path.is_block_device():
        raise interface.VolumeError(f'path "{path}" is not a block device', step="MapVolume.SetUp failed", volume=name)
    return interface.Volume(path, read_only=read_only, is_block=True)


async def _require_node(context: interface.Context, persistent: podspec.Object) -> None:
    """A pod may come here without the scheduler's judgement; the folder of that path on this node is not the one that is meant."""
    required = (persistent["spec"].get("nodeAffinity") or {}).get("required")
    is_ours = (persistent["metadata"].get("annotations") or {}).get(LOCAL_VOLUME) == context.facts.node_name
    if required is None or is_ours:
        return
    try:
        node = await context.api.get(resources.NODES, None, context.facts.node_name)
    except client.ApiError as error:
        raise interface.VolumeError(f"failed to get node {context.facts.node_name}: {error}") from error
    if not pods.selects(required, node):
        raise interface.VolumeError(
            "no matching NodeSelectorTerms",
            step="MountVolume.NodeAffinity check failed",
            volume=persistent["metadata"]["name"],
        )


def _is_owned_by(claim: podspec.Object, pod: podspec.Object) -> bool:
    owners = claim["metadata"].get("ownerReferences") or ()
    return any(owner.get("controller") and owner.get("uid") == podspec.uid(pod) for owner in owners)


def _changes_on_mismatch_only(pod: podspec.Object) -> bool:
    return (pod["spec"].get("securityContext") or {}).get("fsGroupChangePolicy") == "OnRootMismatch"


def _path(context: interface.Context, persistent: podspec.Object) -> pathlib.Path:
    spec = persistent["spec"]
    annotations = persistent["metadata"].get("annotations") or {}
    if spec.get("hostPath"):
        path = pathlib.Path(spec["hostPath"]["path"])
        if LOCAL_VOLUME in annotations:
            make_folder(path, context.settings.volumes_dir)
        else:
            host_path.check(path, spec["hostPath"].get("type") or "")
        return path.resolve()
    if not spec.get("local"):
        raise interface.VolumeError(
            f'no volume plugin matched for PersistentVolume "{persistent["metadata"]["name"]}": '
            "this node mounts local and hostPath volumes"
        )
    path = pathlib.Path(spec["local"]["path"])
    if LOCAL_VOLUME in annotations:
        make_folder(path, context.settings.volumes_dir)
    elif not path.exists():
        raise interface.VolumeError(
            f'path "{path}" does not exist',
            step="MountVolume.NewMounter initialization failed",
            volume=persistent["metadata"]["name"],
        )
    return path.resolve()


def make_folder(path: pathlib.Path, root: pathlib.Path) -> None:
    """The folder of a volume made by the provisioner; nowhere but below `root`. Any user of the pod may write."""
    if not path.is_relative_to(root) or ".." in path.parts:
        raise interface.VolumeError(f"path {path} is not below {root}")
    if not path.exists():
        path.mkdir(parents=True)
        path.chmod(0o777)


def own_tree(root: pathlib.Path, group: int | None, only_on_mismatch: bool) -> None:
    """fsGroup: the group owns everything below, new files inherit it; links are never followed."""
    if group is None:
        return
    top = root.stat()
    if only_on_mismatch and top.st_gid == group and top.st_mode & 0o2070 == 0o2070:
        return
    for _, _, files, descriptor in os.fwalk(root, follow_symlinks=False):
        for name in files:
            entry = os.lstat(name, dir_fd=descriptor)
            os.chown(name, -1, group, dir_fd=descriptor, follow_symlinks=False)
            if not stat.S_ISLNK(entry.st_mode):
                os.chmod(name, (entry.st_mode & 0o7777) | 0o660, dir_fd=descriptor)
        mode = os.fstat(descriptor).st_mode & 0o7777
        os.fchown(descriptor, -1, group)
        os.fchmod(descriptor, mode | 0o2770)
