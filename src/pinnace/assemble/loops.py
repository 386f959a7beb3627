"""What watches the cluster and acts on it: controllers and scheduler, within the server process or in processes of their own.

Each acts only while it holds upstream's lease in kube-system: of several that run, one of each kind acts.
"""

import functools
import random
from collections.abc import Callable, Mapping
from typing import Protocol

from pinnace.assemble import places, settings
from pinnace.client import client, events, informers, leases
from pinnace.controllers import manager
from pinnace.controllers import settings as controller_settings
from pinnace.controllers.framework import loop
from pinnace.kit import clock, tasks
from pinnace.scheduler import loop as scheduler

MANAGER_LEASE, SCHEDULER_LEASE = "kube-controller-manager", "kube-scheduler"
UNDER_ONE_ROOF = leases.Settings(lease_duration=60.0, renew_deadline=40.0, retry_period=20.0)
"""Within the one server of a machine nobody waits for the lease but a second control plane, which then waits a little longer: an idle
cluster shall not write to its disk every second for that."""


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
    supervisor.start("informers", shared.run)
    # One process at a time has this store: under the same name it goes on at once after a crash.
    identity = f"{cluster.node_name}_{cluster.id}"
    start_controllers(supervisor, clients, shared, time, options, identity, UNDER_ONE_ROOF)
    start_scheduler(supervisor, clients, shared, time, identity, UNDER_ONE_ROOF, rng)


def start_controllers(
    supervisor: tasks.Supervisor,
    clients: Clients,
    shared: informers.Informers,
    time: clock.Clock,
    options: controller_settings.Settings,
    identity: str,
    lease: leases.Settings,
) -> None:
    """`identity`: of this candidate, see `leases.LeaderElection`."""
    controllers = manager.Manager(clients.of, shared, time, options)
    election = _election(clients.of(f"system:{MANAGER_LEASE}"), time, MANAGER_LEASE, identity, lease)
    supervisor.start("controllers", functools.partial(election.lead, controllers.run))


def start_scheduler(
    supervisor: tasks.Supervisor,
    clients: Clients,
    shared: informers.Informers,
    time: clock.Clock,
    identity: str,
    lease: leases.Settings,
    rng: random.Random | None = None,
) -> None:
    """`identity` and `rng`: as above."""
    api = clients.of(f"system:{SCHEDULER_LEASE}")
    recorder = events.EventRecorder(api, "default-scheduler", time)
    scheduling = scheduler.Scheduler(api, shared, time, recorder, rng=rng)
    election = _election(api, time, SCHEDULER_LEASE, identity, lease)
    supervisor.start("scheduler events", recorder.run)
    supervisor.start("scheduler", functools.partial(election.lead, scheduling.run))


def _election(
    api: client.Client, time: clock.Clock, name: str, identity: str, lease: leases.Settings
) -> leases.LeaderElection:
    return leases.LeaderElection(api, time, namespace="kube-system", name=name, identity=identity, settings=lease)


def components(supervisor: tasks.Supervisor) -> Mapping[str, Callable[[], str]]:
    """What monitoring asks for, by upstream's names: "" while its loop runs."""

    def check(loop: str) -> Callable[[], str]:
        return lambda: f"{loop} failed and is started again" if supervisor.is_failing(loop) else ""

    return {"scheduler": check("scheduler"), "controller-manager": check("controllers")}
