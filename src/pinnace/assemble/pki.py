"""The cluster's own certificate authority and what it signs. Written once by `up`; keys are mode 0600.

Elliptic keys (P-256) throughout: making them costs milliseconds, and every client speaks them.
"""

import datetime
import ipaddress
import pathlib
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pinnace.assemble import places, settings
from pinnace.kit import files

CA_DAYS = 3650
LEAF_DAYS = 365
RENEW_BEFORE_DAYS = 90

Key = ec.EllipticCurvePrivateKey


def ensure(where: places.Places, cluster: settings.Cluster, now: datetime.datetime) -> None:
    """Everything that the processes of this cluster need is there and valid for a while; nothing valid is replaced."""
    files.close_folder(where.pki)
    authority = _ensure_authority(where.pki, now)
    server_names = (
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        f"kubernetes.default.svc.{cluster.cluster_domain}",
        "localhost",
        cluster.node_name,
    )
    server_ips = ("127.0.0.1", "::1", cluster.kubernetes_service_ip, cluster.node_ip)
    _ensure_leaf(where.pki, authority, now, "apiserver", "kube-apiserver", names=server_names, ips=server_ips)
    _ensure_leaf(where.pki, authority, now, "apiserver-kubelet-client", "kube-apiserver-kubelet-client")
    _ensure_leaf(where.pki, authority, now, "admin", "kubernetes-admin", organization="system:masters")
    _ensure_leaf(
        where.pki,
        authority,
        now,
        "node",
        f"system:node:{cluster.node_name}",
        organization="system:nodes",
        names=(cluster.node_name, "localhost"),
        ips=("127.0.0.1", cluster.node_ip),
    )
    _ensure_leaf(where.pki, authority, now, "proxy", "system:kube-proxy")
    _ensure_leaf(where.pki, authority, now, "dns", "system:pinnace:dns")
    _ensure_leaf(where.pki, authority, now, "volumes", "system:pinnace:local-volumes")
    if not (where.pki / "sa.key").exists():
        key = ec.generate_private_key(ec.SECP256R1())
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        files.write_atomic(where.pki / "sa.pub", public, durable=True)
        files.write_atomic(where.pki / "sa.key", _private_pem(key), 0o600, durable=True)


class _Authority:
    def __init__(self, key: Key, certificate: x509.Certificate) -> None:
        self.key = key
        self.certificate = certificate


def _ensure_authority(folder: pathlib.Path, now: datetime.datetime) -> _Authority:
    key_path, certificate_path = folder / "ca.key", folder / "ca.crt"
    if certificate_path.exists():
        key = serialization.load_pem_private_key(key_path.read_bytes(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise settings.SettingsError(f"{key_path} does not hold an elliptic-curve key")
        return _Authority(key, x509.load_pem_x509_certificate(certificate_path.read_bytes()))
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pinnace-ca")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=CA_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_key_usage(certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    files.write_atomic(key_path, _private_pem(key), 0o600, durable=True)
    files.write_atomic(certificate_path, certificate.public_bytes(serialization.Encoding.PEM), durable=True)
    return _Authority(key, certificate)


def _ensure_leaf(
    folder: pathlib.Path,
    authority: _Authority,
    now: datetime.datetime,
    file: str,
    common_name: str,
    *,
    organization: str = "",
    names: Sequence[str] = (),
    ips: Sequence[str] = (),
) -> None:
    """`file.crt` and `file.key`; for clients, and for servers too when `names` or `ips` are given."""
    alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
    alternatives += [x509.IPAddress(ipaddress.ip_address(ip)) for ip in dict.fromkeys(ips)]
    certificate_path = folder / f"{file}.crt"
    if certificate_path.exists() and _is_good(certificate_path, alternatives, now):
        return
    key = ec.generate_private_key(ec.SECP256R1())
    subject = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organization:
        subject.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH] + ([ExtendedKeyUsageOID.SERVER_AUTH] if alternatives else [])
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(subject))
        .issuer_name(authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=LEAF_DAYS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False)
    )
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    certificate = builder.sign(authority.key, hashes.SHA256())
    files.write_atomic(folder / f"{file}.key", _private_pem(key), 0o600, durable=True)
    files.write_atomic(certificate_path, certificate.public_bytes(serialization.Encoding.PEM), durable=True)


def _is_good(path: pathlib.Path, alternatives: Sequence[x509.GeneralName], now: datetime.datetime) -> bool:
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    if certificate.not_valid_after_utc - now < datetime.timedelta(days=RENEW_BEFORE_DAYS):
        return False
    try:
        present = list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        present = []
    return present == list(alternatives)


def _private_pem(key: Key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _key_usage(*, certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certificates,
        crl_sign=certificates,
        encipher_only=False,
        decipher_only=False,
    )
