"""A request passed on to another server: a kubelet, a pod, a Service, whoever serves an API. The one reverse proxy of the server."""

from collections.abc import AsyncIterator, Mapping, Sequence

from pinnace.api import errors
from pinnace.apiserver import context as contexts
from pinnace.apiserver import piping
from pinnace.apiserver.authn import authenticate
from pinnace.web import client, messages, wire

_CONNECT_SECONDS = 30.0
# Of one connection alone, or ours to say.
_HOP_BY_HOP = frozenset(
    {
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_WITH_BODY = frozenset({"PATCH", "POST", "PUT"})
_CREDENTIALS = frozenset({"authorization"})


def bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def wants_upgrade(request: messages.Request) -> bool:
    return "upgrade" in request.headers.get("connection", "").lower() and bool(request.headers.get("upgrade"))


async def forward(
    context: contexts.Context,
    http: client.HttpClient,
    url: str,
    *,
    upgrades: bool = True,
    more: Sequence[tuple[str, str]] = (),
) -> messages.Answer:
    """Pass the request on to `url` and its answer back; an upgrade becomes a pipe of bytes (`upgrades`: or is not passed on).

    `more`: fields that the request has besides, or instead of its own. Raises 503."""
    request = context.request
    try:
        if upgrades and wants_upgrade(request):
            return await _upgraded(request, http, url, more)
        fields = _with(_plain(request.headers), more)
        body: bytes | AsyncIterator[bytes] = b""
        length = request.headers.get("content-length")
        if length is not None and length != "0":
            # Servers of a few lines read as many bytes as they are told and know no chunks.
            fields.append(("Content-Length", length))
            body = request.body.chunks()
        elif length is None and (request.method in _WITH_BODY or "transfer-encoding" in request.headers):
            body = request.body.chunks()
        response = await http.request(request.method, url, headers=fields, body=body, timeout=_CONNECT_SECONDS)
    except client.ConnectError as error:
        raise errors.StatusError(503, "ServiceUnavailable", f"error trying to reach service: {error}") from None
    headers = [(name, value) for name, value in wire.each_field(response.headers) if name not in _HOP_BY_HOP]
    return messages.Response(response.status, headers, _Passed(response))


class _Passed:
    """The body of an answer on its way through.

    No generator: one that nobody begins to read (of an answer to HEAD, of one without a body) would never let go of its connection."""

    def __init__(self, response: client.ClientResponse) -> None:
        self._response = response
        self._pieces = response.chunks()

    def __aiter__(self) -> "_Passed":
        return self

    async def __anext__(self) -> bytes:
        return await anext(self._pieces)

    async def aclose(self) -> None:
        self._response.close()


def passed_on(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    """Without what names this connection, and without the client's own credentials: the kubelet trusts ours."""
    return [
        (name, _without_tokens(value) if name == "sec-websocket-protocol" else value)
        for name, value in headers.items()
        if name not in _HOP_BY_HOP and name not in _CREDENTIALS and not name.startswith("impersonate-")
    ]


def _plain(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    """Without the handshake of a WebSocket that ends here."""
    return [(name, value) for name, value in passed_on(headers) if not name.startswith("sec-websocket-")]


def _with(fields: Sequence[tuple[str, str]], more: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    named = {name.lower() for name, _ in more}
    return [*((name, value) for name, value in fields if name.lower() not in named), *more]


def _without_tokens(protocols: str) -> str:
    """A browser's token among the WebSocket's protocols is as much a credential as a header."""
    return ", ".join(name for each in protocols.split(",") if not authenticate.is_token_protocol(name := each.strip()))


async def _upgraded(
    request: messages.Request, http: client.HttpClient, url: str, more: Sequence[tuple[str, str]]
) -> messages.Answer:
    fields = [*_with(passed_on(request.headers), more), ("Upgrade", request.headers["upgrade"])]
    status, headers, far, body = await http.upgrade(request.method, url, headers=fields, timeout=_CONNECT_SECONDS)
    if far is None:
        kept = [(name, value) for name, value in wire.each_field(headers) if name not in _HOP_BY_HOP]
        return messages.Response(status, kept, body)
    other = far
    shown = [(name, value) for name, value in wire.each_field(headers) if name not in _HOP_BY_HOP or name == "upgrade"]

    async def run(near: messages.Duplex) -> None:
        await piping.pipe(near, other)

    return messages.Upgrade(shown, run)
