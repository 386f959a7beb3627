"""A pod's status from what is observed. Pure: pod, observed, memory and the time in; a `PodStatus` dict out.

The rules and words are those of upstream's kubelet (`convertStatusToAPIStatus`, `getPhase`, `status/generate.go`). What the status already
says and nothing contradicts (start time, conditions of others, states of containers that were collected) is carried over.
"""

import dataclasses
import datetime
from collections.abc import Collection, Sequence
from typing import Any

from pinnace.api import conditions, pods
from pinnace.engine import interface
from pinnace.kit import clock
from pinnace.kubelet.pod import model, podspec, resizing, restart_all, steps

BY_KUBELET = "TerminationByKubelet"
OWNED_CONDITIONS = (
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "PodScheduled",
    "PodResizePending",
    "PodResizeInProgress",
    "AllContainersRestarting",
)


@dataclasses.dataclass(frozen=True, slots=True)
class Context:
    """What the status needs besides the pod."""

    now: datetime.datetime
    host_addresses: tuple[str, ...]


def make(pod: model.Object, observed: model.Observed, memory: model.Memory, context: Context) -> model.Object:
    if not memory.volumes_ready and not observed.containers:
        # It is made beside the volumes, to save time; upstream makes it after them, and shows no address before.
        observed = dataclasses.replace(observed, sandbox=None)
    old = pod.get("status", {})
    inits = [
        _container_status(pod, role, container, observed, memory)
        for role, container in podspec.containers(pod)
        if role in (podspec.Role.INIT, podspec.Role.SIDECAR)
    ]
    mains = [
        _container_status(pod, podspec.Role.MAIN, container, observed, memory)
        for container in podspec.main_containers(pod)
    ]
    ephemerals = [
        _container_status(pod, podspec.Role.EPHEMERAL, container, observed, memory)
        for container in podspec.ephemeral_containers(pod)
    ]
    is_over = memory.termination is not None and not observed.alive and not _is_starting(memory)
    status: model.Object = {
        "phase": _phase(pod, old, mains, inits, memory, is_over),
        "observedGeneration": podspec.generation(pod),
        "qosClass": old.get("qosClass") or pods.qos_class(pod["spec"]),
        "startTime": old.get("startTime") or clock.rfc3339(context.now),
    }
    if not status["observedGeneration"]:
        del status["observedGeneration"]
    _add_pod_resources(status, pod)
    _set_addresses(status, pod, observed, context, is_over)
    _set_reason(status, old, memory, is_over)
    status["containerStatuses"] = mains
    if inits:
        status["initContainerStatuses"] = inits
    if ephemerals:
        status["ephemeralContainerStatuses"] = ephemerals
    status["conditions"] = _conditions(
        pod,
        old,
        status,
        _can_start(observed) and not is_over,
        context,
        is_disrupted=memory.termination is not None and memory.termination.is_disruption,
    )
    if not is_over:
        status["conditions"] += _resize_conditions(pod, observed, memory, status, context)
        status["conditions"] += _restart_conditions(pod, observed, status, context)
    for kept in ("nominatedNodeName", "resize", "resourceClaimStatuses"):
        if kept in old:
            status[kept] = old[kept]
    return status


def rejected(pod: model.Object, reason: str, message: str, context: Context) -> model.Object:
    """The status of a pod that this node refuses to run."""
    old = pod.get("status", {})
    generation = podspec.generation(pod)
    return {
        **old,
        **({"observedGeneration": generation} if generation else {}),
        "phase": "Failed",
        "reason": reason,
        "message": message,
        "startTime": old.get("startTime") or clock.rfc3339(context.now),
        "qosClass": old.get("qosClass") or pods.qos_class(pod["spec"]),
    }


def _can_start(observed: model.Observed) -> bool:
    return observed.sandbox is not None and observed.sandbox.is_ready


def _is_starting(memory: model.Memory) -> bool:
    return any(key.kind is steps.Kind.START for key in memory.in_flight)


# ---------------------------------------------------------------- containers


