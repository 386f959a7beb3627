"""Certificate signing requests: they say truly who asks; only who may approve or sign for a signer does; nobody becomes a master by one."""

import base64
import binascii
import json
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import NameOID

from pinnace.api import conditions, errors
from pinnace.apiserver import users
from pinnace.apiserver.admission import attributes as admission
from pinnace.apiserver.authz import attributes as authz
from pinnace.apiserver.authz import authorizer
from pinnace.kit import clock

Object = dict[str, Any]

GROUP = "certificates.k8s.io"
_PEM = b"-----BEGIN CERTIFICATE REQUEST-----"
_CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client"


class Certificates:
    def __init__(self, decide: authorizer.Authorizer, time: clock.Clock) -> None:
        self._authorizer = decide
        self._clock = time

    async def mutate(self, attributes: admission.Attributes) -> None:
        """Who asks is not for the request to say; a condition tells when it came."""
        if attributes.obj is None:
            return
        if attributes.operation != "CREATE":
            stamp_conditions(attributes.obj, attributes.old or {}, clock.rfc3339(self._clock.now()))
            return
        spec = attributes.obj.setdefault("spec", {})
        for field in ("username", "uid", "groups", "extra"):
            spec.pop(field, None)
        spec |= attributes.user.to_json()

    async def validate(self, attributes: admission.Attributes) -> None:
        assert attributes.obj is not None
        spec = attributes.obj.get("spec") or {}
        if attributes.operation == "CREATE":
            _check_request(attributes.name, spec.get("request") or "")
            if spec.get("signerName") == _CLIENT_SIGNER and users.MASTERS in _organizations(spec.get("request", "")):
                raise self._refusal(
                    attributes, f"use of {_CLIENT_SIGNER} signer with {users.MASTERS} group is not allowed"
                )
        elif attributes.subresource == "approval":
            self._require(attributes, "approve", spec)
        elif attributes.subresource == "status":
            before = ((attributes.old or {}).get("status") or {}).get("certificate")
            if (attributes.obj.get("status") or {}).get("certificate") != before:
                self._require(attributes, "sign", spec)

    def _require(self, attributes: admission.Attributes, verb: str, spec: Object) -> None:
        signer = str(spec.get("signerName", ""))
        for name in (signer, f"{signer.partition('/')[0]}/*"):
            asked = authz.Attributes(verb, GROUP, "v1", "signers", "", "", name)
            if self._authorizer.decide(attributes.user, asked).is_allowed:
                return
        what = "approve" if verb == "approve" else "sign"
        raise self._refusal(attributes, f'user not permitted to {what} requests with signerName "{signer}"')

    def _refusal(self, attributes: admission.Attributes, why: str) -> errors.StatusError:
        return errors.forbidden(GROUP, attributes.kind.plural, attributes.name, why)


def stamp_conditions(new: Object, old: Object, now: str) -> None:
    """A condition without times gets them: of the same verdict before, or `now`."""
    before = {each.get("type"): each for each in (old.get("status") or {}).get("conditions") or ()}
    for condition in (new.get("status") or {}).get("conditions") or ():
        if not condition.get("lastUpdateTime"):
            condition["lastUpdateTime"] = now
        if not condition.get("lastTransitionTime"):
            known = before.get(condition.get("type"))
            condition["lastTransitionTime"] = conditions.since(known, condition.get("status") or "", now)


def _check_request(name: str, request: str) -> None:
    try:
        data = base64.b64decode(request)
        if not data.lstrip().startswith(_PEM):
            raise ValueError("PEM block type must be CERTIFICATE REQUEST")
        if not x509.load_pem_x509_csr(data).is_signature_valid:
            raise ValueError("the request is not signed with its own key")
    except (ValueError, UnsupportedAlgorithm) as error:
        cause = errors.Cause("FieldValueInvalid", f"Invalid value: {json.dumps(request)}: {error}", "spec.request")
        raise errors.invalid(GROUP, "CertificateSigningRequest", name, [cause]) from None


def common_names(request: str) -> list[str]:
    """Of the subject of a base64 PEM request. Raises ValueError."""
    found = x509.load_pem_x509_csr(base64.b64decode(request))
    return [str(item.value) for item in found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]


def _organizations(request: str) -> list[str]:
    """Of the subject of a base64 PEM request; validation says when it is none."""
    try:
        found = x509.load_pem_x509_csr(base64.b64decode(request))
    except (ValueError, binascii.Error):
        return []
    return [str(item.value) for item in found.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
