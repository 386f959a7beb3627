"""`kubelet.volumes.interface.Mounts` without a kernel."""

import pathlib


class RecordedMounts:
    """Mounts nothing: a tmpfs is a folder, a bind is a link."""

    def __init__(self) -> None:
        self.tmpfs: dict[pathlib.Path, int | None] = {}

    def mount_tmpfs(self, target: pathlib.Path, size: int | None = None, mode: int = 0o755) -> None:
        self.tmpfs[target] = size

    def is_mounted(self, path: pathlib.Path) -> bool:
        return path in self.tmpfs

    def unmount_tree(self, path: pathlib.Path) -> None:
        for target in [each for each in self.tmpfs if each.is_relative_to(path)]:
            del self.tmpfs[target]

    def bind(
        self, source: pathlib.Path, target: pathlib.Path, *, read_only: bool = False, recursive: bool = False
    ) -> None:
        if target.is_dir():
            target.rmdir()
        else:
            target.unlink()
        target.symlink_to(source.resolve())
