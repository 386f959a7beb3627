"""This node in the API: registers the Node, keeps its status and its Lease."""

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Sequence
from typing import Any

from pinnace.api import conditions, resource_names, resources
from pinnace.api import labels as api_labels
from pinnace.client import client, events
from pinnace.engine import interface
from pinnace.kit import backoff, clock, waiting
from pinnace.kubelet import settings as settings_module
from pinnace.kubelet.node import facts
from pinnace.kubelet.pod import dependencies, runtime_class

log = logging.getLogger(__name__)

RETRY = backoff.Backoff(first=0.05, limit=5.0)
LEASE_NAMESPACE = "kube-node-lease"
VOLUME_DIR_ANNOTATION = "pinnace.dev/volume-dir"
IMAGE_LIMIT = 50


@dataclasses.dataclass(frozen=True, slots=True)
class Health:
    """What the node's conditions are made of."""

    is_ready: bool
    problem: str = ""
    memory_pressure: bool = False
    disk_pressure: bool = False
    pid_pressure: bool = False


# ---------------------------------------------------------------- pure


def labels(settings: settings_module.Settings) -> dict[str, str]:
    architecture = facts.architecture()
    return {
        "beta.kubernetes.io/arch": architecture,
        "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": architecture,
        "kubernetes.io/hostname": settings.node_name,
        "kubernetes.io/os": "linux",
        **settings.labels,
    }


def annotations(settings: settings_module.Settings) -> dict[str, str]:
    return {
        "volumes.kubernetes.io/controller-managed-attach-detach": "true",
        VOLUME_DIR_ANNOTATION: str(settings.volumes_dir),
        api_labels.RESERVED_HOST_PORTS: ",".join(map(str, sorted({settings.port, *settings.reserved_host_ports}))),
    }


def conditions_of(health: Health, before: Sequence[client.Object], now: str) -> list[client.Object]:
    """In upstream's order and words; a transition time moves only with its status."""
    old = {entry["type"]: entry for entry in before}
    made = [
        _condition(
            "MemoryPressure",
            health.memory_pressure,
            ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
            ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ),
        _condition(
            "DiskPressure",
            health.disk_pressure,
            ("KubeletHasDiskPressure", "kubelet has disk pressure"),
            ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ),
        _condition(
            "PIDPressure",
            health.pid_pressure,
            ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
            ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ),
        _condition(
            "Ready",
            health.is_ready,
            ("KubeletReady", "kubelet is posting ready status"),
            ("KubeletNotReady", health.problem or "container runtime is down"),
        ),
    ]
    for entry in made:
        entry["lastHeartbeatTime"] = now
        entry["lastTransitionTime"] = conditions.since(old.get(entry["type"]), entry["status"], now)
    return made


def _condition(kind: str, holds: bool, yes: tuple[str, str], no: tuple[str, str]) -> client.Object:
    reason, message = yes if holds else no
    return {"type": kind, "status": "True" if holds else "False", "reason": reason, "message": message}


def images(found: Sequence[interface.Image]) -> list[client.Object]:
    """The largest ones, as the scheduler's image locality wants them."""
    shown = sorted((image for image in found if image.references or image.digests), key=lambda image: -image.size)
    return [{"names": [*image.digests, *image.references], "sizeBytes": image.size} for image in shown[:IMAGE_LIMIT]]


def status(
    settings: settings_module.Settings,
    resources_of_node: dependencies.Machine,
    info: dict[str, object],
    found: Sequence[interface.Image],
) -> client.Object:
    """Everything but the conditions."""
    return {
        "capacity": dict(resources_of_node.capacity),
        "allocatable": dict(resources_of_node.allocatable),
        "addresses": [
            {"type": "InternalIP", "address": settings.node_ip},
            {"type": "Hostname", "address": settings.node_name},
        ],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": settings.port}},
        "nodeInfo": info,
        "runtimeHandlers": runtime_class.described(),
        "features": {"supplementalGroupsPolicy": True},
        "images": images(found),
    }


