"""Workloads of `apps/v1`."""

import copy

from pinnace.api import selectors
from pinnace.api.validation import claims, core, field, formats, metadata, pods

Fields = field.Fields
Causes = field.Causes

IntOrString = int | str

_MISMATCH = "`selector` does not match template `labels`"
_STATEFUL_UPDATABLE = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
    "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)
_STATEFUL_MUTABLE = frozenset(
    {
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    }
)


def deployment(found: Causes, obj: Fields) -> None:
    metadata.create(found, obj, namespaced=True, name_rule=formats.dns_subdomain)
    _deployment_spec(found, field.part(obj, "spec"))


def deployment_update(found: Causes, new: Fields, old: Fields) -> None:
    metadata.update(found, new, old)
    _deployment_spec(found, field.part(new, "spec"))
    _selector_unchanged(found, new, old)


def _deployment_spec(found: Causes, spec: Fields) -> None:
    found.not_negative("spec.replicas", spec.get("replicas"))
    _selector(found, spec, "deployment")
    _template(found, spec, "ReplicaSet")
    _strategy(found, field.part(spec, "strategy"), "spec.strategy")
    for name in ("minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"):
        found.not_negative(f"spec.{name}", spec.get(name))
    deadline = spec.get("progressDeadlineSeconds")
    if deadline is not None and deadline <= (spec.get("minReadySeconds") or 0):
        found.invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds")


def _strategy(found: Causes, strategy: Fields, path: str) -> None:
    kind, rolling = strategy.get("type") or "", strategy.get("rollingUpdate")
    if kind == "Recreate":
        if rolling is not None:
            found.forbidden(f"{path}.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'")
    elif kind == "RollingUpdate":
        if rolling is None:
            found.required(f"{path}.rollingUpdate", "this should be defaulted and never be nil")
        else:
            _rolling_deployment(found, rolling, f"{path}.rollingUpdate")
    else:
        found.not_supported(f"{path}.type", kind, ("Recreate", "RollingUpdate"))


def _rolling_deployment(found: Causes, rolling: Fields, path: str) -> None:
    unavailable, surge = rolling.get("maxUnavailable", 0), rolling.get("maxSurge", 0)
    int_or_percent(found, unavailable, f"{path}.maxUnavailable")
    int_or_percent(found, surge, f"{path}.maxSurge")
    if amount(unavailable) == 0 and amount(surge) == 0:
        found.invalid(f"{path}.maxUnavailable", unavailable, "may not be 0 when `maxSurge` is 0")
    at_most_whole(found, unavailable, f"{path}.maxUnavailable")


def int_or_percent(found: Causes, value: IntOrString, path: str) -> None:
    if isinstance(value, str):
        if formats.percent(value):
            found.invalid(path, value, "must be an integer or percentage (e.g '5%%')")
    else:
        found.not_negative(path, value)


def at_most_whole(found: Causes, value: IntOrString, path: str) -> None:
    if isinstance(value, str) and not formats.percent(value) and int(value[:-1]) > 100:
        found.invalid(path, value, "must not be greater than 100%")


def amount(value: IntOrString) -> int:
    """The number in a number or percentage; -1 for what is neither."""
    if isinstance(value, int):
        return value
    return -1 if formats.percent(value) else int(value[:-1])


def deployment_status(found: Causes, new: Fields, old: Fields) -> None:
    metadata.update(found, new, old)
    status = field.part(new, "status")
    _counts(
        found,
        status,
        (
            "observedGeneration",
            "replicas",
            "updatedReplicas",
            "readyReplicas",
            "availableReplicas",
            "unavailableReplicas",
        ),
        ("updatedReplicas", "readyReplicas", "availableReplicas"),
    )
    _collisions(found, new, old)


def replica_set(found: Causes, obj: Fields) -> None:
    metadata.create(found, obj, namespaced=True, name_rule=formats.dns_subdomain)
    _replica_set_spec(found, field.part(obj, "spec"))


def replica_set_update(found: Causes, new: Fields, old: Fields) -> None:
    metadata.update(found, new, old)
    _replica_set_spec(found, field.part(new, "spec"))
    _selector_unchanged(found, new, old)


def _replica_set_spec(found: Causes, spec: Fields) -> None:
    for name in ("replicas", "minReadySeconds"):
        found.not_negative(f"spec.{name}", spec.get(name))
    _selector(found, spec, "deployment")
    _template(found, spec, "ReplicaSet")


def replica_set_status(found: Causes, new: Fields, old: Fields) -> None:
    metadata.update(found, new, old)
    _counts(
        found,
        field.part(new, "status"),
        ("replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration"),
        ("fullyLabeledReplicas", "readyReplicas", "availableReplicas"),
    )


