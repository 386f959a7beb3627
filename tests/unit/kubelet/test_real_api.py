"""The node agent against the real API server (in memory, in one process): what upstream's rules let a node do is enough for it."""

import asyncio
import pathlib
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pinnace.api import resources
from pinnace.apiserver import server as apiserver
from pinnace.apiserver import settings as apiserver_settings
from pinnace.apiserver import users
from pinnace.apiserver.storage import envelope
from pinnace.client import client, events, transport
from pinnace.kit import clock
from pinnace.kubelet import agent
from pinnace.kubelet import settings as kubelet_settings
from pinnace.store import memory
from pinnace.testing import fake_engine, fake_mounts, fake_network, pods


def key() -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


class Cluster:
    def __init__(self, folder: pathlib.Path) -> None:
        self.time = clock.SystemClock()
        self.store = memory.MemoryStore(envelope.stamp, self.time)
        self.server = apiserver.ApiServer(self.store, self.time, apiserver_settings.Settings(service_account_key=key()))
        self.admin = self._client("admin", "system:masters")
        self.node = self._client("system:node:node-1", "system:nodes")
        self.host = fake_engine.FakeHost(self.time)
        self.host.add_image("busybox")
        self.network = fake_network.FakeNetwork()
        self.settings = kubelet_settings.Settings("node-1", "192.0.2.1", folder / "node", folder / "logs")
        self.recorder = events.EventRecorder(self.node, "kubelet", self.time, host="node-1")

    def _client(self, name: str, group: str) -> client.Client:
        user = users.UserInfo(name, groups=(group, users.AUTHENTICATED))
        return client.Client(transport.DirectTransport(self.server.handle, user))

    async def __aenter__(self) -> "Cluster":
        await self.server.start()
        engine = fake_engine.FakeEngine(self.host)
        await engine.open()
        self.kubelet = agent.Kubelet(
            self.node,
            engine,
            self.network,
            self.time,
            self.settings,
            self.recorder,
            mounts=fake_mounts.RecordedMounts(),
        )
        self.tasks = [asyncio.create_task(self.kubelet.run()), asyncio.create_task(self.recorder.run())]
        await self.until(self._is_node_ready)
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.server.stop()
        await self.store.close()

    async def _is_node_ready(self) -> bool:
        node = await self.get(resources.NODES, None, "node-1")
        return any(
            each["type"] == "Ready" and each["status"] == "True"
            for each in (node or {}).get("status", {}).get("conditions", [])
        )

    async def until(self, holds: Any) -> None:
        async with asyncio.timeout(10):
            while True:
                if await holds():
                    return
                await asyncio.sleep(0.005)

    async def get(self, resource: resources.Resource, namespace: str | None, name: str) -> client.Object | None:
        try:
            return await self.admin.get(resource, namespace, name)
        except client.NotFound:
            return None

    async def create_pod(self, pod: dict[str, Any]) -> None:
        metadata = {"name": pod["metadata"]["name"], "namespace": "default"}
        await self.admin.create(
            resources.PODS, "default", {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod["spec"]}
        )

    async def phase(self, name: str) -> str:
        pod = await self.get(resources.PODS, "default", name)
        return "" if pod is None else str(pod["status"].get("phase"))


async def serve(process: fake_engine.FakeProcess) -> int:
    process.handlers[15] = 0
    return int(await process.ended)


def test_a_pod_lives_and_dies_with_what_a_node_may_do(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with Cluster(tmp_path) as cluster:
            cluster.host.programs["serve"] = serve
            account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
            await cluster.admin.create(resources.SERVICE_ACCOUNTS, "default", account)
            conf = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "conf"}, "data": {"a": "1"}}
            await cluster.admin.create(resources.CONFIG_MAPS, "default", conf)
            root = {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "kube-root-ca.crt"},
                "data": {"ca.crt": "x"},
            }
            await cluster.admin.create(resources.CONFIG_MAPS, "default", root)
            web = pods.pod(
                "web",
                containers=[pods.container("main", command=["serve"], envFrom=[{"configMapRef": {"name": "conf"}}])],
            )
            await cluster.create_pod(web)

            async def is_running() -> bool:
                return await cluster.phase("web") == "Running"

            await cluster.until(is_running)
            pod = await cluster.get(resources.PODS, "default", "web")
            assert pod is not None
            assert all(each["status"] == "True" for each in pod["status"]["conditions"])
            assert pod["status"]["observedGeneration"] == pod["metadata"]["generation"]
            (token,) = (cluster.settings.pod_dir(pod["metadata"]["uid"]) / "volumes/kubernetes.io~projected").glob(
                "*/token"
            )
            assert token.read_text().count(".") == 2
            await cluster.admin.delete(resources.PODS, "default", "web")

            async def is_gone() -> bool:
                return await cluster.get(resources.PODS, "default", "web") is None

            await cluster.until(is_gone)
            await cluster.recorder.flush()
            found = await cluster.admin.list(resources.EVENTS, "default")
            reasons = {each["reason"] for each in found.items}
            assert {"Pulled", "Created", "Started", "Killing"} <= reasons

    asyncio.run(main())
