"""One check of a container: an HTTP request, a TCP connection, a command, a gRPC health call. Used by probes and by hooks.

Checks go out from the host. They never raise for what the container does: an outcome carries upstream's words.
"""

import asyncio
import contextlib
import dataclasses
import importlib
from collections.abc import Sequence

from pinnace.engine import interface
from pinnace.kubelet.pod import http_request, podspec, probes
from pinnace.web import client as web_client
from pinnace.web import messages

USER_AGENT = "kube-probe/1.36"
HOOK_AGENT = "kube-lifecycle/1.36"
BODY_LIMIT = 10 << 10
OUTPUT_LIMIT = 10 << 10


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """`passed` None: the check itself could not be made, which counts as nothing."""

    passed: bool | None
    message: str = ""
    is_warning: bool = False
    """It passed, but not as somebody may have meant it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Target:
    container: podspec.Object
    container_id: str
    address: str
    """The pod's."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Failed:
    message: str
    is_not_tls: bool = False


class Checker:
    def __init__(self, engine: interface.Engine, http: web_client.HttpClient) -> None:
        """`http` must not verify certificates: a probe asks whether something answers, not who."""
        self._engine = engine
        self._http = http

    async def check(self, handler: podspec.Object, target: Target, timeout: float) -> Outcome:
        """`handler`: a probe or a lifecycle handler."""
        try:
            if handler.get("exec"):
                return await self._exec(handler["exec"].get("command") or (), target, timeout)
            if handler.get("httpGet"):
                return await self._http_get(handler["httpGet"], target, timeout)
            if handler.get("tcpSocket"):
                return await self._tcp(handler["tcpSocket"], target, timeout)
            if handler.get("grpc"):
                return await self._grpc(handler["grpc"], target, timeout)
        except probes.PortError as error:
            return Outcome(None, str(error))
        return Outcome(None, f"missing probe handler for container {target.container['name']}")

    async def get_http(self, action: podspec.Object, target: Target, timeout: float) -> str:
        """For a lifecycle hook: "" when any answer came, whatever its status; else the error.

        What does not speak TLS after all is asked without it, as upstream does for the sake of old manifests."""
        url, headers = _request(action, target, HOOK_AGENT)
        outcome = await self._get(url, headers, timeout)
        if isinstance(outcome, _Failed) and outcome.is_not_tls:
            plain = [(name, value) for name, value in headers if name.lower() != "authorization"]
            outcome = await self._get(url.replace("https", "http", 1), plain, timeout)
        return outcome.message if isinstance(outcome, _Failed) else ""

    async def _http_get(self, action: podspec.Object, target: Target, timeout: float) -> Outcome:
        url, headers = _request(action, target, USER_AGENT)
        outcome = await self._get(url, headers, timeout)
        if isinstance(outcome, _Failed):
            return Outcome(False, outcome.message)
        status, body = outcome
        if 300 <= status < 400:
            # A redirect that cannot be followed, or leads to another host, where a probe does not go.
            return Outcome(True, f"Probe terminated redirects, Response body: {body}", is_warning=True)
        if 200 <= status < 300:
            return Outcome(True)
        return Outcome(False, f"HTTP probe failed with statuscode: {status}")

    async def _get(self, url: str, headers: http_request.Headers, timeout: float) -> "tuple[int, str] | _Failed":
        """(status, beginning of the body) of the last answer within the host; redirects are followed, but not for ever."""
        first = url
        try:
            async with asyncio.timeout(timeout):
                for _ in range(http_request.REDIRECT_LIMIT):
                    response = await self._http.request("GET", url, headers=headers)
                    body = b""
                    with contextlib.suppress(messages.BodyTooLarge):
                        body = await response.read(BODY_LIMIT)
                    location = response.headers.get("location")
                    if response.status not in web_client.REDIRECTS or not location:
                        return response.status, body.decode(errors="replace")
                    try:
                        following, headers = http_request.redirected(url, location, headers)
                    except ValueError as error:
                        return _Failed(f'Get "{location}": failed to parse Location header "{location}": {error}')
                    if not http_request.is_local(first, following):
                        return response.status, body.decode(errors="replace")
                    url = following
        except TimeoutError:
            waiting = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
            return _Failed(f'Get "{url}": {waiting}')
        except (web_client.ConnectError, OSError) as error:
            is_not_tls = url.startswith("https:") and http_request.is_not_tls(error)
            return _Failed(http_request.get_failed(url, error), is_not_tls)
        return _Failed(f'Get "{location}": stopped after {http_request.REDIRECT_LIMIT} redirects')

    async def _tcp(self, action: podspec.Object, target: Target, timeout: float) -> Outcome:
        host = action.get("host") or target.address
        number = probes.port(target.container, action["port"])
        try:
            async with asyncio.timeout(timeout):
                _, writer = await asyncio.open_connection(host, number)
        except TimeoutError:
            return Outcome(False, f"dial tcp {http_request.address(host, number)}: i/o timeout")
        except OSError as error:
            return Outcome(False, http_request.dial_failed(host, number, error))
        writer.close()
        return Outcome(True)

    async def _grpc(self, action: podspec.Object, target: Target, timeout: float) -> Outcome:
        number = probes.port(target.container, action["port"])
        # Loading gRPC costs a tenth of a second and some megabytes: only for pods that probe with it.
        module = await asyncio.to_thread(importlib.import_module, "pinnace.kubelet.pod.grpc_check")
        passed, message = await asyncio.to_thread(
            module.check, http_request.address(target.address, number), str(action.get("service") or ""), timeout
        )
        return Outcome(passed, message)

    async def _exec(self, command: Sequence[str], target: Target, timeout: float) -> Outcome:
        try:
            async with asyncio.timeout(timeout):
                code, output = await run(self._engine, target.container_id, command)
        except TimeoutError:
            words = " ".join(command)
            return Outcome(False, f'command timed out: "{words}" timed out after {timeout:g}s')
        except interface.EngineError as error:
            return Outcome(None, f"rpc error: {error}")
        return Outcome(code == 0, output.decode(errors="replace"))


async def run(engine: interface.Engine, container_id: str, command: Sequence[str]) -> tuple[int, bytes]:
    """The exit code and the beginning of the output of a command in a container; cancelled, it is killed. Raises EngineError."""
    streams = await engine.exec(container_id, list(command))
    try:
        pieces: list[bytes] = []
        size = 0
        while (piece := await streams.read()) is not None:
            if size < OUTPUT_LIMIT:
                pieces.append(piece[1])
                size += len(piece[1])
        return await streams.wait(), b"".join(pieces)[:OUTPUT_LIMIT]
    finally:
        await streams.close()


def _request(action: podspec.Object, target: Target, agent: str) -> tuple[str, http_request.Headers]:
    """(URL, headers). Raises PortError."""
    host = str(action.get("host") or target.address)
    scheme = str(action.get("scheme") or "HTTP").lower()
    number = probes.port(target.container, action["port"])
    return http_request.url(scheme, host, number, str(action.get("path") or "/")), http_request.headers(action, agent)
