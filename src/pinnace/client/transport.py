"""The two roads to an API server: over TLS, and straight into its handler within one process."""

import dataclasses
import ssl
import urllib.parse
from collections.abc import AsyncGenerator, Callable
from typing import Any

from pinnace.client import client
from pinnace.client import kubeconfig as kubeconfigs
from pinnace.web import client as web_client
from pinnace.web import messages

REQUEST_LIMIT = 64 << 20
"""Bytes; more than any request of ours, which is in memory already."""


class DirectTransport:
    """Calls the API server's handler in this process, already authenticated as `user`.

    Nothing but the socket and authentication is skipped: authorisation, admission and validation see `user`. Watch events come as
    objects, decoded once for all watchers of this process."""

    def __init__(self, handler: messages.Handler, user: Any) -> None:
        self._handler = handler
        self._user = user

    async def send(self, request: messages.Request) -> messages.Answer:
        try:
            return await self._handler(dataclasses.replace(request, user=self._user, takes_objects=True))
        except messages.Disconnected as error:
            raise client.unavailable("the API server closed the request") from error

    async def close(self) -> None:
        """Nothing is held."""


class HttpTransport:
    """Requests over pooled TLS connections. `token` is asked before each request, since tokens are renewed while we run."""

    def __init__(
        self,
        server_url: str,
        *,
        ssl_context: ssl.SSLContext | None = None,
        token: Callable[[], str] | None = None,
        head_timeout: float = 60.0,
    ) -> None:
        """`head_timeout`: seconds until an answer begins; its body (a watch, say) may go on for ever."""
        self._server_url = server_url.rstrip("/")
        self._token = token
        self._head_timeout = head_timeout
        self._http = web_client.HttpClient(context=ssl_context)

    @classmethod
    def from_kubeconfig(cls, configuration: kubeconfigs.Kubeconfig) -> "HttpTransport":
        needs_token = configuration.token or configuration.token_file
        return cls(
            configuration.server,
            ssl_context=configuration.ssl_context(),
            token=configuration.read_token if needs_token else None,
        )

    async def send(self, request: messages.Request) -> messages.Answer:
        url = self._server_url + urllib.parse.quote(request.path)
        if request.query:
            url += "?" + request.query
        headers = [(name, value) for name, value in request.headers.items() if name != "content-length"]
        if self._token is not None:
            headers.append(("authorization", f"Bearer {self._token()}"))
        body = await request.body.read(REQUEST_LIMIT)
        try:
            response = await self._http.request(
                request.method, url, headers=headers, body=body, timeout=self._head_timeout
            )
        except web_client.ConnectError as error:
            raise client.unavailable(str(error)) from error
        return messages.Response(response.status, list(response.headers.items()), _body(response))

    async def close(self) -> None:
        await self._http.close()


async def _body(response: web_client.ClientResponse) -> AsyncGenerator[bytes, None]:
    try:
        async for piece in response.chunks():
            yield piece
    except web_client.ConnectError as error:
        raise client.unavailable(str(error)) from error
    finally:
        response.close()
