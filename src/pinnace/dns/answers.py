"""Answers for our own names, encoded once and kept until something in the cluster changes. No I/O.

A query for a name that was asked for before costs one lookup and the joining of bytes. The cache is emptied by every change of a Service or an
EndpointSlice and holds at most MAX_CACHED names (a client that asks for ever new ones pushes everything out, and costs only time).
"""

import random

from pinnace.dns import records, wire

TTL_SECONDS = 5
"""Short, since clients that cache names themselves should notice a change soon (upstream's CoreDNS plug-in says 5 too)."""
MAX_CACHED = 10_000
MAX_ALIASES = 8
"""Steps from one ExternalName Service to the next that are followed."""

NOT_IMPLEMENTED = wire.Response(wire.NOT_IMPLEMENTED, is_authoritative=False)
UNUSABLE = wire.Response(wire.SERVER_FAILURE, is_authoritative=False)
BAD_VERSION = wire.Response(wire.BAD_VERSION, is_authoritative=False)


class Elsewhere(Exception):
    """The answer is in the hands of others. `alias`: ask for this name (which is no name of ours) instead; `first`: the
    records that lead there. Both empty: the question as it is."""

    def __init__(self, alias: str = "", first: bytes = b"", count: int = 0) -> None:
        super().__init__(alias)
        self.alias = alias
        self.first = first
        self.count = count


class Answers:
    def __init__(self, domain: str, view: records.View, rng: random.Random) -> None:
        self._domain = domain
        self._view = view
        self._rng = rng
        self._cached: dict[bytes, wire.Response] = {}
        self._generation = view.generation
        self._authority = wire.authority(domain, TTL_SECONDS)

    def answer(self, query: wire.Query, limit: int) -> bytes:
        """Raises Elsewhere."""
        if self._view.generation != self._generation:
            self._cached.clear()
            self._generation = self._view.generation
        if query.opcode != 0:
            return NOT_IMPLEMENTED.encode(query, 0, limit)
        if query.edns_version:
            return BAD_VERSION.encode(query, 0, limit)
        found = self._cached.get(query.key)
        if found is None:
            try:
                found = self._respond(query)
            except ValueError:  # an ExternalName that is no domain name
                found = UNUSABLE
            if len(self._cached) >= MAX_CACHED:
                self._cached.clear()
            self._cached[query.key] = found
        turn = int(self._rng.random() * len(found.answers)) if len(found.answers) > 1 else 0
        return found.encode(query, turn, limit)

    def _respond(self, query: wire.Query) -> wire.Response:
        name = query.name
        if not query.is_internet:
            raise Elsewhere
        if name.endswith(".in-addr.arpa"):
            found = records.resolve_pointer(name, self._domain, self._view)
        else:
            found = records.resolve(name, self._domain, self._view)
        if found is None:
            raise Elsewhere
        owner, aliases = wire.QUESTION_NAME, []
        while found.canonical_name:
            aliases.append(wire.record(owner, wire.CNAME, TTL_SECONDS, wire.name(found.canonical_name)))
            if query.kind in (wire.CNAME, wire.ANY) or len(aliases) > MAX_ALIASES:
                return wire.Response(first=b"".join(aliases), first_count=len(aliases))
            next_one = records.resolve(found.canonical_name.lower(), self._domain, self._view)
            if next_one is None:
                raise Elsewhere(found.canonical_name, b"".join(aliases), len(aliases))
            owner, found = wire.name(found.canonical_name), next_one
        answers = _records(owner, query.kind, found)
        return wire.Response(
            code=wire.NO_ERROR if found.exists else wire.NO_SUCH_NAME,
            first=b"".join(aliases),
            first_count=len(aliases),
            answers=tuple(answers),
            authority=b"" if answers else self._authority,
        )


def _records(owner: bytes, kind: int, found: records.Answer) -> list[bytes]:
    encoded = []
    if kind in (wire.A, wire.ANY):
        encoded += [wire.address(owner, TTL_SECONDS, address) for address in found.addresses]
    if kind in (wire.SRV, wire.ANY):
        encoded += [wire.service(owner, TTL_SECONDS, entry.port, entry.target) for entry in found.services]
    if found.pointer and kind in (wire.PTR, wire.ANY):
        encoded.append(wire.record(owner, wire.PTR, TTL_SECONDS, wire.name(found.pointer)))
    return encoded
