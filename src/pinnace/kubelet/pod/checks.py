"""One check of a container: an HTTP request, a TCP connection, a command, a gRPC health call. Used by probes and by hooks.

Checks go out from the host. They never raise for what the container does: an outcome carries upstream's words.
"""

import asyncio
import contextlib
import dataclasses
import errno
import importlib
import ssl
import urllib.parse
from collections.abc import Sequence

from pinnace.engine import interface
from pinnace.kubelet.pod import podspec, probes
from pinnace.web import client as web_client
from pinnace.web import messages

USER_AGENT = "kube-probe/1.36"
BODY_LIMIT = 10 << 10
OUTPUT_LIMIT = 10 << 10
REDIRECT_LIMIT = 10


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
        _, url, headers = _request(action, target)
        try:
            await self._ask(url, headers, timeout)
        except (web_client.ConnectError, OSError) as error:
            if not url.startswith("https:") or not _is_not_tls(error):
                return _get_failed(url, error)
            plain = [(name, value) for name, value in headers if name.lower() != "authorization"]
            try:
                await self._ask(url.replace("https", "http", 1), plain, timeout)
            except (web_client.ConnectError, OSError) as again:
                return _get_failed(url, again)
        return ""

    async def _ask(self, url: str, headers: list[tuple[str, str]], timeout: float) -> None:
        """Raises ConnectError, OSError."""
        response = await self._http.request("GET", url, headers=headers, timeout=timeout)
        response.close()

    async def _http_get(self, action: podspec.Object, target: Target, timeout: float) -> Outcome:
        _, url, headers = _request(action, target)
        host = urllib.parse.urlsplit(url).hostname
        try:
            async with asyncio.timeout(timeout):
                for _ in range(REDIRECT_LIMIT):
                    response = await self._http.request("GET", url, headers=headers)
                    body = b""
                    with contextlib.suppress(messages.BodyTooLarge):
                        body = await response.read(BODY_LIMIT)
                    location = response.headers.get("location")
                    if response.status not in web_client.REDIRECTS or not location:
                        break
                    url = urllib.parse.urljoin(url, location)
                    if urllib.parse.urlsplit(url).hostname != host:
                        # Upstream follows no redirect to another host, and counts it as an answer.
                        text = body.decode(errors="replace")
                        return Outcome(True, f"Probe terminated redirects, Response body: {text}", is_warning=True)
        except TimeoutError:
            waiting = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
            return Outcome(False, f'Get "{url}": {waiting}')
        except (web_client.ConnectError, OSError) as error:
            return Outcome(False, _get_failed(url, error))
        if 200 <= response.status < 400:
            return Outcome(True)
        return Outcome(False, f"HTTP probe failed with statuscode: {response.status}")

    async def _tcp(self, action: podspec.Object, target: Target, timeout: float) -> Outcome:
        host = action.get("host") or target.address
        number = probes.port(target.container, action["port"])
        try:
            async with asyncio.timeout(timeout):
                _, writer = await asyncio.open_connection(host, number)
        except TimeoutError:
            return Outcome(False, f"dial tcp {_address(host, number)}: i/o timeout")
        except OSError as error:
            return Outcome(False, f"dial tcp {_address(host, number)}: {_go_error(error)}")
        writer.close()
        return Outcome(True)

    async def _grpc(self, action: podspec.Object, target: Target, timeout: float) -> Outcome:
        number = probes.port(target.container, action["port"])
        # Loading gRPC costs a tenth of a second and some megabytes: only for pods that probe with it.
        module = await asyncio.to_thread(importlib.import_module, "pinnace.kubelet.pod.grpc_check")
        passed, message = await asyncio.to_thread(
            module.check, _address(target.address, number), str(action.get("service") or ""), timeout
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


def _request(action: podspec.Object, target: Target) -> tuple[str, str, list[tuple[str, str]]]:
    """(host, URL, headers). Raises PortError."""
    host = action.get("host") or target.address
    number = probes.port(target.container, action["port"])
    scheme = str(action.get("scheme") or "HTTP").lower()
    path = str(action.get("path") or "/")
    url = f"{scheme}://{_address(host, number)}{path if path.startswith('/') else '/' + path}"
    headers = [(str(entry["name"]), str(entry.get("value", ""))) for entry in action.get("httpHeaders") or ()]
    # A probe asks whether a new connection is answered.
    headers.append(("Connection", "close"))
    names = {name.lower() for name, _ in headers}
    if "user-agent" not in names:
        headers.append(("User-Agent", USER_AGENT))
    if "accept" not in names:
        headers.append(("Accept", "*/*"))
    return host, url, [(name, value) for name, value in headers if not (name.lower() == "accept" and not value)]


def _address(host: str, number: int) -> str:
    return f"[{host}]:{number}" if ":" in host else f"{host}:{number}"


_GO_ERRORS = {
    errno.ECONNREFUSED: "connect: connection refused",
    errno.EHOSTUNREACH: "connect: no route to host",
    errno.ENETUNREACH: "connect: network is unreachable",
    errno.ECONNRESET: "read: connection reset by peer",
    errno.ETIMEDOUT: "i/o timeout",
}


def _go_error(error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno in _GO_ERRORS:
        return _GO_ERRORS[error.errno]
    return str(error) or type(error).__name__


def _is_not_tls(error: BaseException) -> bool:
    """Whether the other side answered a TLS handshake with something else."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError) and cause.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST"):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _get_failed(url: str, error: BaseException) -> str:
    cause: BaseException | None = error
    while cause is not None and not (isinstance(cause, OSError) and cause.errno in _GO_ERRORS):
        cause = cause.__cause__ or cause.__context__
    if cause is None:
        return f'Get "{url}": {_go_error(error)}'
    return f'Get "{url}": dial tcp {urllib.parse.urlsplit(url).netloc}: {_go_error(cause)}'
