"""Changes of files without polling: one inotify descriptor per watch."""

import ctypes
import os
import pathlib

from pinnace.kernel import libc, pidfd

MODIFY = 0x002
CLOSE_WRITE = 0x008
MOVED_FROM = 0x040
MOVED_TO = 0x080
CREATE = 0x100
DELETE = 0x200


class Watch:
    """Tells that something happened below the watched paths; what it was the caller looks up. Use as a context manager."""

    def __init__(self, *targets: tuple[pathlib.Path, int]) -> None:
        """`targets`: (path, mask of events). Raises OSError (ENOENT, ENOSPC: too many watches)."""
        self._descriptor = libc.call("inotify_init1", ctypes.c_int(os.O_NONBLOCK | os.O_CLOEXEC))
        try:
            for path, mask in targets:
                self.add(path, mask)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, path: pathlib.Path, mask: int) -> None:
        libc.call(
            "inotify_add_watch",
            ctypes.c_int(self._descriptor),
            libc.encode(path),
            ctypes.c_uint32(mask),
            what=str(path),
        )

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    async def wait_changed(self) -> None:
        """Returns at once when something happened since the last call."""
        while not self.take():
            await pidfd.wait_readable(self._descriptor)

    def take(self) -> bool:
        """Whether something happened since the last call; never waits."""
        try:
            return bool(os.read(self._descriptor, 1 << 16))
        except BlockingIOError:
            return False
