"""A control plane in one process under virtual time: the real API server over the memory store, the real controllers, and a
`Node` that stands for scheduler and kubelet: it runs pods at once, as a test tells it.

    loop_time.run(lambda time: control_plane.run(time, test))
"""

import asyncio
import contextlib
import dataclasses
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pinnace.api import resources
from pinnace.apiserver import server, users
from pinnace.apiserver import settings as api_settings
from pinnace.apiserver.storage import envelope
from pinnace.client import client, informers, transport
from pinnace.controllers import daemonset, manager
from pinnace.controllers.framework import loop
from pinnace.kit import clock
from pinnace.store import memory
from pinnace.testing import loop_time
from pinnace.web import messages

Object = dict[str, Any]

NAMESPACE = "default"
_KEY = ec.generate_private_key(ec.SECP256R1()).private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
)

Fault = Callable[[messages.Request], None]
Change = Callable[[messages.Request, messages.Answer], messages.Answer]


class ControlPlane:
    """`fault` is called before each request of the controllers and may raise; `after` likewise when it has been answered."""

    def __init__(self, time: loop_time.LoopClock, api: server.ApiServer) -> None:
        self.time = time
        self.api = api
        self.admin = self.client_of("admin", users.MASTERS)
        self.fault: Fault = lambda request: None
        self.after: Fault = lambda request: None
        self.on_answer: Change = lambda request, answer: answer
        """Makes another answer of the one that the controllers would get."""
        self.manager: manager.Manager | None = None
        self._task: asyncio.Future[Any] | None = None

    def client_of(self, name: str, *groups: str) -> client.Client:
        user = users.UserInfo(name, groups=(*groups, users.AUTHENTICATED))
        return client.Client(transport.DirectTransport(self.api.handle, user))

    def start_controllers(self, settings: manager.Settings | None = None) -> None:
        def api_for(name: str) -> client.Client:
            user = users.UserInfo(name, groups=manager.groups_of(name))
            return client.Client(transport.DirectTransport(self._handle, user))

        shared = informers.Informers(api_for(loop.MANAGER), self.time)
        self.manager = manager.Manager(api_for, shared, self.time, settings or manager.Settings())
        self._task = asyncio.gather(shared.run(), self.manager.run())

    async def stop_controllers(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _handle(self, request: messages.Request) -> messages.Answer:
        self.fault(request)
        answer = await self.api.handle(request)
        self.after(request)
        return self.on_answer(request, answer)

    # -- what tests ask and do

    async def create(self, resource: resources.Resource, obj: Object, namespace: str = NAMESPACE) -> Object:
        return await self.admin.create(resource, namespace if resource.namespaced else None, obj)

    async def get(self, resource: resources.Resource, name: str, namespace: str = NAMESPACE) -> Object:
        return await self.admin.get(resource, namespace if resource.namespaced else None, name)

    async def find(self, resource: resources.Resource, name: str, namespace: str = NAMESPACE) -> Object | None:
        try:
            return await self.get(resource, name, namespace)
        except client.NotFound:
            return None

    async def list(self, resource: resources.Resource, namespace: str = NAMESPACE, **selectors: str) -> list[Object]:
        return (await self.admin.list(resource, namespace if resource.namespaced else None, **selectors)).items

    async def patch(self, resource: resources.Resource, name: str, patch: Any, **options: Any) -> Object:
        return await self.admin.patch(resource, NAMESPACE if resource.namespaced else None, name, patch, **options)

    async def delete(self, resource: resources.Resource, name: str, **options: Any) -> None:
        await self.admin.delete(resource, NAMESPACE if resource.namespaced else None, name, **options)

    async def wait(self, condition: Callable[[], Awaitable[bool]], seconds: float = 60) -> None:
        """Let virtual time pass until `condition` holds."""
        for _ in range(int(seconds / 0.1) + 1):
            if await condition():
                return
            await asyncio.sleep(0.1)
        raise AssertionError(f"still not so after {seconds} virtual seconds")


@dataclasses.dataclass(slots=True)
class Node:
    """Takes every pod and makes it Running and Ready after `start_seconds`, ends it when it is deleted.

    `decide` may say otherwise for a pod: return the status to write, or None to leave it alone."""

    plane: ControlPlane
    name: str = "node"
    start_seconds: float = 1.0
    decide: Callable[[Object], Object | None] | None = None
    seen: dict[str, Object] = dataclasses.field(default_factory=dict)

    async def register(self) -> None:
        """The node's own object, as its agent makes it."""
        node = {
            "metadata": {
                "name": self.name,
                "labels": {"kubernetes.io/hostname": self.name},
                "annotations": {"pinnace.dev/volume-dir": "/volumes"},
            },
            "spec": {},
        }
        await self.plane.create(resources.NODES, node)
        await self.report(ready=True)

    async def report(self, *, ready: bool) -> None:
        stamp = clock.rfc3339(self.plane.time.now())
        condition = {"type": "Ready", "status": "True" if ready else "False", "reason": "x", "message": "x"}
        condition |= {"lastHeartbeatTime": stamp, "lastTransitionTime": stamp}
        patch = {"status": {"conditions": [condition]}}
        await self.plane.admin.patch(resources.NODES, None, self.name, patch, kind="strategic", subresource="status")

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(10)
            await self.report(ready=True)

    async def run(self) -> None:
        api = self.plane.admin
        await self.register()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._beat())
            listed = await api.list(resources.PODS)
            for pod in listed.items:
                group.create_task(self._handle(pod))
            while True:
                async for event in api.watch(resources.PODS, resource_version=listed.resource_version):
                    if event.type == "BOOKMARK":
                        continue
                    listed = client.ObjectList([], event.object["metadata"]["resourceVersion"])
                    if event.type != "DELETED":
                        group.create_task(self._handle(event.object))

    async def _handle(self, pod: Object) -> None:
        with contextlib.suppress(client.NotFound, client.Conflict):
            metadata = pod["metadata"]
            if "deletionTimestamp" in metadata:
                await self._end(pod)
            elif metadata["uid"] not in self.seen:
                self.seen[metadata["uid"]] = pod
                await self._start(pod)

    async def _start(self, pod: Object) -> None:
        api, metadata = self.plane.admin, pod["metadata"]
        if not pod["spec"].get("nodeName"):
            target = {"kind": "Node", "name": daemonset.node_of(pod) or self.name}
            binding = {"metadata": {"name": metadata["name"]}, "target": target}
            namespace = metadata["namespace"]
            await api.create(resources.PODS, namespace, binding, name=metadata["name"], subresource="binding")
        await asyncio.sleep(self.start_seconds)
        status = self.decide(pod) if self.decide else running(self.plane.time, len(self.seen))
        if status is not None:
            await self.write_status(pod, status)

    async def _end(self, pod: Object) -> None:
        metadata = pod["metadata"]
        if pod["status"].get("phase") in ("Pending", "Running"):
            await self.write_status(pod, {**finished(self.plane.time, "Failed", 137), "podIP": None, "podIPs": None})
        await self.plane.admin.delete(
            resources.PODS, metadata["namespace"], metadata["name"], uid=metadata["uid"], grace_period_seconds=0
        )

    async def write_status(self, pod: Object, status: Object) -> None:
        metadata = pod["metadata"]
        patch = {"metadata": {"uid": metadata["uid"]}, "status": status}
        await self.plane.admin.patch(
            resources.PODS, metadata["namespace"], metadata["name"], patch, subresource="status"
        )