def _counts(found: Causes, status: Fields, names: tuple[str, ...], bounded: tuple[str, ...]) -> None:
    for name in names:
        found.not_negative(f"status.{name}", status.get(name))
    for name in bounded:
        if (status.get(name) or 0) > (status.get("replicas") or 0):
            found.invalid(f"status.{name}", status[name], "cannot be greater than status.replicas")
    if "availableReplicas" in bounded and (status.get("availableReplicas") or 0) > (status.get("readyReplicas") or 0):
        found.invalid("status.availableReplicas", status["availableReplicas"], "cannot be greater than readyReplicas")


def _collisions(found: Causes, new: Fields, old: Fields) -> None:
    now, then = (field.part(obj, "status").get("collisionCount") for obj in (new, old))
    if then is not None and (now is None or now < then):
        found.invalid("status.collisionCount", now or 0, "cannot be decremented")


def daemon_set(found: Causes, obj: Fields) -> None:
    metadata.create(found, obj, namespaced=True, name_rule=formats.dns_subdomain)
    _daemon_set_spec(found, field.part(obj, "spec"))


def daemon_set_update(found: Causes, new: Fields, old: Fields) -> None:
    metadata.update(found, new, old)
    _daemon_set_spec(found, field.part(new, "spec"))
    _selector_unchanged(found, new, old)


def _daemon_set_spec(found: Causes, spec: Fields) -> None:
    selector, template = spec.get("selector"), field.part(spec, "template")
    metadata.label_selector(found, selector, "spec.selector")
    labels = field.part(template.get("metadata"), "labels")
    if not _matches(selector, labels):
        found.invalid("spec.template.metadata.labels", labels, _MISMATCH)
    if _is_empty(selector):
        found.invalid("spec.selector", selector, "empty selector is invalid for daemonset")
    pods.template(found, template, "spec.template")
    core.always_restarts(found, template, "spec.template", "DaemonSet")
    found.not_negative("spec.minReadySeconds", spec.get("minReadySeconds"))
    _daemon_strategy(found, field.part(spec, "updateStrategy"), "spec.updateStrategy")
    found.not_negative("spec.revisionHistoryLimit", spec.get("revisionHistoryLimit"))


def _daemon_strategy(found: Causes, strategy: Fields, path: str) -> None:
    kind, rolling = strategy.get("type") or "", strategy.get("rollingUpdate")
    if kind == "OnDelete":
        return
    if kind != "RollingUpdate":
        found.not_supported(path, strategy, ("RollingUpdate", "OnDelete"))
    elif rolling is None:
        found.required(f"{path}.rollingUpdate")
    else:
        here = f"{path}.rollingUpdate"
        unavailable, surge = rolling.get("maxUnavailable", 0), rolling.get("maxSurge", 0)
        for name, value in (("maxUnavailable", unavailable), ("maxSurge", surge)):
            int_or_percent(found, value, f"{here}.{name}")
            at_most_whole(found, value, f"{here}.{name}")
        if amount(unavailable) > 0 and amount(surge) > 0:
            found.invalid(f"{here}.maxSurge", surge, "may not be set when maxUnavailable is non-zero")
        if amount(unavailable) == 0 and amount(surge) == 0:
            found.required(f"{here}.maxUnavailable", "cannot be 0 when maxSurge is 0")


def daemon_set_status(found: Causes, new: Fields, old: Fields) -> None:
    metadata.update(found, new, old)
    for name in (
        "currentNumberScheduled",
        "numberMisscheduled",
        "desiredNumberScheduled",
        "numberReady",
        "observedGeneration",
        "updatedNumberScheduled",
        "numberAvailable",
        "numberUnavailable",
    ):
        found.not_negative(f"status.{name}", field.part(new, "status").get(name))
    _collisions(found, new, old)


def stateful_set(found: Causes, obj: Fields) -> None:
    metadata.create(found, obj, namespaced=True, name_rule=formats.dns_subdomain)
    _stateful_set_spec(found, field.part(obj, "spec"))


def stateful_set_update(found: Causes, new: Fields, old: Fields) -> None:
    metadata.update(found, new, old)
    after, before = field.part(new, "spec"), field.part(old, "spec")
    _stateful_set_spec(found, after)
    if any(after.get(name) != before.get(name) for name in {*after, *before} - _STATEFUL_MUTABLE):
        found.forbidden("spec", _STATEFUL_UPDATABLE)


