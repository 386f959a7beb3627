"""Which process is which: files that name a process by its id and its start time, so that a reused id is never mistaken."""

import os
import pathlib
import select
import signal

from pinnace.kit import files


def start_time(pid: int) -> str | None:
    """In clock ticks since boot (proc_pid_stat(5), field 22); None when there is no such process."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    is_zombie = fields[0] == "Z"
    return None if is_zombie else fields[19]


def write(path: pathlib.Path, pid: int) -> None:
    files.write_atomic(path, f"{pid} {start_time(pid)}\n".encode())


def read(path: pathlib.Path) -> int | None:
    """The id of the process that `path` names, if it still runs."""
    try:
        pid, started = path.read_text().split()
    except (FileNotFoundError, ValueError):
        return None
    return int(pid) if start_time(int(pid)) == started else None


def signal_and_wait(path: pathlib.Path, number: signal.Signals, timeout: float) -> bool:
    """Send a signal to the process that `path` names and wait for its end. True once it is gone."""
    pid = read(path)
    if pid is None:
        return True
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        if read(path) != pid:
            return True
        signal.pidfd_send_signal(handle, number)
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        return bool(poll.poll(timeout * 1000))
    except ProcessLookupError:
        return True
    finally:
        os.close(handle)
