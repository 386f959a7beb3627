"""A node agent on a small API in memory; unless told otherwise on a fake engine and a fake network, under a clock that the test moves.

async with NodeAgent(tmp_path) as node:
    await node.create(pods.pod("web"))
    await node.until(lambda: node.phase("web") == "Running")
"""

import asyncio
import contextlib
import pathlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson

from pinnace.api import resources
from pinnace.client import client, events, transport
from pinnace.engine import interface
from pinnace.kit import clock as kit_clock
from pinnace.kubelet import agent
from pinnace.kubelet import settings as settings_module
from pinnace.kubelet.volumes import interface as volumes
from pinnace.net import interface as net
from pinnace.testing import clock, fake_api, fake_engine, fake_mounts, fake_network
from pinnace.web import messages

Object = dict[str, Any]
REAL_SECONDS = 60.0
PODS = "/api/v1/pods"


class NodeAgent:
    def __init__(
        self,
        folder: pathlib.Path,
        *,
        time: kit_clock.Clock | None = None,
        make_engine: Callable[[], interface.Engine] | None = None,
        network: net.PodNetwork | None = None,
        mounts: volumes.Mounts | None = None,
        **settings: Any,
    ) -> None:
        """`settings`: fields of the kubelet's own."""
        self.time: kit_clock.Clock = time or clock.VirtualClock()
        self.api = fake_api.FakeApi()
        self.host = fake_engine.FakeHost(self.time)
        self.host.add_image("busybox")
        self.network = fake_network.FakeNetwork()
        self._make_engine = make_engine or (lambda: fake_engine.FakeEngine(self.host))
        self._network = network or self.network
        self.mounts = mounts or fake_mounts.RecordedMounts()
        self.settings = settings_module.Settings(
            node_name="node-1",
            node_ip="192.0.2.1",
            data_dir=folder / "node",
            logs_dir=folder / "logs",
            cluster_dns=("10.43.0.10",),
            **settings,
        )
        self.token_requests: list[Object] = []
        self.events: list[tuple[str, str, str]] = []
        """(type, reason, message) in order."""
        self.statuses: list[Object] = []
        """Every status that was written, in order."""
        self.client = client.Client(transport.DirectTransport(self._handle, None))
        self.kubelet = self._make()
        self._task: asyncio.Task[None] | None = None

    def _make(self) -> agent.Kubelet:
        recorder = _Recorder(self.client, "kubelet", self.time)
        recorder.told = self.events
        return agent.Kubelet(
            self.client,
            self._make_engine(),
            self._network,
            self.time,
            self.settings,
            recorder,
            mounts=self.mounts,
            volumes_api=self.client,
        )

    async def __aenter__(self) -> "NodeAgent":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        await self.kubelet.engine.open()
        self._task = asyncio.create_task(self.kubelet.run())
        await self.until(lambda: self.kubelet.node.health.is_ready)

    async def stop(self) -> None:
        """The agent ends; the host and its containers stay."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self.kubelet.engine.close()

    async def restart(self) -> None:
        await self.stop()
        self.kubelet = self._make()
        await self.start()

    async def until(self, holds: Callable[[], bool], *, seconds: float = 0.0) -> None:
        """Let things happen until `holds`; up to `seconds` of virtual time may pass for it. Fails after some real seconds."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + REAL_SECONDS
        passed = 0.0
        while not holds():
            await clock.settle()
            if holds():
                return
            if passed < seconds and isinstance(self.time, clock.VirtualClock):
                await self.time.advance(0.25)
                passed += 0.25
            else:
                await asyncio.sleep(0.001)  # threads take real time
            if loop.time() > deadline:
                raise AssertionError(f"it did not come true; events so far: {self.events}")

    # ------------------------------------------------------------ objects

    async def create(self, obj: Object, resource: resources.Resource = resources.PODS) -> Object:
        key = (resource.path(), obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
        made = await self.client.create(resource, obj["metadata"].get("namespace"), obj)
        if "uid" in obj["metadata"]:
            self.api.objects[key]["metadata"]["uid"] = obj["metadata"]["uid"]
        return made

    async def delete(self, name: str, grace: int = 30) -> None:
        """What the API server does at the beginning of a graceful deletion."""
        metadata = {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": grace}
        await self.client.patch(resources.PODS, "default", name, {"metadata": metadata})

    def pod(self, name: str) -> Object | None:
        return self.api.objects.get((PODS, "default", name))

    def status(self, name: str) -> Object:
        found = self.pod(name)
        return {} if found is None else found.get("status", {})

    def phase(self, name: str) -> str:
        return str(self.status(name).get("phase", ""))

    def state(self, name: str, index: int = 0, field: str = "containerStatuses") -> Object:
        entries = self.status(name).get(field) or []
        return entries[index].get("state", {}) if index < len(entries) else {}

    def reasons(self) -> list[str]:
        return [reason for _, reason, _ in self.events]

    def container(self, pod: Object, name: str, attempt: int = 0) -> str:
        """The engine's name of a container."""
        metadata = pod["metadata"]
        return f"{metadata['name']}_{metadata['namespace']}_{metadata['uid']}_{name}_{attempt}"

    # ------------------------------------------------------------ the API's side

    async def _handle(self, request: messages.Request) -> messages.Answer:
        if request.path.endswith("/token"):
            return await self._token(request)
        if request.path.endswith("/status") and "/pods/" in request.path:
            self.statuses.append(orjson.loads(await request.body.read(1 << 20))["status"])
        answer = await self.api.handle(request)
        if isinstance(answer, messages.Response) and request.method == "GET":
            return _selected(request, answer)
        return answer

    async def _token(self, request: messages.Request) -> messages.Response:
        asked = orjson.loads(await request.body.read(1 << 20))
        self.token_requests.append(asked)
        seconds = asked["spec"]["expirationSeconds"]
        expires = self.time.now().timestamp() + seconds
        stamp = self.time.now().fromtimestamp(expires, self.time.now().tzinfo).strftime("%Y-%m-%dT%H:%M:%SZ")
        status = {"token": f"token-{len(self.token_requests)}", "expirationTimestamp": stamp}
        return messages.Response(201, [("content-type", "application/json")], orjson.dumps({**asked, "status": status}))


def _selected(request: messages.Request, answer: messages.Response) -> messages.Response:
    """The field selector `metadata.name=…` of lists and watches, which the fake server does not know."""
    selector = "".join(request.query_values().get("fieldSelector", []))
    if not selector.startswith("metadata.name="):
        return answer
    name = selector.partition("=")[2]
    if isinstance(answer.body, bytes):
        body = orjson.loads(answer.body)
        if "items" in body:
            body["items"] = [item for item in body["items"] if item["metadata"]["name"] == name]
        return messages.Response(answer.status, answer.headers, orjson.dumps(body))
    if isinstance(answer.body, AsyncIterator):
        return messages.Response(answer.status, answer.headers, _filtered(answer.body, name))
    return answer


async def _filtered(body: AsyncIterator[messages.Chunk], name: str) -> AsyncIterator[messages.Chunk]:
    async for chunk in body:
        assert isinstance(chunk, bytes)
        if orjson.loads(chunk)["object"]["metadata"]["name"] == name:
            yield chunk


class _Recorder(events.EventRecorder):
    """Remembers instead of writing."""

    told: list[tuple[str, str, str]]

    def normal(self, regarding: dict[str, Any], reason: str, message: str, *, field_path: str = "") -> None:
        self.told.append(("Normal", reason, message))

    def warning(self, regarding: dict[str, Any], reason: str, message: str, *, field_path: str = "") -> None:
        self.told.append(("Warning", reason, message))