def _container_status(
    pod: model.Object, role: podspec.Role, container: model.Object, observed: model.Observed, memory: model.Memory
) -> model.Object:
    name = container["name"]
    latest = observed.latest(name)
    if latest is None or latest.state is model.State.CREATED:
        return _status_without_container(pod, role, container, observed, memory)
    probes = memory.probes.get(latest.id, model.NO_PROBES)
    is_running = latest.is_alive and not latest.hook_pending
    started = is_running and probes.startup is True
    status: model.Object = {
        "name": name,
        "image": latest.image or container.get("image", ""),
        "imageID": latest.image_id,
        "containerID": f"{model.RUNTIME_NAME}://{latest.id}",
        "restartCount": latest.attempt,
        "started": started,
        "ready": _is_ready(role, latest, started, probes),
    }
    previous = observed.previous(name)
    last: model.Object = {"terminated": _terminated(previous)} if previous is not None else {}
    if latest.is_alive:
        status["state"] = (
            {"waiting": _waiting(_default_waiting(pod, role))}
            if latest.hook_pending
            else {"running": {"startedAt": _time(latest.started_ns)}}
        )
    else:
        waiting = memory.waiting.get(name)
        is_again = _will_run_again(pod, role, container, latest, memory, restart_all.present(pod, observed))
        if waiting is not None and is_again:
            last = {"terminated": _terminated(latest)}
            status["state"] = {"waiting": _waiting(waiting)}
        else:
            status["state"] = {"terminated": _terminated(latest)}
    status["lastState"] = last
    _add_resources(status, container, memory.actual.get(latest.id) if latest.is_alive else None)
    if latest.user is not None:
        status["user"] = {"linux": _user(latest.user)}
    return status


def _user(user: interface.User) -> model.Object:
    shown: model.Object = {"uid": user.uid, "gid": user.gid}
    if user.groups:
        shown["supplementalGroups"] = list(user.groups)
    return shown


def _status_without_container(
    pod: model.Object, role: podspec.Role, container: model.Object, observed: model.Observed, memory: model.Memory
) -> model.Object:
    """Not made yet, or made by an earlier agent and collected since: then what the status says is all there is."""
    name = container["name"]
    old = _old_status(pod, name)
    waiting = memory.waiting.get(name) or memory.volumes_waiting or _default_waiting(pod, role)
    if memory.termination is not None and name not in memory.waiting and role is not podspec.Role.MAIN:
        waiting = model.Waiting("PodInitializing")
    previous = observed.previous(name)
    status: model.Object = {
        "name": name,
        "image": container.get("image", ""),
        "imageID": "",
        "restartCount": 0 if old is None else int(old.get("restartCount", 0)),
        "started": False,
        "ready": False,
        "state": {"waiting": _waiting(waiting)},
        "lastState": {} if previous is None else {"terminated": _terminated(previous)},
    }
    _add_resources(status, container)
    return status


def lost_containers(pod: model.Object, known_ids: Collection[str], now: float) -> tuple[model.ContainerView, ...]:
    """Containers that ran as the pod's status says and of which the engine has no record any more: they count as ended."""
    found = []
    status = pod.get("status", {})
    for field in ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"):
        for entry in status.get(field) or ():
            container_id = str(entry.get("containerID") or "").rpartition("//")[2]
            if container_id and container_id not in known_ids:
                found.append(_lost(entry, container_id, now))
    return tuple(found)


def _lost(entry: model.Object, container_id: str, now: float) -> model.ContainerView:
    state = entry.get("state") or {}
    ended = state.get("terminated") or (entry.get("lastState") or {}).get("terminated") or {}
    is_known = bool(state.get("terminated")) or ended.get("containerID") == entry.get("containerID")
    return model.ContainerView(
        id=container_id,
        name=entry["name"],
        attempt=int(entry.get("restartCount", 0)),
        sandbox_id="",
        state=model.State.EXITED,
        image=entry.get("image", ""),
        image_id=entry.get("imageID", ""),
        exit_code=int(ended.get("exitCode", 0)) if is_known else UNKNOWN_EXIT_CODE,
        reason=str(ended.get("reason", "")) if is_known else UNKNOWN_REASON,
        message=str(ended.get("message", "")) if is_known else UNKNOWN_MESSAGE,
        started_ns=_nanoseconds(ended.get("startedAt") if is_known else (state.get("running") or {}).get("startedAt")),
        finished_ns=_nanoseconds(ended.get("finishedAt")) if is_known else 0,
        finished_at=now,
    )


UNKNOWN_EXIT_CODE = 137
UNKNOWN_REASON = "ContainerStatusUnknown"
UNKNOWN_MESSAGE = "The container could not be located when the pod was terminated"


def _nanoseconds(text: str | None) -> int:
    return int(clock.parse_rfc3339(text).timestamp() * 1e9) if text else 0


def _old_status(pod: model.Object, name: str) -> model.Object | None:
    status = pod.get("status", {})
    for field in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
        for entry in status.get(field) or ():
            if entry.get("name") == name:
                return dict(entry)
    return None


