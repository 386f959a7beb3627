"""`apps`: Deployments, ReplicaSets, StatefulSets, DaemonSets and their revisions."""

from pinnace.api import labels, selectors
from pinnace.api.defaults import core as core_defaults
from pinnace.api.defaults import pods
from pinnace.api.rules import base
from pinnace.api.tables import workloads
from pinnace.api.validation import apps
from pinnace.api.warnings import workloads as warnings

Object = base.Object
Part = base.Part


def scale_selector(obj: Object) -> str:
    """Of `spec.selector`, a metav1.LabelSelector."""
    return str(selectors.from_object((obj.get("spec") or {}).get("selector")))


SCALE = base.Scale(("spec", "replicas"), ("status", "replicas"), scale_selector)


def _deployment_defaults(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    strategy = spec.setdefault("strategy", {})
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)
    pods.template(spec)


def _counted_of_deployment(obj: Object) -> object:
    """Its annotations are copied to its replica sets, so the controller has to see them too."""
    return base.but_status(obj), obj["metadata"].get("annotations") or {}


def _deployment_status(new: Object, old: Object) -> None:
    base.status_alone(new, old)
    base.keep(new["metadata"], old["metadata"], "labels")


DEPLOYMENT = base.Rules(
    warnings=warnings.replicated,
    defaults=_deployment_defaults,
    generation_of=_counted_of_deployment,
    validate_create=apps.deployment,
    update=Part(validate=apps.deployment_update),
    status=Part(_deployment_status, apps.deployment_status),
    printer=workloads.DEPLOYMENT,
    scale=SCALE,
)


def _replica_set_defaults(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    pods.template(spec)


REPLICA_SET = base.Rules(
    warnings=warnings.replicated,
    defaults=_replica_set_defaults,
    generation_of=base.but_status,
    validate_create=apps.replica_set,
    update=Part(validate=apps.replica_set_update),
    status=Part(base.status_alone, apps.replica_set_status),
    printer=workloads.REPLICA_SET,
    scale=SCALE,
)


def _stateful_set_defaults(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("podManagementPolicy", "OrderedReady")
    strategy = spec.setdefault("updateStrategy", {})
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
        # Only a strategy that is wholly absent is given its details.
        strategy.setdefault("rollingUpdate", {})
    if strategy["type"] == "RollingUpdate" and strategy.get("rollingUpdate") is not None:
        strategy["rollingUpdate"].setdefault("partition", 0)
    retention = spec.setdefault("persistentVolumeClaimRetentionPolicy", {})
    retention.setdefault("whenDeleted", "Retain")
    retention.setdefault("whenScaled", "Retain")
    spec.setdefault("replicas", 1)
    spec.setdefault("revisionHistoryLimit", 10)
    pods.template(spec)
    for claim in spec.get("volumeClaimTemplates", ()):
        claim.setdefault("apiVersion", "v1")
        claim.setdefault("kind", "PersistentVolumeClaim")
        core_defaults.persistent_volume_claim(claim)


STATEFUL_SET = base.Rules(
    warnings=warnings.stateful_set,
    defaults=_stateful_set_defaults,
    counts=("availableReplicas",),
    generation_of=base.but_status,
    validate_create=apps.stateful_set,
    update=Part(validate=apps.stateful_set_update),
    status=Part(base.status_alone, apps.stateful_set_status),
    printer=workloads.STATEFUL_SET,
    scale=SCALE,
)


def _daemon_set_defaults(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    strategy = spec.setdefault("updateStrategy", {})
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", 1)
        rolling.setdefault("maxSurge", 0)
    spec.setdefault("revisionHistoryLimit", 10)
    pods.template(spec)


def _new_daemon_set(obj: Object) -> None:
    given = (obj["metadata"].get("annotations") or {}).get(labels.TEMPLATE_GENERATION, "")
    _set_template_generation(obj, int(given) if given.isdecimal() and int(given) > 0 else 1)


def _daemon_set_update(new: Object, old: Object) -> None:
    is_changed = (new.get("spec") or {}).get("template") != old["spec"].get("template")
    _set_template_generation(new, _template_generation(old) + is_changed)


def _daemon_set_status(new: Object, old: Object) -> None:
    base.status_alone(new, old)
    _set_template_generation(new, _template_generation(old))


def _template_generation(obj: Object) -> int:
    """How often the template changed: counted by the server alone."""
    count = (obj["metadata"].get("annotations") or {}).get(labels.TEMPLATE_GENERATION, "")
    return int(count) if count.isdecimal() else 1


def _set_template_generation(obj: Object, count: int) -> None:
    metadata = obj["metadata"]
    metadata["annotations"] = {**(metadata.get("annotations") or {}), labels.TEMPLATE_GENERATION: str(count)}


DAEMON_SET = base.Rules(
    warnings=warnings.daemon_set,
    defaults=_daemon_set_defaults,
    prepare_create=_new_daemon_set,
    generation_of=base.but_status,
    validate_create=apps.daemon_set,
    update=Part(_daemon_set_update, apps.daemon_set_update),
    status=Part(_daemon_set_status, apps.daemon_set_status),
    printer=workloads.DAEMON_SET,
)

CONTROLLER_REVISION = base.Rules(
    validate_create=apps.controller_revision,
    update=Part(validate=apps.controller_revision_update),
    printer=workloads.CONTROLLER_REVISION,
)

V1: base.Rows = (
    base.Row("ControllerRevision", "controllerrevisions", base.NAMESPACED, rules=CONTROLLER_REVISION),
    base.Row("DaemonSet", "daemonsets", base.NAMESPACED, "ds", "all", base.STATUS, DAEMON_SET),
    base.Row("Deployment", "deployments", base.NAMESPACED, "deploy", "all", base.SCALE_STATUS, DEPLOYMENT),
    base.Row("ReplicaSet", "replicasets", base.NAMESPACED, "rs", "all", base.SCALE_STATUS, REPLICA_SET),
    base.Row("StatefulSet", "statefulsets", base.NAMESPACED, "sts", "all", base.SCALE_STATUS, STATEFUL_SET),
)
