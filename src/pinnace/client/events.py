"""Event objects: what `kubectl describe` shows. Recording never waits and never fails its caller."""

from typing import Any

from pinnace.client import client
from pinnace.kit import clock


class EventRecorder:
    """Counts repeats of the same (object, reason, message) into one Event, as upstream's correlator does; writes in the background."""

    def __init__(self, api: client.Client, component: str, time: clock.Clock, *, host: str = "") -> None:
        raise NotImplementedError

    def normal(self, regarding: dict[str, Any], reason: str, message: str, *, field_path: str = "") -> None:
        """`regarding` is the object itself (apiVersion, kind and metadata are read)."""
        raise NotImplementedError

    def warning(self, regarding: dict[str, Any], reason: str, message: str, *, field_path: str = "") -> None:
        raise NotImplementedError

    async def run(self) -> None:
        """Writes what was recorded; for ever."""
        raise NotImplementedError
