"""P4: many watchers of one collection, and updates that all of them are told of.

The watchers are sockets in this process that count frames and nothing else; every hundredth also reads, from the object, when the
update was sent, which gives the lag. Loader and server share the machine.
"""

import asyncio
import contextlib
import dataclasses
import itertools
import ssl
import time
import typing

import clusters
import rows
import uvloop

WATCHERS = 1000
UPDATES_PER_SECOND = 200
OBJECTS = 64
"""Updated in turn, each over a connection of its own."""
SAMPLED = 100
"""One watcher in so many measures the lag."""
SETTLE_SECONDS = 2.0
LEAD_SECONDS = 1.0
"""For the objects and connections of the updates to be made."""
PATH = "/api/v1/namespaces/default/configmaps"


def measure(report: rows.Report, seconds: int) -> None:
    with clusters.running("--no-node") as cluster:
        token = clusters.admin_token(cluster)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            report.add("P4", str(runner.run(load(cluster.port, token, seconds))))


@dataclasses.dataclass
class Result:
    delivered: int
    expected: int
    seconds: float
    lags: list[float]
    updates: int

    def __str__(self) -> str:
        ordered = sorted(self.lags) or [float("nan")]
        p50, p99 = ordered[len(ordered) // 2] * 1000, ordered[int(len(ordered) * 0.99)] * 1000
        missing = f", {self.expected - self.delivered} MISSING" if self.expected != self.delivered else ""
        return (
            f"{self.delivered / self.seconds:,.0f} events/s ({self.updates / self.seconds:.0f} updates/s), "
            f"lag p50 {p50:.0f} ms, p99 {p99:.0f} ms{missing}"
        )


async def load(port: int, token: str, seconds: int, watchers: int = WATCHERS) -> Result:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    head = f"Host: localhost\r\nAuthorization: Bearer {token}\r\n"
    request = f"GET {PATH}?watch=true HTTP/1.1\r\n{head}\r\n".encode()
    loop = asyncio.get_running_loop()
    opened: list[Watcher] = []
    for index in range(watchers):
        watcher = Watcher(request, samples=index % SAMPLED == 0)
        await loop.create_connection(lambda watcher=watcher: watcher, "127.0.0.1", port, ssl=context)
        opened.append(watcher)
    await asyncio.sleep(SETTLE_SECONDS)
    for watcher in opened:
        watcher.lags.clear()  # of what was there before
    base = sum(watcher.frames for watcher in opened)
    began = time.monotonic() + LEAD_SECONDS
    updates = await update(port, context, head, began, seconds)
    expected = updates * watchers
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds + 30):
            while sum(watcher.frames for watcher in opened) - base < expected:  # noqa: ASYNC110 - counters, no events
                await asyncio.sleep(0.01)
    spent = time.monotonic() - began
    delivered = sum(watcher.frames for watcher in opened) - base
    for watcher in opened:
        watcher.close()
    return Result(delivered, expected, spent, [lag for watcher in opened for lag in watcher.lags], updates)


async def update(port: int, context: ssl.SSLContext, head: str, began: float, seconds: int) -> int:
    """Updates at the wanted rate, those of one object one after the other; returns how many."""
    done = await asyncio.gather(*(_update_one(port, context, head, began, index, seconds) for index in range(OBJECTS)))
    return sum(done)


async def _update_one(port: int, context: ssl.SSLContext, head: str, began: float, index: int, seconds: int) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)

    async def send(verb: str, path: str, media: str, body: str) -> None:
        fields = f"Content-Type: {media}\r\nContent-Length: {len(body)}\r\n"
        writer.write(f"{verb} {path} HTTP/1.1\r\n{head}{fields}\r\n{body}".encode())
        answer = await reader.readuntil(b"\r\n\r\n")
        if b" 20" not in answer.split(b"\r\n", 1)[0]:
            raise RuntimeError(f"the server answered {answer!r}")
        await reader.readexactly(int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))

    with contextlib.closing(writer):
        name = f"watched-{time.time_ns()}-{index}"
        await send("POST", PATH, "application/json", f'{{"metadata":{{"name":"{name}"}}}}')
        done = 1
        for number in itertools.count(index):
            due = (number - index) * OBJECTS / UPDATES_PER_SECOND + index / UPDATES_PER_SECOND
            if due > seconds:
                return done
            await asyncio.sleep(began + due - time.monotonic())
            if time.monotonic() - began > seconds:
                return done
            body = f'{{"data":{{"sent":"{time.monotonic_ns()}"}}}}'
            await send("PATCH", f"{PATH}/{name}", "application/merge-patch+json", body)
            done += 1
    raise AssertionError("the count ends")


class Watcher(asyncio.Protocol):
    def __init__(self, request: bytes, *, samples: bool) -> None:
        self.frames = 0
        self.lags: list[float] = []
        self._request = request
        self._samples = samples
        self._ends_in_brace = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = typing.cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        # A frame ends in `}` and a line feed, which may come apart.
        self.frames += data.count(b"}\n") + (self._ends_in_brace and data.startswith(b"\n"))
        self._ends_in_brace = data.endswith(b"}")
        if self._samples:
            now = time.monotonic_ns()
            for part in data.split(b'"sent":"')[1:]:
                sent = part.partition(b'"')[0]
                if sent.isdigit() and sent != b"0":
                    self.lags.append((now - int(sent)) / 1e9)

    def close(self) -> None:
        self._transport.abort()
