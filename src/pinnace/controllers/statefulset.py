"""StatefulSets: pods with a name, a number and claims of their own, started, updated and ended in order.

Watches StatefulSets, Pods, claims and ControllerRevisions. Owns its pods and its revisions; claims are made once and kept
unless the retention policy says otherwise. Guarantees: at most one pod of an identity, since its name is the identity and
a new one is made only when the old object is gone; with OrderedReady one pod is started or ended at a time.
"""

import datetime
import re
from collections.abc import Iterable, Sequence
from typing import Any

from pinnace.api import resources
from pinnace.controllers import replicaset, retention
from pinnace.controllers.framework import actions, claims, loop, objects, revisions
from pinnace.controllers.framework import lister as views

Object = dict[str, Any]

POD_NAME = "statefulset.kubernetes.io/pod-name"
POD_INDEX = "apps.kubernetes.io/pod-index"
# How old a pod that ended becomes before it is replaced: what its node refuses would be made anew without end.
RECREATE_SECONDS = 2.0
_ORDINAL = re.compile(r"(.*)-([0-9]+)")


def plan(view: views.View, key: objects.Key, now: datetime.datetime) -> Sequence[actions.Action]:
    stateful = view.get(resources.STATEFUL_SETS, *key)
    if stateful is None:
        return []
    uid = objects.uid_of(stateful)
    claimed = claims.claim(
        stateful,
        resources.STATEFUL_SETS,
        objects.selector_of(stateful),
        view.by_index(resources.PODS, "controller", uid),
        [pod for pod in view.by_index(resources.PODS, "orphan", key[0]) if _parent(pod) == key[1]],
        resources.PODS,
    )
    if claimed.writes:
        return claimed.writes
    remembered = revisions.claim(view, stateful, resources.STATEFUL_SETS)
    if remembered.writes:
        return remembered.writes
    history = revisions.sort(remembered.objects)
    newest = history[-1] if history else None
    number = revisions.number_of(newest) + 1 if newest else 1
    same = revisions.find_same(stateful, history)
    if not same:
        made = revisions.make(stateful, resources.STATEFUL_SETS, number)
        return revisions.record(view, stateful, resources.STATEFUL_SETS, made)
    update = same[-1]
    if update is not newest:
        return [revisions.renumbered(update, number)]
    return _Sync(view, stateful, claimed.objects, history, update, now).plan()


def _parent(pod: Object) -> str:
    matched = _ORDINAL.fullmatch(objects.name_of(pod))
    return matched[1] if matched else ""


def ordinal_of(pod: Object) -> int:
    matched = _ORDINAL.fullmatch(objects.name_of(pod))
    return int(matched[2]) if matched else -1


def revision_of(pod: Object) -> str:
    return objects.labels_of(pod).get(revisions.POD_LABEL, "")


