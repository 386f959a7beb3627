"""A whole cluster in this process: the real API server over the memory store, all controllers, the scheduler, and real node agents over a
fake engine and a fake network. No root, no containers, nothing left behind; ready in a tenth of a second.

    async def test() -> None:
        async with Cluster(nodes=3) as cluster:
            await cluster.apply(manifest)
            await cluster.wait_for("deployment/web", "Available")
            await cluster.nodes[0].stop()
            await cluster.advance(minutes=6)           # virtual: takes milliseconds

    run(test)                                          # `blocking.Cluster` for tests that are not coroutines

There is one time, the loop's. Under `run` it jumps whenever nothing is left to do. On a loop of another kind time is real, and `advance`
has to wait as everybody does.
"""

import asyncio
import contextlib
import datetime
import inspect
import ipaddress
import pathlib
import random
import shutil
import urllib.parse
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

import yaml

from pinnace.api import kinds, resources
from pinnace.apiserver import server as apiserver
from pinnace.apiserver import users
from pinnace.apiserver.storage import envelope
from pinnace.assemble import addons, kubeconfig, loops, places
from pinnace.assemble import server as server_process
from pinnace.client import client, streams
from pinnace.kit import backoff, tasks
from pinnace.store import memory
from pinnace.testing import api_faults, behaviour, certificates, fake_engine, loop_time, simulated_node
from pinnace.web import messages, tls
from pinnace.web import server as web_server

Object = dict[str, Any]
Objects = list[Object]
T = TypeVar("T")

READY_SECONDS = 60.0
STEP_SECONDS = 0.05
LONGEST_STEP_SECONDS = 0.5
STOP_SECONDS = 0.2
PAUSE_SECONDS = 0.002
"""Granted to clients at sockets before each jump of time: their answer to what just happened comes first."""
FIELD_MANAGER = "pinnace-testing"
NODE_LIMIT = 250


class NotSo(AssertionError):
    """What was waited for did not come true; the text shows what there was instead."""


