"""Cells of the kinds that run pods, and of those that scale and protect them."""

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from pinnace.api import quantity
from pinnace.api.tables import duration, printers

_WIDE = ("Containers", "Images", "Selector")


def _template(obj: printers.Object) -> tuple[str, str]:
    return printers.containers(printers.at(obj, "spec.template"))


def _deployment(obj: printers.Object, now: datetime.datetime) -> printers.Cells:
    return [
        printers.name(obj),
        f"{printers.count(obj, 'status.readyReplicas')}/{printers.count(obj, 'spec.replicas')}",
        printers.count(obj, "status.updatedReplicas"),
        printers.count(obj, "status.availableReplicas"),
        printers.age(obj, now),
        *_template(obj),
        printers.selector(printers.at(obj, "spec.selector")),
    ]


def _replica_set(obj: printers.Object, now: datetime.datetime) -> printers.Cells:
    return [*_replicas(obj, now), *_template(obj), printers.selector(printers.at(obj, "spec.selector"))]


def _replication_controller(obj: printers.Object, now: datetime.datetime) -> printers.Cells:
    return [*_replicas(obj, now), *_template(obj), printers.labels(printers.at(obj, "spec.selector"))]


def _replicas(obj: printers.Object, now: datetime.datetime) -> printers.Cells:
    return [
        printers.name(obj),
        printers.count(obj, "spec.replicas"),
        printers.count(obj, "status.replicas"),
        printers.count(obj, "status.readyReplicas"),
        printers.age(obj, now),
    ]


def _stateful_set(obj: printers.Object, now: datetime.datetime) -> printers.Cells:
    ready = f"{printers.count(obj, 'status.readyReplicas')}/{printers.count(obj, 'spec.replicas')}"
    return [printers.name(obj), ready, printers.age(obj, now), *_template(obj)]


def _daemon_set(obj: printers.Object, now: datetime.datetime) -> printers.Cells:
    return [
        printers.name(obj),
        printers.count(obj, "status.desiredNumberScheduled"),
        printers.count(obj, "status.currentNumberScheduled"),
        printers.count(obj, "status.numberReady"),
        printers.count(obj, "status.updatedNumberScheduled"),
        printers.count(obj, "status.numberAvailable"),
        printers.labels(printers.at(obj, "spec.template.spec.nodeSelector")),
        printers.age(obj, now),
        *_template(obj),
        printers.selector(printers.at(obj, "spec.selector")),
    ]


def _job(obj: printers.Object, now: datetime.datetime) -> printers.Cells:
    return [
        printers.name(obj),
        _job_status(obj),
        _completions(obj),
        _job_duration(obj, now),
        printers.age(obj, now),
        *_template(obj),
        printers.selector(printers.at(obj, "spec.selector")),
    ]


def _completions(obj: printers.Object) -> str:
    succeeded = printers.count(obj, "status.succeeded")
    wanted = printers.at(obj, "spec.completions")
    parallelism = printers.count(obj, "spec.parallelism")
    if wanted is not None:
        return f"{succeeded}/{wanted}"
    return f"{succeeded}/1 of {parallelism}" if parallelism > 1 else f"{succeeded}/1"


def _job_duration(obj: printers.Object, now: datetime.datetime) -> str:
    start, end = printers.at(obj, "status.startTime"), printers.at(obj, "status.completionTime")
    if not start:
        return ""
    return duration.between(start, end) if end else duration.since(start, now)


def _job_status(obj: printers.Object) -> str:
    true = {item.get("type") for item in printers.at(obj, "status.conditions", ()) if item.get("status") == "True"}
    if "Complete" in true or "Failed" in true:
        return "Complete" if "Complete" in true else "Failed"
    if obj["metadata"].get("deletionTimestamp"):
        return "Terminating"
    return next(
        (status for status in ("Suspended", "FailureTarget", "SuccessCriteriaMet") if status in true), "Running"
    )


def _cron_job(obj: printers.Object, now: datetime.datetime) -> printers.Cells:
    last = printers.at(obj, "status.lastScheduleTime")
    return [
        printers.name(obj),
        printers.at(obj, "spec.schedule", ""),
        printers.at(obj, "spec.timeZone", printers.NONE),
        printers.boolean(printers.at(obj, "spec.suspend")),
        printers.length(obj, "status.active"),
        duration.since(last, now) if last else printers.NONE,
        printers.age(obj, now),
        *printers.containers(printers.at(obj, "spec.jobTemplate.spec.template")),
        printers.selector(printers.at(obj, "spec.jobTemplate.spec.selector")),
    ]


def _controller_revision(obj: printers.Object, now: datetime.datetime) -> printers.Cells:
    owner = next((ref for ref in obj["metadata"].get("ownerReferences") or () if ref.get("controller")), None)
    shown = printers.NONE
    if owner is not None:
        group = owner.get("apiVersion", "").rpartition("/")[0]
        shown = f"{owner.get('kind', '').lower()}{'.' + group if group else ''}/{owner.get('name', '')}"
    return [printers.name(obj), shown, printers.count(obj, "revision"), printers.age(obj, now)]


def _disruption_budget(obj: printers.Object, now: datetime.datetime) -> printers.Cells:
    return [
        printers.name(obj),
        str(printers.at(obj, "spec.minAvailable", "N/A")),
        str(printers.at(obj, "spec.maxUnavailable", "N/A")),
        printers.count(obj, "status.disruptionsAllowed"),
        printers.age(obj, now),
    ]


