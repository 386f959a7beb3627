"""A client of OCI distribution registries (distribution-spec v1.1): manifests and blobs, with every way of logging in that registries use."""

import base64
import dataclasses
import json
import re
import urllib.parse
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from pinnace.kit import backoff, clock
from pinnace.oci import configuration, registries, transport

MAXIMUM_MANIFEST = 4 << 20
MAXIMUM_TOKEN = 1 << 20
RETRY = backoff.Backoff(first=0.2, limit=5.0)
TRIES = 5
# Tokens that do not say how long they live are good for a minute (distribution's token specification).
DEFAULT_TOKEN_SECONDS = 60.0
ACCEPT = ", ".join((*configuration.MANIFEST_TYPES, *configuration.INDEX_TYPES))

_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')


class RegistryError(Exception):
    """The registry refused or failed. `is_permanent`: asking again will not help. `is_missing`: it does not have it."""

    def __init__(self, message: str, *, is_permanent: bool = False, is_missing: bool = False) -> None:
        super().__init__(message)
        self.is_permanent = is_permanent
        self.is_missing = is_missing


@dataclasses.dataclass(frozen=True, slots=True)
class Fetched:
    data: bytes
    digest: str
    media_type: str


class RegistryClient:
    """Talks to one endpoint about one repository."""

    def __init__(self, endpoint: registries.Endpoint, carrier: transport.Transport, time: clock.Clock) -> None:
        self._endpoint = endpoint
        self._carrier = carrier
        self._clock = time
        self._authorization = ""
        self._expires = 0.0

    async def manifest(self, version: str, tries: int = TRIES) -> Fetched:
        """A manifest or index by tag or digest; a digest is verified. Raises RegistryError."""
        response = await self._get(f"manifests/{version}", (("Accept", ACCEPT),), tries)
        try:
            data = await response.read(MAXIMUM_MANIFEST)
        except transport.TransportError as error:
            raise RegistryError(str(error)) from error
        digest = configuration.digest_of(data)
        if ":" in version and version != digest:
            raise RegistryError(f"what was sent for manifest {version} is {digest}", is_permanent=True)
        return Fetched(data, digest, response.headers.get("content-type", "").partition(";")[0])

    async def small_blob(self, descriptor: configuration.Descriptor, limit: int) -> bytes:
        """A blob that fits into memory, verified. Raises RegistryError."""
        if descriptor.size > limit:
            raise RegistryError(f"blob {descriptor.digest} has {descriptor.size} bytes, at most {limit} are expected", is_permanent=True)  # fmt: skip
        response = await self._get(f"blobs/{descriptor.digest}")
        try:
            data = await response.read(limit)
        except transport.TransportError as error:
            raise RegistryError(str(error)) from error
        if configuration.digest_of(data) != descriptor.digest:
            raise RegistryError(f"what was sent for blob {descriptor.digest} does not match its digest")
        return data

    async def blob(self, digest: str, offset: int) -> AsyncIterator[bytes]:
        """A blob's bytes from `offset` on; where the connection breaks it is asked for the rest. Raises RegistryError."""
        failures = 0
        while True:
            headers = (("Range", f"bytes={offset}-"),) if offset else ()
            response = await self._get(f"blobs/{digest}", headers)
            skip = offset if response.status == 200 else 0
            try:
                async for piece in response.chunks():
                    kept = piece[skip:] if skip else piece
                    skip = max(0, skip - len(piece))
                    if kept:
                        offset += len(kept)
                        failures = 0
                        yield kept
            except transport.TransportError as error:
                failures += 1
                if failures >= TRIES:
                    raise RegistryError(f"blob {digest}: {error}") from error
                await self._clock.sleep(RETRY.delay(failures - 1))
                continue
            return

    async def _get(self, path: str, headers: Sequence[tuple[str, str]] = (), tries: int = TRIES) -> transport.Response:
        """An answer of 200 or 206. Raises RegistryError."""
        url = f"{self._endpoint.url}/v2/{self._endpoint.repository}/{path}"
        if self._endpoint.namespace:
            url += f"?ns={self._endpoint.namespace}"
        for failures in range(tries):
            try:
                response = await self._authorized(url, headers)
            except transport.TransportError as error:
                if failures + 1 == tries:
                    raise RegistryError(f"{self._endpoint.url}: {error}") from error
            else:
                if response.status in (200, 206):
                    return response
                error_text = await _complaint(response)
                if response.status < 500 and response.status != 429:
                    raise _refusal(self._endpoint, path, response.status, error_text)
                if failures + 1 == tries:
                    raise RegistryError(f"{self._endpoint.url}: status {response.status}: {error_text}")
            await self._clock.sleep(RETRY.delay(failures))
        raise AssertionError("the last try returns or raises")

    async def _authorized(self, url: str, headers: Sequence[tuple[str, str]]) -> transport.Response:
        """Ask; where the registry wants to know who asks, log in and ask again."""
        response = await self._request(url, headers)
        if response.status != 401:
            return response
        challenge = response.headers.get("www-authenticate", "")
        response.close()
        if not await self._log_in(challenge):
            return response
        return await self._request(url, headers)

    async def _request(self, url: str, headers: Sequence[tuple[str, str]]) -> transport.Response:
        fields = [*headers]
        if self._authorization and self._clock.monotonic() < self._expires:
            fields.append(("Authorization", self._authorization))
        return await self._carrier.request("GET", url, headers=fields, tls=self._endpoint.tls)

    async def _log_in(self, challenge: str) -> bool:
        """False when the challenge cannot be answered."""
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

    async def _token(self, values: Mapping[str, str]) -> tuple[str, float]:
        login = self._endpoint.login
        scope = values.get("scope") or f"repository:{self._endpoint.repository}:pull"
        query = {"scope": scope, "service": values.get("service", "")}
        headers: list[tuple[str, str]] = []
        if login.identity_token:
            form = query | {
                "grant_type": "refresh_token", "refresh_token": login.identity_token, "client_id": "pinnace",
            }  # fmt: skip
            headers.append(("Content-Type", "application/x-www-form-urlencoded"))
            response = await self._carrier.request(
                "POST",
                values["realm"],
                headers=headers,
                body=urllib.parse.urlencode(form).encode(),
                tls=self._endpoint.tls,
            )
        else:
            if login.username:
                headers.append(("Authorization", _basic(login)))
            separator = "&" if "?" in values["realm"] else "?"
            url = values["realm"] + separator + urllib.parse.urlencode(query)
            response = await self._carrier.request("GET", url, headers=headers, tls=self._endpoint.tls)
        if response.status != 200:
            text = await _complaint(response)
            raise RegistryError(
                f"{values['realm']} gave no token: status {response.status}: {text}",
                is_permanent=response.status in (400, 401, 403),
            )
        return _parse_token(await response.read(MAXIMUM_TOKEN), values["realm"])


