"""HTTP as the registry client needs it. Who composes the engine gives an implementation: this floor of the house has none."""

import dataclasses
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol

from pinnace.oci import reach as reaches


class TransportError(Exception):
    """No answer: name not found, connection refused or cut, TLS failed. Another try may help."""


class Forbidden(TransportError):
    """The address is out of the caller's reach (see `reach`): another try will not help."""


@dataclasses.dataclass(frozen=True, slots=True)
class TlsSettings:
    """How a registry's certificate is checked; paths of PEM files, "" for none."""

    ca_file: str = ""
    certificate_file: str = ""
    key_file: str = ""
    skip_verify: bool = False


DEFAULT_TLS = TlsSettings()


class Response(Protocol):
    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Names in lower case."""
        ...

    async def read(self, limit: int) -> bytes:
        """The whole body; more than `limit` bytes: TransportError."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """Raises TransportError when it is cut short."""
        ...

    def close(self) -> None: ...


class Transport(Protocol):
    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes | AsyncIterator[bytes] = b"",
        tls: TlsSettings = DEFAULT_TLS,
        reach: reaches.Reach = reaches.PUBLIC,
    ) -> Response:
        """Follows redirects (of requests without a body), keeping credentials from other hosts, and none out of `reach`. A body that
        comes in pieces needs a Content-Length among the headers. Raises TransportError."""
        ...
