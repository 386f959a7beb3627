"""Kinds that are served in several versions but stored in one.

Everything but the few kinds in `_CONVERTERS` is stored as it is served: its stored bytes are its answer. Those few are parsed and
converted on each read, and stored as upstream stores them: events.k8s.io/v1 Event as v1 Event, autoscaling/v1
HorizontalPodAutoscaler as v2.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import orjson

from pinnace.api import decode, kinds
from pinnace.apiserver.storage import envelope
from pinnace.store import interface

Object = dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Converter:
    to_storage: Callable[[Object], Object]
    from_storage: Callable[[Object], Object]


def encode(kind: kinds.Kind, obj: Object) -> bytes:
    """The bytes to store."""
    converter = _CONVERTERS.get((kind.group, kind.version, kind.kind))
    return envelope.encode(converter.to_storage(obj) if converter else obj)


def encode_dry(kind: kinds.Kind, obj: Object, revision: int = 0) -> bytes:
    """What a dry run answers: the object as it would be, with the resourceVersion that it has (none when it would be new)."""
    data = envelope.encode(obj)
    return envelope.stamp(data, revision) if revision else data


def value(kind: kinds.Kind, record: interface.Record) -> bytes:
    """The record's bytes as `kind` serves them."""
    return served(kind, record.value)


def last_value(kind: kinds.Kind, event: interface.Event) -> bytes:
    return served(kind, event.last_value)


def served(kind: kinds.Kind, data: bytes) -> bytes:
    converter = _CONVERTERS.get((kind.group, kind.version, kind.kind))
    return data if converter is None else decode.encode(converter.from_storage(orjson.loads(data)))


def is_converted(kind: kinds.Kind) -> bool:
    return (kind.group, kind.version, kind.kind) in _CONVERTERS


def parse(kind: kinds.Kind, record: interface.Record) -> Object:
    """A fresh object in the version of `kind`, the caller's to change."""
    obj = envelope.parse(record)
    converter = _CONVERTERS.get((kind.group, kind.version, kind.kind))
    return obj if converter is None else converter.from_storage(obj)


_EVENT_RENAMES = (
    ("note", "message"),
    ("regarding", "involvedObject"),
    ("reportingController", "reportingComponent"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
)


def _rename(obj: Object, pairs: tuple[tuple[str, str], ...], api_version: str) -> Object:
    names = dict(pairs)
    return {**{names.get(key, key): item for key, item in obj.items()}, "apiVersion": api_version}


def _event_to_storage(obj: Object) -> Object:
    return _rename(obj, _EVENT_RENAMES, "v1")


def _event_from_storage(obj: Object) -> Object:
    return _rename(obj, tuple((old, new) for new, old in _EVENT_RENAMES), "events.k8s.io/v1")


_CPU_V1 = "targetCPUUtilizationPercentage"
_HPA_SPEC_ANNOTATIONS = {
    "autoscaling.alpha.kubernetes.io/metrics": "metrics",
    "autoscaling.alpha.kubernetes.io/behavior": "behavior",
}


def _hpa_to_storage(obj: Object) -> Object:
    """v1 -> v2: the one percentage becomes a metric; what v1 cannot say waits in annotations."""
    metadata, spec, status = dict(obj["metadata"]), dict(obj.get("spec") or {}), dict(obj.get("status") or {})
    annotations = dict(metadata.get("annotations") or {})
    metrics = orjson.loads(annotations.pop("autoscaling.alpha.kubernetes.io/metrics", "[]"))
    behavior = annotations.pop("autoscaling.alpha.kubernetes.io/behavior", None)
    conditions = annotations.pop("autoscaling.alpha.kubernetes.io/conditions", None)
    current = annotations.pop("autoscaling.alpha.kubernetes.io/current-metrics", None)
    percentage = spec.pop(_CPU_V1, None)
    if percentage is not None:
        target = {"type": "Utilization", "averageUtilization": percentage}
        metrics.insert(0, {"type": "Resource", "resource": {"name": "cpu", "target": target}})
    if metrics:
        spec["metrics"] = metrics
    if behavior is not None:
        spec["behavior"] = orjson.loads(behavior)
    seen = orjson.loads(current) if current is not None else []
    percentage = status.pop("currentCPUUtilizationPercentage", None)
    if percentage is not None:
        seen.insert(0, {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": percentage}}})
    if seen:
        status["currentMetrics"] = seen
    if conditions is not None:
        status["conditions"] = orjson.loads(conditions)
    _set_annotations(metadata, annotations)
    return {**obj, "apiVersion": "autoscaling/v2", "metadata": metadata, "spec": spec, "status": status}


def _hpa_from_storage(obj: Object) -> Object:
    metadata, spec, status = dict(obj["metadata"]), dict(obj.get("spec") or {}), dict(obj.get("status") or {})
    annotations = dict(metadata.get("annotations") or {})
    metrics = spec.pop("metrics", None) or []
    percentages = [found for found in metrics if _cpu_utilization(found, "target") is not None]
    if percentages:
        spec[_CPU_V1] = _cpu_utilization(percentages[0], "target")
    rest = [found for found in metrics if not (percentages and found is percentages[0])]
    if rest:
        annotations["autoscaling.alpha.kubernetes.io/metrics"] = orjson.dumps(rest).decode()
    if spec.get("behavior") is not None:
        annotations["autoscaling.alpha.kubernetes.io/behavior"] = orjson.dumps(spec["behavior"]).decode()
    spec.pop("behavior", None)
    current = status.pop("currentMetrics", None) or []
    shown = [found for found in current if _cpu_utilization(found, "current") is not None]
    if shown:
        status["currentCPUUtilizationPercentage"] = _cpu_utilization(shown[0], "current")
    if current:
        annotations["autoscaling.alpha.kubernetes.io/current-metrics"] = orjson.dumps(current).decode()
    # v1 always says both.
    status = {"currentReplicas": 0, "desiredReplicas": 0, **status}
    conditions = status.pop("conditions", None)
    if conditions:
        annotations["autoscaling.alpha.kubernetes.io/conditions"] = orjson.dumps(conditions).decode()
    _set_annotations(metadata, annotations)
    return {**obj, "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": spec, "status": status}


def _cpu_utilization(metric: Object, where: str) -> Any:
    resource = metric.get("resource") or {}
    if metric.get("type") != "Resource" or resource.get("name") != "cpu":
        return None
    return (resource.get(where) or {}).get("averageUtilization")


def _set_annotations(metadata: Object, annotations: Object) -> None:
    if annotations:
        metadata["annotations"] = annotations
    else:
        metadata.pop("annotations", None)


_CONVERTERS = {
    ("events.k8s.io", "v1", "Event"): Converter(_event_to_storage, _event_from_storage),
    ("autoscaling", "v1", "HorizontalPodAutoscaler"): Converter(_hpa_to_storage, _hpa_from_storage),
}


def storage_kind(registry: kinds.Registry, kind: kinds.Kind) -> kinds.Kind:
    """The kind as which objects of `kind` are stored."""
    group, version = _STORED_AS.get((kind.group, kind.version, kind.kind), (kind.group, kind.version))
    return registry.by_kind(group, version, kind.kind) or kind


_STORED_AS = {
    ("events.k8s.io", "v1", "Event"): ("", "v1"),
    ("autoscaling", "v1", "HorizontalPodAutoscaler"): ("autoscaling", "v2"),
}
