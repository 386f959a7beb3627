"""DNS messages in bytes (RFC 1035, 2308, 6891), as far as a server needs them that answers of its own. Pure.

A question is kept as it came, upper and lower case included: a client may check that it gets back what it sent. Records refer to the question's
name by a pointer, so that one encoded answer serves every spelling.
"""

import dataclasses
import socket
import struct

A, NS, CNAME, SOA, PTR, MX, TXT, AAAA, SRV, OPT, ANY = 1, 2, 5, 6, 12, 15, 16, 28, 33, 41, 255
TRANSFERS = frozenset({251, 252})
"""IXFR, AXFR: all names at once are for nobody."""
NO_ERROR, FORMAT_ERROR, SERVER_FAILURE, NO_SUCH_NAME, NOT_IMPLEMENTED, REFUSED = range(6)
BAD_VERSION = 16
"""Of EDNS; its upper bits travel in the OPT record."""

QUESTION_NAME = b"\xc0\x0c"
"""A pointer to the name asked for, as the owner of a record."""
MIN_BYTES = 512
"""What every client takes over UDP."""
MAX_BYTES = 4096
"""What it gets at most, whatever it says; and what we say that we take."""

_HEADER = struct.Struct("!HBBHHHH")
_OPT = struct.Struct("!BHHBBHH")
_RECORD = struct.Struct("!HHIH")
"""What follows a record's owner: type, class, seconds, length of the data."""
_IN = 1


class MalformedQuery(Exception):
    """Not a query that can be read. `answer`: what to say to that; b"" where even the header is missing or it is no query."""

    def __init__(self, answer: bytes) -> None:
        super().__init__("malformed query")
        self.answer = answer


@dataclasses.dataclass(frozen=True, slots=True)
class Query:
    header: bytes
    """The first four bytes: identity and flags."""
    question: bytes
    """Name, type and class."""
    limit: int
    """Bytes that the client takes over UDP."""
    has_edns: bool = False
    edns_version: int = 0
    wants_dnssec: bool = False

    @property
    def opcode(self) -> int:
        return self.header[2] >> 3 & 15

    @property
    def kind(self) -> int:
        return int.from_bytes(self.question[-4:-2], "big")

    @property
    def is_internet(self) -> bool:
        return int.from_bytes(self.question[-2:], "big") in (_IN, ANY)

    @property
    def key(self) -> bytes:
        """The same for every spelling. (Lengths of labels are below every letter.)"""
        return self.question[:-4].lower() + self.question[-4:]

    @property
    def name(self) -> str:
        """In lower case, without the last dot; what is not ASCII is replaced, and so matches no name of ours."""
        labels, position = [], 0
        while length := self.question[position]:
            labels.append(self.question[position + 1 : position + 1 + length].decode("ascii", "replace"))
            position += 1 + length
        return ".".join(labels).lower()


@dataclasses.dataclass(frozen=True, slots=True)
class Response:
    """All of an answer that is the same for every client, record by record. `answers` are rotated from query to query; `first` (CNAMEs)
    stays in front."""

    code: int = NO_ERROR
    is_authoritative: bool = True
    first: tuple[bytes, ...] = ()
    answers: tuple[bytes, ...] = ()
    authority: bytes = b""
    """At most one record."""
    additional: tuple[bytes, ...] = ()

    @property
    def size(self) -> int:
        return len(self.authority) + sum(map(len, (*self.first, *self.answers, *self.additional)))

    def encode(self, query: Query, turn: int, limit: int) -> bytes:
        """`turn`: which of the answers comes first. What does not fit into `limit` is left out from the end: additional records silently,
        others are missed (the answer is marked truncated: the client asks again over TCP)."""
        answers = (*self.first, *self.answers[turn:], *self.answers[:turn])
        authority: tuple[bytes, ...] = (self.authority,) if self.authority else ()
        additional, is_cut = self.additional, False
        options = _options(query, self.code)
        room = limit - 12 - len(query.question) - len(options)
        body = b"".join((*answers, *authority, *additional))
        if len(body) > room:
            shown, room = _fitting(answers, room)
            authority, room = _fitting(authority if len(shown) == len(answers) else (), room)
            is_cut = len(shown) < len(answers) or bool(self.authority and not authority)
            additional, _ = _fitting(() if is_cut else self.additional, room)
            answers = shown
            body = b"".join((*answers, *authority, *additional))
        counts = (len(answers), len(authority), len(additional) + int(query.has_edns))
        return _head(query, self, counts, is_cut=is_cut) + query.question + body + options


def _fitting(records: tuple[bytes, ...], room: int) -> tuple[tuple[bytes, ...], int]:
    """The first of them that fit, and the room that is left."""
    for count, record in enumerate(records):
        if len(record) > room:
            return records[:count], room
        room -= len(record)
    return records, room


