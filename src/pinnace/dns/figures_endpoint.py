"""`GET /metrics` of the DNS server, for whoever reaches its address: as CoreDNS, on the same port."""

from collections.abc import Callable

from pinnace.web import messages

PORT = 9153


def handler(expose: Callable[[], bytes]) -> messages.Handler:
    async def handle(request: messages.Request) -> messages.Answer:
        if request.path != "/metrics":
            return messages.Response(404, body=b"404 page not found\n")
        if request.method not in ("GET", "HEAD"):
            return messages.Response(405, body=b"method not allowed\n")
        return messages.Response(headers=(("Content-Type", "text/plain; version=0.0.4; charset=utf-8"),), body=expose())

    return handle
