"""Certificate requests, from being asked for to being signed and forgotten, against the real API server."""

import asyncio
import base64
import contextlib
import datetime
import pathlib
import ssl
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pinnace.api import resources
from pinnace.client import client
from pinnace.controllers import manager, signing
from pinnace.testing import control_plane
from pinnace.web import tls

Object = dict[str, Any]
REQUESTS = resources.CERTIFICATE_SIGNING_REQUESTS
CLIENT = "kubernetes.io/kube-apiserver-client"
BEGIN = datetime.datetime(2025, 12, 1, tzinfo=datetime.UTC)


def authority() -> tuple[str, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(BEGIN)
        .not_valid_after(BEGIN + datetime.timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return made.public_bytes(serialization.Encoding.PEM).decode(), private


CA, CA_KEY = authority()


def asked(
    name: str | tuple[str, ...] = "kim",
    organization: str = "",
    *alternatives: x509.GeneralName,
    key: ec.EllipticCurvePrivateKey | None = None,
) -> str:
    names = (name,) if isinstance(name, str) else name
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, each) for each in names]
    if organization:
        parts.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(parts))
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    made = builder.sign(key or ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return base64.b64encode(made.public_bytes(serialization.Encoding.PEM)).decode()


def request(name: str, signer: str = CLIENT, *usages: str, **spec: Any) -> Object:
    made = {"request": asked(), "signerName": signer, "usages": list(usages or ("client auth",)), **spec}
    return {"metadata": {"name": name}, "spec": made}


async def approve(plane: control_plane.ControlPlane, name: str, kind: str = "Approved") -> Object:
    found = await plane.get(REQUESTS, name)
    condition = {"type": kind, "status": "True", "reason": "Test"}
    found["status"] = {**found.get("status", {}), "conditions": [condition]}
    answer = await plane.admin.update(REQUESTS, found, subresource="approval")
    await asyncio.sleep(1)
    return answer


def run(test: Any) -> None:
    settings = manager.Settings(root_certificate=CA, signing_key=CA_KEY)
    control_plane.run(test, settings=settings)


def test_an_approved_request_gets_its_certificate_and_no_other_does() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        for name in ("wanted", "denied", "waiting"):
            await plane.create(REQUESTS, request(name, expirationSeconds=3600))
        await plane.create(REQUESTS, request("foreign", "example.com/own"))
        condition = (await approve(plane, "wanted"))["status"]["conditions"][0]
        assert condition["lastUpdateTime"]
        assert condition["lastTransitionTime"]
        await approve(plane, "denied", "Denied")
        await approve(plane, "foreign")
        for name in ("denied", "waiting", "foreign"):
            assert "certificate" not in (await plane.get(REQUESTS, name)).get("status", {})
        text = (await plane.get(REQUESTS, "wanted"))["status"]["certificate"]
        made = x509.load_pem_x509_certificate(base64.b64decode(text))
        made.verify_directly_issued_by(x509.load_pem_x509_certificate(CA.encode()))
        assert made.subject.rfc4514_string() == "CN=kim"
        lifetime = made.not_valid_after_utc - made.not_valid_before_utc
        assert datetime.timedelta(hours=1) <= lifetime <= datetime.timedelta(hours=1, minutes=5)
        assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        usages = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert list(usages) == [x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH]

    run(test)


def test_what_a_signer_does_not_sign_fails_and_says_why() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        await plane.create(REQUESTS, request("server", CLIENT, "server auth"))
        await approve(plane, "server")
        status = (await plane.get(REQUESTS, "server"))["status"]
        failed = status["conditions"][-1]
        assert (failed["type"], failed["reason"]) == ("Failed", "SignerValidationFailure")
        assert failed["message"] == "invalid usage for client certificate: server auth"
        assert "certificate" not in status

    run(test)


def test_requests_are_forgotten_when_they_have_served() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        for name in ("decided", "waiting"):
            await plane.create(REQUESTS, request(name))
        await approve(plane, "decided")
        await asyncio.sleep(2 * 3600 + 60)
        assert [found["metadata"]["name"] for found in await plane.list(REQUESTS)] == ["waiting"]
        await asyncio.sleep(24 * 3600)
        assert await plane.list(REQUESTS) == []

    run(test)


def test_a_verdict_is_final_and_only_approvers_touch_it() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        await plane.create(REQUESTS, request("a", "example.com/own"))
        found = await approve(plane, "a")
        for conditions in ([], [{"type": "Denied", "status": "True"}]):
            changed = {**found, "status": {"conditions": conditions}}
            with pytest.raises(client.Invalid, match="may not remove a condition of type"):
                await plane.admin.update(REQUESTS, changed, subresource="approval")
        both = {
            **found,
            "status": {"conditions": [*found["status"]["conditions"], {"type": "Denied", "status": "True"}]},
        }
        with pytest.raises(client.Invalid, match="mutually exclusive"):
            await plane.admin.update(REQUESTS, both, subresource="approval")
        # Status: the verdict stays, the certificate may be set once.
        cert = {"conditions": [], "certificate": base64.b64encode(CA.encode()).decode()}
        signed = await plane.admin.update(REQUESTS, {**found, "status": cert}, subresource="status")
        assert signed["status"]["conditions"] == found["status"]["conditions"]
        with pytest.raises(client.Invalid, match="may not modify or clear the certificate"):
            await plane.admin.update(REQUESTS, {**signed, "status": {"conditions": []}}, subresource="status")

    run(test)


@pytest.mark.parametrize(
    ("signer", "name", "organization", "alternatives", "usages", "wrong"),
    [
        ("kube-apiserver-client", "kim", "", (), ("client auth", "digital signature", "key encipherment"), ""),
        (
            "kube-apiserver-client",
            "kim",
            "",
            (),
            ("digital signature",),
            "missing required usage for client certificate",
        ),
        ("kubelet-serving", "system:node:n", "system:nodes", ("n",), ("server auth", "digital signature"), ""),
        ("kubelet-serving", "system:node:n", "system:nodes", (), ("server auth", "digital signature"), "is required"),
        ("kubelet-serving", "n", "system:nodes", ("n",), ("server auth", "digital signature"), "does not begin with"),
        ("kubelet-serving", "system:node:n", "x", ("n",), ("server auth", "digital signature"), "is not system:nodes"),
        (
            "kube-apiserver-client-kubelet",
            "system:node:n",
            "system:nodes",
            (),
            ("client auth", "digital signature"),
            "",
        ),
        (
            "kube-apiserver-client-kubelet",
            "system:node:n",
            "system:nodes",
            ("n",),
            ("client auth", "digital signature"),
            "DNS subjectAltNames are not allowed",
        ),
        ("legacy-unknown", "anything", "", ("n",), ("server auth",), ""),
        # Two names: one to be checked and another to be let in by.
        *(
            (signer, ("system:node:n", "admin"), "system:nodes", names, (usage, "digital signature"), "exactly one")
            for signer, names, usage in (
                ("kube-apiserver-client", (), "client auth"),
                ("kube-apiserver-client-kubelet", (), "client auth"),
                ("kubelet-serving", ("n",), "server auth"),
            )
        ),
        ("kube-apiserver-client", (), "", (), ("client auth",), "exactly one common name, and this one has 0"),
    ],
)
def test_each_signer_signs_only_what_it_is_for(
    signer: str,
    name: str | tuple[str, ...],
    organization: str,
    alternatives: tuple[str, ...],
    usages: tuple[str, ...],
    wrong: str,
) -> None:
    names = [x509.DNSName(text) for text in alternatives]
    spec = {"request": asked(name, organization, *names), "signerName": f"kubernetes.io/{signer}", "usages": usages}
    by = signing.Authority(CA.encode(), CA_KEY)
    now = BEGIN + datetime.timedelta(days=1)
    if wrong:
        with pytest.raises(signing.Unsuitable, match=wrong):
            by.sign(spec, now, 5)
    else:
        made = x509.load_pem_x509_certificate(by.sign(spec, now, 5))
        assert made.serial_number == 5
        assert made.not_valid_after_utc - now == datetime.timedelta(days=365)


@pytest.mark.parametrize("usages", [("client auth",), ("client auth", "digital signature")])
def test_whoever_was_signed_for_gets_in(usages: tuple[str, ...], tmp_path: pathlib.Path) -> None:
    """The request of every guide (`usages: [client auth]`) included: OpenSSL refuses a key usage that allows nothing."""
    by = signing.Authority(CA.encode(), CA_KEY)
    (tmp_path / "ca.crt").write_text(CA)

    def signed(file: str, name: str, organization: str, signer: str, *asked_usages: str, **names: Any) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        request = asked(name, organization, *names.get("alternatives", ()), key=key)
        spec = {"request": request, "signerName": f"kubernetes.io/{signer}", "usages": asked_usages}
        (tmp_path / f"{file}.crt").write_bytes(by.sign(spec, datetime.datetime.now(datetime.UTC), 5))
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (tmp_path / f"{file}.key").write_bytes(key.private_bytes(*form))

    signed("kim", "kim", "team", "kube-apiserver-client", *usages)
    node = {"alternatives": (x509.DNSName("n"),)}
    signed("node", "system:node:n", "system:nodes", "kubelet-serving", "server auth", "digital signature", **node)
    server = tls.server_context(tmp_path / "node.crt", tmp_path / "node.key", client_authority=tmp_path / "ca.crt")
    client_side = tls.client_context(
        authority=tmp_path / "ca.crt", certificate=tmp_path / "kim.crt", key=tmp_path / "kim.key"
    )
    subject = [field for group in _handshake(server, client_side, "n")["subject"] for field in group]
    assert subject == [("commonName", "kim"), ("organizationName", "team")]


def _handshake(server: ssl.SSLContext, client_side: ssl.SSLContext, host: str) -> dict[str, Any]:
    """The client's certificate as the server sees it, after both have agreed."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    there = server.wrap_bio(to_server, to_client, server_side=True)
    here = client_side.wrap_bio(to_client, to_server, server_hostname=host)
    for _ in range(5):
        for side in (here, there):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
    return dict(there.getpeercert() or {})
