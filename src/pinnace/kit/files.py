"""Files that are either wholly there or not there at all, and folders that others do not enter."""

import os
import pathlib
import re
import stat

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{16}")


def write_atomic(path: pathlib.Path, data: bytes, mode: int = 0o644, *, durable: bool = False) -> None:
    """Write `data` to `path` so that no reader ever sees a part of it; with `durable`, synced before the return."""
    temporary = f"{path.parent}/.{path.name}.{os.urandom(8).hex()}"
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with open(handle, "wb", buffering=0) as file:
            os.fchmod(handle, mode)
            rest = memoryview(data)
            while rest:
                rest = rest[file.write(rest) :]
            if durable:
                os.fsync(handle)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    if durable:
        sync_directory(path.parent)


def close_folder(folder: pathlib.Path, mode: int = 0o700) -> None:
    """Make the folder; one that is there, or that a wide umask made, gives nobody more than `mode` does.

    What lies in it may then have any mode: an image's set-user-id programs, folders that every user of a pod may write. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True, mode=mode)
    present = stat.S_IMODE(folder.stat().st_mode)
    if present & ~mode:
        folder.chmod(present & mode)


def make_below(base: pathlib.Path, *names: str) -> pathlib.Path:
    """`base/a/b/c`, made from the top where it is missing: `mkdir(parents=True)` tries the last folder first, and fails once for every
    one that is not there. Raises OSError."""
    path = str(base)
    for name in names:
        path = f"{path}/{name}"
        try:
            os.mkdir(path)
        except FileExistsError:
            continue
        except FileNotFoundError:
            base.mkdir(parents=True, exist_ok=True)
            return make_below(base, *names)
    return pathlib.Path(path)


def remove_temporaries(folder: pathlib.Path) -> None:
    """Take away what a process that ended in the middle of `write_atomic` left in `folder`; for the folder's only writer."""
    for entry in list(os.scandir(folder)):
        if _TEMPORARY.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
            os.unlink(entry.path)


def sync_directory(path: pathlib.Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