class _Sync:
    """One plan of one StatefulSet."""

    def __init__(
        self,
        view: views.View,
        stateful: Object,
        pods: Sequence[Object],
        history: Sequence[Object],
        update: Object,
        now: datetime.datetime,
    ) -> None:
        self._view = view
        self._set = stateful
        self._spec = stateful["spec"]
        self._history = history
        self._update = update
        self._now = now
        status = objects.status_of(stateful)
        names = {objects.name_of(each): each for each in history}
        self._current = names.get(status.get("currentRevision", ""), update)
        self._wanted = int(self._spec.get("replicas", 1))
        self._start = int((self._spec.get("ordinals") or {}).get("start", 0))
        self._by_ordinal = {ordinal_of(pod): pod for pod in pods if _parent(pod) == objects.name_of(stateful)}
        self._ordinals = range(self._start, self._start + self._wanted)
        self._condemned = sorted((each for each in self._by_ordinal if each not in self._ordinals), reverse=True)

    @property
    def _is_ordered(self) -> bool:
        return bool(self._spec.get("podManagementPolicy", "OrderedReady") == "OrderedReady")

    def plan(self) -> list[actions.Action]:
        result: list[actions.Action] = []
        if not objects.is_deleting(self._set):
            result += self._claim_owners()
            steps = self._steps()
            result += [actions.Attempt(steps)] if steps else []
        result += self._update_status()
        live = {revision_of(pod) for pod in self._by_ordinal.values()}
        live |= {objects.name_of(self._current), objects.name_of(self._update)}
        result += revisions.surplus(self._history, live, int(self._spec.get("revisionHistoryLimit", 10)))
        waits = [
            wait
            for pod in self._by_ordinal.values()
            if (
                wait := objects.seconds_until_available(pod, self._min_ready, self._now) or self._seconds_too_young(pod)
            )
        ]
        return [*result, actions.Requeue(min(waits) + 0.1)] if waits else result

    @property
    def _min_ready(self) -> int:
        return int(self._spec.get("minReadySeconds") or 0)

    def _is_available(self, pod: Object) -> bool:
        return objects.status_of(pod).get("phase") == "Running" and objects.is_pod_available(
            pod, self._min_ready, self._now
        )

    # -- steps

    def _steps(self) -> list[actions.Action]:
        """Up, then down, then over to the new revision; ordered sets do one thing at a time."""
        result: list[actions.Action] = []
        for ordinal in self._ordinals:
            writes, is_settled = self._bring_up(ordinal)
            result += writes
            if self._is_ordered and (writes or not is_settled):
                return result
        first_unhealthy = self._first_unhealthy()
        for ordinal in self._condemned:
            pod = self._by_ordinal[ordinal]
            if objects.is_deleting(pod):
                if self._is_ordered:
                    return result
                continue
            is_running = objects.status_of(pod).get("phase") == "Running" and objects.is_pod_ready(pod)
            if self._is_ordered and not is_running and pod is not first_unhealthy:
                return result
            result.append(self._deletion(pod))
            if self._is_ordered:
                return result
        return result or self._roll()

    def _first_unhealthy(self) -> Object | None:
        for ordinal in sorted(self._by_ordinal):
            pod = self._by_ordinal[ordinal]
            if objects.is_deleting(pod) or not self._is_available(pod):
                return pod
        return None

    def _bring_up(self, ordinal: int) -> tuple[list[actions.Action], bool]:
        """Writes for one identity, and whether it is there and available."""
        pod = self._by_ordinal.get(ordinal)
        if pod is None:
            is_held, told = self._is_held(ordinal)
            if is_held:
                return told, False
            return [*self._missing_claims(ordinal), self._creation(ordinal)], False
        if objects.is_deleting(pod):
            return [], False
        if objects.is_pod_terminal(pod):
            return ([] if self._seconds_too_young(pod) else self._recreation(pod)), False
        if objects.status_of(pod).get("phase") == "Pending":
            lost = self._missing_claims(ordinal)
            if lost:
                return lost, False
        tags = {POD_NAME: objects.name_of(pod), POD_INDEX: str(ordinal)}
        if not tags.items() <= objects.labels_of(pod).items():
            patch = {"metadata": {"uid": objects.uid_of(pod), "labels": tags}}
            return [actions.Patch(resources.PODS, *objects.key_of(pod), patch)], False
        return [], self._is_available(pod)

    def _seconds_too_young(self, pod: Object) -> float:
        """A pod that its node refuses ends at once, and the next one too: how long to leave this one."""
        if not objects.is_pod_terminal(pod):
            return 0.0
        return max(0.0, RECREATE_SECONDS - objects.seconds_since(pod["metadata"]["creationTimestamp"], self._now))

    def _recreation(self, pod: Object) -> list[actions.Action]:
        namespace, name = objects.key_of(pod)
        is_failed = objects.status_of(pod)["phase"] == "Failed"
        reason = "RecreatingFailedPod" if is_failed else "RecreatingTerminatedPod"
        what = f"{'failed' if is_failed else 'terminated'} Pod {name}"
        message = f"StatefulSet {namespace}/{objects.name_of(self._set)} is recreating {what}"
        tell = actions.warning if is_failed else actions.normal
        return [tell(self._set, reason, message), self._deletion(pod)]

    def _roll(self) -> list[actions.Action]:
        """From the highest ordinal down to the partition, one that is unavailable at a time."""
        strategy = self._spec.get("updateStrategy") or {}
        if strategy.get("type", "RollingUpdate") != "RollingUpdate":
            return []
        rolling = strategy.get("rollingUpdate") or {}
        partition = int(rolling.get("partition") or 0)
        allowed = max(1, objects.scaled_value(rolling.get("maxUnavailable", 1), self._wanted, round_up=False))
        result: list[actions.Action] = []
        unavailable = 0
        for ordinal in reversed(self._ordinals[partition:]):
            pod = self._by_ordinal.get(ordinal)
            if pod is None or objects.is_deleting(pod):
                unavailable += 1
            elif revision_of(pod) != objects.name_of(self._update):
                result.append(self._deletion(pod))
                unavailable += 1
            elif not self._is_available(pod):
                unavailable += 1
            if unavailable >= allowed:
                break
        return result

    # -- pods

    def _uses_current(self, ordinal: int) -> bool:
        """Whether a pod of this ordinal is still made from the revision before the update."""
        strategy = self._spec.get("updateStrategy") or {}
        if strategy.get("type", "RollingUpdate") != "RollingUpdate":
            return False
        rolling = strategy.get("rollingUpdate")
        held = objects.status_of(self._set).get("currentReplicas", 0) if rolling is None else rolling.get("partition")
        return ordinal < self._start + int(held or 0)

    def _creation(self, ordinal: int) -> actions.Create:
        revision = self._current if self._uses_current(ordinal) else self._update
        template = revisions.template_of(revision)
        name = f"{objects.name_of(self._set)}-{ordinal}"
        pod = objects.pod_from_template(template, self._set, resources.STATEFUL_SETS)
        metadata = {key: value for key, value in pod["metadata"].items() if key != "generateName"}
        metadata["name"] = name
        metadata["labels"] = {
            **(metadata.get("labels") or {}),
            POD_NAME: name,
            POD_INDEX: str(ordinal),
            revisions.POD_LABEL: objects.name_of(revision),
        }
        spec = {**pod["spec"], "hostname": name, "subdomain": self._spec.get("serviceName") or ""}
        spec["volumes"] = self._volumes(pod["spec"].get("volumes") or (), ordinal)
        what = f"Pod {name} in StatefulSet {objects.name_of(self._set)}"
        return actions.Create(
            resources.PODS,
            objects.namespace_of(self._set),
            {**pod, "metadata": metadata, "spec": spec},
            then=(actions.normal(self._set, "SuccessfulCreate", f"create {what} successful"),),
            on_error=(actions.warning(self._set, "FailedCreate", f"create {what} failed error: {actions.ERROR}"),),
        )

    def _volumes(self, volumes: Iterable[Object], ordinal: int) -> list[Object]:
        """The template's volumes; those named like a claim template become that claim."""
        own = {
            template["metadata"]["name"]: {
                "name": template["metadata"]["name"],
                "persistentVolumeClaim": {"claimName": self._claim_name(template, ordinal)},
            }
            for template in self._claim_templates
        }
        return [*own.values(), *(volume for volume in volumes if volume["name"] not in own)]

    def _deletion(self, pod: Object) -> actions.Delete:
        name = objects.name_of(pod)
        what = f"Pod {name} in StatefulSet {objects.name_of(self._set)}"
        return actions.Delete(
            resources.PODS,
            objects.namespace_of(pod),
            name,
            uid=objects.uid_of(pod),
            then=(actions.normal(self._set, "SuccessfulDelete", f"delete {what} successful"),),
            on_error=(actions.warning(self._set, "FailedDelete", f"delete {what} failed error: {actions.ERROR}"),),
        )

    # -- claims

    @property
    def _claim_templates(self) -> Sequence[Object]:
        return self._spec.get("volumeClaimTemplates") or ()

    def _claim_name(self, template: Object, ordinal: int) -> str:
        return f"{template['metadata']['name']}-{objects.name_of(self._set)}-{ordinal}"

    def _missing_claims(self, ordinal: int) -> list[actions.Action]:
        namespace = objects.namespace_of(self._set)
        result: list[actions.Action] = []
        for template in self._claim_templates:
            name = self._claim_name(template, ordinal)
            if self._view.get(resources.PERSISTENT_VOLUME_CLAIMS, namespace, name) is not None:
                continue
            metadata = {
                **{key: value for key, value in template["metadata"].items() if key != "creationTimestamp"},
                "name": name,
                "namespace": namespace,
                "labels": {
                    **(template["metadata"].get("labels") or {}),
                    **((self._spec.get("selector") or {}).get("matchLabels") or {}),
                },
            }
            references = retention.owners(self._set, self._by_ordinal.get(ordinal), is_wanted=True)
            if references:
                metadata["ownerReferences"] = references
            made = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": template["spec"]}
            what = (
                f"Claim {name} Pod {objects.name_of(self._set)}-{ordinal} in StatefulSet {objects.name_of(self._set)}"
            )
            done = actions.normal(self._set, "SuccessfulCreate", f"create {what} success")
            result.append(
                actions.Create(
                    resources.PERSISTENT_VOLUME_CLAIMS,
                    namespace,
                    made,
                    then=(done,),
                )
            )
        return result

    def _claim_owners(self) -> list[actions.Action]:
        """Bring the owner references of existing claims in line with the policy, before anything is deleted."""
        result: list[actions.Action] = []
        for ordinal, pod in self._by_ordinal.items():
            for claim in self._claims(ordinal):
                if objects.is_deleting(claim):
                    continue
                wanted = retention.references(self._set, claim, pod, is_wanted=ordinal in self._ordinals)
                if wanted is None:
                    continue
                if retention.has_other_controller(self._set, claim, pod):
                    message = (
                        f"PersistentVolumeClaim {objects.name_of(claim)} has a conflicting OwnerReference that acts as a "
                        "managing controller, the retention policy is ignored for this claim"
                    )
                    result.append(actions.warning(self._set, "ConflictingController", message))
                metadata = {**claim["metadata"], "ownerReferences": wanted}
                result.append(actions.Update(resources.PERSISTENT_VOLUME_CLAIMS, {**claim, "metadata": metadata}))
        return result

    def _claims(self, ordinal: int) -> list[Object]:
        """What there is of an identity's claims."""
        namespace = objects.namespace_of(self._set)
        names = [self._claim_name(template, ordinal) for template in self._claim_templates]
        found = [self._view.get(resources.PERSISTENT_VOLUME_CLAIMS, namespace, name) for name in names]
        return [claim for claim in found if claim is not None]

    def _is_held(self, ordinal: int) -> tuple[bool, list[actions.Action]]:
        """Whether claims of an earlier pod have to be gone before a new one may use their names, and what to tell."""
        pod_name, set_name = f"{objects.name_of(self._set)}-{ordinal}", objects.name_of(self._set)
        found = self._claims(ordinal)
        if any(retention.waits_for_collection(self._set, claim, pod_name) for claim in found):
            return True, []
        going = next((claim for claim in found if objects.is_deleting(claim)), None)
        if going is None:
            return False, []
        message = f"create Pod {pod_name} in StatefulSet {set_name} failed error: pvc {objects.name_of(going)} is being deleted"
        return True, [actions.warning(self._set, "FailedCreate", message)]

    # -- status

    def _update_status(self) -> list[actions.Action]:
        before = objects.status_of(self._set)
        pods = list(self._by_ordinal.values())
        running = [pod for pod in pods if objects.status_of(pod).get("phase") == "Running"]
        update, current = objects.name_of(self._update), objects.name_of(self._current)
        staying = [pod for pod in pods if not objects.is_deleting(pod)]
        status: Object = {
            "observedGeneration": self._set["metadata"].get("generation", 0),
            "replicas": len(pods),
            "readyReplicas": sum(1 for pod in running if objects.is_pod_ready(pod)),
            "availableReplicas": sum(1 for pod in running if self._is_available(pod)),
            "currentReplicas": sum(1 for pod in staying if revision_of(pod) == current),
            "updatedReplicas": sum(1 for pod in staying if revision_of(pod) == update),
            "currentRevision": current,
            "updateRevision": update,
            "collisionCount": before.get("collisionCount") or 0,
        }
        counts = ("updatedReplicas", "readyReplicas", "replicas")
        is_rolling = (self._spec.get("updateStrategy") or {}).get("type", "RollingUpdate") == "RollingUpdate"
        if is_rolling and all(status[field] == self._wanted for field in counts):
            status["currentReplicas"] = status["updatedReplicas"]
            status["currentRevision"] = update
        if before.get("conditions"):
            status["conditions"] = before["conditions"]
        if objects.is_same_status(status, before):
            return []
        return [actions.Update(resources.STATEFUL_SETS, {**self._set, "status": status}, subresource="status")]


