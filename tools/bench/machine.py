"""What this machine can do at best, so that figures from different machines can be compared."""

import functools
import os
import pathlib
import platform
import statistics
import subprocess
import tempfile
import time


def limits() -> dict[str, str]:
    return {
        "machine": f"{os.cpu_count()} cores, {_memory_gib():.0f} GiB, Linux {platform.release()}",
        "4 KiB write + fdatasync": _spread(_fdatasync_times()),
        "fork + exec of `true`": _spread(_spawn_times()),
        "copying memory": f"{_copy_gib_per_second():.1f} GiB/s",
    }


def _memory_gib() -> float:
    line = pathlib.Path("/proc/meminfo").read_text().splitlines()[0]
    return int(line.split()[1]) / 2**20


def _fdatasync_times() -> list[float]:
    with tempfile.NamedTemporaryFile(dir=".") as file:
        return [_timed(functools.partial(_write_synced, file.fileno(), index)) for index in range(200)]


def _write_synced(descriptor: int, index: int) -> None:
    os.pwrite(descriptor, b"x" * 4096, index * 4096)
    os.fdatasync(descriptor)


def _spawn_times() -> list[float]:
    return [_timed(lambda: subprocess.run(["/bin/true"], check=True)) for _ in range(50)]


def _copy_gib_per_second() -> float:
    block = bytearray(64 << 20)
    return (64 / 1024) / min(_timed(lambda: bytes(block)) for _ in range(5))


def _timed(action) -> float:  # type: ignore[no-untyped-def]
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def _spread(times: list[float]) -> str:
    ordered = sorted(times)
    return f"p50 {statistics.median(ordered) * 1000:.2f} ms, p99 {ordered[int(len(ordered) * 0.99)] * 1000:.2f} ms"
