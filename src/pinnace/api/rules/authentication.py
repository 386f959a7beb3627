"""`authentication.k8s.io`: who is asking, and tokens. Nothing here is stored."""

from pinnace.api.rules import base
from pinnace.api.validation import field

Object = base.Object
Causes = base.Causes

_MAX_TOKEN_SECONDS = 1 << 32


def _token_request_defaults(obj: Object) -> None:
    obj.setdefault("spec", {}).setdefault("expirationSeconds", 3600)


def _validate_token_request(found: Causes, obj: Object) -> None:
    seconds = field.part(obj, "spec").get("expirationSeconds") or 0
    if seconds < 600:
        found.invalid("spec.expirationSeconds", seconds, "may not specify a duration less than 10 minutes")
    if seconds > _MAX_TOKEN_SECONDS:
        found.invalid("spec.expirationSeconds", seconds, "may not specify a duration larger than 2^32 seconds")


TOKEN_REQUEST = base.Rules(defaults=_token_request_defaults, validate_create=_validate_token_request)
"""Of the kind that `serviceaccounts/token` speaks."""

V1: base.Rows = (base.review("SelfSubjectReview"), base.review("TokenReview"))
