"""DaemonSets: one pod on every node that it may run on.

Watches DaemonSets, Pods, Nodes and ControllerRevisions. Owns its pods and revisions. A pod is tied to its node by required
affinity on the node's name and placed by the scheduler. Guarantees: at most one pod per node that is not being replaced with
surge; a rolling update takes at most maxUnavailable pods away, counting nodes whose pod is not available anyway.
"""

import dataclasses
import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pinnace.api import labels, resources
from pinnace.api import pods as facts
from pinnace.client import client
from pinnace.controllers import replicaset
from pinnace.controllers.framework import actions, claims, loop, objects, revisions
from pinnace.controllers.framework import lister as views
from pinnace.kit import backoff, clock

Object = dict[str, Any]

_EXISTS = "Exists"
# What every daemon endures: it serves the node itself, in good times and bad.
TOLERATIONS: tuple[Object, ...] = (
    {"key": "node.kubernetes.io/not-ready", "operator": _EXISTS, "effect": "NoExecute"},
    {"key": "node.kubernetes.io/unreachable", "operator": _EXISTS, "effect": "NoExecute"},
    {"key": "node.kubernetes.io/disk-pressure", "operator": _EXISTS, "effect": "NoSchedule"},
    {"key": "node.kubernetes.io/memory-pressure", "operator": _EXISTS, "effect": "NoSchedule"},
    {"key": "node.kubernetes.io/pid-pressure", "operator": _EXISTS, "effect": "NoSchedule"},
    {"key": "node.kubernetes.io/unschedulable", "operator": _EXISTS, "effect": "NoSchedule"},
)
_ON_HOST_NETWORK: Object = {
    "key": "node.kubernetes.io/network-unavailable",
    "operator": _EXISTS,
    "effect": "NoSchedule",
}
# The older way of telling which template a pod was made from: how often it had changed, as the API server counts.
POD_TEMPLATE_GENERATION = "pod-template-generation"
# A pod that fails at once would else be made and deleted as fast as we can.
FAILURES = backoff.Backoff(first=1.0, limit=900.0)
Failures = Mapping[str, int]
"""How often a pod of this DaemonSet failed on each node, one soon after the other."""


class FailedPods:
    """Remembers, by our own clock, how often pods fail: they are deleted, so nothing else does."""

    def __init__(self, time: clock.Clock) -> None:
        self._clock = time
        self._nodes: dict[tuple[str, int], dict[str, tuple[int, str, float]]] = {}
        """By DaemonSet and generation, by node: number of failures, uid of the last pod that failed, when it was seen."""

    async def observe(self, api: client.Client, view: views.View, key: objects.Key) -> Failures:
        daemon = view.get(resources.DAEMON_SETS, *key)
        if daemon is None:
            return {}
        now = self._clock.monotonic()
        self._forget(now)
        # What is changed may work: it is tried at once.
        generation = daemon["metadata"].get("generation", 0)
        found = self._nodes.setdefault((objects.uid_of(daemon), generation), {})
        for pod in view.by_index(resources.PODS, "controller", objects.uid_of(daemon)):
            if objects.is_pod_terminal(pod) and not objects.is_deleting(pod):
                count, last, _ = found.get(node_of(pod), (0, "", 0.0))
                if last != objects.uid_of(pod):
                    found[node_of(pod)] = (count + 1, objects.uid_of(pod), now)
        return {node: count for node, (count, _, _) in found.items()}

    def _forget(self, now: float) -> None:
        for key, nodes in list(self._nodes.items()):
            for node, (_, _, seen) in list(nodes.items()):
                if now - seen > 2 * FAILURES.limit:
                    del nodes[node]
            if not nodes:
                del self._nodes[key]


def plan(view: views.View, key: objects.Key, now: datetime.datetime) -> Sequence[actions.Action]:
    daemon = view.get(resources.DAEMON_SETS, *key)
    if daemon is None:
        return []
    if objects.selector_of(daemon).is_everything:
        message = "This daemon set is selecting all pods. A non-empty selector is required."
        return [actions.warning(daemon, "SelectingAll", message)]
    uid = objects.uid_of(daemon)
    claimed = claims.claim(
        daemon,
        resources.DAEMON_SETS,
        objects.selector_of(daemon),
        view.by_index(resources.PODS, "controller", uid),
        view.by_index(resources.PODS, "orphan", key[0]),
        resources.PODS,
    )
    if claimed.writes:
        return claimed.writes
    remembered = revisions.claim(view, daemon, resources.DAEMON_SETS)
    if remembered.writes:
        return remembered.writes
    history = revisions.sort(remembered.objects)
    same = revisions.find_same(daemon, history)
    number = revisions.number_of(history[-1]) + 1 if history else 1
    if not same:
        made = revisions.make(daemon, resources.DAEMON_SETS, number, hash_label=revisions.POD_LABEL)
        return revisions.record(view, daemon, resources.DAEMON_SETS, made)
    update = same[-1]
    if update is not history[-1]:
        patch = {"revision": number}
        return [actions.Patch(resources.CONTROLLER_REVISIONS, *objects.key_of(update), patch)]
    return _relabelled(claimed.objects, same) or _Sync(view, daemon, claimed.objects, history, update, now).plan()


