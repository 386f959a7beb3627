"""What watches the cluster and acts on it within the server process: controllers and scheduler."""

from typing import Protocol

from pinnace.assemble import places, settings
from pinnace.client import client, events
from pinnace.controllers import manager
from pinnace.controllers import settings as controller_settings
from pinnace.kit import clock, tasks
from pinnace.scheduler import loop as scheduler


class Clients(Protocol):
    def of(self, name: str) -> client.Client: ...


def start(
    supervisor: tasks.Supervisor, clients: Clients, where: places.Places, cluster: settings.Cluster, time: clock.Clock
) -> None:
    options = controller_settings.Settings(
        cluster_cidr=cluster.pod_cidr,
        root_certificate=(where.pki / "ca.crt").read_text(),
        signing_key=(where.pki / "ca.key").read_bytes(),
    )
    supervisor.start("controllers", lambda: manager.run(clients.of, time, options))
    api = clients.of("system:kube-scheduler")
    recorder = events.EventRecorder(api, "default-scheduler", time)
    supervisor.start("scheduler events", recorder.run)
    supervisor.start("scheduler", scheduler.Scheduler(api, time, recorder).run)