def offered(present: client.Object) -> dict[str, str | None]:
    """Changes of `allocatable` for the extended resources that somebody advertises in `capacity`: all of them may be used,
    and what is no longer advertised (None) no longer is."""
    found = present.get("status") or {}
    capacity, allocatable = found.get("capacity") or {}, found.get("allocatable") or {}
    gone = {name: None for name in allocatable if name not in capacity and resource_names.is_extended(name)}
    new = {name: amount for name, amount in capacity.items() if resource_names.is_extended(name)}
    return {**gone, **{name: amount for name, amount in new.items() if allocatable.get(name) != amount}}


def _without_heartbeat(status_of_node: client.Object) -> client.Object:
    shown = [
        {key: value for key, value in entry.items() if key != "lastHeartbeatTime"}
        for entry in status_of_node.get("conditions") or ()
    ]
    return {**status_of_node, "conditions": shown}


_EVENTS = {
    ("Ready", "True"): "NodeReady",
    ("Ready", "False"): "NodeNotReady",
    ("MemoryPressure", "True"): "NodeHasInsufficientMemory",
    ("MemoryPressure", "False"): "NodeHasSufficientMemory",
    ("DiskPressure", "True"): "NodeHasDiskPressure",
    ("DiskPressure", "False"): "NodeHasNoDiskPressure",
    ("PIDPressure", "True"): "NodeHasInsufficientPID",
    ("PIDPressure", "False"): "NodeHasSufficientPID",
}


# ---------------------------------------------------------------- acting


