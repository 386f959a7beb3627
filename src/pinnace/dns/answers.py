"""Answers for our own names, encoded once and kept until something in the cluster changes. No I/O.

A query for a name that was asked for before costs one lookup and the joining of bytes. The cache is emptied by every change of a Service or an
EndpointSlice and holds at most MAX_CACHED_BYTES (a client that asks for ever new names pushes everything out, and costs only time).
"""

import random

from pinnace.dns import records, wire

TTL_SECONDS = 5
"""Short, since clients that cache names themselves should notice a change soon (upstream's CoreDNS plug-in says 5 too)."""
VERSION_TTL_SECONDS = 28800
"""Of the version of the schema, as the specification shows it."""
MAX_CACHED_BYTES = 8 << 20
MAX_ALIASES = 8
"""Steps from one ExternalName Service to the next that are followed."""

NOT_IMPLEMENTED = wire.Response(wire.NOT_IMPLEMENTED, is_authoritative=False)
UNUSABLE = wire.Response(wire.SERVER_FAILURE, is_authoritative=False)
BAD_VERSION = wire.Response(wire.BAD_VERSION, is_authoritative=False)
REFUSED = wire.Response(wire.REFUSED, is_authoritative=False)


class Elsewhere(Exception):
    """The answer is in the hands of others. `alias`: ask for this name (which is no name of ours) instead; `first`: the
    records that lead there. Both empty: the question as it is."""

    def __init__(self, alias: str = "", first: tuple[bytes, ...] = ()) -> None:
        super().__init__(alias)
        self.alias = alias
        self.first = first


class Answers:
    def __init__(self, domain: str, view: records.View, rng: random.Random) -> None:
        self._domain = domain
        self._view = view
        self._rng = rng
        self._cached: dict[bytes, wire.Response] = {}
        self._cached_bytes = 0
        self._generation = view.generation
        self._authority = wire.authority(domain, TTL_SECONDS)

    def answer(self, query: wire.Query, limit: int) -> bytes:
        """Raises Elsewhere."""
        if self._view.generation != self._generation:
            self._forget()
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
            if found is not UNUSABLE:
                self._keep(query.key, found)
        turn = int(self._rng.random() * len(found.answers)) if len(found.answers) > 1 and not found.first else 0
        return found.encode(query, turn, limit)

    def _keep(self, key: bytes, found: wire.Response) -> None:
        size = len(key) + found.size
        if self._cached_bytes + size > MAX_CACHED_BYTES:
            self._forget()
        self._cached[key] = found
        self._cached_bytes += size

    def _forget(self) -> None:
        self._cached.clear()
        self._cached_bytes = 0

    def _respond(self, query: wire.Query) -> wire.Response:
        name = query.name
        if not query.is_internet:
            raise Elsewhere
        if name.endswith((".in-addr.arpa", ".ip6.arpa")):
            found = records.resolve_pointer(name, self._view, self._domain)
        else:
            found = records.resolve(name, self._domain, self._view)
        if found is None:
            raise Elsewhere
        if not found.exists and not self._view.is_synced:
            return UNUSABLE
        if query.kind in wire.TRANSFERS:
            return REFUSED
        if name == self._domain:
            return self._apex(query.kind)
        owner, aliases = wire.QUESTION_NAME, []
        while found.canonical_name and query.kind != wire.SRV:  # of the alias, not of what it leads to
            aliases.append(wire.record(owner, wire.CNAME, TTL_SECONDS, wire.name(found.canonical_name)))
            if query.kind in (wire.CNAME, wire.ANY) or len(aliases) > MAX_ALIASES:
                return wire.Response(first=tuple(aliases))
            next_one = records.resolve(found.canonical_name.lower(), self._domain, self._view)
            if next_one is None:
                raise Elsewhere(found.canonical_name, tuple(aliases))
            owner, found = wire.name(found.canonical_name), next_one
        answers = _records(owner, query.kind, found)
        return wire.Response(
            # An alias is there, whatever becomes of the name that it leads to.
            code=wire.NO_ERROR if found.exists or aliases else wire.NO_SUCH_NAME,
            first=tuple(aliases),
            answers=tuple(answers),
            authority=b"" if answers else self._authority,
            additional=tuple(_addresses_of_targets(found)) if query.kind == wire.SRV else (),
        )

    def _apex(self, kind: int) -> wire.Response:
        """What the zone says of itself."""
        server = f"ns.dns.{self._domain}"
        own = records.resolve(server, self._domain, self._view) or records.NO_DATA
        if kind == wire.SOA:
            return wire.Response(answers=(self._authority,))
        if kind == wire.NS and own.entries:
            record = wire.record(wire.QUESTION_NAME, wire.NS, TTL_SECONDS, wire.name(server))
            addresses = dict.fromkeys(entry.address for entry in own.entries)
            glue = tuple(wire.address(wire.name(server), TTL_SECONDS, address) for address in addresses)
            return wire.Response(answers=(record,), additional=glue)
        return wire.Response(authority=self._authority)


def _records(owner: bytes, kind: int, found: records.Answer) -> list[bytes]:
    encoded = []
    if kind in (wire.A, wire.AAAA, wire.ANY):
        addresses = dict.fromkeys(entry.address for entry in found.entries)
        shown = [address for address in addresses if kind in (wire.ANY, wire.kind_of(address))]
        encoded += [wire.address(owner, TTL_SECONDS, address) for address in shown]
    if kind in (wire.SRV, wire.ANY) and found.entries:
        weight = max(1, 100 // len(found.entries))
        for target, port in dict.fromkeys((entry.target, entry.port) for entry in found.entries if entry.port):
            encoded.append(wire.service(owner, TTL_SECONDS, port, target, weight))
    if kind in (wire.PTR, wire.ANY):
        encoded += [wire.record(owner, wire.PTR, TTL_SECONDS, wire.name(one)) for one in found.pointers]
    if found.text and kind in (wire.TXT, wire.ANY):
        encoded.append(wire.text(owner, VERSION_TTL_SECONDS, found.text))
    return encoded


def _addresses_of_targets(found: records.Answer) -> list[bytes]:
    """So that a client that was told a name need not ask for its address."""
    pairs = dict.fromkeys((entry.target, entry.address) for entry in found.entries if entry.port)
    return [wire.address(wire.name(target), TTL_SECONDS, address) for target, address in pairs]
