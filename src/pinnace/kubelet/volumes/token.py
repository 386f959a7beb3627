"""serviceAccountToken: a token bound to the pod, asked for with TokenRequest and renewed before it expires."""

import dataclasses
import datetime

from pinnace.api import resources
from pinnace.client import client
from pinnace.kit import clock
from pinnace.kubelet.pod import podspec
from pinnace.kubelet.volumes import interface, payload

DEFAULT_LIFETIME_SECONDS = 3600
RENEW_AT = 0.8
"""Part of a token's life after which it is renewed, as upstream does …"""
RENEW_AFTER_SECONDS = 24 * 3600
"""… or after this long, whichever comes first."""


@dataclasses.dataclass(frozen=True, slots=True)
class Token:
    text: str
    renew_at: float
    """Monotonic seconds."""


def lifetime(expires: str, now: datetime.datetime, requested: int) -> float:
    """Seconds that a token lives; the server may give more than was asked for (and then expects it back by `requested`)."""
    try:
        granted = (clock.parse_rfc3339(expires) - now).total_seconds()
    except ValueError:
        granted = float(requested)
    return max(0.0, granted)


class Tokens:
    """The tokens of all pods of the node, by (pod, service account, audience, lifetime)."""

    def __init__(self) -> None:
        self._tokens: dict[tuple[str, str, str, int], Token] = {}

    async def get(self, context: interface.Context, source: podspec.Object) -> Token:
        """Raises VolumeError."""
        pod = context.pod
        account = str(pod["spec"].get("serviceAccountName") or "default")
        audience = str(source.get("audience") or "")
        seconds = int(source.get("expirationSeconds") or DEFAULT_LIFETIME_SECONDS)
        key = (podspec.uid(pod), account, audience, seconds)
        token = self._tokens.get(key)
        if token is None or token.renew_at <= context.time.monotonic():
            token = self._tokens[key] = await _request(context, account, audience, seconds)
        return token

    def forget(self, uid: str) -> None:
        for key in [key for key in self._tokens if key[0] == uid]:
            del self._tokens[key]


async def _request(context: interface.Context, account: str, audience: str, seconds: int) -> Token:
    pod = context.pod
    bound = {"apiVersion": "v1", "kind": "Pod", "name": podspec.name(pod), "uid": podspec.uid(pod)}
    request = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "metadata": {"name": account, "namespace": podspec.namespace(pod)},
        "spec": {
            "audiences": [audience] if audience else [],
            "expirationSeconds": seconds,
            "boundObjectRef": bound,
        },
    }
    asked = context.time.monotonic()
    try:
        answer = await context.api.create(
            resources.SERVICE_ACCOUNTS, podspec.namespace(pod), request, name=account, subresource="token"
        )
    except client.ApiError as error:
        raise interface.VolumeError(f"failed to fetch token: {error}") from error
    status = answer.get("status") or {}
    life = lifetime(str(status.get("expirationTimestamp", "")), context.time.now(), seconds)
    return Token(str(status.get("token", "")), asked + min(life * RENEW_AT, RENEW_AFTER_SECONDS))


def owner_and_mode(pod: podspec.Object, default_mode: int) -> tuple[int | None, int]:
    """A token is readable by its pod's user alone, where there is exactly one."""
    if interface.fs_group(pod) is not None:
        return None, 0o600
    common = (pod["spec"].get("securityContext") or {}).get("runAsUser")
    users = {
        (container.get("securityContext") or {}).get("runAsUser", common) for _, container in podspec.containers(pod)
    }
    user = users.pop() if len(users) == 1 else None
    return (None, default_mode) if user is None else (int(user), 0o600)


async def collect(
    context: interface.Context, tokens: Tokens, source: podspec.Object, default_mode: int
) -> tuple[payload.Payload, float]:
    """The token's file and when it must be renewed. Raises VolumeError."""
    token = await tokens.get(context, source)
    owner, mode = owner_and_mode(context.pod, default_mode)
    path = payload.check_path(str(source["path"]))
    return {path: payload.File(token.text.encode(), mode, owner)}, token.renew_at
