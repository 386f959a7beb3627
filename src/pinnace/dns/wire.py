"""DNS messages in bytes (RFC 1035, 2308, 6891), as far as a server needs them that answers of its own. Pure.

A question is kept as it came, upper and lower case included: a client may check that it gets back what it sent. Records refer to the question's
name by a pointer, so that one encoded answer serves every spelling.
"""

import dataclasses
import socket
import struct

A, CNAME, SOA, PTR, AAAA, SRV, OPT, ANY = 1, 5, 6, 12, 28, 33, 41, 255
NO_ERROR, FORMAT_ERROR, SERVER_FAILURE, NO_SUCH_NAME, NOT_IMPLEMENTED = range(5)
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
    """All of an answer that is the same for every client. `answers` are rotated from query to query; `first` stays in front (a CNAME)."""

    code: int = NO_ERROR
    is_authoritative: bool = True
    first: bytes = b""
    first_count: int = 0
    answers: tuple[bytes, ...] = ()
    authority: bytes = b""
    """At most one record."""

    def encode(self, query: Query, turn: int, limit: int) -> bytes:
        """`turn`: which of the answers comes first. Longer than `limit`: marked truncated and without records; the client asks again over TCP."""
        answers = self.answers
        body = self.first + b"".join(answers if not turn else (*answers[turn:], *answers[:turn])) + self.authority
        counts = (self.first_count + len(answers), 1 if self.authority else 0)
        options = _options(query, self.code)
        if 12 + len(query.question) + len(body) + len(options) > limit:
            return _head(query, self, (0, 0), is_cut=True) + query.question + options
        return _head(query, self, counts, is_cut=False) + query.question + body + options


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
    return owner + struct.pack("!HHIH", kind, _IN, seconds, len(data)) + data


def address(owner: bytes, seconds: int, text: str) -> bytes:
    return record(owner, A, seconds, socket.inet_aton(text))


def service(owner: bytes, seconds: int, port: int, target: str) -> bytes:
    """SRV with priority 0 and weight 100."""
    return record(owner, SRV, seconds, struct.pack("!HHH", 0, 100, port) + name(target))


def authority(zone: str, seconds: int) -> bytes:
    """SOA: for how long an answer that says no may be kept."""
    numbers = struct.pack("!5I", 1, 7200, 1800, 86400, seconds)
    return record(name(zone), SOA, seconds, name(f"ns.dns.{zone}") + name(f"hostmaster.{zone}") + numbers)


def failure(query: Query, code: int) -> bytes:
    return Response(code, is_authoritative=False).encode(query, 0, MAX_BYTES)


def _head(query: Query, response: Response, counts: tuple[int, int], *, is_cut: bool) -> bytes:
    # Kept from the query: opcode, recursion desired, checking disabled.
    first = 0x80 | query.header[2] & 0x79 | (4 if response.is_authoritative else 0) | (2 if is_cut else 0)
    second = 0x80 | query.header[3] & 0x10 | response.code & 15
    identity = int.from_bytes(query.header[:2], "big")
    return _HEADER.pack(identity, first, second, 1, *counts, int(query.has_edns))


def _options(query: Query, code: int) -> bytes:
    if not query.has_edns:
        return b""
    return _OPT.pack(0, OPT, MAX_BYTES, code >> 4, 0, 0x8000 if query.wants_dnssec else 0, 0)
