"""SubjectAccessReview and its kin: the authoriser's answers, as objects."""

from collections.abc import Mapping
from typing import Any

from pinnace.api import errors
from pinnace.apiserver import context as contexts
from pinnace.apiserver import users
from pinnace.apiserver.authn import reviews
from pinnace.apiserver.authz import attributes as authz
from pinnace.apiserver.authz import authorizer
from pinnace.apiserver.http import bodies, query
from pinnace.web import messages

Object = dict[str, Any]


class Reviews:
    def __init__(self, decide: authorizer.Authorizer) -> None:
        self._authorizer = decide

    async def subject(self, context: contexts.Context) -> messages.Answer:
        """SubjectAccessReview: may somebody."""
        obj = await _read(context)
        spec = obj.get("spec") or {}
        _check_spec(obj, spec, needs_subject=True)
        return self._answer(context, obj, _subject(spec), spec)

    async def local(self, context: contexts.Context) -> messages.Answer:
        """LocalSubjectAccessReview: may somebody, in this namespace."""
        obj = await _read(context)
        spec = obj.get("spec") or {}
        _check_spec(obj, spec, needs_subject=True)
        asked = spec.get("resourceAttributes") or {}
        if asked.get("namespace") != context.namespace:
            cause = errors.Cause(
                "FieldValueInvalid",
                f'Invalid value: "{asked.get("namespace", "")}": must match metadata.namespace',
                "spec.resourceAttributes.namespace",
            )
            raise errors.invalid(context.kind.group, context.kind.kind, "", [cause])
        return self._answer(context, obj, _subject(spec), spec)

    async def myself(self, context: contexts.Context) -> messages.Answer:
        """SelfSubjectAccessReview: may I."""
        obj = await _read(context)
        spec = obj.get("spec") or {}
        _check_spec(obj, spec, needs_subject=False)
        return self._answer(context, obj, context.user, spec)

    def _answer(self, context: contexts.Context, obj: Object, who: users.UserInfo, spec: Object) -> messages.Answer:
        decision = self._authorizer.decide(who, _asked(spec))
        obj["status"] = {"allowed": decision.is_allowed}
        if decision.reason:
            obj["status"]["reason"] = decision.reason
        return reviews.answer(context, obj)

    async def my_rules(self, context: contexts.Context) -> messages.Answer:
        """SelfSubjectRulesReview: what may I."""
        obj = await _read(context)
        namespace = (obj.get("spec") or {}).get("namespace") or ""
        if not namespace:
            raise errors.bad_request("no namespace on request")
        resources: list[Object] = []
        urls: list[Object] = []
        for rule in self._authorizer.rules_for(context.user, namespace):
            (urls if rule.urls else resources).append(rule.to_json())
        obj["status"] = {"resourceRules": resources, "nonResourceRules": urls, "incomplete": False}
        return reviews.answer(context, obj)


async def _read(context: contexts.Context) -> Object:
    options = query.write_options(context.query, "CreateOptions")
    return bodies.decoded(context, await bodies.read(context), options)


def _subject(spec: Mapping[str, Any]) -> users.UserInfo:
    extra = {key: tuple(values) for key, values in (spec.get("extra") or {}).items()}
    return users.UserInfo(spec.get("user") or "", spec.get("uid") or "", tuple(spec.get("groups") or ()), extra)


def _asked(spec: Mapping[str, Any]) -> authz.Attributes:
    resource = spec.get("resourceAttributes")
    if resource is None:
        path = spec.get("nonResourceAttributes") or {}
        return authz.Attributes(path.get("verb") or "", path=path.get("path") or "")
    return authz.Attributes(
        resource.get("verb") or "",
        resource.get("group") or "",
        resource.get("version") or "",
        resource.get("resource") or "",
        resource.get("subresource") or "",
        resource.get("namespace") or "",
        resource.get("name") or "",
    )


def _check_spec(obj: Object, spec: Mapping[str, Any], *, needs_subject: bool) -> None:
    """Raises 422 in upstream's words."""
    causes = []
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if resource is not None and path is not None:
        causes.append(
            errors.Cause(
                "FieldValueInvalid",
                "Invalid value: {}: cannot be specified in combination with resourceAttributes",
                "spec.nonResourceAttributes",
            )
        )
    if resource is None and path is None:
        why = "Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified"
        causes.append(errors.Cause("FieldValueInvalid", why, "spec.resourceAttributes"))
    if needs_subject and not spec.get("user") and not spec.get("groups"):
        causes.append(
            errors.Cause(
                "FieldValueInvalid", 'Invalid value: "": at least one of user or group must be specified', "spec.user"
            )
        )
    if causes:
        raise errors.invalid("authorization.k8s.io", obj["kind"], "", causes)
