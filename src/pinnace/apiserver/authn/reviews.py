"""TokenReview and SelfSubjectReview: whose token is this, and who am I."""

from typing import Any

from pinnace.api import errors
from pinnace.apiserver import context as contexts
from pinnace.apiserver.authn import tokens
from pinnace.apiserver.http import bodies, negotiate, query, respond
from pinnace.kit import clock
from pinnace.web import messages

Object = dict[str, Any]


class Reviews:
    def __init__(self, bearer: tokens.Authenticator, audiences: tuple[str, ...]) -> None:
        self._bearer = bearer
        self._audiences = audiences

    async def token_review(self, context: contexts.Context) -> messages.Answer:
        obj = await _read(context)
        spec = obj.get("spec") or {}
        if not spec.get("token"):
            raise errors.bad_request("token is required for TokenReview in authentication")
        wanted = tuple(spec.get("audiences") or ())
        try:
            found = self._bearer.authenticate(spec["token"], wanted)
            obj["status"] = {"authenticated": True, "user": found.user.to_json(), "audiences": list(found.audiences)}
        except errors.StatusError:
            obj["status"] = {"user": {}, "error": "[invalid bearer token, token lookup failed]"}
        return answer(context, obj)

    async def self_subject_review(self, context: contexts.Context) -> messages.Answer:
        obj = await _read(context)
        obj.setdefault("metadata", {})["creationTimestamp"] = clock.rfc3339(context.services.clock.now())
        obj["status"] = {"userInfo": context.user.to_json()}
        return answer(context, obj)


async def _read(context: contexts.Context) -> Object:
    options = query.write_options(context.query, "CreateOptions")
    return bodies.decoded(context, await bodies.read(context), options)


def answer(context: contexts.Context, obj: Object) -> messages.Answer:
    obj.setdefault("metadata", {}).setdefault("creationTimestamp", None)
    return respond.value(obj, negotiate.form(context.accept, negotiate.NONE), 201, context.warnings)