class Cluster:
    """Use as `async with`. `nodes`: how many, or what each is like."""

    def __init__(self, nodes: int | Sequence[simulated_node.NodeSpec] = 1, *, seed: int = 0) -> None:
        """`seed`: of uids, generated names and every choice between equals: the same test takes the same course."""
        specs = [simulated_node.NodeSpec() for _ in range(nodes)] if isinstance(nodes, int) else list(nodes)
        if len(specs) > NODE_LIMIT:
            raise ValueError(f"{len(specs)} nodes: at most {NODE_LIMIT} fit into one process")
        self._specs = specs
        self._rng = random.Random(seed)  # noqa: S311 - replayable, not secret
        self._exit = contextlib.AsyncExitStack()
        self._images_missing: set[str] = set()
        self.behave: behaviour.Choose | None = None
        """(pod, container's name) -> `Behaviour` or None: what containers do, where it is not left to annotations and commands."""
        self.nodes: list[simulated_node.SimulatedNode] = []
        self.url = ""
        """`https://127.0.0.1:PORT`, for any client; see `kubeconfig`."""
        self.kubeconfig = pathlib.Path()
        """A file for `kubectl --kubeconfig` and client libraries: the cluster's administrator."""

    # ------------------------------------------------------------ life

    async def __aenter__(self) -> "Cluster":
        try:
            async with asyncio.timeout(READY_SECONDS):
                await self._start()
        except BaseException:
            await self._exit.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._exit.aclose()

    async def _start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.time = loop_time.LoopClock(self._epoch(), self._loop)
        folder = certificates.folder("pinnace-testing-")
        self._exit.callback(shutil.rmtree, folder, ignore_errors=True)
        where = places.of(folder)
        where.pki.symlink_to(certificates.made())
        store = memory.MemoryStore(envelope.stamp, self.time)
        self._exit.push_async_callback(store.close)
        options = server_process.api_settings(where, certificates.identity(0))
        self.api = apiserver.ApiServer(store, self.time, options, rng=self._rng)
        await self.api.start()
        self._exit.push_async_callback(self.api.stop)
        self.faults = api_faults.Faults(self.api.handle, self._rng)
        self._clients = server_process.DirectClients(self.faults.handle)
        self.admin = server_process.DirectClients(self.api.handle).of("kubernetes-admin", users.MASTERS)
        """`client.Client` in this process, past all faults."""
        await addons.ensure(self.admin)
        await self._listen(where)
        self.supervisor = tasks.Supervisor(self.time)
        self._exit.push_async_callback(self.supervisor.stop)
        rng = random.Random(self._rng.random())  # noqa: S311
        loops.start(self.supervisor, self._clients, where, certificates.identity(0), self.time, rng)
        if isinstance(self._loop, loop_time.Loop):
            self._loop.set_pause(self._pause)
        for number, spec in enumerate(self._specs, start=1):
            await self.add_node(spec, number)
        await self.wait_for(self._is_ready, timeout=READY_SECONDS)

    def _epoch(self) -> datetime.datetime:
        """Where time jumps every run is the same run; else it is what clients see on their own clocks."""
        if isinstance(self._loop, loop_time.Loop) and self._loop.is_jumping:
            return loop_time.EPOCH
        return datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=self._loop.time())

    async def _listen(self, where: places.Places) -> None:
        self._listener = web_server.HttpServer(self.faults.handle, time=self.time)
        self._exit.push_async_callback(self._listener.stop, STOP_SECONDS)
        context = tls.server_context(
            where.pki / "apiserver.crt", where.pki / "apiserver.key", client_authority=where.pki / "ca.crt"
        )
        port = await self._listener.start(certificates.HOST, 0, context)
        identity = certificates.identity(port)
        kubeconfig.write_admin(where, identity)
        self.url, self.kubeconfig = identity.url, where.admin_kubeconfig
        self._around = simulated_node.Surroundings(
            handler=self.faults.handle,
            time=self.time,
            folder=where.data,
            tls=tls.server_context(
                where.pki / "node.crt", where.pki / "node.key", client_authority=where.pki / "ca.crt"
            ),
            cluster_dns=identity.cluster_dns,
            has_image=lambda name: name not in self._images_missing,
            choose=lambda: self.behave,
        )

    async def add_node(
        self, spec: simulated_node.NodeSpec | None = None, number: int = 0
    ) -> simulated_node.SimulatedNode:
        """One more node, which registers itself; it is ready a moment later."""
        number = number or len(self.nodes) + 1
        spec = spec or simulated_node.NodeSpec()
        if not spec.name:
            spec = simulated_node.NodeSpec(
                f"node-{number}", spec.cpu, spec.memory, spec.pods, spec.labels, spec.capacity
            )
        pod_range = ipaddress.IPv4Network(f"10.42.{number}.0/24")
        node = simulated_node.SimulatedNode(spec, certificates.HOST, pod_range, self._around)
        self.nodes.append(node)
        self._exit.push_async_callback(node.close)
        await node.start()
        return node

    async def _is_ready(self) -> bool:
        found = (await self.admin.list(resources.NODES)).items
        ready = [each for each in found if is_condition(each, "Ready") and not each["spec"].get("taints")]
        if len(ready) < len(self.nodes):
            return False
        return await self.find("serviceaccount/default") is not None

    def _pause(self) -> float:
        busy = self._listener.connection_count or any(node.connection_count for node in self.nodes)
        return PAUSE_SECONDS if busy else 0.0

    # ------------------------------------------------------------ time

    async def advance(self, seconds: float = 0.0, *, minutes: float = 0.0, hours: float = 0.0) -> None:
        """Let so much time pass: at once, where the loop can jump; everything that is due meanwhile happens in its order."""
        with self._jumping():
            await asyncio.sleep(seconds + 60 * minutes + 3600 * hours)
            await loop_time.settle()

    def _jumping(self, jumps: bool = True) -> contextlib.AbstractContextManager[None]:
        if isinstance(self._loop, loop_time.Loop) and (jumps or not self._loop.is_jumping):
            return self._loop.jumping(jumps)
        return contextlib.nullcontext()

    # ------------------------------------------------------------ objects

    async def apply(self, manifests: str | Object | Sequence[Object], *, namespace: str = "default") -> Objects:
        """Server-side apply of YAML (one or more documents) or objects, in their order. Returns what the API made of them."""
        return [await self._apply(each, namespace) for each in _documents(manifests)]

    async def _apply(self, obj: Object, namespace: str) -> Object:
        group, _, version = str(obj.get("apiVersion", "")).rpartition("/")
        kind = str(obj.get("kind", ""))
        for _ in range(int(5 / STEP_SECONDS)):
            found = self.api.services.registry.by_kind(group, version, kind)
            if found is not None:
                break
            await asyncio.sleep(STEP_SECONDS)  # its definition may just have been applied
        else:
            raise ValueError(f"no kind {kind!r} in {obj.get('apiVersion')!r} is served")
        metadata = obj["metadata"]
        place = metadata.get("namespace") or namespace
        if "name" not in metadata:
            return await self.admin.create(_resource(found), place, obj)
        return await self.admin.patch(
            _resource(found), place, metadata["name"], obj, kind="apply", field_manager=FIELD_MANAGER, force=True
        )

    async def get(self, what: str, *, namespace: str = "default") -> Object:
        """`pod/web`, `deployments.apps/web`, `node/node-1`. Raises `client.NotFound`."""
        resource, name = self._named(what)
        return await self.admin.get(resource, namespace, name)

    async def find(self, what: str, *, namespace: str = "default") -> Object | None:
        """As `get`; None where there is none."""
        try:
            return await self.get(what, namespace=namespace)
        except client.NotFound:
            return None

    async def list(
        self, what: str, *, namespace: str | None = "default", labels: str = "", fields: str = ""
    ) -> Objects:
        """`pods`, `deploy` … of a namespace (None: all), by selectors."""
        resource = self._resource(what)
        found = await self.admin.list(resource, namespace, label_selector=labels, field_selector=fields)
        return found.items

    async def patch(
        self, what: str, patch: Any, *, namespace: str = "default", kind: Any = "merge", subresource: str = ""
    ) -> Object:
        """`kind`: merge, strategic, json."""
        resource, name = self._named(what)
        return await self.admin.patch(resource, namespace, name, patch, kind=kind, subresource=subresource)

    async def delete(self, what: str, *, namespace: str = "default", **options: Any) -> None:
        """`options`: those of `client.Client.delete` (grace_period_seconds, propagation_policy …)."""
        resource, name = self._named(what)
        await self.admin.delete(resource, namespace, name, **options)

    async def events(self, what: str = "", *, namespace: str | None = "default") -> Objects:
        """Oldest first; of one object (`pod/web`) or of all."""
        resource, name = self._named(what) if what else (None, "")
        found = (await self.admin.list(resources.EVENTS, namespace)).items
        mine = [
            each
            for each in found
            if resource is None
            or (each["involvedObject"].get("kind"), each["involvedObject"].get("name")) == (resource.kind, name)
        ]
        return sorted(mine, key=lambda each: int(each["metadata"]["resourceVersion"]))

    async def logs(self, pod: str, container: str = "", *, namespace: str = "default", previous: bool = False) -> str:
        """What a container wrote, asked for as `kubectl logs` does: through the API server from the node's endpoint."""
        query = {"container": container, "previous": "true" if previous else ""}
        asked = urllib.parse.urlencode({name: value for name, value in query.items() if value})
        user = users.UserInfo("kubernetes-admin", groups=(users.MASTERS, users.AUTHENTICATED))
        answer = await self.api.handle(
            messages.Request("GET", resources.PODS.path(namespace, pod, "log"), asked, user=user)
        )
        assert isinstance(answer, messages.Response)
        data = await streams.read_all(answer.body)
        if answer.status != 200:
            raise client.error_of(answer.status, data)
        return data.decode(errors="replace")

    def image_missing(self, *references: str) -> None:
        """Pulls of these images fail from now on; all others exist."""
        self._images_missing.update(fake_engine.full_reference(reference) for reference in references)

    # ------------------------------------------------------------ waiting

    async def wait_for(
        self,
        what: str | Callable[[], Any],
        holds: str | Callable[[Object], Any] = "",
        *,
        namespace: str = "default",
        timeout: float = 60.0,
    ) -> Any:
        """Until it is so; returns the object, or what the condition returned. Raises NotSo after `timeout` seconds of the cluster's time.

        wait_for("pod/web", "Ready")                       a condition's name; "deleted"; "exists"
        wait_for("deployment/web", lambda it: it["status"].get("readyReplicas") == 3)
        wait_for(lambda: ...)                              anything true; a coroutine is awaited
        """
        deadline = self._loop.time() + timeout
        pauses = backoff.Backoff(first=STEP_SECONDS, limit=LONGEST_STEP_SECONDS, factor=1.2)
        looks = 0
        while True:
            found, seen = await self._look(what, holds, namespace)
            if found is not None:
                return found
            left = deadline - self._loop.time()
            if left <= 0:
                raise NotSo(f"{what} {holds or ''} is not so after {timeout:g} seconds; last seen: {_short(seen)}")
            await asyncio.sleep(min(left, pauses.delay(looks)))
            looks += 1

    async def _look(
        self, what: str | Callable[[], Any], holds: str | Callable[[Object], Any], namespace: str
    ) -> tuple[Any, Any]:
        """(what was waited for or None, what was seen)."""
        if not isinstance(what, str):
            value = what()
            value = await value if inspect.isawaitable(value) else value
            return (value or None), value
        obj = await self.find(what, namespace=namespace)
        if holds == "deleted":
            return ({} if obj is None else None), obj
        if obj is None:
            return None, None
        try:
            is_so = is_condition(obj, holds) if isinstance(holds, str) else holds(obj)
        except LookupError:
            is_so = False
        return (obj if is_so or holds in ("", "exists") else None), obj

    # ------------------------------------------------------------ names

    def _named(self, what: str) -> tuple[resources.Resource, str]:
        plural, slash, name = what.partition("/")
        if not slash or not name:
            raise ValueError(f"{what!r} names no object: expected a form like 'pod/web'")
        return self._resource(plural), name

    def _resource(self, word: str) -> resources.Resource:
        """By plural, singular, kind or short name, and `.group` behind it where that is needed."""
        name, _, group = word.lower().partition(".")
        for kind in self.api.services.registry.all():
            names = (kind.plural, kind.singular, kind.kind.lower(), *kind.short_names)
            if name in names and group in ("", kind.group):
                return _resource(kind)
        raise ValueError(f"no resource {word!r} is served")


