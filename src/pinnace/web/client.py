"""An HTTP/1.1 client: pooled keep-alive connections over TCP, TLS and UNIX sockets, streamed bodies both ways, upgrades.

    client = HttpClient(context=tls.client_context(authority=...))
    response = await client.request("GET", "https://127.0.0.1:6443/api/v1/pods", timeout=10)
    data = await response.read(64 << 20)

An URL of the form `unix:///run/x.sock:/path?query` goes to the UNIX socket before the second colon. A response must be read to its
end, closed, or used in `async with`; one that was read to its end gives its connection back to the pool.
"""

import asyncio
import dataclasses
import os
import socket
import ssl
import urllib.parse
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from typing import Any

from pinnace.web import bodies, client_connection, duplex, messages, origin, tls, wire

ConnectError = origin.ConnectError
Forbidden = origin.Forbidden
TimedOut = origin.TimedOut
Headers = client_connection.Headers

REDIRECTS = frozenset((301, 302, 303, 307, 308))
_Make = Callable[[], client_connection.ClientConnection]
_IDEMPOTENT = frozenset(("GET", "HEAD", "PUT", "DELETE", "OPTIONS"))


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    connect_seconds: float = 10.0
    """For the TCP and TLS handshakes of one connection."""
    idle_seconds: float = 60.0
    """A pooled connection is closed after this; less than servers allow, lest they close first."""
    max_idle: int = 32
    """Pooled connections per origin."""
    max_connecting: int = 4
    """Connections per origin that are being made at the same time."""
    head_bytes: int = 256 * 1024
    """Of an answer's header."""
    permits: Callable[[str, int, str], bool] | None = None
    """(host, port, address) -> whether to connect; asked with every address that the name has, before anything is sent, and with the
    host's own name where a proxy looks it up. Redirects are asked like first requests."""
    use_environment: bool = False
    """Honour HTTP_PROXY, HTTPS_PROXY and NO_PROXY: for registries, never within a cluster."""