def _default_waiting(pod: model.Object, role: podspec.Role) -> model.Waiting:
    if podspec.init_containers(pod):
        return model.Waiting("PodInitializing")
    return model.Waiting("ContainerCreating")


def _waiting(waiting: model.Waiting) -> model.Object:
    return {"reason": waiting.reason, "message": waiting.message} if waiting.message else {"reason": waiting.reason}


def _will_run_again(
    pod: model.Object,
    role: podspec.Role,
    container: model.Object,
    latest: model.ContainerView,
    memory: model.Memory,
    present_round: int,
) -> bool:
    if memory.termination is not None:
        return False
    if latest.round < present_round and role is not podspec.Role.EPHEMERAL:
        return True
    if latest.is_killed_by_probe or latest.start_failed:
        return podspec.may_restart_after_failure(pod, role, container)
    return podspec.should_restart(pod, role, container, latest.exit_code)


def _is_ready(role: podspec.Role, latest: model.ContainerView, started: bool, probes: model.ProbeResults) -> bool:
    if role is podspec.Role.INIT:
        return latest.is_exited and latest.exit_code == 0
    if role is podspec.Role.EPHEMERAL:
        return False
    return started and probes.readiness is True


def _terminated(container: model.ContainerView) -> model.Object:
    state: model.Object = {
        "exitCode": container.exit_code,
        "reason": terminated_reason(container),
        "startedAt": _time(container.started_ns),
        "finishedAt": _time(container.finished_ns),
        "containerID": f"{model.RUNTIME_NAME}://{container.id}",
    }
    if container.reason == UNKNOWN_REASON and not container.finished_ns:
        del state["finishedAt"]  # Nobody knows: clients must not show an age.
    message = container.message or (container.error if container.start_failed else "")
    if message:
        state["message"] = message
    return state


def terminated_reason(container: model.ContainerView) -> str:
    if container.reason:
        return container.reason
    if container.start_failed:
        return "StartError"
    if container.oom_killed:
        return "OOMKilled"
    return "Completed" if container.exit_code == 0 else "Error"


def _time(nanoseconds: int) -> str:
    """A moment that has not happened prints as the epoch, as with containerd."""
    return clock.rfc3339(datetime.datetime.fromtimestamp(nanoseconds / 1e9, datetime.UTC))


def _add_resources(status: model.Object, container: model.Object, actual: model.Object | None = None) -> None:
    """`actual`: what a running container has, where that is known."""
    resources = container.get("resources") or {}
    present = resources if actual is None else actual
    status["resources"] = {key: dict(present[key]) for key in ("limits", "requests") if present.get(key)}
    if resources.get("requests"):
        status["allocatedResources"] = dict(resources["requests"])
    mounts = container.get("volumeMounts")
    if mounts:
        status["volumeMounts"] = [_mount_status(mount) for mount in mounts]


def _add_pod_resources(status: model.Object, pod: model.Object) -> None:
    """Of a pod that has resources as a whole: what it was granted."""
    whole = pod["spec"].get("resources") or {}
    if whole:
        status["resources"] = {key: dict(whole[key]) for key in ("limits", "requests") if whole.get(key)}
        if whole.get("requests"):
            status["allocatedResources"] = dict(whole["requests"])


def _mount_status(mount: model.Object) -> model.Object:
    shown: model.Object = {"name": mount["name"], "mountPath": mount["mountPath"]}
    if mount.get("readOnly"):
        shown["readOnly"] = True
        shown["recursiveReadOnly"] = "Enabled" if podspec.is_recursively_read_only(mount) else "Disabled"
    return shown


# ---------------------------------------------------------------- phase


def _phase(
    pod: model.Object,
    old: model.Object,
    mains: Sequence[model.Object],
    inits: Sequence[model.Object],
    memory: model.Memory,
    is_over: bool,
) -> str:
    if old.get("phase") in podspec.TERMINAL_PHASES:
        return str(old["phase"])
    computed = _computed_phase(pod, mains, inits, is_over)
    if is_over and memory.termination is not None and memory.termination.is_failure:
        return "Failed"
    if computed in podspec.TERMINAL_PHASES and not is_over:
        # A pod is terminal only once nothing of it runs any more.
        return "Running" if old.get("phase") == "Running" or _has_run(mains) else "Pending"
    if is_over and computed not in podspec.TERMINAL_PHASES:
        # Stopped before its containers came to an end of their own.
        return "Failed"
    return computed


def _has_run(mains: Sequence[model.Object]) -> bool:
    return any("running" in entry["state"] or "terminated" in entry["state"] for entry in mains)


