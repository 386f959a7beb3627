"""Clients of a running cluster, for the node."""

import pathlib
import ssl

from pinnace.client import client, transport
from pinnace.web import tls


def context(pki: pathlib.Path, identity: str) -> ssl.SSLContext:
    """Trusts the cluster's CA and shows `<identity>.crt`."""
    return tls.client_context(
        authority=pki / "ca.crt", certificate=pki / f"{identity}.crt", key=pki / f"{identity}.key"
    )


def over_tls(pki: pathlib.Path, url: str, identity: str, user_agent: str = "pinnace") -> client.Client:
    return client.Client(transport.HttpTransport(url, ssl_context=context(pki, identity)), user_agent=user_agent)