def _autoscaler(obj: printers.Object, now: datetime.datetime) -> printers.Cells:
    minimum = printers.at(obj, "spec.minReplicas")
    if printers.at(obj, "spec.metrics") is None and "targetCPUUtilizationPercentage" in (obj.get("spec") or {}):
        targets = _cpu_alone(obj)
    else:
        targets = _metrics(printers.at(obj, "spec.metrics", ()), printers.at(obj, "status.currentMetrics", ()))
    return [
        printers.name(obj),
        f"{printers.at(obj, 'spec.scaleTargetRef.kind', '')}/{printers.at(obj, 'spec.scaleTargetRef.name', '')}",
        targets,
        printers.UNSET if minimum is None else str(minimum),
        printers.count(obj, "spec.maxReplicas"),
        printers.count(obj, "status.currentReplicas"),
        printers.age(obj, now),
    ]


def _cpu_alone(obj: printers.Object) -> str:
    """autoscaling/v1 knows one metric only."""
    current = printers.at(obj, "status.currentCPUUtilizationPercentage")
    shown = printers.UNKNOWN if current is None else f"{current}%"
    return f"cpu: {shown}/{printers.at(obj, 'spec.targetCPUUtilizationPercentage')}%"


def _metrics(specs: Sequence[Mapping[str, Any]], statuses: Sequence[Mapping[str, Any]]) -> str:
    if not specs:
        return printers.NONE
    shown = [
        _metric(spec, statuses[position] if position < len(statuses) else {}) for position, spec in enumerate(specs)
    ]
    text = ", ".join(shown[:2])
    return f"{text} + {len(shown) - 2} more..." if len(shown) > 2 else text


def _metric(spec: Mapping[str, Any], status: Mapping[str, Any]) -> str:
    field = {
        "External": "external",
        "Pods": "pods",
        "Object": "object",
        "Resource": "resource",
        "ContainerResource": "containerResource",
    }.get(spec.get("type", ""))
    if field is None:
        return "<unknown type>"
    target = printers.at(spec, f"{field}.target", {})
    current = printers.at(status, f"{field}.current", {})
    name = printers.at(spec, f"{field}.name", "")
    prefix = f"{name}: " if name else ""
    average = target.get("averageValue")
    if average is not None:
        suffix = " (avg)" if field in ("external", "object") else ""
        return f"{prefix}{_amount(current.get('averageValue'))}/{_amount(average)}{suffix}"
    if field in ("resource", "containerResource"):
        wanted, used = target.get("averageUtilization"), current.get("averageUtilization")
        shown = printers.UNKNOWN if used is None else f"{used}%"
        return f"{prefix}{shown}/{'<auto>' if wanted is None else f'{wanted}%'}"
    return f"{_amount(current.get('value'))}/{_amount(target.get('value'))}"


def _amount(value: Any) -> str:
    return printers.UNKNOWN if value is None else quantity.canonical(str(value))


def _scale(obj: printers.Object, now: datetime.datetime) -> printers.Cells:
    return [
        printers.name(obj),
        printers.count(obj, "spec.replicas"),
        printers.count(obj, "status.replicas"),
        printers.age(obj, now),
    ]


SCALE = printers.Printer(printers.columns("Name", "Desired:integer", "Available:integer", "Age"), _scale)
DEPLOYMENT = printers.Printer(
    printers.columns("Name", "Ready", "Up-to-date:integer", "Available:integer", "Age", wide=_WIDE), _deployment
)
REPLICA_SET = printers.Printer(
    printers.columns("Name", "Desired:integer", "Current:integer", "Ready:integer", "Age", wide=_WIDE), _replica_set
)
REPLICATION_CONTROLLER = printers.Printer(
    printers.columns("Name", "Desired:integer", "Current:integer", "Ready:integer", "Age", wide=_WIDE),
    _replication_controller,
)
STATEFUL_SET = printers.Printer(printers.columns("Name", "Ready", "Age", wide=("Containers", "Images")), _stateful_set)
DAEMON_SET = printers.Printer(
    printers.columns(
        "Name",
        "Desired:integer",
        "Current:integer",
        "Ready:integer",
        "Up-to-date:integer",
        "Available:integer",
        "Node Selector",
        "Age",
        wide=_WIDE,
    ),
    _daemon_set,
)
CONTROLLER_REVISION = printers.Printer(
    printers.columns("Name", "Controller", "Revision:integer", "Age"), _controller_revision
)
JOB = printers.Printer(printers.columns("Name", "Status", "Completions", "Duration", "Age", wide=_WIDE), _job)
CRON_JOB = printers.Printer(
    printers.columns(
        "Name", "Schedule", "Timezone", "Suspend:boolean", "Active:integer", "Last Schedule", "Age", wide=_WIDE
    ),
    _cron_job,
)
POD_DISRUPTION_BUDGET = printers.Printer(
    printers.columns("Name", "Min Available", "Max Unavailable", "Allowed Disruptions:integer", "Age"),
    _disruption_budget,
)
HORIZONTAL_POD_AUTOSCALER = printers.Printer(
    printers.columns("Name", "Reference", "Targets", "MinPods", "MaxPods:integer", "Replicas:integer", "Age"),
    _autoscaler,
)