class ClientResponse:
    """The head of an answer; its body may still be on the wire."""

    def __init__(
        self,
        connection: client_connection.ClientConnection,
        status: int,
        headers: Mapping[str, str],
        body: bodies.IncomingBody,
    ) -> None:
        self.status = status
        self.headers = headers
        """Names in lower case."""
        self._connection = connection
        self._body = body

    async def read(self, limit: int) -> bytes:
        """The whole body. Raises BodyTooLarge, ConnectError."""
        try:
            return await self._body.read(limit)
        finally:
            self.close()

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives, with back-pressure; leaving the iteration early closes the connection. Raises ConnectError."""
        try:
            async for piece in self._body.chunks():
                yield piece
        finally:
            self.close()

    def close(self) -> None:
        """Give up what was not read."""
        self._connection.release(self._body)

    def switch(self) -> duplex.TransportDuplex:
        """The bare connection, after an answer 101."""
        return self._connection.switch()

    async def __aenter__(self) -> "ClientResponse":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


class HttpClient:
    def __init__(
        self, *, context: ssl.SSLContext | None = None, settings: Settings | None = None, headers: Headers = ()
    ) -> None:
        """`context`: for https; None: the system's authorities, loaded at first use. `headers`: sent with every request."""
        self._context = context
        self._settings = settings or Settings()
        self._headers = tuple(headers)
        self._idle: dict[origin.Origin, list[client_connection.ClientConnection]] = {}
        self._open: set[client_connection.ClientConnection] = set()
        self._gates: weakref.WeakValueDictionary[origin.Origin, asyncio.Semaphore] = weakref.WeakValueDictionary()

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Headers = (),
        body: bytes | AsyncIterator[bytes] = b"",
        timeout: float | None = None,
        redirects: int = 0,
    ) -> ClientResponse:
        """The answer, once its header is there. `timeout`: seconds until then (the body has none: streams may be endless).

        `redirects`: how many to follow, for requests without a body; credentials stay with the first origin. Raises ConnectError."""
        while True:
            destination, target = origin.parse_url(url)
            work = self._request(destination, method, target, headers, body)
            response = await self._within(timeout, destination, work)
            location = response.headers.get("location")
            if redirects <= 0 or response.status not in REDIRECTS or location is None or body:
                return response
            redirects -= 1
            response.close()
            url = urllib.parse.urljoin(url, location)
            if origin.parse_url(url)[0] != destination:
                headers = [field for field in headers if field[0].lower() not in ("authorization", "cookie")]

    async def upgrade(
        self,
        method: str,
        url: str,
        *,
        headers: Headers,
        timeout: float | None = None,
        limit: int = 1 << 20,
    ) -> tuple[int, Mapping[str, str], messages.Duplex | None, bytes]:
        """Ask for another protocol; `headers` carry Upgrade. (101, headers, connection, b"") or (status, headers, None, body).

        Raises ConnectError; BodyTooLarge when a refusal is larger than `limit`."""
        destination, target = origin.parse_url(url)
        fields = (*headers, ("Connection", "Upgrade"))
        work = self._request(destination, method, target, fields, b"", is_fresh=True)
        response = await self._within(timeout, destination, work)
        if response.status == 101:
            return 101, response.headers, response.switch(), b""
        return response.status, response.headers, None, await response.read(limit)

    async def close(self) -> None:
        """Close every connection, also those whose answers are still being read (their readers get ConnectError)."""
        for connection in list(self._open):
            self._forget_expiry(connection)
            connection.abort()
        self._idle.clear()
        await asyncio.sleep(0)

    # ------------------------------------------------------------

    async def _within(
        self, timeout: float | None, destination: origin.Origin, work: Coroutine[Any, Any, ClientResponse]
    ) -> ClientResponse:
        try:
            async with asyncio.timeout(timeout):
                return await work
        except TimeoutError:
            raise TimedOut(str(destination), f"no answer within {timeout:g} s") from None

    async def _request(
        self,
        destination: origin.Origin,
        method: str,
        target: str,
        headers: Headers,
        body: bytes | AsyncIterator[bytes],
        *,
        is_fresh: bool = False,
    ) -> ClientResponse:
        fields = (*self._headers, *headers)
        proxy = origin.proxy_for(destination, os.environ) if self._settings.use_environment else None
        if proxy is not None and destination.scheme == "http":
            target = f"http://{destination.authority}{target}"
            fields = (*fields, ("Proxy-Authorization", proxy.authorization)) if proxy.authorization else fields
        connection: client_connection.ClientConnection
        if is_fresh:
            connection, is_pooled = await self._connect(destination, proxy), False
        else:
            connection, is_pooled = await self._pooled_or_new(destination, proxy)
        if is_pooled:
            try:
                return await self._exchange(connection, destination, method, target, fields, body)
            except client_connection.Stale:
                # The server closed it at the same moment. What may have been carried out already is not sent twice.
                if method not in _IDEMPOTENT or not isinstance(body, bytes):
                    raise ConnectError(str(destination), "the server closed the connection without an answer") from None
            connection = await self._connect(destination, proxy)
        try:
            return await self._exchange(connection, destination, method, target, fields, body)
        except client_connection.Stale:
            raise ConnectError(str(destination), "the server closed the connection without an answer") from None

    async def _pooled_or_new(
        self, destination: origin.Origin, proxy: origin.Proxy | None
    ) -> tuple[client_connection.ClientConnection, bool]:
        """A connection, and whether it was used before. A burst of requests waits a little for those that become free: a handshake
        costs both ends more than most requests do."""
        idle = self._take_idle(destination)
        if idle is not None:
            return idle, True
        gate = self._gates.get(destination)
        if gate is None:
            gate = self._gates[destination] = asyncio.Semaphore(self._settings.max_connecting)
        async with gate:
            idle = self._take_idle(destination)
            if idle is not None:
                return idle, True
            return await self._connect(destination, proxy), False

    async def _exchange(
        self,
        connection: client_connection.ClientConnection,
        destination: origin.Origin,
        method: str,
        target: str,
        fields: Headers,
        body: bytes | AsyncIterator[bytes],
    ) -> ClientResponse:
        status, incoming = await connection.exchange(destination.authority, method, target, fields, body)
        return ClientResponse(connection, status, connection.headers, incoming)

    async def _connect(
        self, destination: origin.Origin, proxy: origin.Proxy | None
    ) -> client_connection.ClientConnection:
        def on_free(connection: client_connection.ClientConnection, is_reusable: bool) -> None:
            self._on_free(destination, connection, is_reusable)

        def make() -> client_connection.ClientConnection:
            return client_connection.ClientConnection(str(destination), self._settings.head_bytes, on_free)

        try:
            async with asyncio.timeout(self._settings.connect_seconds):
                connection = await self._dial(destination, proxy, make)
        except TimeoutError:
            raise TimedOut(str(destination), f"no connection within {self._settings.connect_seconds:g} s") from None
        except OSError as error:
            raise ConnectError(str(destination), origin.reason_of(error)) from error
        self._open.add(connection)
        return connection

    async def _dial(
        self, destination: origin.Origin, proxy: origin.Proxy | None, make: _Make
    ) -> client_connection.ClientConnection:
        loop = asyncio.get_running_loop()
        if destination.scheme == "unix":
            return (await loop.create_unix_connection(make, destination.host))[1]
        context = self._tls_context() if destination.scheme == "https" else None
        if self._settings.permits is not None:
            return await self._dial_permitted(destination, proxy, make, context, self._settings.permits)
        if proxy is None:
            return (await loop.create_connection(make, destination.host, destination.port, ssl=context))[1]
        return await self._dial_proxy(destination, proxy, make, context)

    async def _dial_permitted(
        self,
        destination: origin.Origin,
        proxy: origin.Proxy | None,
        make: _Make,
        context: ssl.SSLContext | None,
        permits: Callable[[str, int, str], bool],
    ) -> client_connection.ClientConnection:
        """Looks the name up itself and connects to what it found: between a check and a second look-up the answer may change."""
        host, port = destination.host, destination.port
        loop = asyncio.get_running_loop()
        if proxy is not None and not permits(host, port, host):
            raise Forbidden(str(destination), host)
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError:
            # Behind a proxy names need not resolve here.
            if proxy is not None:
                return await self._dial_proxy(destination, proxy, make, context)
            raise
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        for address in addresses:
            if not permits(host, port, address):
                raise Forbidden(str(destination), address)
        if proxy is not None:
            return await self._dial_proxy(destination, proxy, make, context)
        name = host if context is not None else None
        failure: OSError | None = None
        for address in addresses:
            try:
                return (await loop.create_connection(make, address, port, ssl=context, server_hostname=name))[1]
            except OSError as error:
                failure = error
        raise failure or OSError(f"{host} has no address")

    async def _dial_proxy(
        self, destination: origin.Origin, proxy: origin.Proxy, make: _Make, context: ssl.SSLContext | None
    ) -> client_connection.ClientConnection:
        loop = asyncio.get_running_loop()
        outer = self._tls_context() if proxy.origin.scheme == "https" else None
        if context is None:
            return (await loop.create_connection(make, proxy.origin.host, proxy.origin.port, ssl=outer))[1]
        raw = await duplex.connect(proxy.origin.host, proxy.origin.port, context=outer)
        await _open_tunnel(raw, destination, proxy)
        connection = make()
        transport = await loop.start_tls(raw.detach(), connection, context, server_hostname=destination.host)
        if transport is None:
            raise ConnectError(str(destination), "the proxy closed the connection")
        connection.connection_made(transport)
        return connection

    def _tls_context(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = tls.client_context()
        return self._context

    def _take_idle(self, destination: origin.Origin) -> client_connection.ClientConnection | None:
        pool = self._idle.get(destination)
        while pool:
            connection = pool.pop()
            self._forget_expiry(connection)
            if connection.is_usable:
                return connection
        return None

    def _on_free(
        self, destination: origin.Origin, connection: client_connection.ClientConnection, is_reusable: bool
    ) -> None:
        pool = self._idle.setdefault(destination, [])
        if not is_reusable:
            self._open.discard(connection)
            self._forget_expiry(connection)
            if connection in pool:
                pool.remove(connection)
            if not pool:
                del self._idle[destination]
        elif len(pool) >= self._settings.max_idle:
            connection.abort()
        else:
            pool.append(connection)
            loop = asyncio.get_running_loop()
            connection.expiry = loop.call_later(self._settings.idle_seconds, connection.abort)

    def _forget_expiry(self, connection: client_connection.ClientConnection) -> None:
        if connection.expiry is not None:
            connection.expiry.cancel()
            connection.expiry = None


async def _open_tunnel(raw: duplex.TransportDuplex, destination: origin.Origin, proxy: origin.Proxy) -> None:
    """CONNECT through a proxy (RFC 9110, 9.3.6). Raises ConnectError."""
    name = destination.host_and_port
    more = f"Proxy-Authorization: {proxy.authorization}\r\n" if proxy.authorization else ""
    await raw.write(wire.encode_head(f"CONNECT {name} HTTP/1.1\r\nHost: {name}\r\n", (), more))
    answer = b""
    while b"\r\n\r\n" not in answer:
        piece = await raw.read()
        answer += piece
        if not piece or len(answer) > 64 * 1024:
            raise ConnectError(str(proxy.origin), f"no sound answer to CONNECT {name}")
    first = answer.partition(b"\r\n")[0].decode("latin-1")
    if first.split(" ")[1:2] != ["200"]:
        raise ConnectError(str(proxy.origin), f"the proxy refused CONNECT {name}: {first}")
