"""Takes a stopped node off the machine, for `pinnace down`. Root. Knows engine and network alone: it works where the kubelet does not.

python -m pinnace.assemble.tear_down DATA_DIR
"""

import asyncio
import ipaddress
import logging
import pathlib
import sys

from pinnace.assemble import machine, places, process, settings
from pinnace.kernel import cgroups, namespaces
from pinnace.kit import clock
from pinnace.net import base_table, bridge, host_ports

log = logging.getLogger(__name__)

GRACE_SECONDS = 5.0
"""For containers to end by themselves; what matters to them is on the disk well before."""


async def tear_down(where: places.Places, cluster: settings.Cluster) -> None:
    """Every container stopped (its stop signal first), every sandbox removed; networks, rules and cgroups gone."""
    time = clock.SystemClock()
    engine = machine.engine(where, cluster, time)
    await engine.open()
    stops = [engine.stop(one.id, GRACE_SECONDS) for one in await engine.list() if one.status.is_alive]
    for outcome in await asyncio.gather(*stops, return_exceptions=True):
        if isinstance(outcome, BaseException):
            log.warning("a container did not stop: %s", outcome)
    for container in await engine.list():
        await engine.remove(container.id, force=True)
    for sandbox in await engine.list_sandboxes():
        await engine.remove_sandbox(sandbox.id)
    await engine.close()
    table = base_table.BaseTable(machine.table(cluster))
    whole_range = ipaddress.IPv4Network(cluster.pod_cidr)
    network = bridge.BridgeNetwork(machine.network(where, cluster, whole_range), table, host_ports.HostPorts(), time)
    await network.purge()
    await network.close()
    await table.purge()
    await table.close()
    cgroups.Cgroups.discover().remove(cluster.cgroup)


def main() -> None:
    where, cluster = settings.require(pathlib.Path(sys.argv[1]))
    namespaces.enter_or_create_mount_namespace(where.mount_namespace)
    process.run(lambda: tear_down(where, cluster), where.log_of("node"), cluster.log_level)


if __name__ == "__main__":
    main()
