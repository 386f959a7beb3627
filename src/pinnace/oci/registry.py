"""A client of OCI distribution registries (distribution-spec v1.1): manifests and blobs, with every way of logging in that registries use.

`registry_upload` pushes with the same client."""

import dataclasses
import urllib.parse
from collections.abc import AsyncIterator, Callable, Collection, Sequence

from pinnace.kit import backoff, clock
from pinnace.oci import configuration, registries, registry_login, transport
from pinnace.oci import registry_errors as errors

MAXIMUM_MANIFEST = 4 << 20
RETRY = backoff.Backoff(first=0.2, limit=5.0)
TRIES = 5
ACCEPT = ", ".join((*configuration.MANIFEST_TYPES, *configuration.INDEX_TYPES))

RegistryError = errors.RegistryError
Body = Callable[[], AsyncIterator[bytes]]
"""Makes the body anew for every try."""


@dataclasses.dataclass(frozen=True, slots=True)
class Fetched:
    data: bytes
    digest: str
    media_type: str


class RegistryClient:
    """Talks to one endpoint about one repository. `actions`: `pull`, or `pull,push`."""

    def __init__(
        self, endpoint: registries.Endpoint, carrier: transport.Transport, time: clock.Clock, actions: str = "pull"
    ) -> None:
        self.endpoint = endpoint
        self.session = registry_login.Session(endpoint, carrier, time, actions)
        self._carrier = carrier
        self._clock = time
        self._verb = "push" if "push" in actions else "pull"

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
                await self.pause(failures - 1)
                continue
            return

    async def _get(self, path: str, headers: Sequence[tuple[str, str]] = (), tries: int = TRIES) -> transport.Response:
        """An answer of 200 or 206. Raises RegistryError."""
        return await self.ask("GET", path, (200, 206), headers, tries=tries)

    def url(self, path: str) -> str:
        """Of a path below the repository, or of what a `Location` says."""
        if path.startswith(("/", "http://", "https://")):
            return urllib.parse.urljoin(self.endpoint.url, path)
        url = f"{self.endpoint.url}/v2/{self.endpoint.repository}/{path}"
        return url + (f"?ns={self.endpoint.namespace}" if self.endpoint.namespace else "")

    async def ask(
        self,
        method: str,
        path: str,
        expected: Collection[int],
        headers: Sequence[tuple[str, str]] = (),
        body: bytes | Body = b"",
        tries: int = TRIES,
    ) -> transport.Response:
        """An answer with one of the statuses that are `expected`, after as many tries as it takes. Raises RegistryError."""
        url = self.url(path)
        for failures in range(tries):
            try:
                response = await self._authorized(method, url, headers, body)
            except transport.Forbidden as error:
                raise RegistryError(str(error), is_permanent=True) from error
            except transport.TransportError as error:
                if failures + 1 == tries:
                    raise RegistryError(f"{self.endpoint.url}: {error}") from error
            else:
                if response.status in expected:
                    return response
                text = await errors.complaint(response)
                if response.status < 500 and response.status != 429:
                    raise errors.refusal(self.endpoint, path, response.status, text, self._verb)
                if failures + 1 == tries:
                    raise RegistryError(f"{self.endpoint.url}: status {response.status}: {text}")
            await self.pause(failures)
        raise AssertionError("the last try returns or raises")

    async def pause(self, failures: int) -> None:
        await self._clock.sleep(RETRY.delay(failures))

    async def _authorized(
        self, method: str, url: str, headers: Sequence[tuple[str, str]], body: bytes | Body
    ) -> transport.Response:
        """Ask; where the registry wants to know who asks, log in and ask again."""
        response = await self._request(method, url, headers, body)
        if response.status != 401:
            return response
        challenge = response.headers.get("www-authenticate", "")
        if not await self.session.answer(challenge):
            return response
        response.close()
        return await self._request(method, url, headers, body)

    async def _request(
        self, method: str, url: str, headers: Sequence[tuple[str, str]], body: bytes | Body
    ) -> transport.Response:
        # An upload may be sent elsewhere; what this registry trusts us with is for itself.
        is_own = url.startswith(self.endpoint.url + "/")
        return await self._carrier.request(
            method,
            url,
            headers=(*headers, *(self.session.headers if is_own else ())),
            body=body if isinstance(body, bytes) else body(),
            tls=self.endpoint.tls,
            reach=self.endpoint.reach,
        )
