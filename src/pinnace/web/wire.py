"""The bytes of HTTP/1.1 heads, and the meaning of a request target. Pure.

Called by `connection` (server) and `client`; parsing itself is httptools'.
"""

import email.utils
import http
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping, Sequence

BLOCK_BYTES = 64 * 1024
"""Pieces are gathered to blocks of about this size: one TLS record costs more than copying the bytes of a small piece."""
SLICE_BYTES = 256 * 1024
"""The most that is handed to a transport at once, so that a slow reader holds up the writer and not the memory."""

_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in http.HTTPStatus}

LAST_CHUNK = b"0\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class BadField(ValueError):
    """A header field that cannot be written."""


class BadTarget(ValueError):
    """The request's target is not one that an origin server understands."""


def split_target(target: bytes) -> tuple[str, str]:
    """(percent-decoded path, query as sent) of a request target in origin, absolute or asterisk form. Raises BadTarget."""
    if not target.startswith(b"/"):
        target = _origin_form(target)
    if b"#" in target:
        target = target.partition(b"#")[0]
    path, _, query = target.partition(b"?")
    try:
        text = path.decode("ascii") if b"%" not in path else urllib.parse.unquote_to_bytes(path).decode("utf-8")
        return text, query.decode("ascii")
    except UnicodeDecodeError:
        raise BadTarget("the path is not UTF-8 in percent encoding") from None


def _origin_form(target: bytes) -> bytes:
    if target == b"*":
        return target
    scheme, separator, rest = target.partition(b"://")
    if not separator or scheme.lower() not in (b"http", b"https"):
        raise BadTarget("the target is neither a path nor an http URL")
    for index, byte in enumerate(rest):
        if byte in b"/?#":
            path = rest[index:]
            return path if path.startswith(b"/") else b"/" + path
    return b"/"


def encode_head(first_line: str, headers: Sequence[tuple[str, str]], more: str = "") -> bytes:
    """A message's head with its blank line; `first_line` and `more` are whole lines that are known to be sound.

    Raises BadField for one that would end its line early (response splitting) or is not latin-1."""
    block = "".join([f"{name}: {value}\r\n" for name, value in headers])
    fields = len(headers)
    if block.count("\n") != fields or block.count("\r") != fields or "\x00" in block:
        raise BadField("a header field holds a line break or a null character")
    try:
        return f"{first_line}{block}{more}\r\n".encode("latin-1")
    except UnicodeEncodeError as error:
        raise BadField(f"a header field is not latin-1: {error.object[error.start : error.end]!r}") from None


def status_line(status: int) -> str:
    line = _STATUS_LINES.get(status)
    return line if line is not None else f"HTTP/1.1 {status} Status {status}\r\n"


def has_no_body(status: int) -> bool:
    """Whether an answer with this status ends after its head (RFC 9112, 6.3)."""
    return status < 200 or status in (204, 304)


def http_date(seconds: float) -> str:
    """IMF-fixdate of a moment in seconds since the epoch (RFC 9110, 5.6.7)."""
    return email.utils.formatdate(seconds, usegmt=True)


def chunk_pieces(chunk: bytes | Sequence[bytes]) -> list[bytes]:
    """One chunk of the chunked transfer coding, in pieces; empty for an empty chunk (which would end the body)."""
    if isinstance(chunk, bytes):
        return [b"%x\r\n" % len(chunk), chunk, b"\r\n"] if chunk else []
    size = sum(map(len, chunk))
    return [b"%x\r\n" % size, *chunk, b"\r\n"] if size else []


def blocks(pieces: Iterable[bytes]) -> Iterator[bytes | memoryview]:
    """The same bytes in order: small pieces joined to blocks of about BLOCK_BYTES, large ones cut to at most SLICE_BYTES."""
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        if size and size + len(piece) > BLOCK_BYTES:
            yield b"".join(held)
            held, size = [], 0
        if len(piece) < BLOCK_BYTES:
            held.append(piece)
            size += len(piece)
        elif len(piece) <= SLICE_BYTES:
            yield piece
        else:
            view = memoryview(piece)
            for start in range(0, len(piece), SLICE_BYTES):
                yield view[start : start + SLICE_BYTES]
    if held:
        yield held[0] if len(held) == 1 else b"".join(held)


def join_fields(name: str, old: str, new: str) -> str:
    """The value of a field that came twice (RFC 9110, 5.3; cookies: RFC 6265). In some a comma is content: those are joined by line ends,
    which no field can hold; `each_field` takes them apart again."""
    if name == "cookie":
        return f"{old}; {new}"
    return f"{old}\n{new}" if name.startswith(_WITH_COMMAS) else f"{old}, {new}"


_WITH_COMMAS = ("impersonate-", "set-cookie")


def each_field(headers: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The fields as they came, as far as joining them would change what they say."""
    for name, value in headers.items():
        if "\n" in value:
            yield from ((name, each) for each in value.split("\n"))
        else:
            yield name, value


def has_token(value: str, token: str) -> bool:
    """Whether the comma-separated list `value` names `token`, in any case."""
    return any(part.strip().lower() == token for part in value.split(","))
