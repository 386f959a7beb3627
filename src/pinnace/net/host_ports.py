"""Which pod asks for which ports of the host: told by the network, read by who decides about fronts. On the event loop alone."""

import dataclasses
import ipaddress
from collections.abc import Callable, Mapping

from pinnace.net import interface


@dataclasses.dataclass(frozen=True, slots=True)
class Claim:
    address: ipaddress.IPv4Address
    """The pod's."""
    ports: tuple[interface.HostPort, ...]
    since: str
    """RFC 3339: of two that want the same the older one has it."""


class HostPorts:
    """By sandbox id."""

    def __init__(self) -> None:
        self._claims: dict[str, Claim] = {}
        self._handlers: list[Callable[[str], None]] = []

    def add_handler(self, handler: Callable[[str], None]) -> None:
        """Called with the sandbox id after every change. Must not block."""
        self._handlers.append(handler)

    def all(self) -> Mapping[str, Claim]:
        return self._claims

    def put(self, sandbox_id: str, claim: Claim) -> None:
        self._claims[sandbox_id] = claim
        self._tell(sandbox_id)

    def drop(self, sandbox_id: str) -> None:
        if self._claims.pop(sandbox_id, None) is not None:
            self._tell(sandbox_id)

    def _tell(self, sandbox_id: str) -> None:
        for handler in self._handlers:
            handler(sandbox_id)
