"""`interface.Mounts` by system calls."""

import os
import pathlib

from pinnace.kernel import mounts


class KernelMounts:
    def mount_tmpfs(self, target: pathlib.Path, size: int | None = None, mode: int = 0o755) -> None:
        mounts.mount_tmpfs(target, size, mode)

    def is_mounted(self, path: pathlib.Path) -> bool:
        # Good enough for a tmpfs (another device than its parent), and without reading the list of all mounts.
        return os.path.ismount(path)

    def unmount_tree(self, path: pathlib.Path) -> None:
        mounts.unmount_tree(path)

    def bind(
        self, source: pathlib.Path, target: pathlib.Path, *, read_only: bool = False, recursive: bool = False
    ) -> None:
        mounts.bind(source, target, read_only=read_only, recursive=recursive)