class NodeStatus:
    """Keeps one Node up to date."""

    def __init__(
        self,
        api: client.Client,
        engine: interface.Engine,
        time: clock.Clock,
        settings: settings_module.Settings,
        recorder: events.EventRecorder,
        resources_of_node: dependencies.Machine,
        seen: Callable[[], client.Object | None] = lambda: None,
    ) -> None:
        """`seen`: the Node as the API has it, as far as that is known."""
        self._api = api
        self._seen = seen
        self._engine = engine
        self._clock = time
        self._settings = settings
        self._recorder = recorder
        self._resources = resources_of_node
        self._info = facts.node_info(settings)
        self._written: client.Object = {}
        self._written_at = 0.0
        self._changed = asyncio.Event()
        self._is_unschedulable = False
        self.health = Health(is_ready=False, problem="the node agent is starting")
        self.node: client.Object = {"metadata": {"name": settings.node_name, "labels": labels(settings)}, "spec": {}}

    def set_health(self, health: Health) -> None:
        if health != self.health:
            self.health = health
            self._changed.set()

    async def register(self) -> None:
        """Make the Node, or bring the labels and annotations of the one that is there up to date. Tried until it worked."""
        failures = 0
        while True:
            try:
                self.node = await self._register()
            except client.ApiError as error:
                log.warning("node %s not registered yet: %s", self._settings.node_name, error)
                await self._clock.sleep(RETRY.delay(failures))
                failures += 1
            else:
                self._written = self.node.get("status") or {}
                return

    async def _register(self) -> client.Object:
        name = self._settings.node_name
        metadata = {"labels": labels(self._settings), "annotations": annotations(self._settings)}
        try:
            return await self._api.patch(resources.NODES, None, name, {"metadata": metadata})
        except client.NotFound:
            fresh = {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": name, **metadata},
                "spec": {},
                "status": self._wanted([]),
            }
            return await self._api.create(resources.NODES, None, fresh)

    def _wanted(self, found: Sequence[interface.Image]) -> client.Object:
        now = clock.rfc3339(self._clock.now())
        before = self._written.get("conditions") or ()
        return {
            **status(self._settings, self._resources, self._info, found),
            "conditions": conditions_of(self.health, before, now),
        }

    async def run_status(self) -> None:
        """For ever: a look now, at every change of health, and every `status_seconds`."""
        while True:
            self._changed.clear()
            await self.update_status()
            await waiting.wait_event(self._changed, self._clock, self._settings.status_seconds)

    async def update_status(self) -> None:
        """Write the status if it changed, or was not written for long."""
        wanted = self._wanted(await self._engine.images.list())
        is_old = self._clock.monotonic() - self._written_at >= self._settings.report_seconds
        changes = offered(self._seen() or {})
        if not is_old and not changes and _without_heartbeat(wanted) == _without_heartbeat(self._written_part(wanted)):
            return
        try:
            self.node = await self._api.patch(
                resources.NODES,
                None,
                self._settings.node_name,
                {"status": {**wanted, "allocatable": {**wanted["allocatable"], **changes}}},
                kind="strategic",
                subresource="status",
            )
        except client.NotFound:
            log.warning("node %s is gone from the API; registering it again", self._settings.node_name)
            await self.register()
            self._changed.set()
            return
        except client.ApiError as error:
            log.warning("status of node %s not written: %s", self._settings.node_name, error)
            return
        self._tell(self._written, wanted)
        self._written = wanted
        self._written_at = self._clock.monotonic()

    def _written_part(self, wanted: client.Object) -> client.Object:
        return {key: self._written.get(key) for key in wanted}

    def _tell(self, before: client.Object, after: client.Object) -> None:
        old = {entry["type"]: entry["status"] for entry in before.get("conditions") or ()}
        for entry in after["conditions"]:
            if old.get(entry["type"]) != entry["status"]:
                self._tell_status(_EVENTS[entry["type"], entry["status"]])

    def _tell_status(self, reason: str) -> None:
        self.tell(False, reason, f"Node {self._settings.node_name} status is now: {reason}")

    def tell_starting(self) -> None:
        self.tell(False, "Starting", "Starting kubelet.")
        before, now = (self._written.get("nodeInfo") or {}).get("bootID"), self._info["bootID"]
        if before and before != now:
            self.tell(True, "Rebooted", f"Node {self._settings.node_name} has been rebooted, boot id: {now}")

    def observe(self, node: client.Object) -> None:
        """The Node as the API shows it: somebody may have taken it out of the scheduling, or put it back."""
        is_unschedulable = bool((node.get("spec") or {}).get("unschedulable"))
        if is_unschedulable != self._is_unschedulable:
            self._is_unschedulable = is_unschedulable
            self._tell_status("NodeNotSchedulable" if is_unschedulable else "NodeSchedulable")

    def tell(self, is_warning: bool, reason: str, message: str) -> None:
        """An event of the node."""
        record = self._recorder.warning if is_warning else self._recorder.normal
        record(self._reference(), reason, message)

    def _reference(self) -> dict[str, Any]:
        metadata = {"name": self._settings.node_name, "uid": self.node["metadata"].get("uid", "")}
        return {"apiVersion": "v1", "kind": "Node", "metadata": metadata}

    async def run_lease(self) -> None:
        """For ever: the sign of life that the node lifecycle controller watches."""
        while True:
            try:
                await self.renew_lease()
            except client.ApiError as error:
                log.warning("lease of node %s not renewed: %s", self._settings.node_name, error)
                await self._clock.sleep(1.0)
                continue
            await self._clock.sleep(self._settings.lease_seconds)

    async def renew_lease(self) -> None:
        """Raises ApiError."""
        name = self._settings.node_name
        spec = {
            "holderIdentity": name,
            "leaseDurationSeconds": int(self._settings.lease_seconds * 4),
            "renewTime": clock.rfc3339_micro(self._clock.now()),
        }
        try:
            await self._api.patch(resources.LEASES, LEASE_NAMESPACE, name, {"spec": spec})
        except client.NotFound:
            owner = {
                "apiVersion": "v1",
                "kind": "Node",
                "name": name,
                "uid": self.node["metadata"].get("uid", ""),
            }
            lease = {
                "apiVersion": resources.LEASES.api_version,
                "kind": resources.LEASES.kind,
                "metadata": {"name": name, "namespace": LEASE_NAMESPACE, "ownerReferences": [owner]},
                "spec": spec,
            }
            await self._api.create(resources.LEASES, LEASE_NAMESPACE, lease)
