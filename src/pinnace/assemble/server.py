"""The server process: API, store, controllers and scheduler in one event loop. Needs no root.

    python -m pinnace.assemble.server DATA_DIR

Controllers and scheduler reach the API through `client` over a `DirectTransport`, each under the user name that upstream gives it, so that
authorisation, admission and watches are the same as over the network.
"""

import asyncio
import importlib
import logging
import pathlib
import sys

from pinnace.apiserver import server as apiserver
from pinnace.apiserver import settings as apiserver_settings
from pinnace.apiserver import users
from pinnace.apiserver.storage import envelope
from pinnace.assemble import addons, places, process, settings
from pinnace.client import client, transport
from pinnace.kit import clock, tasks
from pinnace.store import interface, sqlite
from pinnace.web import messages, tls
from pinnace.web import server as web_server

log = logging.getLogger(__name__)

STOP_SECONDS = 5.0


async def run(where: places.Places, cluster: settings.Cluster) -> None:
    time = clock.SystemClock()
    store = await sqlite.open_store(where.store, envelope.stamp, time)
    api = apiserver.ApiServer(store, time, api_settings(where, cluster))
    await api.start()
    clients = DirectClients(api.handle)
    await addons.ensure(clients.of("system:pinnace:addons", users.MASTERS))
    listener = web_server.HttpServer(api.handle, time=time)
    context = tls.server_context(
        where.pki / "apiserver.crt", where.pki / "apiserver.key", client_authority=where.pki / "ca.crt"
    )
    await listener.start("", cluster.port, context)
    try:
        async with tasks.Supervisor(time) as supervisor:
            # Only now, and beside the loop: controllers and the scheduler (numpy) take almost as long to import as all the rest, and the
            # API can answer without them.
            loops = await asyncio.to_thread(importlib.import_module, "pinnace.assemble.loops")
            loops.start(supervisor, clients, where, cluster, time)
            api.services.components.update(loops.components(supervisor))
            process.settle_memory()
            supervisor.start("memory", process.keep_memory_small)
            await stopped_or_failed(store)
    finally:
        await listener.stop(STOP_SECONDS)
        await api.stop()
        await store.close()


async def stopped_or_failed(store: sqlite.SqliteStore) -> None:
    """Until a signal asks to stop. A store that has failed ends the process: the supervisor starts one that reads the disk anew."""
    stop = asyncio.ensure_future(process.stop_requested())
    failed = asyncio.ensure_future(store.wait_failed())
    try:
        await asyncio.wait({stop, failed}, return_when=asyncio.FIRST_COMPLETED)
        if failed.done():
            raise failed.result()
    finally:
        stop.cancel()
        failed.cancel()


def api_settings(where: places.Places, cluster: settings.Cluster) -> apiserver_settings.Settings:
    issuer = f"https://kubernetes.default.svc.{cluster.cluster_domain}"
    return apiserver_settings.Settings(
        service_account_key=(where.pki / "sa.key").read_bytes(),
        service_account_issuer=issuer,
        api_audiences=(issuer,),
        service_cidr=cluster.service_cidr,
        dns_address=cluster.cluster_dns,
        advertise_address=cluster.node_ip,
        advertise_port=cluster.port,
        kubelet_tls=tls.client_context(
            authority=where.pki / "ca.crt",
            certificate=where.pki / "apiserver-kubelet-client.crt",
            key=where.pki / "apiserver-kubelet-client.key",
        ),
    )


class DirectClients:
    """Clients within this process, by user name."""

    def __init__(self, handler: messages.Handler) -> None:
        self._handler = handler

    def of(self, name: str, *groups: str) -> client.Client:
        """`system:kube-scheduler`, `system:serviceaccount:kube-system:job-controller` … with the groups that follow from it."""
        groups = (*groups, users.AUTHENTICATED)
        account = users.split_service_account(name)
        if account is not None:
            groups = (users.SERVICE_ACCOUNTS, f"{users.SERVICE_ACCOUNTS}:{account[0]}", *groups)
        agent = account[1] if account else name.removeprefix("system:")
        user = users.UserInfo(name, groups=groups)
        return client.Client(transport.DirectTransport(self._handler, user), user_agent=agent)


def main() -> None:
    where, cluster = settings.require(pathlib.Path(sys.argv[1]))
    try:
        process.run(lambda: run(where, cluster), where.log_of("server"), cluster.log_level)
    except interface.StoreFailed as error:
        # It says all there is to say; a traceback would only hide it.
        log.critical("%s", error)
        sys.exit(1)


if __name__ == "__main__":
    main()