def run(
    test: Callable[[], Coroutine[Any, Any, T]],
) -> T:
    """`test()` on a loop whose time jumps: a test that is a coroutine."""
    with asyncio.Runner(loop_factory=lambda: loop_time.Loop(jumps=True)) as runner:
        return runner.run(test())


def is_condition(obj: Object, name: str) -> bool:
    """Whether the object's condition of this name is True; `Running` and the like: its phase."""
    status = obj.get("status") or {}
    if status.get("phase") == name:
        return True
    return any(each["type"] == name and each["status"] == "True" for each in status.get("conditions") or ())


def _resource(kind: kinds.Kind) -> resources.Resource:
    return resources.Resource(kind.group, kind.version, kind.plural, kind.kind, namespaced=kind.namespaced)


def _documents(manifests: str | Object | Sequence[Object]) -> Objects:
    if isinstance(manifests, str):
        found = [each for each in yaml.safe_load_all(manifests) if each]
    else:
        found = [manifests] if isinstance(manifests, dict) else list(manifests)
    return [item for each in found for item in (each["items"] if each.get("kind") == "List" else [each])]


def _short(seen: Any) -> str:
    if isinstance(seen, dict):
        seen = seen.get("status", seen)
    text = repr(seen)
    return text if len(text) <= 2000 else text[:2000] + " …"
