"""Which file a request for logs means, and how it is read. The choice follows what the pod's status says, as upstream's kubelet does."""

import datetime
import pathlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import cast

from pinnace.engine import logs
from pinnace.kit import clock
from pinnace.kubelet.pod import podspec

BATCH_BYTES = 32 << 10


class NoLog(Exception):
    """There is no such log (now); the text is upstream's."""


def attempt(status: podspec.Object, pod_name: str, container: str, *, previous: bool) -> int:
    """The attempt whose log is meant. Raises NoLog."""
    entry = _entry(status, container)
    if entry is None:
        raise NoLog(f'container "{container}" in pod "{pod_name}" is not available')
    state = entry.get("state") or {}
    count = int(entry.get("restartCount", 0))
    last = (entry.get("lastState") or {}).get("terminated") or {}
    is_last_current = bool(last) and last.get("containerID") == entry.get("containerID")
    if previous:
        if not last.get("containerID"):
            raise NoLog(f'previous terminated container "{container}" in pod "{pod_name}" not found')
        return count if is_last_current else count - 1
    if "running" in state or "terminated" in state or last:
        return count
    waiting = state.get("waiting") or {}
    reason = {
        "ErrImagePull": "image can't be pulled",
        "ImagePullBackOff": "trying and failing to pull image",
    }.get(waiting.get("reason", ""), waiting.get("reason", ""))
    if not reason:
        raise NoLog(f'container "{container}" in pod "{pod_name}" is waiting to start - no logs yet')
    raise NoLog(f'container "{container}" in pod "{pod_name}" is waiting to start: {reason}')


def _entry(status: podspec.Object, container: str) -> podspec.Object | None:
    for field in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
        for entry in status.get(field) or ():
            if entry.get("name") == container:
                return cast("podspec.Object", entry)
    return None


def options(values: Mapping[str, Sequence[str]], now: datetime.datetime) -> logs.Options:
    """From the query of a request. Raises ValueError."""

    def last(name: str) -> str:
        return values[name][-1] if values.get(name) else ""

    since_ns = None
    if last("sinceTime"):
        since_ns = int(clock.parse_rfc3339(last("sinceTime")).timestamp() * 1e9)
    elif last("sinceSeconds"):
        since_ns = int((now - datetime.timedelta(seconds=int(last("sinceSeconds")))).timestamp() * 1e9)
    streams: dict[str, logs.Stream] = {"Stdout": "stdout", "Stderr": "stderr"}
    return logs.Options(
        follow=is_true(last("follow")),
        tail=int(last("tailLines")) if last("tailLines") else None,
        since_ns=since_ns,
        limit_bytes=int(last("limitBytes")) if last("limitBytes") else None,
        timestamps=is_true(last("timestamps")),
        stream=streams.get(last("stream")),
        include_rotated=True,
    )


def is_true(text: str) -> bool:
    return text.lower() in ("1", "true")


async def stream(
    path: pathlib.Path, chosen: logs.Options, wait_ended: Callable[[], Awaitable[object]]
) -> AsyncIterator[bytes]:
    """The log's bytes: line by line while it is followed, in larger pieces otherwise."""
    pieces: list[bytes] = []
    size = 0
    async for _, data in logs.read(path, chosen, wait_ended):
        if chosen.follow:
            yield data
            continue
        pieces.append(data)
        size += len(data)
        if size >= BATCH_BYTES:
            yield b"".join(pieces)
            pieces, size = [], 0
    if pieces:
        yield b"".join(pieces)
