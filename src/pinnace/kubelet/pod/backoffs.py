"""Restart and pull back-off with upstream's figures. Pure."""

from pinnace.kit import backoff
from pinnace.kubelet.pod import model

FIRST_SECONDS = 10.0
LIMIT_SECONDS = 300.0
FORGET_AFTER_SECONDS = 2 * LIMIT_SECONDS
"""A container that ran (or an image that was left alone) this long starts from the first delay again."""

RETRY = backoff.Backoff(first=0.5, limit=120.0)
"""For sandboxes, volumes and clean-up that failed: upstream's exponential delay of volume operations."""


SYNC_SECONDS = 10.0
"""Until a pod is looked at again whose claims are not bound, or of which a container could not be made: upstream's pod workers wait that long."""


def after_start(entry: model.CrashBackoff | None, now: float, finished_at: float) -> model.CrashBackoff:
    """The entry after a container is started again: the delay that its *next* restart has to wait."""
    if entry is None or finished_at - entry.updated_at > FORGET_AFTER_SECONDS:
        return model.CrashBackoff(FIRST_SECONDS, now)
    return model.CrashBackoff(min(LIMIT_SECONDS, entry.delay * 2), now)


def restart_at(entry: model.CrashBackoff | None, finished_at: float) -> float:
    """When a container that ended at `finished_at` may start again."""
    if entry is None or finished_at - entry.updated_at > FORGET_AFTER_SECONDS:
        return finished_at
    return finished_at + entry.delay


def resumed(attempt: int, started_at: float) -> model.CrashBackoff:
    """What an agent that has just begun assumes of a container on its `attempt`-th restart, begun at `started_at`: a delay that grew with
    every restart, and is forgotten (as ever) when the run lasted."""
    return model.CrashBackoff(min(LIMIT_SECONDS, FIRST_SECONDS * 2.0 ** min(attempt - 1, 16)), started_at)


def next_pull_delay(failures: int) -> float:
    """Seconds until the next try after `failures` failed pulls of an image in a row (1 is the first)."""
    return min(LIMIT_SECONDS, FIRST_SECONDS * 2.0 ** min(failures - 1, 16))
