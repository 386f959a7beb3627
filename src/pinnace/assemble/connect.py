"""Clients of a running cluster, for the command line."""

import pathlib

from pinnace.assemble import places, settings
from pinnace.client import client, transport
from pinnace.web import tls


def admin(where: places.Places, cluster: settings.Cluster) -> client.Client:
    """As `system:masters`, over TLS."""
    return over_tls(where.pki, cluster.url, "admin")


def over_tls(pki: pathlib.Path, url: str, identity: str, user_agent: str = "pinnace") -> client.Client:
    """With the client certificate `<identity>.crt` of the cluster's own PKI."""
    context = tls.client_context(
        authority=pki / "ca.crt", certificate=pki / f"{identity}.crt", key=pki / f"{identity}.key"
    )
    return client.Client(transport.HttpTransport(url, ssl_context=context), user_agent=user_agent)


async def is_ready(api: client.Client) -> bool:
    """Does `/readyz` say yes?"""
    try:
        await api.get_path("/readyz")
    except client.ApiError:
        return False
    return True
