"""The log of a process that notes much, turned over by itself. Apart from `logs`: the supervisor has no use for `logging` and its memory."""

import logging
import os
import pathlib

from pinnace.assemble import logs


class LogFile(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to a file that is this process's standard error too, and turns it over when it has grown.

    Both descriptors move to the new file at once, so nothing that is written meanwhile is lost.
    """

    def __init__(self, path: pathlib.Path, limit: int = logs.LIMIT_BYTES) -> None:
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
