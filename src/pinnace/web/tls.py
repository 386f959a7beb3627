"""TLS contexts for servers and clients. Certificates themselves are made by who assembles the cluster.

TLS 1.2 is the least that is spoken. HTTP/1.1 is the only protocol offered (ALPN), so that clients that could do HTTP/2 do not try.
"""

import ssl
from pathlib import Path

ALPN = ["http/1.1"]


def server_context(certificate: Path, key: Path, *, client_authority: Path | None = None) -> ssl.SSLContext:
    """For `HttpServer.start`. With `client_authority` (PEM), a client may show a certificate, which must then be signed by it;
    `Peer` carries its names. Raises OSError, ssl.SSLError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(ALPN)
    if client_authority is not None:
        context.load_verify_locations(client_authority)
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def client_context(
    *,
    authority: Path | None = None,
    authority_data: str | bytes | None = None,
    certificate: Path | None = None,
    key: Path | None = None,
    verify: bool = True,
) -> ssl.SSLContext:
    """For `HttpClient`. `authority` is a PEM file, `authority_data` PEM text or DER bytes; without both the system's authorities
    count. `certificate` and `key` are shown to servers that ask. `verify=False` trusts anyone: registries that the user calls
    insecure, and kubelet endpoints that are probed. Raises OSError, ssl.SSLError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(ALPN)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif authority is not None or authority_data is not None:
        context.load_verify_locations(cafile=authority, cadata=authority_data)
    else:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    return context
