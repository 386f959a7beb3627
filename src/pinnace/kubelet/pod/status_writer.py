"""Carries statuses to the API: only what changed, the newest of each pod, tried again until it is there.

One write per pod is under way at a time; what is submitted meanwhile is coalesced into the next.
"""

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Sequence
from typing import Any

from pinnace.api import resources
from pinnace.client import client
from pinnace.kit import backoff, clock, tasks
from pinnace.kubelet.pod import podspec, status

log = logging.getLogger(__name__)

RETRY = backoff.Backoff(first=0.1, limit=10.0)

OnWritten = Callable[[podspec.Object | None], None]
"""Called with the status that the API now has; None: the pod is gone."""


@dataclasses.dataclass(slots=True)
class _Slot:
    pod: podspec.Object
    written: podspec.Object
    """What the API is known to have."""
    wanted: podspec.Object
    on_written: OnWritten
    task: asyncio.Task[None] | None = None
    version: int = 0
    """resourceVersion of the last write."""


class StatusWriter:
    def __init__(self, api: client.Client, time: clock.Clock, supervisor: tasks.Supervisor) -> None:
        self._api = api
        self._clock = time
        self._supervisor = supervisor
        self._slots: dict[str, _Slot] = {}

    def submit(self, pod: podspec.Object, wanted: podspec.Object, on_written: OnWritten) -> None:
        """Never waits. Nothing is written (and `on_written` called at once) when the API has exactly that."""
        uid = podspec.uid(pod)
        slot = self._slots.get(uid)
        if slot is None:
            slot = self._slots[uid] = _Slot(pod, pod.get("status") or {}, wanted, on_written)
        slot.pod, slot.wanted, slot.on_written = pod, wanted, on_written
        if slot.task is not None:
            return
        if is_same(slot.written, wanted):
            on_written(wanted)
            return
        name = f"status of {podspec.full_name(pod)}"
        slot.task = self._supervisor.spawn(name, self._write(uid, slot))

    def observe(self, pod: podspec.Object) -> None:
        """The pod as the API shows it: what somebody else made of the status is written over by the next `submit`."""
        slot = self._slots.get(podspec.uid(pod))
        if slot is None or slot.task is not None:
            return
        if int(pod["metadata"].get("resourceVersion") or 0) > slot.version:
            slot.written = pod.get("status") or {}

    def forget(self, uid: str) -> None:
        slot = self._slots.pop(uid, None)
        if slot is not None and slot.task is not None:
            slot.task.cancel()

    async def delete(self, pod: podspec.Object) -> None:
        """The last step of a graceful deletion: everything on the node is gone, so the object may go. Tried until it is gone."""
        failures = 0
        while True:
            try:
                await self._api.delete(
                    resources.PODS,
                    podspec.namespace(pod),
                    podspec.name(pod),
                    uid=podspec.uid(pod),
                    grace_period_seconds=0,
                )
            except (client.NotFound, client.Conflict):
                return
            except client.ApiError as error:
                log.warning("pod %s not deleted yet: %s", podspec.full_name(pod), error)
                await self._clock.sleep(RETRY.delay(failures))
                failures += 1
            else:
                return

    async def _write(self, uid: str, slot: _Slot) -> None:
        failures = 0
        try:
            while not is_same(slot.written, slot.wanted):
                target = slot.wanted
                try:
                    answer = await self._send(slot.pod, slot.written, target)
                except (client.NotFound, client.Conflict):
                    # Gone, or another pod has its name now.
                    slot.task = None
                    self._slots.pop(uid, None)
                    slot.on_written(None)
                    return
                except client.ApiError as error:
                    log.warning("status of pod %s not written yet: %s", podspec.full_name(slot.pod), error)
                    await self._clock.sleep(RETRY.delay(failures))
                    failures += 1
                    continue
                failures = 0
                slot.written = target
                slot.version = int(answer["metadata"].get("resourceVersion") or 0)
                slot.on_written(target)
        finally:
            slot.task = None

    async def _send(self, pod: podspec.Object, before: podspec.Object, after: podspec.Object) -> podspec.Object:
        return await self._api.patch(
            resources.PODS,
            podspec.namespace(pod),
            podspec.name(pod),
            {"metadata": {"uid": podspec.uid(pod)}, "status": patch(before, after)},
            kind="strategic",
            subresource="status",
        )


def is_same(left: podspec.Object, right: podspec.Object) -> bool:
    """Conditions of other writers do not count; nor does a field that is only sometimes spelled out."""
    return _comparable(left) == _comparable(right)


def _comparable(value: podspec.Object) -> podspec.Object:
    shown = _without_empty({key: item for key, item in value.items() if key != "conditions"})
    own = [condition for condition in value.get("conditions") or () if status.is_own(condition)]
    return {**shown, "conditions": {condition["type"]: _without_empty(condition) for condition in own}}


def _without_empty(value: Any) -> Any:
    """The API prints some fields that nobody set, as null or empty."""
    if isinstance(value, dict):
        stripped = {key: _without_empty(item) for key, item in value.items()}
        return {key: item for key, item in stripped.items() if item not in (None, [], {})}
    return [_without_empty(item) for item in value] if isinstance(value, list) else value


def patch(before: podspec.Object, after: podspec.Object) -> podspec.Object:
    """A strategic merge patch: what changed; None for what is gone; of the conditions, which merge by type, our own."""
    changes: podspec.Object = {key: None for key in before if key not in after}
    for key, value in after.items():
        if key == "conditions":
            own = [entry for entry in value if status.is_own(entry)]
            known = [entry for entry in before.get(key) or () if status.is_own(entry)]
            if own != known:
                changes[key] = _condition_changes(known, own)
        elif before.get(key) != value:
            changes[key] = value
    # Addresses merge by their value: those of a sandbox that died would stay.
    for key in ("podIPs", "hostIPs"):
        if key in changes and before.get(key):
            gone = [entry["ip"] for entry in before[key] if entry not in (after.get(key) or ())]
            changes[key] = [*(after.get(key) or ()), *({"ip": address, "$patch": "delete"} for address in gone)]
    return changes


def _condition_changes(before: Sequence[podspec.Object], after: Sequence[podspec.Object]) -> list[podspec.Object]:
    """Each of `after` whole, with None for what it no longer says: an item of a merged list keeps what the patch leaves out, and the
    list keeps an item until it is told to let go of it."""
    fields = {entry["type"]: entry.keys() for entry in before}
    changed = [{**dict.fromkeys(fields.get(entry["type"], ())), **entry} for entry in after]
    gone = [kind for kind in fields if kind not in {entry["type"] for entry in after}]
    return [*changed, *({"type": kind, "$patch": "delete"} for kind in gone)]
