"""Certificate signing requests: approved ones for the cluster's own signers get their certificate; old ones are deleted.

Watches CertificateSigningRequests. Owns `status.certificate` and the condition `Failed` of those that name one of `signing.SIGNERS`.
"""

import base64
import datetime
from collections.abc import Callable, Sequence
from typing import Any

from cryptography import x509

from pinnace.api import resources
from pinnace.controllers import signing
from pinnace.controllers.framework import actions, loop, objects
from pinnace.controllers.framework import lister as views

Object = dict[str, Any]

_REQUESTS = resources.CERTIFICATE_SIGNING_REQUESTS
DECIDED_SECONDS = 3600.0
"""How long a request stays after it was approved or denied: its asker has fetched the certificate long ago."""
PENDING_SECONDS = 24 * 3600.0
_CLEANING_SECONDS = 3600.0


def is_decided(request: Object, kind: str) -> bool:
    found = objects.condition(request, kind)
    return found is not None and found.get("status") == "True"


def plan_signing(authority: signing.Authority, serial: Callable[[], int]) -> loop.Plan:
    """`serial` gives a number that was never given before."""

    def plan(view: views.View, key: objects.Key, now: datetime.datetime) -> Sequence[actions.Action]:
        request = view.get(_REQUESTS, *key)
        if request is None or objects.is_deleting(request) or not _is_due(request):
            return []
        try:
            certificate = authority.sign(request["spec"], now, serial())
        except signing.Unsuitable as why:
            return [_failed(request, str(why))]
        status = {**objects.status_of(request), "certificate": base64.b64encode(certificate).decode()}
        return [actions.Update(_REQUESTS, {**request, "status": status}, subresource="status")]

    return plan


def _is_due(request: Object) -> bool:
    if request["spec"].get("signerName") not in signing.SIGNERS or objects.status_of(request).get("certificate"):
        return False
    return is_decided(request, "Approved") and not is_decided(request, "Denied") and not is_decided(request, "Failed")


def _failed(request: Object, why: str) -> actions.Action:
    condition = {"type": "Failed", "status": "True", "reason": "SignerValidationFailure", "message": why}
    status = dict(objects.status_of(request))
    status["conditions"] = [*(status.get("conditions") or ()), condition]
    return actions.Update(_REQUESTS, {**request, "status": status}, subresource="status")


def plan_cleaning(view: views.View, key: objects.Key, now: datetime.datetime) -> Sequence[actions.Action]:
    request = view.get(_REQUESTS, *key)
    if request is None or objects.is_deleting(request) or not is_old(request, now):
        return []
    return [actions.Delete(_REQUESTS, None, key[1], uid=objects.uid_of(request))]


def is_old(request: Object, now: datetime.datetime) -> bool:
    """Decided or failed an hour ago, with a certificate that is over, or waiting for a day."""
    if _is_expired(objects.status_of(request).get("certificate"), now):
        return True
    decided = [
        condition.get("lastUpdateTime") or request["metadata"]["creationTimestamp"]
        for condition in objects.status_of(request).get("conditions") or ()
        if condition.get("type") in ("Approved", "Denied", "Failed")
    ]
    if any(objects.seconds_since(text, now) > DECIDED_SECONDS for text in decided):
        return True
    waited = objects.seconds_since(request["metadata"]["creationTimestamp"], now)
    return not decided and waited > PENDING_SECONDS


def _is_expired(certificate: str | None, now: datetime.datetime) -> bool:
    if not certificate:
        return False
    try:
        return x509.load_pem_x509_certificate(base64.b64decode(certificate)).not_valid_after_utc < now
    except ValueError:
        # Another signer's, in a form that is its own business.
        return False


def controllers(certificate: str, key: bytes) -> Sequence[loop.Controller]:
    """`certificate` and `key` are the CA's, PEM; without the key nobody signs here."""
    cleaner = loop.Controller(
        name="certificatesigningrequest-cleaner",
        user="certificate-controller",
        watches=(loop.Watch(_REQUESTS, loop.own_key),),
        plan=plan_cleaning,
        workers=1,
        resync_seconds=_CLEANING_SECONDS,
    )
    if not key:
        return [cleaner]
    signer = loop.Controller(
        name="certificatesigningrequest-signing",
        user="certificate-controller",
        watches=(loop.Watch(_REQUESTS, loop.own_key),),
        plan=plan_signing(signing.Authority(certificate.encode(), key), x509.random_serial_number),
        workers=1,
    )
    return [signer, cleaner]