def parse(data: bytes) -> Query:
    """Raises MalformedQuery."""
    if len(data) < 12 or data[2] & 0x80:
        raise MalformedQuery(b"")
    questions, answers, authorities, additional = struct.unpack_from("!4H", data, 4)
    bad = MalformedQuery(data[:2] + bytes([0x80 | data[2] & 0x79, 0x80 | FORMAT_ERROR]) + bytes(8))
    end = 12
    while end < len(data) and data[end]:
        if data[end] > 63:
            raise bad
        end += 1 + data[end]
    end += 5
    if questions != 1 or answers or authorities or additional > 2 or end > len(data) or end - 16 > 255:
        raise bad
    query = Query(data[:4], data[12:end], MIN_BYTES)
    if not additional or len(data) < end + _OPT.size:
        return query
    root, kind, size, _, version, flags, _ = _OPT.unpack_from(data, end)
    if root or kind != OPT:
        return query
    limit = min(max(size, MIN_BYTES), MAX_BYTES)
    return Query(data[:4], data[12:end], limit, True, version, bool(flags & 0x8000))


def name(text: str) -> bytes:
    """A fully qualified name (the last dot may be missing) without compression. Raises ValueError."""
    labels = [label.encode("ascii") for label in text.rstrip(".").split(".") if text.rstrip(".")]
    if any(not 0 < len(label) < 64 for label in labels):
        raise ValueError(f"not a domain name: {text!r}")
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def record(owner: bytes, kind: int, seconds: int, data: bytes) -> bytes:
    return owner + _RECORD.pack(kind, _IN, seconds, len(data)) + data


def kind_of(address: str) -> int:
    return AAAA if ":" in address else A


def address(owner: bytes, seconds: int, text: str) -> bytes:
    """A or AAAA."""
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    return record(owner, kind_of(text), seconds, socket.inet_pton(family, text))


def service(owner: bytes, seconds: int, port: int, target: str, weight: int) -> bytes:
    """SRV with priority 0."""
    return record(owner, SRV, seconds, struct.pack("!HHH", 0, weight, port) + name(target))


def text(owner: bytes, seconds: int, content: str) -> bytes:
    """TXT of one string of at most 255 bytes."""
    return record(owner, TXT, seconds, bytes([len(content)]) + content.encode("ascii"))


def authority(zone: str, seconds: int) -> bytes:
    """SOA: for how long an answer that says no may be kept."""
    numbers = struct.pack("!5I", 1, 7200, 1800, 86400, seconds)
    return record(name(zone), SOA, seconds, name(f"ns.dns.{zone}") + name(f"hostmaster.{zone}") + numbers)


def failure(query: Query, code: int) -> bytes:
    return Response(code, is_authoritative=False).encode(query, 0, MAX_BYTES)


def answers_of(message: bytes) -> tuple[bytes, ...]:
    """The answer records of what another server says, each by itself: without pointers into the message. Raises ValueError."""
    if len(message) < 12:
        raise ValueError("no DNS message")
    questions, count = struct.unpack_from("!2H", message, 4)
    position = 12
    for _ in range(questions):
        _, position = _expanded(message, position)
        position += 4
    found = []
    for _ in range(count):
        owner, position = _expanded(message, position)
        head = message[position : position + _RECORD.size]
        position += _RECORD.size
        end = position + int.from_bytes(head[-2:], "big")
        if len(head) < _RECORD.size or end > len(message):
            raise ValueError("a record is cut off")
        data = _data(message, int.from_bytes(head[:2], "big"), position, end)
        found.append(owner + head[:-2] + len(data).to_bytes(2, "big") + data)
        position = end
    return tuple(found)


_NAMES = {NS: (0, 1), CNAME: (0, 1), PTR: (0, 1), MX: (2, 1), SRV: (6, 1), SOA: (0, 2)}
"""Of the types whose data may hold pointers (RFC 3597, 4): bytes before the names, how many names."""


def _data(message: bytes, kind: int, position: int, end: int) -> bytes:
    before, count = _NAMES.get(kind, (end - position, 0))
    found = message[position : position + before]
    position += before
    for _ in range(count):
        label, position = _expanded(message, position)
        found += label
    if position > end:
        raise ValueError("a name is longer than its record")
    return found + message[position:end]


def _expanded(message: bytes, position: int) -> tuple[bytes, int]:
    """The name there in full, and where what follows it begins. A pointer leads only backwards: none is followed for ever. Raises ValueError."""
    labels = bytearray()
    start, after = position, 0
    while True:
        if position + 1 > len(message) or len(labels) > 255:
            raise ValueError("not a name")
        length = message[position]
        if length >= 0xC0:
            after = after or position + 2
            position = int.from_bytes(message[position : position + 2], "big") & 0x3FFF
            if position >= start:
                raise ValueError("a pointer that does not lead backwards")
            start = position
        elif length > 63:
            raise ValueError("not a label")
        else:
            labels += message[position : position + 1 + length]
            position += 1 + length
            if length == 0:
                return bytes(labels), after or position


def _head(query: Query, response: Response, counts: tuple[int, int, int], *, is_cut: bool) -> bytes:
    # Kept from the query: opcode, recursion desired, checking disabled.
    first = 0x80 | query.header[2] & 0x79 | (4 if response.is_authoritative else 0) | (2 if is_cut else 0)
    second = 0x80 | query.header[3] & 0x10 | response.code & 15
    identity = int.from_bytes(query.header[:2], "big")
    return _HEADER.pack(identity, first, second, 1, *counts)


def _options(query: Query, code: int) -> bytes:
    if not query.has_edns:
        return b""
    return _OPT.pack(0, OPT, MAX_BYTES, code >> 4, 0, 0x8000 if query.wants_dnssec else 0, 0)
