"""What each of the cluster's signers signs, and how (pkg/controller/certificates/signer). Pure but for the serial number it is given.

kubernetes.io/kube-apiserver-client            a client of the API, whatever its name
kubernetes.io/kube-apiserver-client-kubelet    a node as a client of the API
kubernetes.io/kubelet-serving                  a node's own endpoint
kubernetes.io/legacy-unknown                   anything, of those who asked before v1
"""

import base64
import datetime
from collections.abc import Callable, Sequence
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pinnace.kit import subjects

Object = dict[str, Any]

DEFAULT_SECONDS = 365 * 24 * 3600
BACKDATED = datetime.timedelta(minutes=5)
"""Before now, for clients whose clock is behind."""

NODES = "system:nodes"
NODE_PREFIX = "system:node:"
_CLIENT = "client auth"
_SERVER = "server auth"
_KEY_USAGES = {
    "signing": "digital_signature",
    "digital signature": "digital_signature",
    "content commitment": "content_commitment",
    "key encipherment": "key_encipherment",
    "key agreement": "key_agreement",
    "data encipherment": "data_encipherment",
    "cert sign": "key_cert_sign",
    "crl sign": "crl_sign",
    "encipher only": "encipher_only",
    "decipher only": "decipher_only",
}
_EXTENDED_USAGES = {
    "any": ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
    _SERVER: ExtendedKeyUsageOID.SERVER_AUTH,
    _CLIENT: ExtendedKeyUsageOID.CLIENT_AUTH,
    "code signing": ExtendedKeyUsageOID.CODE_SIGNING,
    "email protection": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "s/mime": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "ipsec end system": x509.ObjectIdentifier("1.3.6.1.5.5.7.3.5"),
    "ipsec tunnel": x509.ObjectIdentifier("1.3.6.1.5.5.7.3.6"),
    "ipsec user": x509.ObjectIdentifier("1.3.6.1.5.5.7.3.7"),
    "timestamping": ExtendedKeyUsageOID.TIME_STAMPING,
    "ocsp signing": ExtendedKeyUsageOID.OCSP_SIGNING,
    "microsoft sgc": x509.ObjectIdentifier("1.3.6.1.4.1.311.10.3.3"),
    "netscape sgc": x509.ObjectIdentifier("2.16.840.1.113730.4.1"),
}


class Unsuitable(Exception):
    """The signer does not sign such a request; the text is for the condition `Failed`."""


Check = Callable[[x509.CertificateSigningRequest, Sequence[str]], None]


def parse(spec: Object) -> x509.CertificateSigningRequest:
    """Raises Unsuitable."""
    try:
        return x509.load_pem_x509_csr(base64.b64decode(spec.get("request") or ""))
    except ValueError as error:
        raise Unsuitable(f"unable to parse csr: {error}") from None


def _check_client(request: x509.CertificateSigningRequest, usages: Sequence[str]) -> None:
    _common_name(request)
    _check_usages("client certificate", usages, _CLIENT)


def _check_kubelet_client(request: x509.CertificateSigningRequest, usages: Sequence[str]) -> None:
    _check_node_name(request)
    if _alternatives(request, x509.DNSName):
        raise Unsuitable("DNS subjectAltNames are not allowed")
    _check_no_mail_or_link(request)
    if _alternatives(request, x509.IPAddress):
        raise Unsuitable("IP subjectAltNames are not allowed")
    _check_usages("client certificate", usages, _CLIENT, is_exact=True)


def _check_kubelet_serving(request: x509.CertificateSigningRequest, usages: Sequence[str]) -> None:
    _check_node_name(request)
    if not (_alternatives(request, x509.DNSName) or _alternatives(request, x509.IPAddress)):
        raise Unsuitable("DNS or IP subjectAltName is required")
    _check_no_mail_or_link(request)
    _check_usages("serving certificate", usages, _SERVER, is_exact=True)


def _check_anything(request: x509.CertificateSigningRequest, usages: Sequence[str]) -> None:
    return


SIGNERS: dict[str, Check] = {
    "kubernetes.io/kube-apiserver-client": _check_client,
    "kubernetes.io/kube-apiserver-client-kubelet": _check_kubelet_client,
    "kubernetes.io/kubelet-serving": _check_kubelet_serving,
    "kubernetes.io/legacy-unknown": _check_anything,
}


