"""Harming the processes of a test's own cluster, and measuring how soon it is back."""

import asyncio
import os
import signal
import time
from collections.abc import Sequence

from pinnace.assemble import connect, places, processes, settings
from pinnace.client import client, transport
from pinnace.testing import cluster as clusters
from pinnace.web import client as web_client

LIMIT_SECONDS = 60.0


class Target:
    """The processes of one cluster."""

    def __init__(self, cluster: clusters.Cluster) -> None:
        self.where: places.Places
        self.settings: settings.Cluster
        self.where, self.settings = settings.require(cluster.data)
        self.context = connect.context(self.where.pki, "admin")

    def api(self) -> client.Client:
        return client.Client(
            transport.HttpTransport(self.settings.url, ssl_context=self.context), user_agent="campaign"
        )

    def pid(self, name: str) -> int:
        """Of the process that runs now; 0 when none does."""
        return processes.read(self.where.pid_file(name)) or 0

    def log(self, name: str) -> str:
        return self.where.log_of(name).read_text()

    def kill(self, name: str) -> int:
        pid = self.pid(name)
        assert pid, f"{name} does not run"
        os.kill(pid, signal.SIGKILL)
        return pid

    async def back(self, name: str, old: int = 0) -> float:
        """Seconds until a process other than `old` runs and says that it is ready."""
        begun = time.monotonic()
        url = f"{self.settings.url}/readyz"
        if name == "node":
            url = f"https://{self.settings.node_ip}:{self.settings.kubelet_port}/healthz"
        async with asyncio.timeout(LIMIT_SECONDS):
            while self.pid(name) in (0, old) or not await self._says_yes(url):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.01)
        return time.monotonic() - begun

    async def _says_yes(self, url: str) -> bool:
        http = web_client.HttpClient(context=self.context)
        try:
            answer = await http.request("GET", url, timeout=10)
            await answer.read(1 << 16)
        except web_client.ConnectError:
            return False
        finally:
            await http.close()
        return answer.status == 200


def quantiles(values: Sequence[float]) -> str:
    found = sorted(values)
    return f"p50 {found[len(found) // 2]:.2f} s, p90 {found[len(found) * 9 // 10]:.2f} s, max {found[-1]:.2f} s"
