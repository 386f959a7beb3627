"""The way to a node's kubelet: address, client certificate, and requests that are passed on to it."""

import urllib.parse
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from pinnace.api import errors, resources
from pinnace.apiserver import context as contexts
from pinnace.apiserver.authn import authenticate
from pinnace.apiserver.storage import envelope
from pinnace.apiserver.subresources import piping
from pinnace.web import client, messages

Object = dict[str, Any]

_ADDRESS_TYPES = ("InternalIP", "ExternalIP", "Hostname", "InternalDNS")
_DEFAULT_PORT = 10250
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
_REFUSAL_BYTES = 1 << 20


def node_url(context: contexts.Context, name: str) -> str:
    """`https://address:port` of a node's kubelet. Raises 404, 503."""
    node = context.services.objects.get(resources.NODES, "", name)
    if node is None:
        raise errors.not_found("", "nodes", name)
    status = node.get("status") or {}
    by_type = {address.get("type"): address.get("address") for address in status.get("addresses") or ()}
    address = next((by_type[kind] for kind in _ADDRESS_TYPES if by_type.get(kind)), "")
    if not address:
        raise errors.StatusError(
            503, "ServiceUnavailable", f"no preferred addresses found; known addresses: {list(by_type)}"
        )
    port = ((status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}).get("Port") or _DEFAULT_PORT
    return f"https://{bracketed(address)}:{port}"


def bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def pod_of(context: contexts.Context) -> Object:
    record = context.services.objects.record(resources.PODS, context.namespace, context.name)
    if record is None:
        raise context.not_found()
    return envelope.parse(record)


def container_of(context: contexts.Context, pod: Object) -> str:
    """The container that is meant; the only one when none is named. Raises 400."""
    spec = pod.get("spec") or {}
    wanted = context.query.text("container")
    main = [container["name"] for container in spec.get("containers") or ()]
    others = [
        container["name"] for field in ("initContainers", "ephemeralContainers") for container in spec.get(field) or ()
    ]
    if wanted:
        if wanted not in (*main, *others):
            raise errors.bad_request(f"container {wanted} is not valid for pod {context.name}")
        return wanted
    if len(main) == 1:
        return str(main[0])
    text = f"a container name must be specified for pod {context.name}, choose one of: [{' '.join(main)}]"
    init = [container["name"] for container in spec.get("initContainers") or ()]
    if init:
        text += f" or one of the init containers: [{' '.join(init)}]"
    raise errors.bad_request(text)


def encoded(values: Mapping[str, Sequence[str]], names: Sequence[str]) -> str:
    """A query string of the parameters `names`, as far as they were given."""
    return urllib.parse.urlencode([(name, value) for name in names for value in values.get(name, ())])


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
    headers = [(name, value) for name, value in response.headers.items() if name not in _HOP_BY_HOP]
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
        kept = [(name, value) for name, value in headers.items() if name not in _HOP_BY_HOP]
        return messages.Response(status, kept, body)
    other = far
    shown = [(name, value) for name, value in headers.items() if name not in _HOP_BY_HOP or name == "upgrade"]

    async def run(near: messages.Duplex) -> None:
        await piping.pipe(near, other)

    return messages.Upgrade(shown, run)