@dataclasses.dataclass(slots=True)
class _Counts:
    running: int = 0
    waiting: int = 0
    stopped: int = 0
    succeeded: int = 0


def _computed_phase(
    pod: model.Object, mains: Sequence[model.Object], inits: Sequence[model.Object], is_over: bool
) -> str:
    pending, failed = _initialization(pod, inits)
    counts = _Counts()
    for entry in mains:
        state, last = entry["state"], entry["lastState"].get("terminated")
        if "running" in state:
            counts.running += 1
        elif "terminated" in state:
            counts.stopped += 1
            counts.succeeded += state["terminated"]["exitCode"] == 0
        elif last is not None:
            counts.stopped += 1
        else:
            counts.waiting += 1
    policy = podspec.restart_policy(pod)
    if failed and policy == "Never":
        return "Failed"
    if pending or counts.waiting:
        return "Pending"
    if counts.running:
        return "Running"
    if not counts.stopped:
        return "Pending"
    if is_over or policy == "Never":
        return "Succeeded" if counts.stopped == counts.succeeded else "Failed"
    if policy == "Always":
        return "Running"
    return "Succeeded" if counts.stopped == counts.succeeded else "Running"


def _initialization(pod: model.Object, inits: Sequence[model.Object]) -> tuple[bool, bool]:
    """(some init container has not passed yet, some failed)."""
    pending = failed = False
    for container, entry in zip(podspec.init_containers(pod), inits, strict=True):
        state, last = entry["state"], entry["lastState"].get("terminated")
        if pods.is_sidecar(container):
            pending = pending or ("running" in state and not entry["started"]) or ("waiting" in state and last is None)
        elif "terminated" in state:
            failed = failed or state["terminated"]["exitCode"] != 0
        elif "waiting" in state and last is not None:
            failed = failed or last["exitCode"] != 0
            pending = True
        else:
            pending = True
    is_started = any(entry.get("containerID") for entry in (pod.get("status", {}).get("containerStatuses") or ()))
    # Sidecars that restart do not make a pod pending again.
    return pending and not is_started, failed


# ---------------------------------------------------------------- addresses and reasons


def _set_addresses(
    status: model.Object, pod: model.Object, observed: model.Observed, context: Context, is_over: bool
) -> None:
    old = pod.get("status", {})
    status["hostIP"] = context.host_addresses[0]
    status["hostIPs"] = [{"ip": address} for address in context.host_addresses]
    if podspec.is_host_network(pod):
        addresses: tuple[str, ...] = context.host_addresses
    elif observed.sandbox is not None and observed.sandbox.addresses:
        addresses = observed.sandbox.addresses
    else:
        addresses = tuple(entry["ip"] for entry in old.get("podIPs") or ()) if is_over else ()
    if addresses:
        status["podIP"] = addresses[0]
        status["podIPs"] = [{"ip": address} for address in addresses]


def _set_reason(status: model.Object, old: model.Object, memory: model.Memory, is_over: bool) -> None:
    termination = memory.termination
    if termination is not None and termination.reason and is_over:
        status["reason"], status["message"] = termination.reason, termination.message
        return
    if old.get("phase") in podspec.TERMINAL_PHASES:
        for field in ("reason", "message"):
            if old.get(field):
                status[field] = old[field]


# ---------------------------------------------------------------- conditions


def _conditions(
    pod: model.Object,
    old: model.Object,
    status: model.Object,
    can_start: bool,
    context: Context,
    *,
    is_disrupted: bool,
) -> list[model.Object]:
    containers_ready = _containers_ready(pod, status)
    before = {entry["type"]: entry for entry in old.get("conditions") or ()}
    others = [entry for kind, entry in before.items() if kind not in OWNED_CONDITIONS]
    made = [
        _condition("PodReadyToStartContainers", can_start),
        _initialized(pod, status),
        _ready(pod, containers_ready, others),
        {**containers_ready, "type": "ContainersReady"},
        _condition("PodScheduled", True),
    ]
    if status.get("reason") == "Evicted" and (is_disrupted or is_own(before.get("DisruptionTarget", {"type": ""}))):
        others = [entry for entry in others if entry["type"] != "DisruptionTarget"]
        made.append(_condition("DisruptionTarget", True, BY_KUBELET, status.get("message", "")))
    return [_finish(entry, before.get(entry["type"]), status, context) for entry in made] + others