def _parse_token(data: bytes, realm: str) -> tuple[str, float]:
    try:
        document: Any = json.loads(data)
        token = document.get("token") or document.get("access_token")
        lifetime = float(document.get("expires_in") or DEFAULT_TOKEN_SECONDS)
    except (ValueError, AttributeError, TypeError) as error:
        raise RegistryError(f"{realm} answered no token: {error}") from error
    if not isinstance(token, str) or not token:
        raise RegistryError(f"{realm} answered no token")
    return f"Bearer {token}", max(1.0, lifetime * 0.9)


def _basic(login: registries.Login) -> str:
    return "Basic " + base64.b64encode(f"{login.username}:{login.password}".encode()).decode()


async def _complaint(response: transport.Response) -> str:
    """What the registry says is wrong: the specification's error document, else the body's beginning."""
    try:
        data = await response.read(MAXIMUM_TOKEN)
    except transport.TransportError:
        return ""
    try:
        first = json.loads(data)["errors"][0]
        return " ".join(str(first.get("message") or first.get("code") or "").split())
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return " ".join(data[:200].decode(errors="replace").split())


def _refusal(endpoint: registries.Endpoint, path: str, status: int, text: str) -> RegistryError:
    if status == 404:
        what = "manifest" if path.startswith("manifests/") else "blob"
        return RegistryError(f"{what} {path.partition('/')[2]} not found: {text}", is_permanent=True, is_missing=True)
    if status in (401, 403):
        return RegistryError(
            f"pull access denied for {endpoint.repository}, repository does not exist or may require authorization: {text}",
            is_permanent=True,
            is_missing=True,
        )
    return RegistryError(f"{endpoint.url}: status {status}: {text}", is_permanent=True)
