"""subPath: a part of a volume, which containers may fill with links while it is looked up.

The part is opened inside the volume (a link that leads out of it is refused), and what was opened is bind-mounted to a place of the
agent's own: the container gets exactly that file or folder, whatever happens to its name afterwards.
"""

import os
import pathlib
import stat

from pinnace.kernel import paths
from pinnace.kubelet.volumes import interface


def check(sub_path: str) -> None:
    """Raises VolumeError."""
    if sub_path.startswith("/") or ".." in pathlib.PurePosixPath(sub_path).parts:
        raise interface.VolumeError(f"subPath {sub_path} must be a relative path without '..'")


def bind(volume: interface.Volume, sub_path: str, place: pathlib.Path, mounts: interface.Mounts) -> pathlib.Path:
    """`place` becomes the part `sub_path` of the volume, which is made (a folder) where it is missing. Raises VolumeError, OSError."""
    check(sub_path)
    with paths.Tree(volume.path) as tree:
        try:
            descriptor = tree.open_beneath(sub_path, os.O_PATH)
        except FileNotFoundError:
            if volume.read_only:
                raise interface.VolumeError(
                    f"failed to create subPath directory for {sub_path}: read-only volume"
                ) from None
            _make(tree, sub_path, stat.S_IMODE(volume.path.stat().st_mode))
            descriptor = tree.open_beneath(sub_path, os.O_PATH)
        try:
            is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
            place.parent.mkdir(parents=True, exist_ok=True)
            if is_folder:
                place.mkdir(exist_ok=True)
            else:
                place.touch()
            mounts.unmount_tree(place)
            mounts.bind(pathlib.Path(f"/proc/self/fd/{descriptor}"), place, recursive=True)
        finally:
            os.close(descriptor)
    return place


def _make(tree: paths.Tree, sub_path: str, mode: int) -> None:
    """What is missing of the way gets the mode of its volume, whatever our umask: whoever may write the volume may write it."""
    parts = pathlib.PurePosixPath(sub_path).parts
    for count in range(1, len(parts) + 1):
        path = "/".join(parts[:count])
        try:
            tree.stat(path)
        except FileNotFoundError:
            tree.make_directory(path, mode)
            tree.set_mode(path, mode)
