"""Clients of a running cluster, for the command line and the node."""

import pathlib
import ssl

from pinnace.assemble import places, settings
from pinnace.client import client, transport
from pinnace.web import client as web_client
from pinnace.web import tls

READY_SECONDS = 5.0


def context(pki: pathlib.Path, identity: str) -> ssl.SSLContext:
    """Trusts the cluster's CA and shows `<identity>.crt`."""
    return tls.client_context(
        authority=pki / "ca.crt", certificate=pki / f"{identity}.crt", key=pki / f"{identity}.key"
    )


def over_tls(pki: pathlib.Path, url: str, identity: str, user_agent: str = "pinnace") -> client.Client:
    return client.Client(transport.HttpTransport(url, ssl_context=context(pki, identity)), user_agent=user_agent)


class Admin:
    """The cluster as `system:masters` sees it. Use as `async with Admin(where, cluster) as admin`."""

    def __init__(self, where: places.Places, cluster: settings.Cluster) -> None:
        self.api = over_tls(where.pki, cluster.url, "admin")
        self._url = cluster.url
        self._http = web_client.HttpClient(context=context(where.pki, "admin"))

    async def __aenter__(self) -> "Admin":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.api.close()
        await self._http.close()

    async def is_ready(self) -> bool:
        return await self.is_healthy(f"{self._url}/readyz")

    async def is_healthy(self, url: str) -> bool:
        """Does this health endpoint of the cluster's own say yes?"""
        try:
            answer = await self._http.request("GET", url, timeout=READY_SECONDS)
            await answer.read(1 << 16)
        except web_client.ConnectError:
            return False
        return answer.status == 200
