"""The node's HTTPS endpoint: what the API server asks of a node on behalf of `kubectl logs`, `exec`, `attach` and `port-forward`.

GET      /healthz
GET      /pods                                             the pods of this node with their newest status
GET      /containerLogs/<namespace>/<pod>/<container>
GET|POST /exec|attach/<namespace>/<pod>[/<uid>]/<container>
GET|POST /portForward/<namespace>/<pod>[/<uid>]
GET      /stats/summary, /metrics, /metrics/resource
GET      /configz                                          the settings, in upstream's names
GET      /logs/[<path>]                                    the machine's log folder
GET      /runningpods                                      what the engine runs
"""

import asyncio
import functools
import logging
import pathlib
import socket
from collections.abc import Awaitable, Callable

import orjson

from pinnace.client import client
from pinnace.engine import interface, log_files
from pinnace.kernel import namespaces
from pinnace.kit import clock, metrics
from pinnace.kubelet import agent
from pinnace.kubelet.endpoint import (
    auth,
    configz,
    container_logs,
    host_logs,
    portforward,
    remotecommand,
    stats,
    volume_stats,
)
from pinnace.kubelet.node import facts
from pinnace.kubelet.pod import model, podspec, worker
from pinnace.web import duplex, messages

log = logging.getLogger(__name__)

_READ = frozenset({"GET", "HEAD"})
_READ_OR_POST = frozenset({"GET", "POST"})


class Refused(Exception):
    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def handler(kubelet: agent.Kubelet, api: client.Client) -> messages.Handler:
    """`api`: asked who may use the endpoint."""
    return Endpoint(kubelet, auth.Guard(api, kubelet.settings.node_name)).handle


def _text(status: int, text: str) -> messages.Response:
    return messages.Response(status, [("content-type", "text/plain; charset=utf-8")], text.encode())