def _resize_conditions(
    pod: model.Object, observed: model.Observed, memory: model.Memory, status: model.Object, context: Context
) -> list[model.Object]:
    made = []
    if memory.resize_pending is not None:
        pending = memory.resize_pending
        made.append(_condition("PodResizePending", True, pending.reason, pending.message))
    if memory.resize_error:
        made.append(_condition("PodResizeInProgress", True, "Error", memory.resize_error))
    elif resizing.left(pod, observed, memory.actual).is_any:
        made.append(_condition("PodResizeInProgress", True))
    before = {entry["type"]: entry for entry in pod.get("status", {}).get("conditions") or ()}
    return [_finish(entry, before.get(entry["type"]), status, context) for entry in made]


def _restart_conditions(
    pod: model.Object, observed: model.Observed, status: model.Object, context: Context
) -> list[model.Object]:
    number = restart_all.present(pod, observed)
    if not number:
        return []
    made = _condition("AllContainersRestarting", bool(restart_all.left_over(pod, observed, number)))
    before = {entry["type"]: entry for entry in pod.get("status", {}).get("conditions") or ()}
    return [_finish(made, before.get(made["type"]), status, context)]


def is_own(condition: model.Object) -> bool:
    """Whether the node agent is who writes this condition."""
    return condition["type"] in OWNED_CONDITIONS or condition.get("reason") == BY_KUBELET


def _condition(kind: str, is_true: bool, reason: str = "", message: str = "") -> model.Object:
    condition: model.Object = {"type": kind, "status": "True" if is_true else "False"}
    if reason:
        condition["reason"] = reason
    if message:
        condition["message"] = message
    return condition


def _finish(
    condition: model.Object, before: model.Object | None, status: model.Object, context: Context
) -> model.Object:
    """Order of fields as upstream; the transition time moves only with the status."""
    shown: dict[str, Any] = {"type": condition["type"]}
    if "observedGeneration" in status:
        shown["observedGeneration"] = status["observedGeneration"]
    shown["status"] = condition["status"]
    shown["lastProbeTime"] = None
    shown["lastTransitionTime"] = conditions.since(before, condition["status"], clock.rfc3339(context.now))
    for field in ("reason", "message"):
        if field in condition:
            shown[field] = condition[field]
    return shown


def _go_list(names: Sequence[str]) -> str:
    return "[" + " ".join(names) + "]"


def _containers_ready(pod: model.Object, status: model.Object) -> model.Object:
    phase = status["phase"]
    if phase == "Succeeded":
        return _condition("ContainersReady", False, "PodCompleted")
    if phase == "Failed":
        return _condition("ContainersReady", False, "PodFailed")
    sidecars = {container["name"] for container in podspec.init_containers(pod) if pods.is_sidecar(container)}
    entries = [entry for entry in status.get("initContainerStatuses", ()) if entry["name"] in sidecars]
    entries += status["containerStatuses"]
    unready = [entry["name"] for entry in entries if not entry["ready"]]
    if unready:
        message = f"containers with unready status: {_go_list(unready)}"
        return _condition("ContainersReady", False, "ContainersNotReady", message)
    return _condition("ContainersReady", True)


def _ready(pod: model.Object, containers_ready: model.Object, others: Sequence[model.Object]) -> model.Object:
    if containers_ready["status"] != "True":
        return {**containers_ready, "type": "Ready"}
    conditions = {entry["type"]: entry["status"] for entry in others}
    problems = []
    for gate in pod["spec"].get("readinessGates") or ():
        kind = gate["conditionType"]
        if kind not in conditions:
            problems.append(f'corresponding condition of pod readiness gate "{kind}" does not exist.')
        elif conditions[kind] != "True":
            problems.append(f'the status of pod readiness gate "{kind}" is not "True", but {conditions[kind]}')
    if problems:
        return _condition("Ready", False, "ReadinessGatesNotReady", ", ".join(problems))
    return _condition("Ready", True)


def _initialized(pod: model.Object, status: model.Object) -> model.Object:
    if status["phase"] == "Succeeded":
        return _condition("Initialized", True, "PodCompleted")
    if any(entry.get("containerID") for entry in status["containerStatuses"]):
        return _condition("Initialized", True)
    incomplete = [
        container["name"]
        for container, entry in zip(podspec.init_containers(pod), status.get("initContainerStatuses", ()), strict=False)
        if not (entry["started"] if pods.is_sidecar(container) else entry["ready"])
    ]
    if incomplete:
        message = f"containers with incomplete status: {_go_list(incomplete)}"
        return _condition("Initialized", False, "ContainersNotInitialized", message)
    return _condition("Initialized", True)
