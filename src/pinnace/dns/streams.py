"""Who may hold a TCP connection to the DNS server: as many as there are places, and none for a place that another needs more.

A connection that waits for its client (for the next question, or for the rest of one) is idle. Where an address holds its share already, its
own oldest idle connection goes for its new one; where all places are taken, the oldest idle one of the address that holds most.
"""

import collections
from collections.abc import Hashable
from typing import Generic, TypeVar

Stream = TypeVar("Stream", bound=Hashable)


class Places(Generic[Stream]):
    def __init__(self, places: int, places_per_address: int) -> None:
        self._places = places
        self._share = places_per_address
        self._addresses: dict[Stream, str] = {}
        self._held: collections.Counter[str] = collections.Counter()
        self._idle: dict[Stream, None] = {}
        """The longest idle first."""

    def enter(self, stream: Stream, address: str) -> tuple[bool, Stream | None]:
        """(whether there is a place, who has to go for it). Whoever has to go has left already; one that came in is idle."""
        going = None
        if self._held[address] >= self._share:
            going = self._oldest_idle(address)
        elif len(self._addresses) >= self._places:
            greediest = max(self._held, key=lambda one: self._held[one])
            going = self._oldest_idle(greediest) or next(iter(self._idle), None)
        else:
            self._take(stream, address)
            return True, None
        if going is None:
            return False, None
        self.leave(going)
        self._take(stream, address)
        return True, going

    def set_idle(self, stream: Stream, *, is_idle: bool) -> None:
        """Idle anew: younger than all others. One that has left is not brought back."""
        self._idle.pop(stream, None)
        if is_idle and stream in self._addresses:
            self._idle[stream] = None

    def leave(self, stream: Stream) -> None:
        address = self._addresses.pop(stream, None)
        self._idle.pop(stream, None)
        if address is not None:
            self._held[address] -= 1
            if not self._held[address]:
                del self._held[address]

    def _take(self, stream: Stream, address: str) -> None:
        self._addresses[stream] = address
        self._held[address] += 1
        self._idle[stream] = None

    def _oldest_idle(self, address: str) -> Stream | None:
        return next((stream for stream in self._idle if self._addresses[stream] == address), None)
