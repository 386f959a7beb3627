"""What a container leaves to say why it ended: its termination log, or the end of its output."""

import os
import pathlib
import stat

from pinnace.kubelet.pod import podspec

MESSAGE_BYTES = 4096
LOG_BYTES = 2048
LOG_LINES = 80
_TAIL_BYTES = 64 << 10


def message(container: podspec.Object, file: pathlib.Path, log: pathlib.Path, exit_code: int) -> str:
    """By terminationMessagePath and terminationMessagePolicy; "" when it said nothing."""
    text = _read_end(file, MESSAGE_BYTES) if container.get("terminationMessagePath") else b""
    if text or container.get("terminationMessagePolicy") != "FallbackToLogsOnError" or exit_code == 0:
        return text.decode(errors="replace")
    return last_lines(_read_end(log, _TAIL_BYTES)).decode(errors="replace")


def _read_end(path: pathlib.Path, limit: int) -> bytes:
    """The last `limit` bytes of a regular file; b"" when there is none. Nothing that a container put in its place is followed."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return b""
        file.seek(max(0, status.st_size - limit))
        return file.read(limit)


def last_lines(log: bytes) -> bytes:
    """The content of the last lines of a log in CRI format (`time stream F|P text`), within the limits."""
    pieces: list[bytes] = []
    for line in log.split(b"\n")[-LOG_LINES * 2 :]:
        fields = line.split(b" ", 3)
        if len(fields) == 4 and fields[1] in (b"stdout", b"stderr"):
            pieces.append(fields[3] + (b"" if fields[2].startswith(b"P") else b"\n"))
    text = b"".join(pieces)
    return b"".join(text.splitlines(keepends=True)[-LOG_LINES:])[-LOG_BYTES:]
