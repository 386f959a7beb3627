"""The monitor of a container: one `conmon` process each, which outlives the engine.

It runs the runtime's `create`, holds the container's stdio, writes its log, listens on the bundle's `attach` socket and `ctl` fifo, and
after the container's death leaves the exit code in `exits/<id>` and ends. Its end is what the engine waits for.
"""

import asyncio
import dataclasses
import json
import os
import pathlib
import signal
from collections.abc import Mapping
from typing import Any

from pinnace.engine import interface, records
from pinnace.kernel import pidfd, process

RUNTIME = "/usr/bin/crun"
CONMON = "/usr/bin/conmon"
# A runtime that takes longer than this to create a container hangs.
CREATE_TIMEOUT = 60.0
REPORT_LIMIT = 1 << 20

RESIZE, REOPEN = 1, 2


@dataclasses.dataclass(frozen=True, slots=True)
class Places:
    bundle: pathlib.Path
    runtime_root: pathlib.Path

    @property
    def pid_file(self) -> pathlib.Path:
        return self.bundle / "conmon.pid"

    @property
    def persist(self) -> pathlib.Path:
        return self.bundle / "persist"

    @property
    def exits(self) -> pathlib.Path:
        return self.bundle / "exits"


def command(record: records.ContainerRecord, places: Places) -> tuple[str, ...]:
    """The monitor's argument vector. Pure."""
    spec = record.spec
    argv = [
        CONMON, "--api-version", "1", "--cid", record.id, "--cuuid", record.id, "--name", record.id[:12],
        "--runtime", RUNTIME, "--runtime-arg", f"--root={places.runtime_root}", "--runtime-arg", "--cgroup-manager=cgroupfs",
        "--bundle", str(places.bundle), "--conmon-pidfile", str(places.pid_file),
        "--container-pidfile", str(places.bundle / "pid"), "--exit-dir", str(places.exits),
        "--persist-dir", str(places.persist), "--log-path", f"k8s-file:{record.log_path}", "--log-level", "error",
        "--full-attach", "--no-new-keyring", "--no-sync-log",
    ]  # fmt: skip
    if spec.tty:
        argv.append("--terminal")
    if spec.stdin:
        argv.append("--stdin")
        if not spec.stdin_once:
            argv.append("--leave-stdin-open")
    return tuple(argv)


async def create(record: records.ContainerRecord, places: Places) -> int:
    """Start the monitor, which creates the container. Returns the container's pid. Raises StartError with the runtime's words."""
    for folder in (places.persist, places.exits):
        folder.mkdir(exist_ok=True, mode=0o700)
    read, write = os.pipe2(os.O_CLOEXEC)
    try:
        environment: Mapping[str, str] = {**process.DEFAULT_ENVIRONMENT, "_OCI_SYNCPIPE": str(write)}
        child = process.spawn(
            command(record, places), environment=environment, pass_descriptors=(write,), directory=str(places.bundle),
            new_session=True,
        )  # fmt: skip
    except process.ProcessError as error:
        os.close(read)
        raise interface.StartError(f"{error}; is the package conmon installed?") from error
    finally:
        os.close(write)
    try:
        async with asyncio.timeout(CREATE_TIMEOUT):
            # The first process forks the monitor and ends; it must be reaped.
            await child.wait()
            report = await _read_report(read)
    except TimeoutError:
        child.kill(signal.SIGKILL)
        raise interface.StartError(f"the runtime did not create the container within {CREATE_TIMEOUT:.0f} s") from None
    finally:
        os.close(read)
    pid = int(report.get("data", -1))
    if pid <= 0:
        raise start_error(str(report.get("message", "")).strip() or "the monitor ended without a word")
    return pid


def start_error(message: str) -> interface.StartError:
    """The runtime's complaint with the exit code that Docker and containerd give for it."""
    text = message.strip()
    low = text.lower()
    if ("executable file" in low and "not found" in low) or "no such file or directory" in low:
        return interface.StartError(text, 127)
    if "permission denied" in low or "exec format error" in low or "is a directory" in low:
        return interface.StartError(text, 126)
    return interface.StartError(text, 128)


async def _read_report(descriptor: int) -> Mapping[str, Any]:
    """The first line on the pipe; what is not JSON is a message."""
    os.set_blocking(descriptor, False)
    data = b""
    while b"\n" not in data and len(data) < REPORT_LIMIT:
        piece = await process.read_some(descriptor)
        if not piece:
            break
        data += piece
    line = data.partition(b"\n")[0]
    try:
        report = json.loads(line)
    except ValueError:
        return {"data": -1, "message": line.decode(errors="replace")}
    return report if isinstance(report, dict) else {}


def open_monitor(container_id: str, places: Places) -> int | None:
    """A pidfd of the container's running monitor; None when it has ended."""
    try:
        pid = int(places.pid_file.read_text())
    except (OSError, ValueError):
        return None
    descriptor = pidfd.open_pidfd(pid)
    if descriptor is None:
        return None
    # The number may have been given to another process since: the descriptor is open now, so its command line tells for good.
    try:
        is_ours = container_id.encode() in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        is_ours = False
    if not is_ours or pidfd.is_dead(descriptor):
        os.close(descriptor)
        return None
    return descriptor


def read_exit(container_id: str, places: Places) -> tuple[int, int] | None:
    """(exit code, when in nanoseconds) as the monitor left it; None when it could not."""
    path = places.exits / container_id
    try:
        code = int(path.read_text())
        moment = path.stat().st_mtime_ns
    except (OSError, ValueError):
        return None
    return code, moment


def was_oom_reported(places: Places) -> bool:
    return (places.persist / "oom").exists() or (places.bundle / "oom").exists()


async def control(places: Places, kind: int, height: int = 0, width: int = 0) -> None:
    """Tell the monitor the window's size or to open its log again. Quiet when it is gone."""
    try:
        descriptor = os.open(places.bundle / "ctl", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return
    try:
        await process.write_some(descriptor, f"{kind} {height} {width}\n".encode())
    except BrokenPipeError:
        return
    finally:
        os.close(descriptor)
