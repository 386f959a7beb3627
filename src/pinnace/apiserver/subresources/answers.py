"""What subresources that only do something answer."""

from pinnace.apiserver import context as contexts
from pinnace.apiserver.http import negotiate, respond
from pinnace.web import messages


def success(context: contexts.Context, code: int = 201) -> messages.Answer:
    body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": code}
    return respond.value(body, negotiate.form(context.accept, negotiate.NONE), code, context.warnings)
