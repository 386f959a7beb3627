"""Log files that stay small: one of at most `LIMIT_BYTES` and the one before it, `<name>.1`. Standard library only."""

import logging
import os
import pathlib

LIMIT_BYTES = 10 << 20


def bound(path: pathlib.Path) -> None:
    """Before the file is opened for more: a large one becomes `<name>.1`, in the place of the last such."""
    try:
        if path.stat().st_size >= LIMIT_BYTES:
            path.replace(path.with_name(path.name + ".1"))
    except FileNotFoundError:
        return


class LogFile(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to a file that is this process's standard error too, and turns it over when it has grown.

    Both descriptors move to the new file at once, so nothing that is written meanwhile is lost.
    """

    def __init__(self, path: pathlib.Path, limit: int = LIMIT_BYTES) -> None:
        super().__init__()
        self._path = path
        self._limit = limit

    def emit(self, record: logging.LogRecord) -> None:
        super().emit(record)
        if os.fstat(self.stream.fileno()).st_size >= self._limit and self._is_ours():
            self._turn_over()

    def _is_ours(self) -> bool:
        """Not when somebody started the process by hand, with another place for its output."""
        try:
            return os.path.samestat(os.fstat(self.stream.fileno()), self._path.stat())
        except FileNotFoundError:
            return False

    def _turn_over(self) -> None:
        self._path.replace(self._path.with_name(self._path.name + ".1"))
        fresh = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        for descriptor in (1, self.stream.fileno()):
            os.dup2(fresh, descriptor)
        os.close(fresh)
