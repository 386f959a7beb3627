"""The two roads to an API server: over TLS, and straight into its handler within one process."""

import dataclasses
from typing import Any

from pinnace.client import client
from pinnace.web import messages


class DirectTransport:
    """Calls the API server's handler in this process, already authenticated as `user`.

    Nothing but the socket and authentication is skipped: authorisation, admission and validation see `user`."""

    def __init__(self, handler: messages.Handler, user: Any) -> None:
        self._handler = handler
        self._user = user

    async def send(self, request: messages.Request) -> messages.Answer:
        try:
            return await self._handler(dataclasses.replace(request, user=self._user))
        except messages.Disconnected as error:
            raise client.unavailable("the API server closed the request") from error

    async def close(self) -> None:
        """Nothing is held."""
