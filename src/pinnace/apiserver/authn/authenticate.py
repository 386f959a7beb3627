"""From a request to its user: the client's certificate, else its bearer token, else nobody in particular."""

import base64
import re
import urllib.parse

from pinnace.api import errors
from pinnace.apiserver import users
from pinnace.apiserver.authn import tokens
from pinnace.apiserver.authz import attributes as authz
from pinnace.apiserver.authz import authorizer
from pinnace.kit import remembered
from pinnace.web import messages


@remembered.short(4096)
def certified(common_name: str, organizations: tuple[str, ...]) -> users.UserInfo:
    """The user that a certificate of the cluster's CA names: TLS has verified it."""
    return users.UserInfo(common_name, groups=(*organizations, users.AUTHENTICATED))


def authenticate(request: messages.Request, bearer: tokens.Authenticator, *, allows_anonymous: bool) -> users.UserInfo:
    """Raises 401: for a credential that is wrong always, for none where nobody is not welcome."""
    if request.user is not None:
        given: users.UserInfo = request.user
        return given
    if request.peer.is_ambiguous:
        raise errors.unauthorized()
    if request.peer.common_name:
        return certified(request.peer.common_name, tuple(request.peer.organizations))
    header = request.headers.get("authorization", "")
    if header:
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise errors.unauthorized()
        return bearer.authenticate(token.strip()).user
    token = _websocket_token(request)
    if token:
        return bearer.authenticate(token).user
    if not allows_anonymous:
        raise errors.unauthorized()
    return users.anonymous()


_BASE64URL = re.compile("[A-Za-z0-9_-]+", re.ASCII)
_WEBSOCKET_PREFIX = "base64url.bearer.authorization.k8s.io."


def is_token_protocol(name: str) -> bool:
    """Whether an offered subprotocol is a credential and no protocol."""
    return name.startswith(_WEBSOCKET_PREFIX)


def _websocket_token(request: messages.Request) -> str:
    """Browsers cannot set headers of a WebSocket: upstream takes the token as a subprotocol of this name."""
    for protocol in request.headers.get("sec-websocket-protocol", "").split(","):
        name = protocol.strip()
        if is_token_protocol(name):
            encoded = name[len(_WEBSOCKET_PREFIX) :]
            # The decoder would pass over letters that are none of its own: a wrong credential is no missing one.
            if _BASE64URL.fullmatch(encoded) is None:
                raise errors.unauthorized()
            try:
                return base64.urlsafe_b64decode(encoded + "==").decode()
            except ValueError:
                raise errors.unauthorized() from None
    return ""


_USER = "impersonate-user"
_UID = "impersonate-uid"
_GROUP = "impersonate-group"
_EXTRA = "impersonate-extra-"


def impersonate(request: messages.Request, user: users.UserInfo, decide: authorizer.Authorizer) -> users.UserInfo:
    """The user that the request's headers ask to be, where `user` may be it. Raises 400, 403."""
    headers = request.headers
    wanted = headers.get(_USER, "").partition("\n")[0]
    groups = tuple(group for group in headers.get(_GROUP, "").split("\n") if group)
    extra = _extra(request)
    if not wanted:
        if groups or extra or headers.get(_UID):
            raise errors.bad_request("requested impersonation without impersonating a user")
        return user
    account = users.split_service_account(wanted)
    if account is not None:
        decide.require(user, authz.Attributes("impersonate", "", "v1", "serviceaccounts", "", account[0], account[1]))
    else:
        decide.require(user, authz.Attributes("impersonate", "", "v1", "users", name=wanted))
    for group in groups:
        decide.require(user, authz.Attributes("impersonate", "", "v1", "groups", name=group))
    for key, values in extra.items():
        for value in values:
            asked = authz.Attributes("impersonate", "authentication.k8s.io", "v1", "userextras", key, name=value)
            decide.require(user, asked)
    uid = headers.get(_UID, "").partition("\n")[0]
    if uid:
        decide.require(user, authz.Attributes("impersonate", "authentication.k8s.io", "v1", "uids", name=uid))
    return users.UserInfo(wanted, uid, _all_groups(wanted, groups, account), extra)


def _all_groups(name: str, groups: tuple[str, ...], account: tuple[str, str] | None) -> tuple[str, ...]:
    if account is not None and not groups:
        groups = (users.SERVICE_ACCOUNTS, f"{users.SERVICE_ACCOUNTS}:{account[0]}")
    if name == users.ANONYMOUS:
        return groups if users.UNAUTHENTICATED in groups else (*groups, users.UNAUTHENTICATED)
    if users.AUTHENTICATED in groups or users.UNAUTHENTICATED in groups:
        return groups
    return (*groups, users.AUTHENTICATED)


def _extra(request: messages.Request) -> dict[str, tuple[str, ...]]:
    return {
        urllib.parse.unquote(name[len(_EXTRA) :]): tuple(text.split("\n"))
        for name, text in request.headers.items()
        if name.startswith(_EXTRA)
    }


def is_impersonating(request: messages.Request) -> bool:
    """Cheap enough to ask of every request."""
    return any(name.startswith("impersonate-") for name in request.headers)
