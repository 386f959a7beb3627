"""Files that are either wholly there or not there at all."""

import os
import pathlib
import tempfile


def write_atomic(path: pathlib.Path, data: bytes, mode: int = 0o644, *, durable: bool = False) -> None:
    """Write `data` to `path` so that no reader ever sees a part of it; with `durable`, synced before the return."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    if durable:
        sync_directory(path.parent)


def sync_directory(path: pathlib.Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