def running(time: clock.Clock, number: int = 1, *, ready: bool = True) -> Object:
    stamp = clock.rfc3339(time.now())
    address = f"10.42.{number // 250}.{number % 250 + 1}"
    condition = {"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": stamp}
    return {
        "phase": "Running",
        "conditions": [condition],
        "podIP": address,
        "podIPs": [{"ip": address}],
        "startTime": stamp,
    }


def finished(time: clock.Clock, phase: str, code: int = 0, container: str = "main") -> Object:
    stamp = clock.rfc3339(time.now())
    terminated = {
        "exitCode": code,
        "finishedAt": stamp,
        "startedAt": stamp,
        "reason": "Completed" if not code else "Error",
    }
    status = {
        "name": container,
        "image": "x",
        "imageID": "x",
        "ready": False,
        "restartCount": 0,
        "state": {"terminated": terminated},
    }
    return {
        "phase": phase,
        "conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": stamp}],
        "containerStatuses": [status],
    }


@contextlib.asynccontextmanager
async def started(time: loop_time.LoopClock) -> AsyncIterator[ControlPlane]:
    """A running API server; controllers are started by the test."""
    store = memory.MemoryStore(envelope.stamp, time)
    api = server.ApiServer(store, time, api_settings.Settings(service_account_key=_KEY), rng=random.Random(1))  # noqa: S311
    await api.start()
    plane = ControlPlane(time, api)
    try:
        yield plane
    finally:
        await plane.stop_controllers()
        await api.stop()
        await store.close()


def run(
    test: Callable[[ControlPlane], Awaitable[None]],
    *,
    settings: manager.Settings | None = None,
    node: Callable[[ControlPlane], Node] | None = Node,
) -> None:
    """`test` against a fresh control plane with controllers and, unless None, a node that runs every pod."""

    async def main(time: loop_time.LoopClock) -> None:
        async with started(time) as plane:
            plane.start_controllers(settings)
            worker = asyncio.create_task(node(plane).run()) if node else None
            try:
                await test(plane)
            finally:
                if worker is not None:
                    worker.cancel()
                    await asyncio.gather(worker, return_exceptions=True)

    loop_time.run(main)


def workload(name: str, replicas: int, *, image: str = "one", **spec: Any) -> Object:
    """Metadata and spec of a Deployment or ReplicaSet whose pods have one container."""
    return {
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": template(name, image),
            **spec,
        },
    }


def template(name: str, image: str = "one", **spec: Any) -> Object:
    container = {"name": "main", "image": image}
    return {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container], **spec}}
