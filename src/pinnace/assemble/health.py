"""What runs and whether it is ready: for `pinnace status`, and for whoever waits after a start. Imports little, so that it starts fast."""

import asyncio
import dataclasses
import json
import pathlib
import time
from collections.abc import Callable
from typing import Any

from pinnace.assemble import places, processes, settings
from pinnace.web import client as web_client
from pinnace.web import tls

Tell = Callable[[str], None]

ANSWER_SECONDS = 5.0
ANSWER_BYTES = 4 << 20
READY_SECONDS = 60.0
POLL_SECONDS = 0.01
LOG_LINES_SHOWN = 15
STARTS_BEFORE_GIVING_UP = 5
"""A component that ended this often while it was waited for will not come up by waiting longer."""


class NotReady(Exception):
    """Waiting was in vain; the text says for what, and shows the end of the log that tells why."""


@dataclasses.dataclass(frozen=True, slots=True)
class ComponentStatus:
    name: str
    pid: int
    """0: does not run."""
    address: str
    ready: bool


class Probe:
    """The cluster as its administrator sees it. Use as `async with Probe(where, cluster) as probe`."""

    def __init__(self, where: places.Places, cluster: settings.Cluster) -> None:
        self._cluster = cluster
        self._http = web_client.HttpClient(
            context=tls.client_context(
                authority=where.pki / "ca.crt",
                certificate=where.pki / "admin.crt",
                key=where.pki / "admin.key",
            )
        )

    async def __aenter__(self) -> "Probe":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()

    async def is_server_ready(self) -> bool:
        return await self._get(f"{self._cluster.url}/readyz") is not None

    async def is_node_ready(self) -> bool:
        """The agent answers, and the cluster knows its node as Ready (which alone may be old news)."""
        body = await self._get(f"{self._cluster.url}/api/v1/nodes/{self._cluster.node_name}")
        if body is None or not is_ready(json.loads(body)):
            return False
        return await self._get(f"https://127.0.0.1:{self._cluster.kubelet_port}/healthz") is not None

    async def _get(self, url: str) -> bytes | None:
        """The body of an answer with status 200."""
        try:
            answer = await self._http.request("GET", url, timeout=ANSWER_SECONDS)
            body = await answer.read(ANSWER_BYTES)
        except web_client.ConnectError:
            return None
        return body if answer.status == 200 else None


def is_ready(node: dict[str, Any]) -> bool:
    conditions = node.get("status", {}).get("conditions", ())
    return any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)


async def status(data_dir: pathlib.Path) -> list[ComponentStatus]:
    """Raises SettingsError when there is no cluster."""
    where, cluster = settings.require(data_dir)
    pids = {name: processes.read(where.pid_file(name)) or 0 for name in processes.COMPONENTS}
    server_ready = node_ready = False
    if pids["server"]:
        async with Probe(where, cluster) as probe:
            server_ready = await probe.is_server_ready()
            node_ready = server_ready and pids["node"] != 0 and await probe.is_node_ready()
    found = [ComponentStatus("server", pids["server"], cluster.url, server_ready)]
    if cluster.node:
        address = f"https://{cluster.node_ip}:{cluster.kubelet_port}"
        found.append(ComponentStatus("node", pids["node"], address, node_ready))
    found.append(ComponentStatus("supervisor", pids["supervisor"], "", pids["supervisor"] != 0))
    return found


async def wait_ready(
    where: places.Places, cluster: settings.Cluster, tell: Tell, has_ended: Callable[[], bool]
) -> None:
    """Until the API answers and the node is Ready. `has_ended` says that the supervisor is gone. Raises NotReady."""
    async with Probe(where, cluster) as probe:
        tell("waiting for the API")
        server = _Patience(where, "server", "the API did not become ready", has_ended)
        while not await probe.is_server_ready():
            await server.pause()
        if not cluster.node:
            return
        tell(f"waiting for node {cluster.node_name}")
        node = _Patience(where, "node", f"node {cluster.node_name} did not become Ready", has_ended)
        while not await probe.is_node_ready():
            await node.pause()


class _Patience:
    """How long to wait for one component."""

    def __init__(self, where: places.Places, component: str, failure: str, has_ended: Callable[[], bool]) -> None:
        self._where = where
        self._component = component
        self._failure = failure
        self._has_ended = has_ended
        self._deadline = time.monotonic() + READY_SECONDS
        self._seen: set[int] = set()

    async def pause(self) -> None:
        if self._has_ended():
            raise self._report("supervisor", "its supervisor ended")
        self._seen.add(processes.read(self._where.pid_file(self._component)) or 0)
        if len(self._seen - {0}) > STARTS_BEFORE_GIVING_UP:
            raise self._report(self._component, "it ends again and again")
        if time.monotonic() > self._deadline:
            raise self._report(self._component, f"not within {READY_SECONDS:.0f} s")
        await asyncio.sleep(POLL_SECONDS)

    def _report(self, component: str, why: str) -> NotReady:
        log = self._where.log_of(component)
        lines = log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:] if log.exists() else []
        return NotReady("\n".join((f"{self._failure}: {why}; the end of {log}:", *(f"  {line}" for line in lines))))