def _check_usages(what: str, usages: Sequence[str], required: str, *, is_exact: bool = False) -> None:
    """`key encipherment` is for RSA keys alone, and so never required."""
    for usage in usages:
        if usage not in (required, "digital signature", "key encipherment"):
            raise Unsuitable(f"invalid usage for {what}: {usage}")
    for usage in (required, "digital signature") if is_exact else (required,):
        if usage not in usages:
            raise Unsuitable(f"missing required usage for {what}: {usage}")


def _check_node_name(request: x509.CertificateSigningRequest) -> None:
    organizations = [item.value for item in request.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    if organizations != [NODES]:
        raise Unsuitable("subject organization is not system:nodes")
    if not _common_name(request).startswith(NODE_PREFIX):
        raise Unsuitable("subject common name does not begin with system:node:")


def _common_name(request: x509.CertificateSigningRequest) -> str:
    """The name under which the certificate's owner will be known."""
    names = [str(item.value) for item in request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    try:
        return subjects.sole_common_name(names)
    except ValueError as error:
        raise Unsuitable(str(error)) from None


def _check_no_mail_or_link(request: x509.CertificateSigningRequest) -> None:
    if _alternatives(request, x509.RFC822Name):
        raise Unsuitable("Email subjectAltNames are not allowed")
    if _alternatives(request, x509.UniformResourceIdentifier):
        raise Unsuitable("URI subjectAltNames are not allowed")


def _all_alternatives(request: x509.CertificateSigningRequest) -> list[x509.GeneralName]:
    try:
        return list(request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return []


def _alternatives(request: x509.CertificateSigningRequest, kind: type[x509.GeneralName]) -> list[x509.GeneralName]:
    return [name for name in _all_alternatives(request) if isinstance(name, kind)]


class Authority:
    """The cluster's CA as a signer."""

    def __init__(self, certificate: bytes, key: bytes) -> None:
        """PEM. Raises ValueError."""
        loaded = serialization.load_pem_private_key(key, None)
        if not isinstance(loaded, (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey)):
            raise ValueError("the CA's key is neither RSA nor of an elliptic curve")
        self._key = loaded
        self._certificate = x509.load_pem_x509_certificate(certificate)

    def sign(self, spec: Object, now: datetime.datetime, serial: int) -> bytes:
        """PEM of a certificate for an approved request. Never a CA, never longer than this one. Raises Unsuitable."""
        request, usages = parse(spec), spec.get("usages") or ()
        SIGNERS[spec["signerName"]](request, usages)
        public = request.public_key()
        if not isinstance(
            public, (ec.EllipticCurvePublicKey, rsa.RSAPublicKey, ed25519.Ed25519PublicKey, ed448.Ed448PublicKey)
        ):
            raise Unsuitable("the request's key cannot be certified")
        lifetime = min(spec.get("expirationSeconds") or DEFAULT_SECONDS, DEFAULT_SECONDS)
        until = min(now + datetime.timedelta(seconds=lifetime), self._certificate.not_valid_after_utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(request.subject)
            .issuer_name(self._certificate.subject)
            .public_key(public)
            .serial_number(serial)
            .not_valid_before(max(now - BACKDATED, self._certificate.not_valid_before_utc))
            .not_valid_after(until)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        bits = _key_usage(usages)
        if bits is not None:
            builder = builder.add_extension(bits, critical=True)
        extended = list(dict.fromkeys(_EXTENDED_USAGES[usage] for usage in usages if usage in _EXTENDED_USAGES))
        if extended:
            builder = builder.add_extension(x509.ExtendedKeyUsage(extended), critical=False)
        names = _all_alternatives(request)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _key_usage(usages: Sequence[str]) -> x509.KeyUsage | None:
    """None where no usage asks for a bit: an extension that allows nothing would make the certificate useless.
    Certifying is left out: nothing that is signed here is an authority."""
    wanted = {_KEY_USAGES[usage] for usage in usages if usage in _KEY_USAGES} - {"key_cert_sign"}
    if not wanted - {"encipher_only", "decipher_only"}:
        return None
    agreement = "key_agreement" in wanted
    return x509.KeyUsage(
        digital_signature="digital_signature" in wanted,
        content_commitment="content_commitment" in wanted,
        key_encipherment="key_encipherment" in wanted,
        data_encipherment="data_encipherment" in wanted,
        key_agreement=agreement,
        key_cert_sign=False,
        crl_sign="crl_sign" in wanted,
        encipher_only=agreement and "encipher_only" in wanted,
        decipher_only=agreement and "decipher_only" in wanted,
    )
