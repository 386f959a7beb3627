"""Runs all controllers over one set of informers, each writing under its own identity.

`api_for(user name)` gives a client that acts as that user; whoever composes the process decides its groups (see `groups_of`).
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from pinnace.client import client, events, informers
from pinnace.controllers import (
    aggregation,
    certificates,
    cronjob,
    daemonset,
    deployment,
    disruption,
    endpoints,
    endpointslice,
    ephemeral,
    eviction,
    garbagecollector,
    job,
    mirroring,
    namespace,
    node,
    protection,
    replicaset,
    serviceaccount,
    servicecidr,
    stale_disruption,
    statefulset,
    ttl,
    volumebinder,
)
from pinnace.controllers import settings as settings_module
from pinnace.controllers.framework import loop
from pinnace.kit import clock, tasks

log = logging.getLogger(__name__)

Settings = settings_module.Settings
GARBAGE_COLLECTOR = "system:serviceaccount:kube-system:generic-garbage-collector"
ApiFor = Callable[[str], client.Client]


def groups_of(user_name: str) -> tuple[str, ...]:
    """The groups that a controller's identity belongs to, as authentication would find them."""
    if user_name.startswith("system:serviceaccount:"):
        space = user_name.split(":")[2]
        return ("system:serviceaccounts", f"system:serviceaccounts:{space}", "system:authenticated")
    return ("system:authenticated",)


def controllers(settings: settings_module.Settings, time: clock.Clock) -> Sequence[loop.Controller]:
    """Every controller with a plan, as the settings want it."""
    return [
        namespace.controller(),
        *serviceaccount.controllers(settings.root_certificate),
        *replicaset.controllers(),
        deployment.controller(),
        job.controller(),
        cronjob.controller(),
        endpointslice.controller(),
        endpoints.controller(),
        statefulset.controller(),
        daemonset.controller(time),
        disruption.controller(),
        stale_disruption.controller(),
        mirroring.controller(),
        servicecidr.controller(),
        ttl.controller(),
        ephemeral.controller(),
        aggregation.controller(),
        *certificates.controllers(settings.root_certificate, settings.signing_key),
        *volumebinder.controllers(),
        *protection.controllers(),
        *node.controllers(settings, time),
        *eviction.controllers(settings, time),
    ]


class Manager:
    """`run` never returns; `loops` shows what is running (for tests that wait until everything is done)."""

    def __init__(
        self, api_for: ApiFor, shared: informers.Shared, time: clock.Clock, settings: settings_module.Settings
    ) -> None:
        """`shared` makes an informer for whatever it is asked for; whoever composes the process runs it."""
        self._clock = time
        self._informers = shared
        self._recorders: list[events.EventRecorder] = []
        self.collector = self._make_collector(api_for(GARBAGE_COLLECTOR))
        self.loops = {
            controller.name: self._make(controller, api_for(controller.user_name))
            for controller in controllers(settings, time)
        }

    def _make(self, controller: loop.Controller, api: client.Client) -> loop.Loop:
        recorder = events.EventRecorder(api, controller.component or f"{controller.name}-controller", self._clock)
        self._recorders.append(recorder)
        return loop.Loop(controller, api, recorder, self._informers, self._clock)

    def _make_collector(self, api: client.Client) -> garbagecollector.GarbageCollector:
        recorder = events.EventRecorder(api, "garbage-collector-controller", self._clock)
        self._recorders.append(recorder)
        return garbagecollector.GarbageCollector(api, self._informers, recorder, self._clock)

    @property
    def is_idle(self) -> bool:
        """Nothing to do until something changes or falls due."""
        return self.collector.is_idle and all(each.is_idle for each in self.loops.values())

    async def run(self) -> None:
        async with tasks.Supervisor(self._clock) as supervisor:
            supervisor.start("garbage collector", self.collector.run)
            for recorder in self._recorders:
                supervisor.start("events", recorder.run)
            for name, each in self.loops.items():
                supervisor.start(f"{name} controller", each.run)
            await asyncio.Event().wait()