def hash_of(revision: Object) -> str:
    return objects.labels_of(revision).get(revisions.POD_LABEL) or objects.name_of(revision)


def _relabelled(pods: Sequence[Object], same: Sequence[Object]) -> list[actions.Action]:
    """Pods of a revision that holds the very template of the newest (`same`, oldest first) are not old: only their label is."""
    doubles = {hash_of(each) for each in same[:-1]} - {hash_of(same[-1])}
    patch = {"metadata": {"labels": {revisions.POD_LABEL: hash_of(same[-1])}}}
    patches = [
        actions.Patch(resources.PODS, *objects.key_of(pod), patch)
        for pod in pods
        if objects.labels_of(pod).get(revisions.POD_LABEL) in doubles and not objects.is_deleting(pod)
    ]
    return [actions.Batch(patches)] if patches else []


def node_of(pod: Object) -> str:
    """The node that a daemon's pod is on or meant for."""
    if pod["spec"].get("nodeName"):
        return str(pod["spec"]["nodeName"])
    required = ((pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    ) or {}
    for term in required.get("nodeSelectorTerms") or ():
        for field in term.get("matchFields") or ():
            if field["key"] == "metadata.name":
                return str(field["values"][0])
    return ""


def tolerations_for(spec: Object) -> list[Object]:
    extra = [*TOLERATIONS, *([_ON_HOST_NETWORK] if spec.get("hostNetwork") else [])]
    return [*(spec.get("tolerations") or ()), *(each for each in extra if each not in (spec.get("tolerations") or ()))]


def should_run(daemon: Object, node: Object) -> tuple[bool, bool]:
    """(a pod should be started there, one that is there may stay)."""
    spec = daemon["spec"]["template"]["spec"]
    if spec.get("nodeName") not in (None, "", objects.name_of(node)) or not facts.may_run_on(spec, node):
        return False, False
    tolerations = tolerations_for(spec)
    untolerated = {
        taint["effect"]
        for taint in node["spec"].get("taints") or ()
        if not any(facts.tolerates(each, taint) for each in tolerations)
    }
    return not untolerated & {"NoSchedule", "NoExecute"}, "NoExecute" not in untolerated


class _Sync:
    """One plan of one DaemonSet."""

    def __init__(
        self,
        view: views.View,
        daemon: Object,
        pods: Sequence[Object],
        history: Sequence[Object],
        update: Object,
        now: datetime.datetime,
    ) -> None:
        self._daemon = daemon
        self._spec = daemon["spec"]
        self._history = history
        self._update = update
        self._now = now
        self._pods = pods
        self._failures: Failures = view.live or {}
        self._nodes = {objects.name_of(node): node for node in view.list(resources.NODES)}
        self._by_node: dict[str, list[Object]] = {}
        for pod in pods:
            self._by_node.setdefault(node_of(pod), []).append(pod)
        self._wanted = [name for name, node in sorted(self._nodes.items()) if should_run(daemon, node)[0]]

    def plan(self) -> list[actions.Action]:
        result: list[actions.Action] = []
        if not objects.is_deleting(self._daemon):
            moves = self._place() or self._roll()
            result += [actions.Attempt(moves)] if moves else []
        result += self._update_status()
        live = {self._hash_of(pod) for pod in self._pods} | {self._hash}
        names = {objects.name_of(each) for each in self._history if hash_of(each) in live}
        result += revisions.surplus(self._history, names, int(self._spec.get("revisionHistoryLimit", 10)))
        waits = [
            wait for pod in self._pods if (wait := objects.seconds_until_available(pod, self._min_ready, self._now))
        ]
        return [*result, actions.Requeue(min(waits) + 0.1)] if waits else result

    @property
    def _min_ready(self) -> int:
        return int(self._spec.get("minReadySeconds") or 0)

    @property
    def _hash(self) -> str:
        return hash_of(self._update)

    def _hash_of(self, pod: Object) -> str:
        return objects.labels_of(pod).get(revisions.POD_LABEL, "")

    def _is_available(self, pod: Object) -> bool:
        return not objects.is_deleting(pod) and objects.is_pod_available(pod, self._min_ready, self._now)

    # -- one pod for each node

    def _place(self) -> list[actions.Action]:
        missing: list[str] = []
        surplus: list[Object] = []
        told: list[actions.Action] = []
        for name in sorted({*self._nodes, *self._by_node}):
            node = self._nodes.get(name)
            pods = self._by_node.get(name, [])
            starts, stays = should_run(self._daemon, node) if node is not None else (False, False)
            going = [pod for pod in pods if objects.is_deleting(pod)]
            ended = [pod for pod in pods if pod not in going and objects.is_pod_terminal(pod)]
            present = [pod for pod in pods if pod not in going and pod not in ended]
            if not stays:
                surplus += [*present, *ended] if node is not None else []
                continue
            for pod in ended:
                # The first failure is replaced at once, each further one later: counted from when the pod was made.
                failures = self._failures.get(name, 1)
                pause = FAILURES.delay(failures - 2) if failures > 1 else 0.0
                wait = pause - (self._now - objects.created(pod)).total_seconds()
                if wait > 0:
                    told.append(actions.Requeue(wait))
                else:
                    surplus.append(pod)
                    told.append(self._tell_ended(pod, name))
            surplus += self._too_many(present)
            if starts and not pods:
                missing.append(name)
        result: list[actions.Action] = [*told]
        if missing:
            result.append(actions.Batch([self._creation(name) for name in missing[: replicaset.BURST]]))
        if surplus:
            result.append(actions.Batch([replicaset.delete_pod(self._daemon, pod) for pod in surplus]))
        return result

    def _tell_ended(self, pod: Object, node: str) -> actions.Record:
        name = f"{objects.namespace_of(pod)}/{objects.name_of(pod)}"
        if objects.status_of(pod).get("phase") == "Failed":
            message = f"Found failed daemon pod {name} on node {node}, will try to kill it"
            return actions.warning(self._daemon, "FailedDaemonPod", message)
        message = f"Found succeeded daemon pod {name} on node {node}, will try to delete it"
        return actions.normal(self._daemon, "SucceededDaemonPod", message)

    def _too_many(self, present: Sequence[Object]) -> list[Object]:
        """The oldest stays; with surge, an old pod and the new one that is to take its place both do."""
        ordered = sorted(present, key=lambda pod: (not pod["spec"].get("nodeName"), objects.created(pod)))
        if not self._max_surge:
            return ordered[1:]
        new = [pod for pod in ordered if self._hash_of(pod) == self._hash]
        old = [pod for pod in ordered if self._hash_of(pod) != self._hash]
        # The old one waits for the new one to become available, as long as it works itself.
        is_replaced = bool(new and old) and (self._is_available(new[0]) or not objects.is_pod_ready(old[0]))
        return [*(old if is_replaced else old[1:]), *new[1:]]

    def _creation(self, node: str) -> actions.Create:
        create = replicaset.create_pod(self._daemon, resources.DAEMON_SETS)
        pod = create.obj
        spec = pod["spec"]
        field = {"key": "metadata.name", "operator": "In", "values": [node]}
        node_affinity = dict((spec.get("affinity") or {}).get("nodeAffinity") or {})
        # The template's own requirements were checked; the pod itself only needs to go where it is meant to.
        node_affinity["requiredDuringSchedulingIgnoredDuringExecution"] = {
            "nodeSelectorTerms": [{"matchFields": [field]}]
        }
        made_spec = {
            **spec,
            "affinity": {**(spec.get("affinity") or {}), "nodeAffinity": node_affinity},
            "tolerations": tolerations_for(spec),
        }
        tags = {**(pod["metadata"].get("labels") or {}), revisions.POD_LABEL: self._hash}
        generation = objects.annotations_of(self._daemon).get(labels.TEMPLATE_GENERATION)
        if generation is not None:
            tags[POD_TEMPLATE_GENERATION] = generation
        made = {**pod, "metadata": {**pod["metadata"], "labels": tags}, "spec": made_spec}
        return dataclasses.replace(create, obj=made)

    # -- rolling update

    @property
    def _strategy(self) -> Object:
        strategy: Object = self._spec.get("updateStrategy") or {}
        return strategy

    @property
    def _is_rolling(self) -> bool:
        return bool(self._strategy.get("type", "RollingUpdate") == "RollingUpdate")

    @property
    def _max_surge(self) -> int:
        rolling = self._strategy.get("rollingUpdate") or {}
        if not self._is_rolling:
            return 0
        return objects.scaled_value(rolling.get("maxSurge", 0), len(self._wanted), round_up=True)

    def _roll(self) -> list[actions.Action]:
        if not self._is_rolling:
            return []
        if self._max_surge:
            return self._surge()
        rolling = self._strategy.get("rollingUpdate") or {}
        allowed = max(1, objects.scaled_value(rolling.get("maxUnavailable", 1), len(self._wanted), round_up=True))
        unavailable = 0
        broken: list[Object] = []
        sound: list[Object] = []
        for name in self._wanted:
            pods = self._by_node.get(name, [])
            available = [pod for pod in pods if self._is_available(pod)]
            unavailable += 0 if available else 1
            for pod in pods:
                if self._hash_of(pod) != self._hash and not objects.is_deleting(pod):
                    (sound if pod in available else broken).append(pod)
        # What does not work anyway is replaced at once; of what works, as many as may be missing.
        chosen = [*broken, *sound[: max(0, allowed - unavailable)]]
        deletions = [replicaset.delete_pod(self._daemon, pod) for pod in chosen]
        return [actions.Batch(deletions)] if deletions else []

    def _surge(self) -> list[actions.Action]:
        """New pods beside old ones: at once where the old one does not work anyway, else as many as may be started."""
        surging = 0
        broken: list[str] = []
        sound: list[str] = []
        for name in self._wanted:
            pods = [pod for pod in self._by_node.get(name, ()) if not objects.is_deleting(pod)]
            new = [pod for pod in pods if self._hash_of(pod) == self._hash]
            if new:
                surging += 1 if len(pods) > 1 and not self._is_available(new[0]) else 0
            elif pods:
                (sound if self._is_available(pods[0]) else broken).append(name)
        chosen = [*broken, *sound[: max(0, self._max_surge - surging)]]
        return [actions.Batch([self._creation(name) for name in chosen])] if chosen else []

    # -- status

    def _update_status(self) -> list[actions.Action]:
        before = objects.status_of(self._daemon)
        counts = dict.fromkeys(
            (
                "currentNumberScheduled",
                "numberMisscheduled",
                "numberReady",
                "updatedNumberScheduled",
                "numberAvailable",
            ),
            0,
        )
        for name in sorted({*self._nodes, *self._by_node}):
            pods = [pod for pod in self._by_node.get(name, ()) if not objects.is_pod_terminal(pod)]
            if name not in self._wanted:
                counts["numberMisscheduled"] += 1 if pods and name in self._nodes else 0
                continue
            if not pods:
                continue
            counts["currentNumberScheduled"] += 1
            oldest = min(pods, key=objects.created)
            if any(objects.is_pod_ready(pod) and not objects.is_deleting(pod) for pod in pods):
                counts["numberReady"] += 1
            if any(self._is_available(pod) for pod in pods):
                counts["numberAvailable"] += 1
            newest = pods if self._max_surge else [oldest]
            if any(self._hash_of(pod) == self._hash for pod in newest):
                counts["updatedNumberScheduled"] += 1
        status: Object = {
            **counts,
            "desiredNumberScheduled": len(self._wanted),
            "numberUnavailable": len(self._wanted) - counts["numberAvailable"],
            "observedGeneration": self._daemon["metadata"].get("generation", 0),
        }
        for field in ("collisionCount", "conditions"):
            if before.get(field) is not None:
                status[field] = before[field]
        if objects.is_same_status(status, before):
            return []
        return [actions.Update(resources.DAEMON_SETS, {**self._daemon, "status": status}, subresource="status")]


# -- registration


def _all(view: views.View, node: Object) -> Iterable[objects.Key]:
    return [objects.key_of(daemon) for daemon in view.list(resources.DAEMON_SETS)]


def controller(time: clock.Clock) -> loop.Controller:
    return loop.Controller(
        name="daemonset",
        user="daemon-set-controller",
        watches=(
            loop.Watch(resources.DAEMON_SETS, loop.own_key),
            loop.Watch(resources.PODS, replicaset.orphan_keys(resources.DAEMON_SETS, "DaemonSet")),
            loop.Watch(resources.NODES, _all),
            loop.Watch(resources.CONTROLLER_REVISIONS, replicaset.orphan_keys(resources.DAEMON_SETS, "DaemonSet")),
        ),
        indexes=(
            (resources.PODS, "controller", objects.index_by_controller),
            (resources.PODS, "orphan", objects.index_orphans),
            (resources.CONTROLLER_REVISIONS, "controller", objects.index_by_controller),
            (resources.CONTROLLER_REVISIONS, "orphan", objects.index_orphans),
        ),
        observe=FailedPods(time).observe,
        plan=plan,
        workers=2,
    )