# -- registration


def _keys_of_claim(view: views.View, claim: Object) -> Iterable[objects.Key]:
    """A claim that vanished must be made again for a pod that still waits for it."""
    namespace, name = objects.key_of(claim)
    for stateful in view.list(resources.STATEFUL_SETS, namespace):
        prefixes = [
            f"{template['metadata']['name']}-{objects.name_of(stateful)}-"
            for template in stateful["spec"].get("volumeClaimTemplates") or ()
        ]
        if name.startswith(tuple(prefixes)):
            yield objects.key_of(stateful)


def controller() -> loop.Controller:
    return loop.Controller(
        name="statefulset",
        watches=(
            loop.Watch(resources.STATEFUL_SETS, loop.own_key),
            loop.Watch(resources.PODS, replicaset.orphan_keys(resources.STATEFUL_SETS, "StatefulSet")),
            loop.Watch(resources.CONTROLLER_REVISIONS, replicaset.orphan_keys(resources.STATEFUL_SETS, "StatefulSet")),
            loop.Watch(resources.PERSISTENT_VOLUME_CLAIMS, _keys_of_claim),
        ),
        indexes=(
            (resources.PODS, "controller", objects.index_by_controller),
            (resources.PODS, "orphan", objects.index_orphans),
            (resources.CONTROLLER_REVISIONS, "controller", objects.index_by_controller),
            (resources.CONTROLLER_REVISIONS, "orphan", objects.index_orphans),
        ),
        plan=plan,
    )
