"""Sockets to calls of a handler: HTTP/1.1 with keep-alive, pipelining, streams and upgrades, over TCP, TLS and UNIX sockets.

    server = HttpServer(handler)
    port = await server.start("127.0.0.1", 0, context)
    ...
    await server.stop(grace=5.0)

Works on uvloop and on asyncio's own loop.
"""

import asyncio
import dataclasses
import ssl
from pathlib import Path

from pinnace.kit import clock
from pinnace.web import connection, messages, wire

HANDSHAKE_SECONDS = 10.0
SHUTDOWN_SECONDS = 1.0
BACKLOG = 1024


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    limits: connection.Limits = dataclasses.field(default_factory=connection.Limits)
    max_connections: int = 20_000
    """Beyond, a new connection is answered 503 and closed. Each idle one costs a few kilobytes (TLS: tens)."""
    headers: tuple[tuple[str, str], ...] = ()
    """Added to every answer."""


class HttpServer:
    def __init__(
        self, handler: messages.Handler, *, settings: Settings | None = None, time: clock.Clock | None = None
    ) -> None:
        self.handler = handler
        self.settings = settings or Settings()
        self.limits = self.settings.limits
        self.is_stopping = False
        self.monotonic = (time or clock.SystemClock()).monotonic
        self._clock = time or clock.SystemClock()
        self._servers: list[asyncio.Server] = []
        self._connections: set[connection.Connection] = set()
        self._empty = asyncio.Event()
        self._fixed_lines = wire.encode_head("", self.settings.headers).decode("latin-1")[:-2]
        self._lines = ""
        self._lines_second = -1
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self, host: str, port: int, ssl_context: ssl.SSLContext | None = None) -> int:
        """Listen on one more address; port 0: any free one. Returns the port. Raises OSError."""
        server = await asyncio.get_running_loop().create_server(
            self._connect,
            host,
            port,
            ssl=ssl_context,
            backlog=BACKLOG,
            ssl_handshake_timeout=HANDSHAKE_SECONDS if ssl_context else None,
            ssl_shutdown_timeout=SHUTDOWN_SECONDS if ssl_context else None,
        )
        self._own(server)
        bound: int = server.sockets[0].getsockname()[1]
        return bound

    async def start_unix(self, path: Path) -> None:
        """Listen on a UNIX socket; one that is left there from before is replaced. Raises OSError."""
        self._own(await asyncio.get_running_loop().create_unix_server(self._connect, str(path), backlog=BACKLOG))

    async def stop(self, grace: float) -> None:
        """Take no new requests, wait up to `grace` seconds for the running ones, cut what is left.

        An endless stream (a watch, a log) ends by itself when its source does; else `grace` seconds pass and it is cut."""
        self.is_stopping = True
        for server in self._servers:
            server.close()
        for one in list(self._connections):
            one.close_if_idle()
        if self._connections:
            try:
                async with asyncio.timeout(grace):
                    await self._empty.wait()
            except TimeoutError:
                await self._cut_all()
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
            self._sweeper = None

    @property
    def connection_count(self) -> int:
        return len(self._connections)

    # ------------------------------------------------------------ for the connections

    def add(self, one: connection.Connection) -> bool:
        if self.is_stopping or len(self._connections) >= self.settings.max_connections:
            return False
        self._connections.add(one)
        self._empty.clear()
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().create_task(self._sweep(), name="connection time limits")
        return True

    def remove(self, one: connection.Connection) -> None:
        self._connections.discard(one)
        if not self._connections:
            self._empty.set()

    def general_lines(self) -> str:
        now = self._clock.now().timestamp()
        if int(now) != self._lines_second:
            self._lines_second = int(now)
            self._lines = f"{self._fixed_lines}Date: {wire.http_date(now)}\r\n"
        return self._lines

    def _connect(self) -> connection.Connection:
        return connection.Connection(self)

    def _own(self, server: asyncio.Server) -> None:
        self._servers.append(server)

    async def _cut_all(self) -> None:
        for one in list(self._connections):
            one.abandon()
        try:
            async with asyncio.timeout(SHUTDOWN_SECONDS):
                await self._empty.wait()
        except TimeoutError:
            self._connections.clear()

    async def _sweep(self) -> None:
        """Runs while there are connections: an idle server does not wake."""
        limits = self.limits
        pause = min(limits.first_seconds, limits.head_seconds, limits.idle_seconds, limits.stall_seconds, 20.0) / 4
        while self._connections:
            await self._clock.sleep(pause)
            now = self.monotonic()
            for one in list(self._connections):
                one.check(now)
        self._sweeper = None
