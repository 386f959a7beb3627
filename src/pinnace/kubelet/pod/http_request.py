"""The requests of HTTP probes and hooks, and what is said of those that fail: as Go's URLs and client have it. Pure."""

import errno
import re
import socket
import ssl
import urllib.parse
from collections.abc import Sequence

from pinnace.kubelet.pod import podspec
from pinnace.web import origin

Headers = list[tuple[str, str]]

REDIRECT_LIMIT = 10
_PATH_SAFE = "$&+,/:;=@"
"""What Go leaves alone in a path that it escapes itself."""
_VALID_PATH = re.compile(r"(?:[A-Za-z0-9\-_.~$&+,/:;=@!'()*\[\]]|%[0-9A-Fa-f]{2})*")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def url(scheme: str, host: str, port: int, path: str) -> str:
    """Where a handler's `path` leads, which may be anything that a user wrote: a query stays one, what a URL cannot hold is escaped,
    and nothing in it leads to another host or ends the request line."""
    parts = _split(path)
    if parts is None:
        # As it stands, a question mark too.
        place, query = urllib.parse.quote(path, safe=_PATH_SAFE), ""
    else:
        place = _escaped(parts.path)
        query = f"?{urllib.parse.quote(parts.query, safe=_QUERY_SAFE)}" if parts.query else ""
    if not place.startswith("/"):
        place = f"/{place}"
    return f"{scheme}://{address(host, port)}{place}{query}"


_QUERY_SAFE = "!$&'()*+,/:;=?@%[]"


def _split(path: str) -> urllib.parse.SplitResult | None:
    """A path that names a scheme or a host loses them; None: no URL at all."""
    if _CONTROL.search(path) or _BAD_ESCAPE.search(path):
        return None
    try:
        return urllib.parse.urlsplit(path)
    except ValueError:
        return None


def _escaped(path: str) -> str:
    if _VALID_PATH.fullmatch(path):
        return path
    return urllib.parse.quote(urllib.parse.unquote_to_bytes(path), safe=_PATH_SAFE)


def headers(action: podspec.Object, agent: str) -> Headers:
    """Those of the handler, and what every client says of itself; an empty `Accept` sends none."""
    found = [(str(entry["name"]), str(entry.get("value", ""))) for entry in action.get("httpHeaders") or ()]
    names = {name.lower() for name, _ in found}
    # A probe asks whether a new connection is answered.
    found.append(("Connection", "close"))
    if "user-agent" not in names:
        found.append(("User-Agent", agent))
    if "accept" not in names:
        found.append(("Accept", "*/*"))
    return [(name, value) for name, value in found if name.lower() != "accept" or value]


def redirected(present: str, location: str, sent: Sequence[tuple[str, str]]) -> tuple[str, Headers]:
    """The next URL and its headers: a `Host` of the handler's own holds on only where the location is relative. Raises ValueError."""
    following = urllib.parse.urljoin(present, location)
    origin.parse_url(following)
    if urllib.parse.urlsplit(location).scheme:
        return following, [(name, value) for name, value in sent if name.lower() != "host"]
    return following, list(sent)


def is_local(first: str, following: str) -> bool:
    return urllib.parse.urlsplit(first).hostname == urllib.parse.urlsplit(following).hostname


def address(host: str, number: int) -> str:
    return f"[{host}]:{number}" if ":" in host else f"{host}:{number}"


def authority(place: str) -> str:
    """Host and port, the port also where it is the scheme's own."""
    destination, _ = origin.parse_url(place)
    return destination.host_and_port


# ---------------------------------------------------------------- what is said of failures

_CONNECT_ERRORS = {
    errno.ECONNREFUSED: "connect: connection refused",
    errno.EHOSTUNREACH: "connect: no route to host",
    errno.ENETUNREACH: "connect: network is unreachable",
    errno.EADDRNOTAVAIL: "connect: cannot assign requested address",
    errno.EINVAL: "connect: invalid argument",
    errno.ETIMEDOUT: "connect: connection timed out",
}
_STREAM_ERRORS = {
    errno.ECONNRESET: "read: connection reset by peer",
    errno.EPIPE: "write: broken pipe",
}
NO_ANSWER = "the server closed the connection without an answer"


def dial_failed(host: str, number: int, error: BaseException) -> str:
    """Of a connection alone."""
    cause = _cause(error)
    if isinstance(cause, socket.gaierror):
        return f"dial tcp: lookup {host}: no such host"
    text = (_CONNECT_ERRORS | _STREAM_ERRORS).get(cause.errno or 0) if isinstance(cause, OSError) else None
    return f"dial tcp {address(host, number)}: {text or _plain(error)}"


def get_failed(place: str, error: BaseException) -> str:
    cause = _cause(error)
    place_of = authority(place)
    if isinstance(cause, ssl.SSLError) and is_not_tls(error):
        why = "http: server gave HTTP response to HTTPS client"
    elif isinstance(cause, socket.gaierror):
        why = f"dial tcp: lookup {urllib.parse.urlsplit(place).hostname}: no such host"
    elif isinstance(cause, OSError) and cause.errno in _STREAM_ERRORS:
        why = f"read tcp {place_of}: {_STREAM_ERRORS[cause.errno]}"
    elif isinstance(cause, OSError) and cause.errno in _CONNECT_ERRORS:
        why = f"dial tcp {place_of}: {_CONNECT_ERRORS[cause.errno]}"
    elif isinstance(error, origin.ConnectError):
        why = "EOF" if error.reason == NO_ANSWER else error.reason
    else:
        why = _plain(error)
    return f'Get "{place}": {why}'


def is_not_tls(error: BaseException) -> bool:
    """Whether the other side answered a TLS handshake with something else."""
    return any(
        isinstance(cause, ssl.SSLError) and cause.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST")
        for cause in _causes(error)
    )


def _cause(error: BaseException) -> BaseException:
    """The operating system's word on it, if it has one."""
    return next((cause for cause in _causes(error) if isinstance(cause, OSError)), error)


def _causes(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in found:
        found.append(cause)
        cause = cause.__cause__ or cause.__context__
    return found


def _plain(error: BaseException) -> str:
    return str(error) or type(error).__name__
