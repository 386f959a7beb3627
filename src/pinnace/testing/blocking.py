"""The cluster of `local_cluster` for tests that are not coroutines: its loop runs in a thread of its own.

    with Cluster(nodes=2) as cluster:
        cluster.apply(manifest)
        cluster.wait_for("deployment/web", "Available")
        cluster.nodes[0].stop()
        cluster.advance(minutes=6)

Time flows as it does for everybody, so that clients at `cluster.url` live with it (kubectl, an operator under test); `advance` jumps.
`wait_for` jumps too unless the cluster was made with `jumps=False`: leave time alone while somebody outside has work to do.
Every method is `local_cluster.Cluster`'s of the same name; what it raises is raised here.
"""

import asyncio
import concurrent.futures
import contextlib
import functools
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

from pinnace.testing import behaviour, local_cluster, loop_time, simulated_node

P = ParamSpec("P")
T = TypeVar("T")

START_SECONDS = 60.0


class Portal:
    """An event loop in a thread, and the way into it."""

    def __init__(self) -> None:
        self.loop = loop_time.Loop()
        self._thread = threading.Thread(target=self._run, name="pinnace cluster", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
            self._stopped = asyncio.Event()
            runner.run(self._until_stopped())

    async def _until_stopped(self) -> None:
        await self._stopped.wait()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """What `work` returns or raises; interrupted (Ctrl-C, a test's time limit), it is cancelled."""
        future: concurrent.futures.Future[T] = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """Returns when the thread has ended."""
        if self._thread.is_alive():
            self.loop.call_soon_threadsafe(lambda: self._stopped.set())
            self._thread.join()


def _blocking(method: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]) -> Callable[Concatenate[Any, P], T]:
    """The same method of what `self.inner` is, waited for."""

    def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
        result: T = self.portal.call(method(self.inner, *args, **kwargs))
        return result

    return functools.update_wrapper(call, method)


class Node:
    """One node of the cluster."""

    def __init__(self, inner: simulated_node.SimulatedNode, portal: Portal) -> None:
        self.inner = inner
        self.portal = portal
        self.name = inner.name

    start = _blocking(simulated_node.SimulatedNode.start)
    stop = _blocking(simulated_node.SimulatedNode.stop)
    crash = _blocking(simulated_node.SimulatedNode.crash)


class Cluster:
    """Use as `with`."""

    def __init__(
        self, nodes: int | Sequence[simulated_node.NodeSpec] = 1, *, seed: int = 0, jumps: bool = True
    ) -> None:
        """`jumps`: whether `wait_for` lets time jump."""
        self._jumps = jumps
        self._exit = contextlib.ExitStack()
        self.inner = local_cluster.Cluster(nodes, seed=seed)

    def __enter__(self) -> "Cluster":
        self.portal = Portal()
        self._exit.callback(self.portal.close)
        try:
            self.portal.call(self._enter())
        except BaseException:
            self._exit.close()
            raise
        self._exit.callback(lambda: self.portal.call(self.inner.__aexit__()))
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    async def _enter(self) -> None:
        # Until it is ready nobody outside knows it.
        with self.portal.loop.jumping():
            await self.inner.__aenter__()

    @property
    def url(self) -> str:
        return self.inner.url

    @property
    def kubeconfig(self) -> str:
        return str(self.inner.kubeconfig)

    @property
    def nodes(self) -> list[Node]:
        return [Node(each, self.portal) for each in self.inner.nodes]

    @property
    def behave(self) -> behaviour.Choose | None:
        return self.inner.behave

    @behave.setter
    def behave(self, choose: behaviour.Choose | None) -> None:
        self.inner.behave = choose

    @property
    def faults(self) -> "Faults":
        return Faults(self)

    advance = _blocking(local_cluster.Cluster.advance)
    apply = _blocking(local_cluster.Cluster.apply)
    get = _blocking(local_cluster.Cluster.get)
    find = _blocking(local_cluster.Cluster.find)
    list = _blocking(local_cluster.Cluster.list)
    patch = _blocking(local_cluster.Cluster.patch)
    events = _blocking(local_cluster.Cluster.events)
    logs = _blocking(local_cluster.Cluster.logs)

    def delete(self, what: str, *, namespace: str = "default", **options: Any) -> None:
        self.portal.call(self.inner.delete(what, namespace=namespace, **options))

    def wait_for(self, *args: Any, **kwargs: Any) -> Any:
        """See `local_cluster.Cluster.wait_for`; a condition that is a function runs in the cluster's thread."""
        return self.portal.call(self._wait_for(*args, **kwargs))

    async def _wait_for(self, *args: Any, **kwargs: Any) -> Any:
        with self.portal.loop.jumping(self._jumps):
            return await self.inner.wait_for(*args, **kwargs)

    def add_node(self, spec: simulated_node.NodeSpec | None = None) -> Node:
        return Node(self.portal.call(self.inner.add_node(spec)), self.portal)

    def image_missing(self, *references: str) -> None:
        self.inner.image_missing(*references)


class Faults:
    """`api_faults.Faults`, from another thread."""

    def __init__(self, cluster: Cluster) -> None:
        self._inner = cluster.inner.faults
        self._portal = cluster.portal
        self.latency = self._inner.latency
        self.errors = self._inner.errors
        self.lost_answers = self._inner.lost_answers

    def disconnect_watches(self) -> None:
        self._portal.call(self._disconnect())

    async def _disconnect(self) -> None:
        self._inner.disconnect_watches()
