"""Cells of pods: the one word that says how a pod is doing is worked out here, as kubectl's users know it."""

import datetime
from collections.abc import Iterable, Mapping
from typing import Any

from pinnace.api import pods as facts
from pinnace.api.tables import duration, printers

Status = Mapping[str, Any]

COLUMNS = printers.columns(
    "Name",
    "Ready",
    "Status",
    "Restarts",
    "Age",
    wide=("IP", "Node", "Nominated Node", "Readiness Gates"),
)
TERMINAL_PHASES = ("Succeeded", "Failed")


def cells(pod: printers.Object, now: datetime.datetime) -> printers.Cells:
    status = pod.get("status") or {}
    spec = pod.get("spec") or {}
    reason, ready, restarts, last_restart = _summary(spec, status)
    if pod["metadata"].get("deletionTimestamp"):
        if status.get("reason") == "NodeLost":
            reason = "Unknown"
        elif status.get("phase") not in TERMINAL_PHASES:
            reason = "Terminating"
    total = len(spec.get("containers") or ()) + sum(map(facts.is_sidecar, spec.get("initContainers") or ()))
    shown = f"{restarts} ({duration.since(last_restart, now)} ago)" if restarts and last_restart else str(restarts)
    addresses = status.get("podIPs") or ()
    gates = spec.get("readinessGates") or ()
    return [
        printers.name(pod),
        f"{ready}/{total}",
        reason,
        shown,
        printers.age(pod, now),
        (addresses[0].get("ip") if addresses else status.get("podIP")) or printers.NONE,
        spec.get("nodeName") or printers.NONE,
        status.get("nominatedNodeName") or printers.NONE,
        _open_gates(gates, status) if gates else printers.NONE,
    ]


def row_conditions(pod: printers.Object) -> list[dict[str, str]]:
    """Which rows a client may leave out: those of pods that are done."""
    phase = printers.at(pod, "status.phase")
    if phase not in TERMINAL_PHASES:
        return []
    message = "The pod has completed successfully." if phase == "Succeeded" else "The pod failed."
    return [{"type": "Completed", "status": "True", "reason": phase, "message": message}]


def _summary(spec: Status, status: Status) -> tuple[str, int, int, str]:
    """(status, ready containers, restarts, time of the last restart or "")."""
    reason = status.get("reason") or status.get("phase") or ""
    if any(
        item.get("type") == "PodScheduled" and item.get("reason") == "SchedulingGated"
        for item in status.get("conditions") or ()
    ):
        reason = "SchedulingGated"
    sidecars = {item.get("name") for item in spec.get("initContainers") or () if facts.is_sidecar(item)}
    initial = status.get("initContainerStatuses") or ()
    blocked, ready = _initialization(spec, initial, sidecars)
    if blocked and not _has_condition(status, "Initialized"):
        return blocked, ready, *_restarts(_until_blocked(initial, sidecars))
    reason = blocked or reason
    regular = status.get("containerStatuses") or ()
    running = False
    for item in reversed(regular):
        state = item.get("state") or {}
        waiting, terminated = state.get("waiting") or {}, state.get("terminated")
        if waiting.get("reason"):
            reason = waiting["reason"]
        elif terminated is not None:
            reason = _termination(terminated)
        elif item.get("ready") and state.get("running") is not None:
            running = True
            ready += 1
    if reason == "Completed" and running:
        reason = "Running" if _has_condition(status, "Ready") else "NotReady"
    counted = [item for item in initial if item.get("name") in sidecars]
    return reason, ready, *_restarts([*counted, *regular])


def _initialization(spec: Status, initial: Iterable[Status], sidecars: set[Any]) -> tuple[str, int]:
    """(what initialization is waiting for or "", how many sidecars are ready)."""
    ready = 0
    for position, item in enumerate(initial):
        state = item.get("state") or {}
        terminated, waiting = state.get("terminated"), state.get("waiting") or {}
        if _is_past(item, sidecars):
            ready += bool(item.get("ready")) and not _is_done(item)
            continue
        if terminated is not None:
            return "Init:" + _termination(terminated), ready
        if waiting.get("reason") and waiting["reason"] != "PodInitializing":
            return "Init:" + waiting["reason"], ready
        return f"Init:{position}/{len(spec.get('initContainers') or ())}", ready
    return "", ready


def _is_done(item: Status) -> bool:
    terminated = (item.get("state") or {}).get("terminated")
    return terminated is not None and not terminated.get("exitCode")


def _is_past(item: Status, sidecars: set[Any]) -> bool:
    """Whether the next init container may run: this one succeeded, or is a sidecar that has started."""
    return _is_done(item) or (item.get("name") in sidecars and bool(item.get("started")))


def _until_blocked(initial: Iterable[Status], sidecars: set[Any]) -> list[Status]:
    seen = []
    for item in initial:
        seen.append(item)
        if not _is_past(item, sidecars):
            break
    return seen


def _restarts(items: Iterable[Status]) -> tuple[int, str]:
    total, last = 0, ""
    for item in items:
        total += item.get("restartCount") or 0
        finished = printers.at(item, "lastState.terminated.finishedAt", "")
        last = max(last, finished)
    return total, last


def _termination(terminated: Status) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


def _has_condition(status: Status, wanted: str) -> bool:
    return any(item.get("type") == wanted and item.get("status") == "True" for item in status.get("conditions") or ())


def _open_gates(gates: Iterable[Status], status: Status) -> str:
    wanted = [gate.get("conditionType", "") for gate in gates]
    return f"{sum(_has_condition(status, gate) for gate in wanted)}/{len(wanted)}"


def _template_cells(template: printers.Object, now: datetime.datetime) -> printers.Cells:
    found = template.get("template") or {}
    return [
        printers.name(template),
        *printers.containers(found),
        printers.labels(printers.at(found, "metadata.labels")),
    ]


POD = printers.Printer(COLUMNS, cells, row_conditions)
POD_TEMPLATE = printers.Printer(printers.columns("Name", "Containers", "Images", "Pod Labels"), _template_cells)
