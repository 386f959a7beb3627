"""Logging in to a registry: basic, or a token from where the registry's challenge says (distribution's token specification)."""

import base64
import json
import re
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

from pinnace.kit import clock
from pinnace.oci import registries, transport
from pinnace.oci import registry_errors as errors

MAXIMUM_TOKEN = 1 << 20
# Tokens that do not say how long they live are good for a minute.
DEFAULT_TOKEN_SECONDS = 60.0

_CHALLENGE = re.compile(r'(?<!\w)(\w++)="([^"]*)"')


class Session:
    """The credentials of one client with one endpoint. `actions`: what tokens are asked for, `pull` or `pull,push`."""

    def __init__(
        self, endpoint: registries.Endpoint, carrier: transport.Transport, time: clock.Clock, actions: str = "pull"
    ) -> None:
        self._endpoint = endpoint
        self._carrier = carrier
        self._clock = time
        self._actions = actions
        self._authorization = ""
        self._expires = 0.0
        self.further_repositories: tuple[str, ...] = ()
        """Also to be read: those that blobs are mounted from."""

    @property
    def headers(self) -> Sequence[tuple[str, str]]:
        if self._authorization and self._clock.monotonic() < self._expires:
            return (("Authorization", self._authorization),)
        return ()

    async def answer(self, challenge: str) -> bool:
        """Log in as a `WWW-Authenticate` asks; False when it cannot be answered. Raises RegistryError, TransportError."""
        scheme, _, rest = challenge.partition(" ")
        values = dict(_CHALLENGE.findall(rest))
        login = self._endpoint.login
        if scheme.lower() == "basic" and login.username:
            self._authorization, self._expires = _basic(login), float("inf")
            return True
        if scheme.lower() == "bearer" and values.get("realm", "").startswith(("https://", "http://")):
            self._authorization, lifetime = await self._token(values)
            self._expires = self._clock.monotonic() + lifetime
            return True
        return False

    def _scopes(self, values: Mapping[str, str]) -> list[str]:
        own = f"repository:{self._endpoint.repository}:{self._actions}"
        if self._actions == "pull":
            return [values.get("scope") or own]
        return [own, *(f"repository:{name}:pull" for name in self.further_repositories)]

    async def _token(self, values: Mapping[str, str]) -> tuple[str, float]:
        realm, login, endpoint = values["realm"], self._endpoint.login, self._endpoint
        if not login.is_empty and endpoint.url.startswith("https://") and not realm.startswith("https://"):
            raise errors.RegistryError(
                f"{endpoint.url} wants its password sent in the clear to {errors.printable(realm)}", is_permanent=True
            )
        scopes = self._scopes(values)
        if login.identity_token:
            form = {
                "scope": " ".join(scopes), "service": values.get("service", ""), "grant_type": "refresh_token",
                "refresh_token": login.identity_token, "client_id": "pinnace",
            }  # fmt: skip
            response = await self._carrier.request(
                "POST",
                realm,
                headers=[("Content-Type", "application/x-www-form-urlencoded")],
                body=urllib.parse.urlencode(form).encode(),
                tls=endpoint.tls,
                reach=endpoint.reach,
            )
        else:
            headers = [("Authorization", _basic(login))] if login.username else []
            query = [*(("scope", scope) for scope in scopes), ("service", values.get("service", ""))]
            url = realm + ("&" if "?" in realm else "?") + urllib.parse.urlencode(query)
            response = await self._carrier.request("GET", url, headers=headers, tls=endpoint.tls, reach=endpoint.reach)
        if response.status != 200:
            text = await errors.complaint(response)
            raise errors.RegistryError(
                f"{errors.printable(realm)} gave no token: status {response.status}: {text}",
                is_permanent=response.status in (400, 401, 403),
            )
        return _parse_token(await response.read(MAXIMUM_TOKEN), errors.printable(realm))


def _parse_token(data: bytes, realm: str) -> tuple[str, float]:
    try:
        document: Any = json.loads(data)
        token = document.get("token") or document.get("access_token")
        lifetime = float(document.get("expires_in") or DEFAULT_TOKEN_SECONDS)
    except (ValueError, AttributeError, TypeError, RecursionError):
        raise errors.RegistryError(f"{realm} answered no token") from None
    if not isinstance(token, str) or not token.isprintable() or not token.isascii() or not token:
        raise errors.RegistryError(f"{realm} answered no token")
    return f"Bearer {token}", max(1.0, lifetime * 0.9)


def _basic(login: registries.Login) -> str:
    return "Basic " + base64.b64encode(f"{login.username}:{login.password}".encode()).decode()
