"""Whether a certificate and a key belong together, in the words of Go's crypto/tls (X509KeyPair). Loads `cryptography`."""

import re

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----\s.*?-----END \1-----", re.DOTALL)
_SPKI = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def problem(certificate: bytes, key: bytes) -> str:
    """ "" for a pair."""
    blocks = _BLOCK.finditer(certificate)
    kinds = [match[1].decode() for match in blocks]
    if "CERTIFICATE" not in kinds:
        if not kinds:
            return "tls: failed to find any PEM data in certificate input"
        if len(kinds) == 1 and kinds[0].endswith("PRIVATE KEY"):
            return (
                "tls: failed to find certificate PEM data in certificate input, but did find a private key; "
                "PEM inputs may have been switched"
            )
        skipped = f"after skipping PEM blocks of the following types: [{' '.join(kinds)}]"
        return f'tls: failed to find "CERTIFICATE" PEM block in certificate input {skipped}'
    keys = list(_BLOCK.finditer(key))
    private = next((match for match in keys if match[1] == b"PRIVATE KEY" or match[1].endswith(b" PRIVATE KEY")), None)
    if private is None:
        if not keys:
            return "tls: failed to find any PEM data in key input"
        if len(keys) == 1 and keys[0][1] == b"CERTIFICATE":
            return "tls: found a certificate rather than a key in the PEM for the private key"
        skipped = f"after skipping PEM blocks of the following types: [{' '.join(match[1].decode() for match in keys)}]"
        return f'tls: failed to find PEM block with type ending in "PRIVATE KEY" in key input {skipped}'
    return _mismatch(certificate, private.group())


def _mismatch(certificate: bytes, key: bytes) -> str:
    try:
        public = x509.load_pem_x509_certificate(certificate).public_key()
    except (ValueError, UnsupportedAlgorithm):
        return "x509: malformed certificate"
    try:
        private = serialization.load_pem_private_key(key, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return "tls: failed to parse private key"
    mine = private.public_key()
    if type(mine) is not type(public):
        return "tls: private key type does not match public key type"
    if mine.public_bytes(*_SPKI) != public.public_bytes(*_SPKI):
        return "tls: private key does not match public key"
    return ""
