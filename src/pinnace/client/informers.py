"""The informers that the parts of one process share: one list, one watch and one cache for each resource."""

import asyncio
from collections.abc import Mapping

from pinnace.api import resources
from pinnace.client import client, informer
from pinnace.kit import clock, tasks

Shared = Mapping[resources.Resource, informer.Informer]


class Informers(dict[resources.Resource, informer.Informer]):
    """An informer is made when it is first asked for, and runs as long as `run` does."""

    def __init__(self, api: client.Client, time: clock.Clock) -> None:
        """All of them read as the user of `api`."""
        super().__init__()
        self._api = api
        self._clock = time
        self._supervisor = tasks.Supervisor(time)
        self._is_running = False

    def __missing__(self, resource: resources.Resource) -> informer.Informer:
        made = self[resource] = informer.Informer(self._api, resource, self._clock)
        if self._is_running:
            self._start(resource)
        return made

    async def run(self) -> None:
        """For ever."""
        async with self._supervisor:
            self._is_running = True
            try:
                for resource in self:
                    self._start(resource)
                await asyncio.Event().wait()
            finally:
                self._is_running = False

    def _start(self, resource: resources.Resource) -> None:
        self._supervisor.start(f"informer of {resource.plural}", self[resource].run)
