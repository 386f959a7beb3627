"""What the scheduler writes: bindings, conditions, evictions, and claims on volumes. Thin; decides nothing."""

import asyncio
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from pinnace.api import conditions, resources
from pinnace.client import client
from pinnace.kit import clock
from pinnace.scheduler import framework, pods, snapshot, volumes

BINDING_TIMEOUT_SECONDS = 600.0
"""How long a pod waits for its volumes before it is tried elsewhere."""
GATED_MESSAGE = "Scheduling is blocked due to non-empty scheduling gates"
DISRUPTED_MESSAGE = "preempting to accommodate a higher priority pod"


@dataclasses.dataclass(frozen=True, slots=True)
class Condition:
    """Why a pod is not scheduled."""

    reason: str
    """`Unschedulable`, `SchedulingGated` or `SchedulerError`."""
    message: str
    nominated_node: str | None = None
    """None: leave what is there."""


async def bind(api: client.Client, pod: pods.Pod, node_name: str) -> None:
    binding = {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid},
        "target": {"kind": "Node", "name": node_name},
    }
    await api.create(resources.PODS, pod.namespace, binding, name=pod.name, subresource="binding")


def is_said_already(pod: pods.Pod, condition: Condition) -> bool:
    """Writing it again would change nothing."""
    current = _scheduled_condition(pod)
    same = (current.get("status"), current.get("reason"), current.get("message")) == (
        "False",
        condition.reason,
        condition.message,
    )
    return same and condition.nominated_node in (None, pod.nominated_node)


async def write_condition(api: client.Client, pod: pods.Pod, condition: Condition, time: clock.Clock) -> None:
    now = clock.rfc3339(time.now())
    current = _scheduled_condition(pod)
    written = {
        "type": "PodScheduled",
        "status": "False",
        "reason": condition.reason,
        "message": condition.message,
        "lastProbeTime": None,
        "lastTransitionTime": conditions.since(current, "False", now),
    }
    status: dict[str, Any] = {"conditions": [written | _observed(pod)]}
    if condition.nominated_node is not None:
        status["nominatedNodeName"] = condition.nominated_node or None
    await _patch_status(api, pod, status)


def _observed(pod: pods.Pod) -> dict[str, Any]:
    """Which generation of the pod a condition speaks of."""
    generation = pod.object["metadata"].get("generation")
    return {"observedGeneration": generation} if generation else {}


def _scheduled_condition(pod: pods.Pod) -> Mapping[str, Any]:
    return conditions.find(pod.object.get("status", {}).get("conditions"), "PodScheduled") or {}


async def preempt(api: client.Client, victim: pods.Pod, scheduler: str, time: clock.Clock) -> None:
    """Say why, then delete with the victim's own grace period."""
    condition = {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "PreemptionByScheduler",
        "message": f"{scheduler}: {DISRUPTED_MESSAGE}",
        "lastProbeTime": None,
        "lastTransitionTime": clock.rfc3339(time.now()),
        **_observed(victim),
    }
    try:
        await _patch_status(api, victim, {"conditions": [condition]})
        await api.delete(resources.PODS, victim.namespace, victim.name, uid=victim.uid)
    except client.NotFound:
        pass  # gone by itself, which is all that was wanted


async def clear_nomination(api: client.Client, pod: pods.Pod) -> None:
    await _patch_status(api, pod, {"nominatedNodeName": None})


async def _patch_status(api: client.Client, pod: pods.Pod, status: Mapping[str, Any]) -> None:
    patch = {"metadata": {"uid": pod.uid}, "status": status}
    await api.patch(resources.PODS, pod.namespace, pod.name, patch, kind="strategic", subresource="status")


class VolumeBinder:
    """`framework.BindingPlugin`: promises volumes to claims, names the node to provisioners, and waits until both have acted."""

    name = "VolumeBinding"

    def __init__(
        self, api: client.Client, catalog: volumes.Catalog, nodes: snapshot.Snapshot, time: clock.Clock
    ) -> None:
        self._api = api
        self._catalog = catalog
        self._nodes = nodes
        self._clock = time
        self._steps: dict[str, Sequence[volumes.Step]] = {}
        self._changed = asyncio.Event()

    def note_change(self) -> None:
        """A claim has changed: those who wait look again."""
        self._changed.set()
        self._changed = asyncio.Event()

    def reserve(self, pod: pods.Pod, row: int) -> bool:
        if not pod.demand.claims:
            return False
        steps = volumes.plan_binding(self._catalog, pod.demand, self._nodes, row)
        for step in steps:
            if isinstance(step, volumes.Bind):
                self._catalog.promised[step.volume] = (step.namespace, step.claim)
        self._steps[pod.uid] = steps
        return bool(steps)

    def unreserve(self, pod: pods.Pod) -> None:
        for step in self._steps.pop(pod.uid, ()):
            if isinstance(step, volumes.Bind):
                self._catalog.promised.pop(step.volume, None)

    async def pre_bind(self, pod: pods.Pod, node_name: str) -> None:
        steps = self._steps.get(pod.uid, ())
        try:
            for step in steps:
                await self._write(step)
        except client.ApiError as error:
            raise framework.PreBindFailed(f"binding volumes: {error}") from error
        await self._wait_bound(steps)

    async def _write(self, step: volumes.Step) -> None:
        if isinstance(step, volumes.Bind):
            reference = {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": step.namespace,
                "name": step.claim,
                "uid": step.claim_uid,
            }
            patch: dict[str, Any] = {"spec": {"claimRef": reference}}
            await self._api.patch(resources.PERSISTENT_VOLUMES, None, step.volume, patch)
        else:
            patch = {"metadata": {"annotations": {volumes.SELECTED_NODE: step.node_name}}}
            await self._api.patch(resources.PERSISTENT_VOLUME_CLAIMS, step.namespace, step.claim, patch)

    async def _wait_bound(self, steps: Sequence[volumes.Step]) -> None:
        timeout = asyncio.ensure_future(self._clock.sleep(BINDING_TIMEOUT_SECONDS))
        seen_selected: set[str] = set()
        try:
            while True:
                changed = asyncio.ensure_future(self._changed.wait())
                try:
                    if all(self._catalog.is_bound(step.namespace, step.claim) for step in steps):
                        return
                    self._raise_if_given_up(steps, seen_selected)
                    await asyncio.wait({changed, timeout}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    changed.cancel()
                if timeout.done():
                    raise framework.PreBindFailed("binding volumes: timed out waiting for the condition")
        finally:
            timeout.cancel()

    def _raise_if_given_up(self, steps: Sequence[volumes.Step], seen_selected: set[str]) -> None:
        """A provisioner that cannot help takes the node's name off the claim again; a claim may also be deleted."""
        for step in steps:
            claim = self._catalog.claims.get((step.namespace, step.claim))
            if claim is None:
                raise framework.PreBindFailed(f'binding volumes: persistentvolumeclaim "{step.claim}" not found')
            is_selected = volumes.SELECTED_NODE in (claim["metadata"].get("annotations") or {})
            if is_selected:
                seen_selected.add(step.claim)
            elif step.claim in seen_selected and not self._catalog.is_bound(step.namespace, step.claim):
                raise framework.PreBindFailed(f'binding volumes: provisioning failed for PVC "{step.claim}"')
