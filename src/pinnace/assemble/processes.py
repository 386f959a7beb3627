"""Which process is which: files that name a process by its id and its start time, so that a reused id is never mistaken."""

import os
import pathlib
import select
import signal
import sys
from collections.abc import Iterator

from pinnace.assemble import places
from pinnace.kit import files

COMPONENTS = ("supervisor", "server", "node")
MODULES = {
    "supervisor": "pinnace.assemble.supervise",
    "server": "pinnace.assemble.server",
    "node": "pinnace.assemble.node",
    "tear-down": "pinnace.assemble.tear_down",
}


def command(component: str, data_dir: pathlib.Path) -> list[str]:
    """What starts a process of a cluster. `-P`: a file of the user's working folder is never taken for a module."""
    return [sys.executable, "-P", "-m", MODULES[component], str(data_dir)]


def environment() -> dict[str, str]:
    """For a process of a cluster. It starts again within a second when it was killed: compiling its two hundred modules each time, as
    this variable of build machines and container images asks for, would take longer than all the rest.

    One heap for all threads (mallopt(3)): they take turns in Python anyway, and what one frees the others can use. With a heap each,
    half an hour of churn left hundreds of free MB in heaps that nobody came back to. Large blocks are the system's, and go back at once."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": str(1 << 20), **inherited}


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


def running(where: places.Places) -> dict[str, int]:
    """The components that run, by name. One whose file is lost (somebody emptied the run folder) is found in /proc and written down again."""
    found = {name: pid for name in COMPONENTS if (pid := read(where.pid_file(name))) is not None}
    lost = [name for name in COMPONENTS if name not in found]
    for pid, arguments in own_processes() if lost else ():
        for name in lost:
            if arguments[-3:] == ["-m", MODULES[name], str(where.data)]:
                found[name] = pid
                where.run.mkdir(parents=True, exist_ok=True, mode=0o711)
                write(where.pid_file(name), pid)
    return found


def own_processes() -> Iterator[tuple[int, list[str]]]:
    """Processes of this user with their arguments."""
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if entry.stat().st_uid == os.geteuid():
                yield int(entry.name), (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
        except (FileNotFoundError, ProcessLookupError):
            continue


def data_dirs() -> list[str]:
    """Of the clusters that this user runs."""
    supervisor = ["-m", MODULES["supervisor"]]
    return sorted(arguments[-1] for _, arguments in own_processes() if arguments[-3:-1] == supervisor)


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