class Endpoint:
    def __init__(self, kubelet: agent.Kubelet, guard: auth.Guard) -> None:
        self._kubelet = kubelet
        self._guard = guard
        self._rates = stats.Rates()
        self._node_rates = stats.Rates()
        self._routes: dict[
            str, tuple[frozenset[str], Callable[[messages.Request, list[str]], Awaitable[messages.Answer]]]
        ] = {
            "pods": (_READ, self._pods),
            "containerLogs": (_READ, self._logs),
            "exec": (_READ_OR_POST, self._exec),
            "attach": (_READ_OR_POST, self._attach),
            "portForward": (_READ_OR_POST, self._port_forward),
            "stats": (_READ, self._stats),
            "metrics": (_READ, self._metrics),
            "logs": (_READ, self._host_logs),
            "configz": (_READ, self._configz),
            "runningpods": (_READ, self._running_pods),
        }

    async def handle(self, request: messages.Request) -> messages.Answer:
        refusal = await self._guard.check(request)
        if refusal is not None:
            return _text(*refusal)
        if request.path == "/healthz" and request.method in _READ:
            return _text(200, "ok")
        first, *rest = [part for part in request.path.split("/") if part] or [""]
        route = self._routes.get(first)
        if route is None:
            return _text(404, "404 page not found\n")
        methods, serve = route
        if request.method not in methods:
            return _text(405, "405: Method Not Allowed")
        try:
            return await serve(request, rest)
        except Refused as error:
            return _text(error.status, str(error))

    # ------------------------------------------------------------ reading

    async def _pods(self, request: messages.Request, rest: list[str]) -> messages.Answer:
        items = []
        for pod in self._kubelet.pods.list():
            known = self._kubelet.workers.get(podspec.uid(pod))
            items.append(pod if known is None else {**pod, "status": known.status})
        return _json({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items})

    async def _logs(self, request: messages.Request, rest: list[str]) -> messages.Answer:
        if len(rest) != 3:
            raise Refused(404, "404 page not found\n")
        namespace, name, container = rest
        pod = self._pod(namespace, name)
        if podspec.find_container(pod, container) is None:
            raise Refused(404, f'container "{container}" not found in pod "{name}"')
        known = self._kubelet.workers.get(podspec.uid(pod))
        status = known.status if known is not None else pod.get("status") or {}
        values = request.query_values()
        try:
            chosen = container_logs.options(values, self._kubelet.time.now())
            previous = container_logs.is_true((values.get("previous") or [""])[-1])
            attempt = container_logs.attempt(status, name, container, previous=previous)
        except (container_logs.NoLog, ValueError) as error:
            raise Refused(400, str(error)) from None
        path = self._kubelet.settings.log_path(namespace, name, podspec.uid(pod), container, attempt)
        if not log_files.exists(path):
            raise Refused(404, f"failed to open log of container {container}: no such file")
        body = container_logs.stream(path, chosen, self._wait_ended(known, container, attempt))
        return messages.Response(200, [("content-type", "text/plain; charset=utf-8")], body)

    async def _host_logs(self, request: messages.Request, rest: list[str]) -> messages.Answer:
        try:
            return await host_logs.serve(request, "/".join(rest))
        except host_logs.NotFound:
            raise Refused(404, "404 page not found\n") from None

    def _wait_ended(
        self, known: worker.PodWorker | None, container: str, attempt: int
    ) -> Callable[[], Awaitable[object]]:
        record = known.container(container) if known is not None else None
        is_current = record is not None and record.spec.labels.get(model.ATTEMPT_LABEL) == str(attempt)

        async def wait() -> None:
            if record is None or not is_current or record.status.is_terminal:
                return
            try:
                await self._kubelet.engine.wait(record.id)
            except interface.NoSuchObject:
                return

        return wait

    async def _stats(self, request: messages.Request, rest: list[str]) -> messages.Answer:
        if rest not in ([], ["summary"]):
            raise Refused(404, "404 page not found\n")
        now = self._kubelet.time.now()
        found = stats.summary(self._kubelet.settings, await self._measure(), self._node_cpu(), now)
        volumes = await self._volumes()
        for pod in found["pods"]:
            uses = [use for use in volumes if use.pod_uid == pod["podRef"]["uid"]]
            if uses:
                pod["volume"] = volume_stats.summary(uses, clock.rfc3339(now))
        return _json(found)

    async def _configz(self, request: messages.Request, rest: list[str]) -> messages.Answer:
        return _json({"kubeletconfig": configz.document(self._kubelet.settings)})

    async def _running_pods(self, request: messages.Request, rest: list[str]) -> messages.Answer:
        items = [
            configz.running_pod(each.pod, each.live_containers())
            for each in self._kubelet.workers.values()
            if each.live_containers()
        ]
        return _json({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items})

    async def _metrics(self, request: messages.Request, rest: list[str]) -> messages.Answer:
        if rest == ["resource"]:
            text = stats.resource_metrics(await self._measure(), self._node_cpu(), self._kubelet.time.now())

        elif not rest:
            running = sum(len(pod.live_containers()) for pod in self._kubelet.workers.values())
            sandboxes = sum(1 for pod in self._kubelet.workers.values() if pod.sandbox_id)
            own = metrics.Text()
            own.family(
                "kubelet_running_pods",
                "gauge",
                "Number of pods that have a running pod sandbox",
                [(metrics.NO_LABELS, sandboxes)],
            )
            own.family(
                "kubelet_running_containers",
                "gauge",
                "Number of containers currently running",
                [({"container_state": "running"}, running)],
            )
            text = own.render() + volume_stats.exposed(await self._volumes())
        else:
            raise Refused(404, "404 page not found\n")
        return messages.Response(200, [("content-type", metrics.CONTENT_TYPE)], text.encode())

    async def _measure(self) -> list[stats.PodUse]:
        pods = [(each.pod, each.live_containers()) for each in self._kubelet.workers.values()]
        return await stats.measure(self._kubelet.engine, pods, self._rates, self._kubelet.time.monotonic())

    async def _volumes(self) -> list[volume_stats.VolumeUse]:
        pods = [(each.pod, each.volumes) for each in self._kubelet.workers.values() if each.live_containers()]
        return await asyncio.to_thread(volume_stats.measure, pods)

    def _node_cpu(self) -> stats.NodeCpu:
        used = facts.cpu_nanoseconds()
        return stats.NodeCpu(used, self._node_rates.note("node", self._kubelet.time.monotonic(), used))

    # ------------------------------------------------------------ streams

    async def _exec(self, request: messages.Request, rest: list[str]) -> messages.Answer:
        container = self._running(rest)
        command = request.query_values().get("command") or []
        if not command:
            raise Refused(400, "you must specify a command")
        options = _options(request, is_attach=False)

        async def open_streams() -> interface.Streams:
            return await self._kubelet.engine.exec(container.id, command, tty=options.tty, stdin=options.stdin)

        return remotecommand.serve(request, options, open_streams)

    async def _attach(self, request: messages.Request, rest: list[str]) -> messages.Answer:
        container = self._running(rest)
        options = _options(request, is_attach=True)

        async def open_streams() -> interface.Streams:
            return await self._kubelet.engine.attach(container.id, stdin=options.stdin)

        return remotecommand.serve(request, options, open_streams)

    async def _port_forward(self, request: messages.Request, rest: list[str]) -> messages.Answer:
        if len(rest) not in (2, 3):
            raise Refused(404, "404 page not found\n")
        pod = self._pod(rest[0], rest[1], rest[2] if len(rest) == 3 else "")
        known = self._kubelet.workers.get(podspec.uid(pod))
        if known is None or not known.sandbox_id:
            raise Refused(404, f'pod "{rest[1]}" is not running')
        namespace = await self._network_namespace(known.sandbox_id)

        async def connect(port: int) -> messages.Duplex:
            return await connect_inside(namespace, port)

        return portforward.serve(request, connect, pod=podspec.name(pod), uid=known.uid, time=self._kubelet.time)

    async def _network_namespace(self, sandbox_id: str) -> pathlib.Path | None:
        for sandbox in await self._kubelet.engine.list_sandboxes():
            if sandbox.id == sandbox_id:
                return sandbox.network_namespace
        raise Refused(404, "the pod's sandbox is gone")

    # ------------------------------------------------------------ finding

    def _pod(self, namespace: str, name: str, uid: str = "") -> podspec.Object:
        pod = self._kubelet.pods.get(namespace, name)
        if pod is None or (uid and podspec.uid(pod) != uid):
            raise Refused(404, f'pod "{name}_{namespace}" not found')
        return pod

    def _running(self, rest: list[str]) -> interface.Container:
        if len(rest) not in (3, 4):
            raise Refused(404, "404 page not found\n")
        namespace, name, container = rest[0], rest[1], rest[-1]
        pod = self._pod(namespace, name, rest[2] if len(rest) == 4 else "")
        known = self._kubelet.workers.get(podspec.uid(pod))
        found = known.container(container) if known is not None else None
        if found is None:
            raise Refused(404, f'container not found ("{container}")')
        if not found.status.is_alive:
            raise Refused(400, f"container {container} is not running")
        return found


def _options(request: messages.Request, *, is_attach: bool) -> remotecommand.Options:
    try:
        return remotecommand.Options.from_query(request.query_values(), is_attach=is_attach)
    except ValueError as error:
        raise Refused(400, str(error)) from None


async def connect_inside(namespace: pathlib.Path | None, port: int) -> messages.Duplex:
    """A connection to `localhost` as the pod sees it, so that servers which listen there alone are reached too. Raises OSError."""
    if namespace is None:
        return await duplex.connect("localhost", port)
    failure: OSError | None = None
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        made = await namespaces.run_in_network_async(namespace, functools.partial(socket.socket, family))
        try:
            made.setblocking(False)
            await asyncio.get_running_loop().sock_connect(made, (address, port))
        except OSError as error:
            made.close()
            failure = failure or error
            continue
        _, connection = await asyncio.get_running_loop().create_connection(duplex.TransportDuplex, sock=made)
        return connection
    assert failure is not None
    raise failure


def _json(value: object) -> messages.Response:
    return messages.Response(200, [("content-type", "application/json")], orjson.dumps(value))
