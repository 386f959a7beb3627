"""Deployments: one ReplicaSet per template, rolled over from one to the next.

Watches Deployments, ReplicaSets, and Pods (for Recreate). Owns the ReplicaSets that it made or adopted. Guarantees: at any
moment the ReplicaSets together ask for at most replicas + maxSurge pods, and give up no available pod below
replicas - maxUnavailable. Each plan moves the rollout by one step of upstream's; the next begins when the caches show it.
"""

import dataclasses
import datetime
from collections.abc import Iterable, Sequence
from typing import Any

from pinnace.api import conditions, resources
from pinnace.client import client
from pinnace.controllers import rollback, rollout, templates
from pinnace.controllers.framework import actions, claims, hashing, loop, objects
from pinnace.controllers.framework import lister as views
from pinnace.kit import clock

Object = dict[str, Any]

NEVER = 2**31 - 1
"""A limit or deadline of this value counts as none."""


def plan(view: views.View, key: objects.Key, now: datetime.datetime) -> Sequence[actions.Action]:
    deployment = view.get(resources.DEPLOYMENTS, *key)
    if deployment is None:
        return []
    selector = objects.selector_of(deployment)
    if selector.is_everything:
        return _refuse_everything(deployment)
    claimed = claims.claim(
        deployment,
        resources.DEPLOYMENTS,
        selector,
        view.by_index(resources.REPLICA_SETS, "controller", objects.uid_of(deployment)),
        view.by_index(resources.REPLICA_SETS, "orphan", key[0]),
        resources.REPLICA_SETS,
    )
    if claimed.writes:
        return claimed.writes
    wanted = rollback.target(deployment)
    if wanted is not None and not deployment["spec"].get("paused") and not objects.is_deleting(deployment):
        return rollback.plan(deployment, claimed.objects, wanted)
    return _Rollout(view, deployment, claimed.objects, now).plan()


def _refuse_everything(deployment: Object) -> list[actions.Action]:
    told = actions.warning(
        deployment,
        "SelectingAll",
        "This deployment is selecting all pods. A non-empty selector is required.",
    )
    status = objects.status_of(deployment)
    generation = deployment["metadata"].get("generation", 0)
    if status.get("observedGeneration", 0) >= generation:
        return [told]
    updated = {**deployment, "status": {**status, "observedGeneration": generation}}
    return [told, actions.Update(resource=resources.DEPLOYMENTS, obj=updated, subresource="status")]


# -- what a Deployment asks for


def has_deadline(deployment: Object) -> bool:
    return bool(deployment["spec"].get("progressDeadlineSeconds", NEVER) != NEVER)


def is_rolling(deployment: Object) -> bool:
    return bool((deployment["spec"].get("strategy") or {}).get("type", "RollingUpdate") == "RollingUpdate")


def wanted_replicas(deployment: Object) -> int:
    return int(deployment["spec"].get("replicas", 1))


def limits_of(deployment: Object) -> rollout.Limits:
    replicas = wanted_replicas(deployment)
    if not is_rolling(deployment):
        return rollout.Limits(replicas, 0, 0)
    rolling = (deployment["spec"].get("strategy") or {}).get("rollingUpdate") or {}
    surge = objects.scaled_value(rolling.get("maxSurge", "25%"), replicas, round_up=True)
    unavailable = objects.scaled_value(rolling.get("maxUnavailable", "25%"), replicas, round_up=False)
    if surge == 0 and unavailable == 0:
        # Percentages of a small number may both round to nothing: then one pod at a time may be missing.
        unavailable = 1
    return rollout.Limits(replicas, surge, min(unavailable, replicas))


def find_new(deployment: Object, replica_sets: Iterable[Object]) -> Object | None:
    """The ReplicaSet of the present template; of several the oldest, so that every look finds the same."""
    for replica_set in sorted(replica_sets, key=_age):
        if templates.is_same(replica_set["spec"]["template"], deployment["spec"]["template"]):
            return replica_set
    return None


def _age(replica_set: Object) -> tuple[str, str]:
    return replica_set["metadata"].get("creationTimestamp") or "", objects.name_of(replica_set)


