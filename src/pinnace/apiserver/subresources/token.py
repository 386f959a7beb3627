"""serviceaccounts/token: a new token of an account, bound to what asks for it."""

import datetime
from typing import Any

from pinnace.api import errors, kinds, resources, strategy
from pinnace.api.rules import authentication
from pinnace.apiserver import context as contexts
from pinnace.apiserver.admission import attributes as admission
from pinnace.apiserver.authn import tokens
from pinnace.apiserver.http import bodies, negotiate, query, respond
from pinnace.kit import clock
from pinnace.web import messages

Object = dict[str, Any]

_DEFAULT_SECONDS = 3600

KIND = kinds.Kind(
    "authentication.k8s.io",
    "v1",
    "TokenRequest",
    "serviceaccounts",
    "serviceaccount",
    True,
    definition="io.k8s.api.authentication.v1.TokenRequest",
    rules=authentication.TOKEN_REQUEST,
)


class TokenRequests:
    def __init__(self, issuer: tokens.Issuer) -> None:
        self._issuer = issuer

    async def create(self, context: contexts.Context) -> messages.Answer:
        options = query.write_options(context.query, "CreateOptions")
        request = bodies.decoded(context, await bodies.read(context), options, kind=KIND)
        account = context.services.objects.get(resources.SERVICE_ACCOUNTS, context.namespace, context.name)
        if account is None:
            raise context.not_found()
        spec = request.setdefault("spec", {})
        seconds = spec["expirationSeconds"] = spec.get("expirationSeconds") or _DEFAULT_SECONDS
        if wrong := strategy.validate_create(KIND, request):
            raise errors.invalid(KIND.group, KIND.kind, "", wrong)
        await self._admit(context, request, dry_run=options.dry_run)
        audiences = spec["audiences"] = spec.get("audiences") or list(context.services.settings.api_audiences)
        bound = _bound(context, spec.get("boundObjectRef"), account)
        extends = "pod" in bound and set(audiences) <= set(context.services.settings.api_audiences)
        token, _ = self._issuer.issue(account, audiences, seconds, may_extend=extends, **bound)
        end = context.services.clock.now() + datetime.timedelta(seconds=seconds)
        request["status"] = {"token": token, "expirationTimestamp": clock.rfc3339(end)}
        metadata = request.setdefault("metadata", {})
        metadata |= {"name": context.name, "namespace": context.namespace}
        metadata["creationTimestamp"] = clock.rfc3339(context.services.clock.now())
        return respond.value(request, negotiate.form(context.accept, negotiate.NONE), 201, context.warnings)

    async def _admit(self, context: contexts.Context, request: Object, *, dry_run: bool) -> None:
        attributes = admission.Attributes(
            "CREATE",
            context.kind,
            "token",
            context.namespace,
            context.name,
            context.user,
            request,
            dry_run=dry_run,
            warnings=context.warnings,
        )
        await context.services.admission.mutate(attributes)
        await context.services.admission.validate(attributes)


def _bound(context: contexts.Context, reference: Object | None, account: Object) -> dict[str, Object]:
    """What the token shall die with, as arguments of `Issuer.issue`. Raises 400, 404, 409."""
    if not reference:
        return {}
    stored = context.services.objects
    kind, name = reference.get("kind", ""), reference.get("name", "")
    bindable = {"Pod": resources.PODS, "Secret": resources.SECRETS, "Node": resources.NODES}
    if kind not in bindable or reference.get("apiVersion") not in (None, "", "v1"):
        raise errors.bad_request(f"cannot bind token to object of type {reference.get('apiVersion', '')}, Kind={kind}")
    resource = bindable[kind]
    found = stored.get(resource, "" if kind == "Node" else context.namespace, name)
    if found is None:
        raise errors.not_found("", resource.plural, name)
    if reference.get("uid") and reference["uid"] != found["metadata"].get("uid"):
        raise errors.conflict(
            "",
            resource.plural,
            name,
            f"the UID in the bound object reference ({reference['uid']}) does not match the UID in record. "
            "The object might have been deleted and then recreated",
        )
    bound = {kind.lower(): found}
    if kind == "Pod":
        spec = found.get("spec") or {}
        if spec.get("serviceAccountName") != account["metadata"]["name"]:
            raise errors.bad_request(
                f'cannot bind token for serviceaccount "{account["metadata"]["name"]}" to pod running with '
                "different serviceaccount name."
            )
        if spec.get("nodeName"):
            node = stored.get(resources.NODES, "", spec["nodeName"])
            bound["node"] = node or {"metadata": {"name": spec["nodeName"]}}
    return bound
