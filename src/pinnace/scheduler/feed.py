"""What the informers tell, turned into snapshot, queue and catalog. Handlers run on the loop and never wait."""

import logging
from collections.abc import Callable

from pinnace.client import client
from pinnace.kit import clock
from pinnace.scheduler import pods, queue, snapshot, volumes

log = logging.getLogger(__name__)


class Feed:
    def __init__(
        self,
        scheduler_name: str,
        nodes: snapshot.Snapshot,
        waiting: queue.SchedulingQueue,
        catalog: volumes.Catalog,
        time: clock.Clock,
        *,
        on_change: Callable[[], None],
        on_gated: Callable[[pods.Pod], None],
        on_volumes: Callable[[], None],
    ) -> None:
        """`on_change`: there may be something to schedule. `on_gated`: a pod came with scheduling gates. `on_volumes`: a claim, volume
        or class has changed."""
        self._name = scheduler_name
        self._nodes = nodes
        self._queue = waiting
        self._catalog = catalog
        self._clock = time
        self._on_change = on_change
        self._on_gated = on_gated
        self._on_volumes = on_volumes
        self.assumed: dict[str, str] = {}
        """uid -> node: pods whose binding is on its way, or done but not seen yet."""
        self.nominated: dict[str, pods.Pod] = {}
        """By uid: pods without a node that were promised room on one."""

    def pod_changed(self, old: client.Object | None, new: client.Object | None) -> None:
        obj = new if new is not None else old
        assert obj is not None
        try:
            pod = pods.read(obj)
        except (KeyError, ValueError) as error:
            log.error("cannot read pod %s: %s", obj["metadata"], error)
            return
        if new is None or pod.is_terminal:
            self._pod_gone(pod)
        elif pod.node_name:
            self._pod_placed(pod, was_placed=old is not None and bool(old["spec"].get("nodeName")))
        elif pod.object["spec"].get("schedulerName", pods.SCHEDULER_NAME) == self._name:
            self._pod_waits(pod)

    def _pod_gone(self, pod: pods.Pod) -> None:
        held_room = pod.uid in self._nodes.placed or pod.uid in self.nominated
        self.assumed.pop(pod.uid, None)
        self.nominated.pop(pod.uid, None)
        self._queue.remove(pod.uid)
        if pod.uid in self._nodes.placed or pod.node_name:
            self._nodes.remove_pod(pod.uid)
        if held_room:
            # Otherwise nobody has more room than before.
            self._note(queue.Happening.POD_GONE)

    def _pod_placed(self, pod: pods.Pod, *, was_placed: bool) -> None:
        self.assumed.pop(pod.uid, None)
        self.nominated.pop(pod.uid, None)
        self._queue.remove(pod.uid)
        before = self._nodes.placed.get(pod.uid)
        if before is not None and _counts_the_same(before[0], pod, self._nodes.names[before[1]]):
            self._nodes.replace_object(pod)
            return
        self._nodes.put_pod(pod)
        self._note(queue.Happening.POD_GONE if was_placed else queue.Happening.POD_PLACED)

    def _pod_waits(self, pod: pods.Pod) -> None:
        if pod.uid in self.assumed:
            return
        if pod.is_terminating:
            self.nominated.pop(pod.uid, None)
            self._queue.remove(pod.uid)
            return
        if pod.nominated_node:
            self.nominated[pod.uid] = pod
        else:
            self.nominated.pop(pod.uid, None)
        if pod.is_gated:
            self._queue.remove(pod.uid)
            self._on_gated(pod)
            return
        self._queue.put(pod, self._clock.monotonic())
        self._on_change()

    def node_changed(self, old: client.Object | None, new: client.Object | None) -> None:
        if new is None:
            assert old is not None
            self._nodes.remove_node(old["metadata"]["name"])
            self._note(queue.Happening.NODE_CHANGED)
            return
        if old is not None and _asked_of_node(old) == _asked_of_node(new):
            if old["status"].get("images") != new["status"].get("images"):
                self._nodes.put_node(new)
            return  # a heartbeat
        self._nodes.put_node(new)
        self._note(queue.Happening.NODE_CHANGED)

    def namespace_changed(self, old: client.Object | None, new: client.Object | None) -> None:
        obj = new if new is not None else old
        assert obj is not None
        labels = obj["metadata"].get("labels") or {} if new is not None else None
        self._nodes.put_namespace(obj["metadata"]["name"], labels)
        self._note(queue.Happening.NAMESPACE_CHANGED)

    def service_changed(self, old: client.Object | None, new: client.Object | None) -> None:
        """Its selector tells which pods are to be spread."""
        selectors = [(obj or {}).get("spec", {}).get("selector") for obj in (old, new)]
        if selectors[0] != selectors[1]:
            self._nodes.note_everything()

    def claim_changed(self, old: client.Object | None, new: client.Object | None) -> None:
        if new is not None:
            self._catalog.claims[new["metadata"]["namespace"], new["metadata"]["name"]] = new
        elif old is not None:
            self._catalog.claims.pop((old["metadata"]["namespace"], old["metadata"]["name"]), None)
        self._note_volumes()

    def volume_changed(self, old: client.Object | None, new: client.Object | None) -> None:
        if new is not None:
            self._catalog.volumes[new["metadata"]["name"]] = new
        elif old is not None:
            self._catalog.volumes.pop(old["metadata"]["name"], None)
        self._note_volumes()

    def class_changed(self, old: client.Object | None, new: client.Object | None) -> None:
        if new is not None:
            self._catalog.classes[new["metadata"]["name"]] = new
        elif old is not None:
            self._catalog.classes.pop(old["metadata"]["name"], None)
        self._note_volumes()

    def _note_volumes(self) -> None:
        self._nodes.note_everything()
        self._on_volumes()
        self._note(queue.Happening.VOLUMES_CHANGED)

    def _note(self, happening: queue.Happening) -> None:
        self._queue.note(happening, self._clock.monotonic())
        self._on_change()


def _asked_of_node(node: client.Object) -> tuple[object, ...]:
    """What decides whether a pod fits."""
    return node.get("spec"), node["metadata"].get("labels"), node.get("status", {}).get("allocatable")


def _counts_the_same(before: pods.Pod, after: pods.Pod, node_name: str) -> bool:
    """A change of status alone, as most are."""
    return (
        before.demand is after.demand and after.node_name == node_name and before.is_terminating == after.is_terminating
    )