@dataclasses.dataclass(slots=True)
class _Set:
    """A ReplicaSet: as it is, and as it shall be."""

    before: Object
    replicas: int
    annotations: dict[str, str]
    min_ready: int

    @property
    def status(self) -> Object:
        return objects.status_of(self.before)

    @property
    def is_new_object(self) -> bool:
        return "uid" not in self.before["metadata"]


def _as_set(replica_set: Object) -> _Set:
    spec = replica_set["spec"]
    annotations = dict(objects.annotations_of(replica_set))
    return _Set(replica_set, int(spec.get("replicas", 1)), annotations, int(spec.get("minReadySeconds") or 0))


class _Rollout:
    """One plan of one Deployment. Steps change the picture (`_Set`s, conditions); `_finish` turns the difference into writes."""

    def __init__(
        self, view: views.View, deployment: Object, replica_sets: Sequence[Object], now: datetime.datetime
    ) -> None:
        self._view = view
        self._deployment = deployment
        self._now = now
        self._limits = limits_of(deployment)
        found = find_new(deployment, replica_sets)
        self._new = _as_set(found) if found else None
        self._old = [_as_set(each) for each in sorted(replica_sets, key=_age) if each is not found]
        self._revision = str(max((templates.revision_of(each.before) for each in self._old), default=0) + 1)
        self._conditions: list[Object] = list(objects.status_of(deployment).get("conditions") or ())
        self._annotations = dict(objects.annotations_of(deployment))
        self._collisions: int | None = objects.status_of(deployment).get("collisionCount")
        self._writes: list[actions.Action] = []

    @property
    def _all(self) -> list[_Set]:
        return [*self._old, *([self._new] if self._new else [])]

    def plan(self) -> list[actions.Action]:
        deployment = self._deployment
        if objects.is_deleting(deployment):
            return self._finish(estimates_progress=False)
        self._note_pause()
        if self._new:
            self._sync_new()
        if deployment["spec"].get("paused") or self._is_scaling():
            self._scale()
            if deployment["spec"].get("paused"):
                self._clean_up()
            return self._finish(estimates_progress=False)
        if is_rolling(deployment):
            self._roll()
        else:
            self._recreate()
        return self._finish(estimates_progress=True)

    # -- steps

    def _note_pause(self) -> None:
        """So that a pause is never taken for a lack of progress."""
        if not has_deadline(self._deployment):
            return
        reason = (self._condition("Progressing") or {}).get("reason")
        if reason == "ProgressDeadlineExceeded":
            return
        if self._deployment["spec"].get("paused"):
            if reason != "DeploymentPaused":
                self._set_condition("Progressing", "Unknown", "DeploymentPaused", "Deployment is paused")
        elif reason == "DeploymentPaused":
            self._set_condition("Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed")

    def _sync_new(self) -> None:
        """The newest carries the highest revision, the Deployment's annotations and its minReadySeconds."""
        new = self._new
        assert new is not None
        new.min_ready = int(self._deployment["spec"].get("minReadySeconds") or 0)
        new.annotations |= templates.copied_annotations(self._deployment)
        before = objects.annotations_of(new.before)
        if templates.revision_of(new.before) < int(self._revision):
            if templates.REVISION in before:
                history = before.get(templates.REVISION_HISTORY, "")
                new.annotations[templates.REVISION_HISTORY] = templates.longer_history(
                    history, before[templates.REVISION]
                )
            new.annotations[templates.REVISION] = self._revision
        self._annotations[templates.REVISION] = new.annotations[templates.REVISION]
        if has_deadline(self._deployment) and self._condition("Progressing") is None:
            name = objects.name_of(new.before)
            self._set_condition("Progressing", "True", "FoundNewReplicaSet", f'Found new replica set "{name}"')

    def _is_scaling(self) -> bool:
        """Whether the wished size changed since the active ReplicaSets were last scaled."""
        for each in self._all:
            desired = objects.annotations_of(each.before).get(templates.DESIRED_REPLICAS, "")
            if each.replicas > 0 and desired.isdigit() and int(desired) != self._limits.replicas:
                return True
        return False

    def _scale(self) -> None:
        active = [each for each in self._all if each.replicas > 0]
        if len(active) <= 1:
            only = active[0] if active else self._new or (self._old[-1] if self._old else None)
            if only is not None and only.replicas != self._limits.replicas:
                self._resize(only, self._limits.replicas)
            return
        if self._is_saturated():
            for each in self._old:
                if each.replicas > 0:
                    self._resize(each, 0)
            return
        if is_rolling(self._deployment):
            pictures = {id(each): _picture(each) for each in active}
            new = pictures.get(id(self._new)) if self._new else None
            old = [pictures[id(each)] for each in active if each is not self._new]
            rollout.scale_proportionally(self._limits, new, old, objects.status_of(self._deployment).get("replicas", 0))
            for each in active:
                self._resize(each, pictures[id(each)].replicas)

    def _is_saturated(self) -> bool:
        """The newest has all replicas, and they are available."""
        if self._new is None:
            return False
        desired = objects.annotations_of(self._new.before).get(templates.DESIRED_REPLICAS, "")
        wanted = self._limits.replicas
        return (
            self._new.replicas == wanted
            and desired == str(wanted)
            and self._new.status.get("availableReplicas", 0) == wanted
        )

    def _roll(self) -> None:
        if self._new is None:
            size = rollout.size_of_new(self._limits, [_picture(each) for each in self._old], 0)
            self._create_new(size)
            return
        new, old = _picture(self._new), [_picture(each) for each in self._old]
        if not rollout.scale_new(self._limits, new, old) and not rollout.scale_old(self._limits, new, old):
            if self._is_complete(objects.status_of(self._deployment)):
                self._clean_up()
            return
        for each, picture in zip([*self._old, self._new], [*old, new], strict=True):
            if picture.replicas != each.replicas:
                self._resize(each, picture.replicas)

    def _recreate(self) -> None:
        active = [each for each in self._old if each.replicas > 0]
        for each in active:
            self._resize(each, 0)
        if active or self._are_old_pods_running():
            return
        if self._new is None:
            self._create_new(self._limits.replicas)
            return
        if self._new.replicas != self._limits.replicas:
            self._resize(self._new, self._limits.replicas)
        if self._is_complete(objects.status_of(self._deployment)):
            self._clean_up()

    def _are_old_pods_running(self) -> bool:
        return any(each.status.get("replicas", 0) > 0 for each in self._old) or any(
            not objects.is_pod_terminal(pod)
            for each in self._old
            for pod in self._view.by_index(resources.PODS, "controller", objects.uid_of(each.before))
        )

    def _resize(self, each: _Set, replicas: int) -> None:
        each.replicas = replicas
        each.annotations |= self._size_annotations()

    def _size_annotations(self) -> dict[str, str]:
        largest = self._limits.replicas + self._limits.max_surge
        return {templates.DESIRED_REPLICAS: str(self._limits.replicas), templates.MAX_REPLICAS: str(largest)}

    def _clean_up(self) -> None:
        """Old ReplicaSets beyond the history limit go, the oldest revisions first."""
        limit = self._deployment["spec"].get("revisionHistoryLimit", NEVER)
        alive = [each for each in self._old if not objects.is_deleting(each.before)]
        surplus = len(alive) - limit
        if limit == NEVER or surplus <= 0:
            return
        for each in sorted(alive, key=lambda each: (templates.revision_of(each.before), _age(each.before)))[:surplus]:
            metadata = each.before["metadata"]
            is_stale = metadata.get("generation", 0) > each.status.get("observedGeneration", 0)
            if each.status.get("replicas", 0) or each.replicas or each.before["spec"].get("replicas", 1) or is_stale:
                continue
            self._writes.append(
                actions.Delete(resources.REPLICA_SETS, metadata["namespace"], metadata["name"], uid=metadata["uid"])
            )

    # -- the new ReplicaSet

    def _create_new(self, replicas: int) -> None:
        made = self._make_new(replicas)
        name = objects.name_of(made)
        if self._view.get(resources.REPLICA_SETS, *objects.key_of(made)) is not None:
            # Another template's ReplicaSet, or somebody else's, has the name: the next hash counts one collision more.
            self._collisions = (self._collisions or 0) + 1
            return
        message = f"Scaled up replica set {name} from 0 to {replicas}"
        self._writes.append(
            actions.Create(
                resources.REPLICA_SETS,
                objects.namespace_of(self._deployment),
                made,
                then=(actions.normal(self._deployment, "ScalingReplicaSet", message),) if replicas > 0 else (),
                on_error=_NotCreated(self._deployment, name, self._now),
            )
        )
        self._new = _as_set(made)
        self._annotations[templates.REVISION] = self._revision
        if has_deadline(self._deployment):
            message = f'Created new replica set "{name}"'
            self._set_condition("Progressing", "True", "NewReplicaSetCreated", message)

    def _make_new(self, replicas: int) -> Object:
        deployment, spec = self._deployment, self._deployment["spec"]
        digest = hashing.template_hash(spec["template"], self._collisions or 0)
        template_metadata = spec["template"].get("metadata") or {}
        labels = {**(template_metadata.get("labels") or {}), templates.HASH_LABEL: digest}
        selector = spec["selector"]
        made_spec = {
            "replicas": replicas,
            "selector": {
                **selector,
                "matchLabels": {**(selector.get("matchLabels") or {}), templates.HASH_LABEL: digest},
            },
            "template": {**spec["template"], "metadata": {**template_metadata, "labels": labels}},
        }
        if spec.get("minReadySeconds"):
            made_spec["minReadySeconds"] = spec["minReadySeconds"]
        return {
            "apiVersion": resources.REPLICA_SETS.api_version,
            "kind": resources.REPLICA_SETS.kind,
            "metadata": {
                "name": f"{objects.name_of(deployment)}-{digest}",
                "namespace": objects.namespace_of(deployment),
                "labels": labels,
                "annotations": {
                    **templates.copied_annotations(self._deployment),
                    templates.REVISION: self._revision,
                    **self._size_annotations(),
                },
                "ownerReferences": [objects.owner_reference(deployment, resources.DEPLOYMENTS)],
            },
            "spec": made_spec,
        }

    # -- conditions and status

    def _condition(self, kind: str) -> Object | None:
        found: Object | None = conditions.find(self._conditions, kind)
        return found

    def _set_condition(self, kind: str, status: str, reason: str, message: str, *, is_touched: bool = False) -> None:
        self._conditions = _with_condition(
            self._conditions, self._now, kind, status, reason, message, is_touched=is_touched
        )

    def _drop_condition(self, kind: str) -> None:
        self._conditions = [each for each in self._conditions if each["type"] != kind]

    def _finish(self, *, estimates_progress: bool) -> list[actions.Action]:
        result = [*self._writes, *self._size_writes()]
        status = self._status()
        if estimates_progress:
            self._estimate_progress(status)
            self._note_failure()
        if self._conditions:
            status["conditions"] = self._conditions
        writes = _update_status(self._deployment, status, self._annotations)
        result += writes
        if not writes and estimates_progress:
            result += self._check_again(status)
        return result

    def _size_writes(self) -> Iterable[actions.Action]:
        for each in self._all:
            before = each.before["spec"].get("replicas", 1)
            unchanged = (
                each.replicas == before
                and each.annotations == objects.annotations_of(each.before)
                and each.min_ready == int(each.before["spec"].get("minReadySeconds") or 0)
            )
            if each.is_new_object or unchanged:
                continue
            spec = {**each.before["spec"], "replicas": each.replicas, "minReadySeconds": each.min_ready}
            updated = {
                **each.before,
                "metadata": {**each.before["metadata"], "annotations": each.annotations},
                "spec": spec,
            }
            told: tuple[actions.Action, ...] = ()
            if each.replicas != before:
                direction = "up" if each.replicas > before else "down"
                name = objects.name_of(each.before)
                message = f"Scaled {direction} replica set {name} from {before} to {each.replicas}"
                told = (actions.normal(self._deployment, "ScalingReplicaSet", message),)
            yield actions.Update(resources.REPLICA_SETS, updated, then=told)

    def _status(self) -> Object:
        available = self._sum("availableReplicas")
        if available >= self._limits.replicas - self._limits.max_unavailable:
            self._set_condition("Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
        else:
            self._set_condition(
                "Available", "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability."
            )
        counts = {
            "replicas": self._sum("replicas"),
            "updatedReplicas": self._new.status.get("replicas", 0) if self._new else 0,
            "readyReplicas": self._sum("readyReplicas"),
            "availableReplicas": available,
            "unavailableReplicas": max(0, sum(each.replicas for each in self._all) - available),
        }
        status: Object = {
            "observedGeneration": self._deployment["metadata"].get("generation", 0),
            **{field: count for field, count in counts.items() if count},
            "terminatingReplicas": self._sum("terminatingReplicas"),
        }
        if self._collisions is not None:
            status["collisionCount"] = self._collisions
        return status

    def _sum(self, field: str) -> int:
        return sum(each.status.get(field, 0) for each in self._all)

    def _is_complete(self, status: Object) -> bool:
        wanted = self._limits.replicas
        counts = ("updatedReplicas", "replicas", "availableReplicas")
        generation = int(self._deployment["metadata"].get("generation", 0))
        is_observed = int(status.get("observedGeneration", 0)) >= generation
        return is_observed and all(status.get(field, 0) == wanted for field in counts)

    def _estimate_progress(self, status: Object) -> None:
        if not has_deadline(self._deployment):
            self._drop_condition("Progressing")
            return
        current = self._condition("Progressing")
        is_done = status.get("replicas", 0) == status.get("updatedReplicas", 0)
        if is_done and current is not None and current.get("reason") == "NewReplicaSetAvailable":
            return
        subject = (
            f'ReplicaSet "{objects.name_of(self._new.before)}"'
            if self._new
            else f'Deployment "{objects.name_of(self._deployment)}"'
        )
        if self._is_complete(status):
            message = f"{subject} has successfully progressed."
            self._set_condition("Progressing", "True", "NewReplicaSetAvailable", message)
        elif self._has_progressed(status):
            message = f"{subject} is progressing."
            self._set_condition("Progressing", "True", "ReplicaSetUpdated", message, is_touched=True)
        elif self._seconds_left() <= 0:
            message = f"{subject} has timed out progressing."
            self._set_condition("Progressing", "False", "ProgressDeadlineExceeded", message)

    def _has_progressed(self, status: Object) -> bool:
        before = objects.status_of(self._deployment)

        def grew(field: str) -> bool:
            return bool(status.get(field, 0) > before.get(field, 0))

        remaining = status.get("replicas", 0) - status.get("updatedReplicas", 0)
        remained = before.get("replicas", 0) - before.get("updatedReplicas", 0)
        return grew("updatedReplicas") or remaining < remained or grew("readyReplicas") or grew("availableReplicas")

    def _seconds_left(self) -> float:
        """Until the progress deadline; at most 0 when it is over."""
        current = self._condition("Progressing")
        if current is None or current.get("reason") == "NewReplicaSetAvailable":
            return NEVER
        if current.get("reason") == "ProgressDeadlineExceeded":
            return 0.0
        deadline = float(self._deployment["spec"]["progressDeadlineSeconds"])
        # A second more than the deadline: timestamps are whole seconds.
        return deadline + 1 - objects.seconds_since(current["lastUpdateTime"], self._now)

    def _check_again(self, status: Object) -> list[actions.Action]:
        if not has_deadline(self._deployment) or self._is_complete(status):
            return []
        left = self._seconds_left()
        return [actions.Requeue(left)] if 0 < left < NEVER else []

    def _note_failure(self) -> None:
        """A ReplicaSet that cannot make its pods: the newest one's trouble comes first."""
        for each in [*([self._new] if self._new else []), *self._old]:
            failure = conditions.find(each.status.get("conditions") or (), "ReplicaFailure")
            if failure is not None:
                self._set_condition(
                    "ReplicaFailure", failure["status"], failure.get("reason", ""), failure.get("message", "")
                )
                return
        self._drop_condition("ReplicaFailure")


def _with_condition(
    all_present: Sequence[Object],
    now: datetime.datetime,
    kind: str,
    status: str,
    reason: str,
    message: str,
    *,
    is_touched: bool = False,
) -> list[Object]:
    """Unchanged status and reason leave it alone, but for `is_touched`: then its update time moves."""
    present = conditions.find(all_present, kind)
    if present and present["status"] == status and present.get("reason") == reason and not is_touched:
        return list(all_present)
    stamp = clock.rfc3339(now)
    made = {"type": kind, "status": status, "lastUpdateTime": stamp, "reason": reason, "message": message}
    return [*(each for each in all_present if each["type"] != kind), conditions.stamped(present, made, stamp)]


def _update_status(deployment: Object, status: Object, annotations: Object) -> list[actions.Action]:
    if objects.is_same_status(status, deployment.get("status")) and annotations == objects.annotations_of(deployment):
        return []
    metadata = {**deployment["metadata"], "annotations": annotations}
    updated = {**deployment, "metadata": metadata, "status": status}
    return [actions.Update(resources.DEPLOYMENTS, updated, subresource="status")]


@dataclasses.dataclass(frozen=True, slots=True)
class _NotCreated:
    """The status says why there is no new ReplicaSet. One that has the name already will be found by the next plan."""

    deployment: Object
    name: str
    now: datetime.datetime

    def follow(self, error: client.ApiError) -> Sequence[actions.Action]:
        if isinstance(error, client.AlreadyExists):
            return ()
        message = f'Failed to create new replica set "{self.name}": {error}'
        status = objects.status_of(self.deployment)
        if has_deadline(self.deployment):
            conditions = _with_condition(
                status.get("conditions") or (), self.now, "Progressing", "False", "ReplicaSetCreateError", message
            )
            status = {**status, "conditions": conditions}
        return [
            actions.warning(self.deployment, "ReplicaSetCreateError", message),
            *_update_status(self.deployment, status, dict(objects.annotations_of(self.deployment))),
        ]


def _picture(each: _Set) -> rollout.Revision:
    annotated = objects.annotations_of(each.before).get(templates.MAX_REPLICAS, "")
    return rollout.Revision(
        name=objects.name_of(each.before),
        replicas=each.replicas,
        available=each.status.get("availableReplicas", 0),
        created=each.before["metadata"].get("creationTimestamp") or "",
        max_replicas=int(annotated) if annotated.isdigit() else None,
    )


# -- registration


def replica_set_keys(view: views.View, replica_set: Object) -> Iterable[objects.Key]:
    if objects.controller_of(replica_set) is not None:
        return loop.controller_key("Deployment")(view, replica_set)
    labels = objects.labels_of(replica_set)
    candidates = view.list(resources.DEPLOYMENTS, objects.namespace_of(replica_set))
    return [objects.key_of(owner) for owner in candidates if objects.selector_of(owner).matches(labels)]


def pod_keys(view: views.View, pod: Object) -> Iterable[objects.Key]:
    """Only Recreate waits for pods: until the last old one is gone."""
    reference = objects.controller_of(pod)
    if reference is None or reference["kind"] != "ReplicaSet":
        return []
    namespace = objects.namespace_of(pod)
    replica_set = view.get(resources.REPLICA_SETS, namespace, reference["name"])
    owner = objects.controller_of(replica_set) if replica_set else None
    if owner is None or owner["kind"] != "Deployment":
        return []
    deployment = view.get(resources.DEPLOYMENTS, namespace, owner["name"])
    return [(namespace, owner["name"])] if deployment and not is_rolling(deployment) else []


def controller() -> loop.Controller:
    return loop.Controller(
        name="deployment",
        watches=(
            loop.Watch(resources.DEPLOYMENTS, loop.own_key),
            loop.Watch(resources.REPLICA_SETS, replica_set_keys),
            loop.Watch(resources.PODS, pod_keys),
        ),
        indexes=(
            (resources.REPLICA_SETS, "controller", objects.index_by_controller),
            (resources.REPLICA_SETS, "orphan", objects.index_orphans),
            (resources.PODS, "controller", objects.index_by_controller),
        ),
        plan=plan,
    )
