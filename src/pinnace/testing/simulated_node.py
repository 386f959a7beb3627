"""A node of a cluster in this process: the real node agent with its endpoint, over an engine, a network and mounts that are fakes.

    node = SimulatedNode(spec, ...)
    await node.start()                # registered; `is_ready` follows
    await node.stop()                 # the machine falls silent: its lease expires, its pods are evicted in time
    await node.start()                # and is back, with the containers that it had

What a real node takes from its machine (capacity, disks, addresses) is said by `NodeSpec`.
"""

import dataclasses
import ipaddress
import pathlib
import ssl
from collections.abc import Callable, Mapping

from pinnace.apiserver import users
from pinnace.client import client, events, transport
from pinnace.kit import clock, tasks
from pinnace.kubelet import agent
from pinnace.kubelet import settings as kubelet_settings
from pinnace.kubelet.endpoint import server
from pinnace.testing import behaviour, fake_engine, fake_mounts, fake_network
from pinnace.web import messages
from pinnace.web import server as web_server

STOP_SECONDS = 0.1


@dataclasses.dataclass(frozen=True, slots=True)
class NodeSpec:
    """What a node says of itself."""

    name: str = ""
    """`node-1` … unless given."""
    cpu: str = "8"
    memory: str = "32Gi"
    pods: int = 110
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    capacity: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Of further resources: `{"nvidia.com/gpu": "4"}`."""


@dataclasses.dataclass(frozen=True, slots=True)
class Surroundings:
    """What the cluster gives to each of its nodes."""

    handler: messages.Handler
    """The API server's."""
    time: clock.Clock
    folder: pathlib.Path
    tls: ssl.SSLContext
    cluster_dns: str
    has_image: Callable[[str], bool]
    choose: Callable[[], behaviour.Choose | None]


class SimulatedNode:
    def __init__(
        self, spec: NodeSpec, address: str, pod_range: ipaddress.IPv4Network, surroundings: Surroundings
    ) -> None:
        self.spec = spec
        self.name = spec.name
        self.address = address
        self.network = fake_network.FakeNetwork(node_range=pod_range)
        self.host = fake_engine.FakeHost(surroundings.time)
        self.host.every_image = surroundings.has_image
        self._around = surroundings
        self._script = behaviour.Script(self._pod, surroundings.choose)
        self.host.find_program = self._script.program
        self._mounts = fake_mounts.RecordedMounts()
        self._api = self._client(f"system:node:{spec.name}", "system:nodes")
        self._volumes_api = self._client("system:pinnace:local-volumes")
        self._listener: web_server.HttpServer | None = None
        self._port = 0
        self._supervisor: tasks.Supervisor | None = None
        self.kubelet: agent.Kubelet | None = None
        """None while it is stopped."""

    @property
    def is_running(self) -> bool:
        return self.kubelet is not None

    @property
    def connection_count(self) -> int:
        return self._listener.connection_count if self._listener is not None else 0

    def _client(self, name: str, *groups: str) -> client.Client:
        user = users.UserInfo(name, groups=(*groups, users.AUTHENTICATED))
        return client.Client(transport.DirectTransport(self._around.handler, user), user_agent="kubelet")

    def _pod(self, namespace: str, name: str) -> client.Object | None:
        return self.kubelet.pods.get(namespace, name) if self.kubelet is not None else None

    async def start(self) -> None:
        """The agent runs (again). Does nothing where it runs already."""
        if self.kubelet is not None:
            return
        self._listener = web_server.HttpServer(self._handle, time=self._around.time)
        self._port = await self._listener.start(self.address, self._port, self._around.tls)
        engine = fake_engine.FakeEngine(self.host)
        await engine.open()
        recorder = events.EventRecorder(self._api, "kubelet", self._around.time, host=self.name)
        self.kubelet = agent.Kubelet(
            self._api,
            engine,
            self.network,
            self._around.time,
            self._settings(),
            recorder,
            mounts=self._mounts,
            volumes_api=self._volumes_api,
            checker=behaviour.ScriptedChecker(engine, self._script),
        )
        self._endpoint = server.handler(self.kubelet, self._api)
        self._supervisor = tasks.Supervisor(self._around.time)
        self._supervisor.start(f"kubelet of {self.name}", self.kubelet.run)
        self._supervisor.start(f"events of {self.name}", recorder.run)

    async def stop(self) -> None:
        """The agent falls silent: nothing is reported any more, nothing answers. Containers go on, as they do where only the agent ends."""
        if self._supervisor is not None:
            await self._supervisor.stop()
            self._supervisor = None
        if self.kubelet is not None:
            await self.kubelet.engine.close()
            self.kubelet = None
        if self._listener is not None:
            await self._listener.stop(STOP_SECONDS)
            self._listener = None

    async def crash(self) -> None:
        """The machine loses its power: the agent and every container are gone at once. `start` boots it."""
        await self.stop()
        await self.host.lose_power()
        await self.network.purge()

    async def close(self) -> None:
        """For good."""
        await self.crash()

    async def _handle(self, request: messages.Request) -> messages.Answer:
        return await self._endpoint(request)

    def _settings(self) -> kubelet_settings.Settings:
        capacity = {"cpu": self.spec.cpu, "memory": self.spec.memory, "ephemeral-storage": "100Gi"}
        folder = self._around.folder / self.name
        return kubelet_settings.Settings(
            node_name=self.name,
            node_ip=self.address,
            data_dir=folder / "node",
            logs_dir=folder / "logs",
            cluster_dns=(self._around.cluster_dns,),
            port=self._port,
            labels=self.spec.labels,
            capacity={**capacity, **self.spec.capacity},
            max_pods=self.spec.pods,
            # How full the disk and the memory of the test's machine are is nobody's business here.
            eviction_memory_bytes=0,
            eviction_disk=0.0,
            image_gc_high=2.0,
        )
