"""hostPath: a file or folder of the host, checked by its type. Never created unless asked, never owned, never removed."""

import pathlib

from pinnace.kubelet.pod import podspec
from pinnace.kubelet.volumes import interface


async def mount(context: interface.Context, name: str, source: podspec.Object) -> interface.Volume:
    path = pathlib.Path(source["path"])
    check(path, source.get("type") or "")
    return interface.Volume(path, owns_files=False)


def check(path: pathlib.Path, kind: str) -> None:
    """Raises VolumeError in upstream's words."""
    match kind:
        case "":
            if not path.exists():
                # An untyped path that is not there becomes a folder, as container runtimes have always done.
                path.mkdir(parents=True, exist_ok=True)
        case "DirectoryOrCreate":
            if not path.exists():
                path.mkdir(parents=True, exist_ok=True, mode=0o755)
            _require(path.is_dir(), path, "a directory")
        case "Directory":
            _require(path.is_dir(), path, "a directory")
        case "FileOrCreate":
            if not path.exists():
                path.touch(mode=0o644)
            _require(path.is_file(), path, "a file")
        case "File":
            _require(path.is_file(), path, "a file")
        case "Socket":
            _require(path.is_socket(), path, "a socket file")
        case "CharDevice":
            _require(path.is_char_device(), path, "a character device")
        case "BlockDevice":
            _require(path.is_block_device(), path, "a block device")
        case _:
            raise interface.VolumeError(f"hostPath type check failed: {kind} is an invalid volume type")


def _require(holds: bool, path: pathlib.Path, what: str) -> None:
    if not holds:
        raise interface.VolumeError(f"hostPath type check failed: {path} is not {what}")
