"""HTTP for the registry client: `oci.transport.Transport` on `web.client`, one client per way of checking certificates."""

import pathlib
from collections.abc import AsyncIterator, Mapping, Sequence

from pinnace.oci import reach as reaches
from pinnace.oci import transport
from pinnace.web import client, messages, tls

REDIRECTS = 10
# Until the head of the answer; bodies take as long as they take.
ANSWER_TIMEOUT = 60.0


class Carrier:
    """Implements `oci.transport.Transport`."""

    def __init__(self) -> None:
        self._clients: dict[tuple[transport.TlsSettings, reaches.Reach], client.HttpClient] = {}

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes | AsyncIterator[bytes] = b"",
        tls: transport.TlsSettings = transport.DEFAULT_TLS,
        reach: reaches.Reach = reaches.PUBLIC,
    ) -> transport.Response:
        try:
            answer = await self._client(tls, reach).request(
                method, url, headers=headers, body=body, timeout=ANSWER_TIMEOUT, redirects=REDIRECTS
            )
        except client.Forbidden as error:
            raise transport.Forbidden(
                f"{error.address} is an address of the node itself or of its link: images of pods come from there only where "
                f"registries.yaml names {error.address.partition('://')[2]}"
            ) from error
        except (client.ConnectError, OSError, ValueError) as error:
            raise transport.TransportError(str(error)) from error
        return _Response(answer)

    async def close(self) -> None:
        for one in self._clients.values():
            await one.close()
        self._clients.clear()

    def _client(self, settings: transport.TlsSettings, reach: reaches.Reach) -> client.HttpClient:
        present = self._clients.get((settings, reach))
        if present is None:
            context = tls.client_context(
                authority=_path(settings.ca_file),
                certificate=_path(settings.certificate_file),
                key=_path(settings.key_file),
                verify=not settings.skip_verify,
            )
            permits = None if reach.everywhere else reach.permits
            present = client.HttpClient(
                context=context, settings=client.Settings(use_environment=True, permits=permits)
            )
            self._clients[settings, reach] = present
        return present


class _Response:
    def __init__(self, answer: client.ClientResponse) -> None:
        self._answer = answer

    @property
    def status(self) -> int:
        return self._answer.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._answer.headers

    async def read(self, limit: int) -> bytes:
        try:
            return await self._answer.read(limit)
        except (client.ConnectError, messages.BodyTooLarge) as error:
            raise transport.TransportError(str(error)) from error

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._answer.chunks():
                yield piece
        except client.ConnectError as error:
            raise transport.TransportError(str(error)) from error

    def close(self) -> None:
        self._answer.close()


def _path(text: str) -> pathlib.Path | None:
    return pathlib.Path(text) if text else None
