"""Reading a kubeconfig file: where the server is, and what to show it."""

import base64
import binascii
import dataclasses
import os
import pathlib
import ssl
from typing import Any

import yaml


class BadKubeconfig(ValueError):
    """The file cannot be used; the message says which entry is wrong."""


@dataclasses.dataclass(frozen=True, slots=True)
class Kubeconfig:
    server: str
    """`https://127.0.0.1:6443`"""
    namespace: str = "default"
    certificate_authority: bytes = b""
    """PEM; empty: the machine's own roots."""
    client_certificate: bytes = b""
    client_key: bytes = b""
    token: str = ""
    token_file: pathlib.Path | None = None
    """Read again and again: it is replaced while we run."""
    insecure_skip_tls_verify: bool = False

    def ssl_context(self) -> ssl.SSLContext:
        return client_context(
            self.certificate_authority,
            self.client_certificate,
            self.client_key,
            insecure_skip_tls_verify=self.insecure_skip_tls_verify,
        )

    def read_token(self) -> str:
        return self.token_file.read_text().strip() if self.token_file else self.token


def client_context(
    certificate_authority: bytes,
    certificate: bytes = b"",
    key: bytes = b"",
    *,
    insecure_skip_tls_verify: bool = False,
) -> ssl.SSLContext:
    """TLS for a client that trusts `certificate_authority` (PEM) and shows `certificate` (PEM)."""
    context = ssl.create_default_context(cadata=certificate_authority.decode() or None)
    if insecure_skip_tls_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if certificate:
        # OpenSSL's chain loader takes files only; this one exists in memory alone.
        handle = os.memfd_create("client-certificate", os.MFD_CLOEXEC)
        try:
            os.write(handle, certificate.rstrip() + b"\n" + key)
            context.load_cert_chain(f"/proc/self/fd/{handle}")
        finally:
            os.close(handle)
    return context


def read(path: pathlib.Path, context: str = "") -> Kubeconfig:
    """The named context of the file, or its current one. Raises OSError, BadKubeconfig."""
    try:
        document = yaml.safe_load(path.read_bytes())
    except yaml.YAMLError as error:
        raise BadKubeconfig(f"{path}: {error}") from error
    if not isinstance(document, dict):
        raise BadKubeconfig(f"{path}: not a kubeconfig: the document is no mapping")
    return parse(document, path.parent, context)


def parse(document: dict[str, Any], folder: pathlib.Path, context: str = "") -> Kubeconfig:
    """`folder` is what relative file names in the document are relative to."""
    chosen = _entry(document, "contexts", "context", context or document.get("current-context") or "")
    cluster = _entry(document, "clusters", "cluster", chosen.get("cluster") or "")
    user = _entry(document, "users", "user", chosen["user"]) if chosen.get("user") else {}
    if not cluster.get("server"):
        raise BadKubeconfig(f"cluster {chosen.get('cluster')!r} names no server")
    if cluster.get("tls-server-name"):
        raise BadKubeconfig(f"cluster {chosen.get('cluster')!r} sets tls-server-name, which is not supported here")
    if "exec" in user or "auth-provider" in user:
        raise BadKubeconfig(f"user {chosen['user']!r} needs a credential plug-in, which is not supported here")
    return Kubeconfig(
        server=cluster["server"].rstrip("/"),
        namespace=chosen.get("namespace") or "default",
        certificate_authority=_data(cluster, "certificate-authority", folder),
        client_certificate=_data(user, "client-certificate", folder),
        client_key=_data(user, "client-key", folder),
        token=user.get("token") or "",
        token_file=folder / user["tokenFile"] if user.get("tokenFile") else None,
        insecure_skip_tls_verify=bool(cluster.get("insecure-skip-tls-verify")),
    )


def _entry(document: dict[str, Any], section: str, field: str, name: str) -> dict[str, Any]:
    for entry in document.get(section) or ():
        if entry.get("name") == name:
            return entry.get(field) or {}
    raise BadKubeconfig(f"{section} has no entry named {name!r}")


def _data(entry: dict[str, Any], field: str, folder: pathlib.Path) -> bytes:
    encoded = entry.get(f"{field}-data")
    if encoded:
        try:
            return base64.b64decode(encoded, validate=True)
        except binascii.Error as error:
            raise BadKubeconfig(f"{field}-data is not base64: {error}") from error
    return (folder / entry[field]).read_bytes() if entry.get(field) else b""
