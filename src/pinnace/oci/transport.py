"""HTTP as the registry client needs it. Who composes the engine gives an implementation: this floor of the house has none."""

import dataclasses
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol


class TransportError(Exception):
    """No answer: name not found, connection refused or cut, TLS failed. Another try may help."""


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
        body: bytes = b"",
        tls: TlsSettings = DEFAULT_TLS,
    ) -> Response:
        """Follows redirects, keeping credentials from other hosts. Raises TransportError."""
        ...
