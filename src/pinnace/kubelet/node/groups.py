"""What all pods together may take of the machine, and how the classes of service share it: the groups that their own lie in.

Called by the agent: once before any pod is started, and from then on told when pods come and go.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping

from pinnace.api import quantity
from pinnace.engine import interface
from pinnace.kit import clock
from pinnace.kubelet.pod import dependencies, podspec, qos

log = logging.getLogger(__name__)

ALL = ""
RETRY_SECONDS = 60.0
Tell = Callable[[bool, str, str], None]
"""(is a warning, reason, message): an event of the node."""


def allocatable(machine: dependencies.Machine) -> interface.Resources:
    """Limits of all pods together: beyond them the kernel takes from the pods, not from the machine's own services."""
    return interface.Resources(
        cpu_shares=qos.shares(quantity.milli(machine.allocatable["cpu"])),
        memory_bytes=quantity.value(machine.allocatable["memory"]),
        pids=machine.pids,
    )


class Groups:
    def __init__(
        self,
        engine: interface.Engine,
        machine: dependencies.Machine,
        time: clock.Clock,
        pods: Callable[[], Iterable[podspec.Object]],
        tell: Tell,
    ) -> None:
        """`pods`: those that are here and not over."""
        self._engine = engine
        self._machine = machine
        self._clock = time
        self._pods = pods
        self._tell = tell
        self._applied: dict[str, interface.Resources] = {}
        self._changed = asyncio.Event()

    def note_change(self) -> None:
        """A pod came or went."""
        self._changed.set()

    async def enforce(self) -> bool:
        """The limits of all pods. What the kernel refuses is told, and pods run all the same."""
        try:
            await self._engine.limit_group(ALL, allocatable(self._machine))
        except interface.EngineError as error:
            text = f"Failed to update Node Allocatable Limits {error}"
            self._tell(True, "FailedNodeAllocatableEnforcement", text)
            return False
        self._tell(False, "NodeAllocatableEnforced", "Updated Node Allocatable limit across pods")
        return True

    async def run(self) -> None:
        """For ever."""
        while not await self.enforce():
            await self._clock.sleep(RETRY_SECONDS)
        while True:
            self._changed.clear()
            await self._share(qos.group_resources(self._pods()))
            await self._changed.wait()

    async def _share(self, wanted: Mapping[str, interface.Resources]) -> None:
        for group, resources in wanted.items():
            if self._applied.get(group) == resources:
                continue
            try:
                await self._engine.limit_group(group, resources)
            except interface.EngineError as error:
                log.warning("the pods of class %s have not their share of the CPUs: %s", group, error)
            else:
                self._applied[group] = resources
