"""What watches the cluster and acts on it within the server process: controllers and scheduler."""

import random
from collections.abc import Callable, Mapping
from typing import Protocol

from pinnace.assemble import places, settings
from pinnace.client import client, events, informers
from pinnace.controllers import manager
from pinnace.controllers import settings as controller_settings
from pinnace.controllers.framework import loop
from pinnace.kit import clock, tasks
from pinnace.scheduler import loop as scheduler


class Clients(Protocol):
    def of(self, name: str) -> client.Client: ...


def start(
    supervisor: tasks.Supervisor,
    clients: Clients,
    where: places.Places,
    cluster: settings.Cluster,
    time: clock.Clock,
    rng: random.Random | None = None,
) -> None:
    """`rng`: the scheduler's, between equally good nodes; seeded by the system unless given."""
    options = controller_settings.Settings(
        cluster_cidr=cluster.pod_cidr,
        root_certificate=(where.pki / "ca.crt").read_text(),
        signing_key=(where.pki / "ca.key").read_bytes(),
        control_plane_node=cluster.node_name if cluster.node else "",
    )
    shared = informers.Informers(clients.of(loop.MANAGER), time)
    controllers = manager.Manager(clients.of, shared, time, options)
    api = clients.of("system:kube-scheduler")
    recorder = events.EventRecorder(api, "default-scheduler", time)
    supervisor.start("scheduler events", recorder.run)
    scheduling = scheduler.Scheduler(api, shared, time, recorder, rng=rng)
    supervisor.start("informers", shared.run)
    supervisor.start("controllers", controllers.run)
    supervisor.start("scheduler", scheduling.run)


def components(supervisor: tasks.Supervisor) -> Mapping[str, Callable[[], str]]:
    """What monitoring asks for, by upstream's names: "" while its loop runs."""

    def check(loop: str) -> Callable[[], str]:
        return lambda: f"{loop} failed and is started again" if supervisor.is_failing(loop) else ""

    return {"scheduler": check("scheduler"), "controller-manager": check("controllers")}