def _stateful_set_spec(found: Causes, spec: Fields) -> None:
    policy = spec.get("podManagementPolicy") or ""
    if not policy:
        found.required("spec.podManagementPolicy")
    elif policy not in ("OrderedReady", "Parallel"):
        found.invalid("spec.podManagementPolicy", policy, "must be 'OrderedReady' or 'Parallel'")
    _stateful_strategy(found, field.part(spec, "updateStrategy"), "spec.updateStrategy")
    retention = field.part(spec, "persistentVolumeClaimRetentionPolicy")
    for name in ("whenDeleted", "whenScaled"):
        found.maybe_one_of(
            f"spec.persistentVolumeClaimRetentionPolicy.{name}",
            retention.get(name),
            ("Retain", "Delete"),
            is_sorted=False,
        )
    for name in ("replicas", "minReadySeconds", "revisionHistoryLimit"):
        found.not_negative(f"spec.{name}", spec.get(name))
    found.not_negative("spec.ordinals.start", field.part(spec, "ordinals").get("start"))
    _selector(found, spec, "statefulset")
    _stateful_template(found, spec)
    for index, claim in enumerate(field.items(spec, "volumeClaimTemplates")):
        path = f"spec.volumeClaimTemplates[{index}]"
        metadata.label_map(found, field.part(claim, "metadata").get("labels"), f"{path}.metadata.labels")
        claims.spec(found, field.part(claim, "spec"), f"{path}.spec")


def _stateful_template(found: Causes, spec: Fields) -> None:
    """The claims of a stateful set are volumes of its pods."""
    path, template = "spec.template", field.part(spec, "template")
    labels = field.part(template.get("metadata"), "labels")
    if spec.get("selector") and not _matches(spec["selector"], labels):
        found.invalid(f"{path}.metadata.labels", labels, _MISMATCH)
    claimed = {
        name: {"name": name, "persistentVolumeClaim": {"claimName": name}}
        for claim in field.items(spec, "volumeClaimTemplates")
        if (name := field.part(claim, "metadata").get("name"))
    }
    whole = copy.copy(template)
    inner = whole["spec"] = dict(field.part(template, "spec"))
    inner["volumes"] = [
        *(volume for volume in field.items(inner, "volumes") if volume.get("name") not in claimed),
        *claimed.values(),
    ]
    pods.template(found, whole, path)
    core.always_restarts(found, template, path, "StatefulSet")


def _stateful_strategy(found: Causes, strategy: Fields, path: str) -> None:
    kind, rolling = strategy.get("type") or "", strategy.get("rollingUpdate")
    if not kind:
        found.required(path)
    elif kind == "OnDelete":
        if rolling is not None:
            found.invalid(f"{path}.rollingUpdate", rolling, "only allowed for updateStrategy 'RollingUpdate'")
    elif kind != "RollingUpdate":
        found.invalid(path, strategy, "must be 'RollingUpdate' or 'OnDelete'")
    elif rolling is not None:
        found.not_negative(f"{path}.rollingUpdate.partition", rolling.get("partition"))
        limit = rolling.get("maxUnavailable")
        if limit is not None:
            here = f"{path}.rollingUpdate.maxUnavailable"
            int_or_percent(found, limit, here)
            if amount(limit) == 0:
                found.invalid(here, limit, "cannot be 0")
            at_most_whole(found, limit, here)


def stateful_set_status(found: Causes, new: Fields, old: Fields) -> None:
    metadata.update(found, new, old)
    names = ("replicas", "readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas")
    _counts(found, field.part(new, "status"), (*names, "observedGeneration"), names[1:])
    _collisions(found, new, old)


def controller_revision(found: Causes, obj: Fields) -> None:
    metadata.create(found, obj, namespaced=True, name_rule=formats.dns_subdomain)
    if obj.get("data") is None:
        found.required("data", "data is mandatory")
    found.not_negative("revision", obj.get("revision"))


def controller_revision_update(found: Causes, new: Fields, old: Fields) -> None:
    metadata.update(found, new, old)
    controller_revision(found, new)
    found.unchanged("data", new.get("data"), old.get("data"))


def _selector(found: Causes, spec: Fields, kind: str) -> None:
    selector = spec.get("selector")
    if selector is None:
        found.required("spec.selector")
        return
    metadata.label_selector(found, selector, "spec.selector")
    if _is_empty(selector):
        found.invalid("spec.selector", selector, f"empty selector is invalid for {kind}")


def _template(found: Causes, spec: Fields, kind: str) -> None:
    template, selector = spec.get("template"), spec.get("selector")
    path = "spec.template"
    if template is None:
        found.required(path)
        return
    labels = field.part(template.get("metadata"), "labels")
    if not _is_empty(selector) and not _matches(selector, labels):
        found.invalid(f"{path}.metadata.labels", labels, _MISMATCH)
    pods.template(found, template, path)
    core.always_restarts(found, template, path, kind)


def _is_empty(selector: Fields | None) -> bool:
    return not field.part(selector, "matchLabels") and not field.items(selector, "matchExpressions")


def _matches(selector: Fields | None, labels: Fields) -> bool:
    """True too for a selector that is wrong in itself: that is told elsewhere."""
    try:
        return selectors.from_object(selector).matches(labels)
    except ValueError:
        return True


def _selector_unchanged(found: Causes, new: Fields, old: Fields) -> None:
    found.unchanged("spec.selector", field.part(new, "spec").get("selector"), field.part(old, "spec").get("selector"))
