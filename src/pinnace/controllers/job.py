"""Jobs: pods until enough of them succeeded, or too many failed. Each finished pod is counted exactly once.

Watches Jobs and Pods. Owns the pods that it made or adopted; each carries a finalizer until it is counted:

    finished -> its uid is written into status.uncountedTerminatedPods -> its finalizer is removed -> uid becomes a count

so that whatever crashes in between, nothing is lost and nothing is counted twice (an index that is written into
status.completedIndexes needs no uid). Guarantees: never more successes counted than pods that succeeded; no pod is started
for a completion that has been reached, whichever of our own writes the caches show.
"""

import dataclasses
import datetime
from collections.abc import Iterable, Sequence
from typing import Any

from pinnace.api import conditions, resources
from pinnace.controllers import job_rules, replicaset
from pinnace.controllers.framework import actions, claims, loop, objects
from pinnace.controllers.framework import lister as views
from pinnace.kit import clock

Object = dict[str, Any]

FINALIZER = "batch.kubernetes.io/job-tracking"
CONTROLLER = "kubernetes.io/job-controller"
BURST = 500
UNCOUNTED_LIMIT = 500


def plan(view: views.View, key: objects.Key, now: datetime.datetime) -> Sequence[actions.Action]:
    job = view.get(resources.JOBS, *key)
    tracked = view.by_index(resources.PODS, "tracked", "/".join(key))
    if job is None or job["spec"].get("managedBy", CONTROLLER) != CONTROLLER or is_finished(job):
        return _let_go(pod for pod in tracked if job is None or is_finished(job))
    claimed = claims.claim(
        job,
        resources.JOBS,
        objects.selector_of(job),
        view.by_index(resources.PODS, "controller", objects.uid_of(job)),
        view.by_index(resources.PODS, "orphan", key[0]),
        resources.PODS,
        FINALIZER,
    )
    strays = [pod for pod in tracked if pod not in claimed.objects and not objects.is_controlled_by(pod, job)]
    if claimed.writes or strays:
        return [*claimed.writes, *_let_go(strays)]
    return _Sync(job, claimed.objects, now).plan()


def _let_go(pods: Iterable[Object]) -> list[actions.Action]:
    """Pods that no Job will count any more must not keep its finalizer."""
    patches = [_remove_finalizer(pod) for pod in pods]
    return [actions.Batch(patches)] if patches else []


def is_finished(job: Object) -> bool:
    return conditions.is_true(job, "Complete") or conditions.is_true(job, "Failed")


def _is_tracked(pod: Object) -> bool:
    return FINALIZER in objects.finalizers_of(pod)


def _remove_finalizer(pod: Object) -> actions.Patch:
    kept = [each for each in objects.finalizers_of(pod) if each != FINALIZER]
    metadata = {"uid": objects.uid_of(pod), "resourceVersion": pod["metadata"]["resourceVersion"], "finalizers": kept}
    return actions.Patch(resources.PODS, *objects.key_of(pod), {"metadata": metadata})


@dataclasses.dataclass(frozen=True, slots=True)
class _End:
    """Why a Job ends: first FailureTarget or SuccessCriteriaMet, and when all pods are gone Failed or Complete."""

    interim: str
    reason: str
    message: str

    @property
    def is_failure(self) -> bool:
        return self.interim == "FailureTarget"


class _Sync:
    """One plan of one Job."""

    def __init__(self, job: Object, pods: Sequence[Object], now: datetime.datetime) -> None:
        self._job = job
        self._spec = job["spec"]
        self._pods = pods
        self._now = now
        self._stamp = clock.rfc3339(now)
        self._before = objects.status_of(job)
        self._conditions = list(self._before.get("conditions") or ())
        self._start_time = self._before.get("startTime")
        self._events: list[actions.Action] = []
        self._count()

    # -- what has happened

    def _count(self) -> None:
        """Every finished pod is somewhere: counted, uncounted (`uids`), or newly seen and about to be uncounted."""
        before, pods = self._before, self._pods
        self._active = [pod for pod in pods if objects.is_pod_active(pod)]
        self._terminating = sum(1 for pod in pods if objects.is_deleting(pod) and not objects.is_pod_terminal(pod))
        uncounted = before.get("uncountedTerminatedPods") or {}
        tracked = {objects.uid_of(pod) for pod in pods if _is_tracked(pod)}
        self._persisted = {kind: set(uncounted.get(kind) or ()) for kind in ("succeeded", "failed")}
        # What has lost its finalizer will never be seen as new again: now it becomes a plain count.
        done = {kind: uids - tracked for kind, uids in self._persisted.items()}
        self._uids = {kind: [uid for uid in uncounted.get(kind) or () if uid in tracked] for kind in self._persisted}
        self._counted = {kind: before.get(kind, 0) + len(done[kind]) for kind in self._persisted}
        self._indexes = job_rules.parse_indexes(before.get("completedIndexes", "")) if self._is_indexed else set()
        self._failed_indexes = job_rules.parse_indexes(before.get("failedIndexes") or "")
        self._count_new()

    def _count_new(self) -> None:
        # A crowd of finished pods is counted a part at a time: status objects must stay small.
        room = UNCOUNTED_LIMIT - sum(len(uids) for uids in self._uids.values())
        for pod in self._pods:
            if not _is_tracked(pod) or room <= 0:
                continue
            uid, index = objects.uid_of(pod), job_rules.index_of(pod)
            has_index = index is not None and index < self._completions_or_zero
            if objects.status_of(pod).get("phase") == "Succeeded" and uid not in self._persisted["failed"]:
                if self._is_indexed:
                    if has_index and index is not None:
                        self._indexes.add(index)
                elif uid not in self._persisted["succeeded"]:
                    self._uids["succeeded"].append(uid)
                    room -= 1
            elif job_rules.is_failed(pod, self._job) and uid not in self._persisted["failed"]:
                if self._is_indexed and not has_index:
                    continue
                if job_rules.judge(self._job, pod).counts:
                    self._uids["failed"].append(uid)
                    room -= 1
                if has_index and index is not None and job_rules.is_index_failed(self._job, pod):
                    self._failed_indexes.add(index)
        self._failed_indexes -= self._indexes

    @property
    def _is_indexed(self) -> bool:
        return bool(self._spec.get("completionMode") == "Indexed")

    @property
    def _completions_or_zero(self) -> int:
        return int(self._spec.get("completions") or 0)

    @property
    def _succeeded(self) -> int:
        if self._is_indexed:
            return len(self._indexes)
        return int(self._counted["succeeded"]) + len(self._uids["succeeded"])

    @property
    def _failed(self) -> int:
        return int(self._counted["failed"]) + len(self._uids["failed"])

    @property
    def _is_suspended(self) -> bool:
        return bool(self._spec.get("suspend"))

    # -- what follows

    def plan(self) -> list[actions.Action]:
        if self._start_time is None and not self._is_suspended:
            self._start_time = self._stamp
        end = self._end()
        result: list[actions.Action] = []
        if end is not None:
            result += _attempted(self._delete(self._active, keeps_count=True))
        elif not objects.is_deleting(self._job):
            result += _attempted(self._manage())
            end = self._completion()
            if end is None:
                self._note_suspension()
        result += self._finish(end)
        return result

    def _end(self) -> _End | None:
        for interim in ("FailureTarget", "SuccessCriteriaMet"):
            present = conditions.find(self._conditions, interim)
            if present is not None and present.get("status") == "True":
                return _End(interim, present.get("reason", ""), present.get("message", ""))
        message = self._fail_job_message()
        if message:
            return _End("FailureTarget", "PodFailurePolicy", message)
        if self._failed > self._spec.get("backoffLimit", 6) or job_rules.restarts_exceed(self._job, self._pods):
            return _End("FailureTarget", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
        if self._deadline_left() <= 0:
            return _End("FailureTarget", "DeadlineExceeded", "Job was active longer than specified deadline")
        if self._is_indexed:
            return self._end_by_indexes()
        return None

    def _end_by_indexes(self) -> _End | None:
        limit = self._spec.get("maxFailedIndexes")
        if limit is not None and len(self._failed_indexes) > limit:
            message = "Job has exceeded the specified maximal number of failed indexes"
            return _End("FailureTarget", "MaxFailedIndexesExceeded", message)
        is_all_done = len(self._indexes) + len(self._failed_indexes) >= self._completions_or_zero
        if self._failed_indexes and is_all_done:
            return _End("FailureTarget", "FailedIndexes", "Job has failed indexes")
        # Who fails and succeeds at once has failed.
        message = job_rules.matched_success_rule(self._job, self._indexes)
        if message:
            return _End("SuccessCriteriaMet", "SuccessPolicy", message)
        return None

    def _fail_job_message(self) -> str:
        if not self._spec.get("podFailurePolicy"):
            return ""
        failed = (pod for pod in self._pods if job_rules.is_failed(pod, self._job))
        return next((verdict.message for pod in failed if (verdict := job_rules.judge(self._job, pod)).message), "")

    def _deadline_left(self) -> float:
        limit = self._spec.get("activeDeadlineSeconds")
        if limit is None or self._is_suspended or self._start_time is None:
            return float("inf")
        return float(limit) - objects.seconds_since(self._start_time, self._now)

    def _completion(self) -> _End | None:
        reached = _End("SuccessCriteriaMet", "CompletionsReached", "Reached expected number of succeeded pods")
        completions = self._spec.get("completions")
        if completions is None:
            # A work queue: one success means there is no more work; the others finish what they have.
            return reached if self._succeeded > 0 and not self._active else None
        return reached if self._succeeded >= completions and not self._active else None

    # -- pods

    def _manage(self) -> list[actions.Action]:
        if self._is_suspended:
            return self._delete(self._active, keeps_count=False)
        wanted = self._wanted()
        surplus = len(self._active) - wanted
        if surplus > 0:
            return self._delete(self._surplus(surplus)[:BURST], keeps_count=False)
        doubles = self._doubles()
        if doubles:
            return self._delete(doubles, keeps_count=False)
        held = self._terminating if job_rules.replaces_only_failed(self._job) else 0
        missing = min(wanted - len(self._active) - held, BURST)
        return self._create(missing) if missing > 0 else []

    def _wanted(self) -> int:
        parallelism = int(self._spec.get("parallelism", 1))
        completions = self._spec.get("completions")
        if completions is None:
            return len(self._active) if self._succeeded > 0 else parallelism
        left = int(completions) - self._succeeded
        if self._is_indexed:
            left -= len(self._failed_indexes)
        return max(0, min(left, parallelism))

    def _surplus(self, count: int) -> Sequence[Object]:
        doubles = self._doubles()[:count]
        others = [pod for pod in self._active if pod not in doubles]
        return [*doubles, *replicaset.choose_victims(others, self._active, count - len(doubles), self._now)]

    def _doubles(self) -> list[Object]:
        """Pods of an index that another pod runs already, or that is done."""
        if not self._is_indexed:
            return []
        seen: set[int] = set(self._indexes | self._failed_indexes)
        result = []
        for pod in sorted(self._active, key=lambda pod: (not objects.is_pod_ready(pod), objects.created(pod))):
            index = job_rules.index_of(pod)
            if index is None or index in seen or index >= self._completions_or_zero:
                result.append(pod)
            else:
                seen.add(index)
        return result

    def _create(self, count: int) -> list[actions.Action]:
        if self._is_indexed:
            made, wait = self._indexed_creations(count)
        else:
            made, wait = [], self._wait(self._pods)
            if wait <= 0:
                made = [self._creation(None, ()) for _ in range(count)]
        result: list[actions.Action] = [actions.Batch(made)] if made else []
        if wait > 0:
            result.append(actions.Requeue(wait))
        return result

    def _wait(self, pods: Sequence[Object]) -> float:
        failed = [pod for pod in pods if job_rules.is_failed(pod, self._job) and job_rules.judge(self._job, pod).counts]
        succeeded = [pod for pod in pods if objects.status_of(pod).get("phase") == "Succeeded"]
        return job_rules.backoff_left(failed, succeeded, self._now)

    def _indexed_creations(self, count: int) -> tuple[list[actions.AnyWrite], float]:
        """Creations for the first indexes that are free, and how long the next one must still wait (0: none waits)."""
        held = [pod for pod in self._pods if not objects.is_pod_terminal(pod) and objects.is_deleting(pod)]
        busy = self._active + (held if job_rules.replaces_only_failed(self._job) else [])
        taken = {job_rules.index_of(pod) for pod in busy} | self._indexes | self._failed_indexes
        by_index: dict[int | None, list[Object]] = {}
        for pod in self._pods:
            by_index.setdefault(job_rules.index_of(pod), []).append(pod)
        is_per_index = self._spec.get("backoffLimitPerIndex") is not None
        common = 0.0 if is_per_index else self._wait(self._pods)
        if common > 0:
            return [], common
        made: list[actions.AnyWrite] = []
        waits = []
        for index in range(self._completions_or_zero):
            if index in taken:
                continue
            if len(made) >= count:
                break
            before = [pod for pod in by_index.get(index, ()) if job_rules.is_failed(pod, self._job)]
            wait = self._wait(before) if is_per_index else 0.0
            if wait > 0:
                waits.append(wait)
            else:
                made.append(self._creation(index, before))
        return made, min(waits, default=0.0)

    def _creation(self, index: int | None, failed_before: Sequence[Object]) -> actions.Create:
        create = replicaset.create_pod(self._job, resources.JOBS)
        pod = create.obj
        metadata = {**pod["metadata"], "finalizers": [*(pod["metadata"].get("finalizers") or ()), FINALIZER]}
        made = {**pod, "metadata": metadata}
        if index is not None:
            made = _with_index(made, objects.name_of(self._job), index)
            extra = job_rules.failure_annotations(self._job, failed_before)
            made["metadata"]["annotations"] = {**made["metadata"]["annotations"], **extra}
        return dataclasses.replace(create, obj=made)

    def _delete(self, pods: Sequence[Object], *, keeps_count: bool) -> list[actions.Action]:
        """`keeps_count`: the pods count as failed. Pods that are merely not wanted any more count for nothing."""
        result: list[actions.Action] = []
        if not keeps_count:
            tracked = [_remove_finalizer(pod) for pod in pods if _is_tracked(pod)]
            result += [actions.Batch(tracked)] if tracked else []
        deletions = [replicaset.delete_pod(self._job, pod) for pod in pods]
        return [*result, actions.Batch(deletions)] if deletions else result

    # -- conditions and status

    def _note_suspension(self) -> None:
        present = conditions.find(self._conditions, "Suspended")
        if self._is_suspended:
            if present is None or present["status"] != "True":
                self._set_condition("Suspended", "True", "JobSuspended", "Job suspended")
                self._events.append(actions.normal(self._job, "Suspended", "Job suspended"))
            # What is suspended has not started: its template may be changed, and no deadline runs.
            self._start_time = None
        elif present is not None and present["status"] == "True":
            self._set_condition("Suspended", "False", "JobResumed", "Job resumed")
            self._events.append(actions.normal(self._job, "Resumed", "Job resumed"))
            # The deadline counts from here.
            self._start_time = self._stamp

    def _set_condition(self, kind: str, status: str, reason: str, message: str) -> None:
        self._conditions = [each for each in self._conditions if each["type"] != kind]
        self._conditions.append(
            {
                "type": kind,
                "status": status,
                "lastProbeTime": self._stamp,
                "lastTransitionTime": self._stamp,
                "reason": reason,
                "message": message,
            }
        )

    def _finish(self, end: _End | None) -> list[actions.Action]:
        is_over = False
        if end is not None:
            if conditions.find(self._conditions, end.interim) is None:
                self._set_condition(end.interim, "True", end.reason, end.message)
            else:
                is_over = not (self._active or self._terminating or any(self._uids.values()) or self._to_untrack())
        status = self._status()
        if end is not None and is_over:
            self._conclude(end, status)
        if self._conditions:
            status["conditions"] = self._conditions
        result: list[actions.Action] = []
        if not objects.is_same_status(status, self._before):
            updated = {**self._job, "status": status}
            result.append(actions.Update(resources.JOBS, updated, subresource="status", then=tuple(self._events)))
        elif self._to_untrack():
            # Only now: what is about to lose its finalizer is in the status that everybody can read.
            result.append(actions.Batch([_remove_finalizer(pod) for pod in self._to_untrack()]))
        left = self._deadline_left()
        if end is None and left != float("inf"):
            result.append(actions.Requeue(max(left, 0.0) + 0.1))
        return result

    def _conclude(self, end: _End, status: Object) -> None:
        if end.is_failure:
            self._set_condition("Failed", "True", end.reason, end.message)
            self._events.append(actions.warning(self._job, end.reason, end.message))
        else:
            self._set_condition("Complete", "True", end.reason, end.message)
            status["completionTime"] = self._stamp
            self._events.append(actions.normal(self._job, "Completed", "Job completed"))

    def _to_untrack(self) -> list[Object]:
        """Finished pods that still carry the finalizer."""
        return [
            pod
            for pod in self._pods
            if _is_tracked(pod)
            and (objects.status_of(pod).get("phase") == "Succeeded" or job_rules.is_failed(pod, self._job))
            and self._is_noted(pod)
        ]

    def _is_noted(self, pod: Object) -> bool:
        """Whether the status tells of this pod, as far as it has to."""
        uid = objects.uid_of(pod)
        if uid in self._uids["succeeded"] or uid in self._uids["failed"]:
            return True
        index = job_rules.index_of(pod)
        if self._is_indexed and (index is None or index >= self._completions_or_zero):
            return True
        if objects.status_of(pod).get("phase") == "Succeeded":
            return self._is_indexed and index in self._indexes
        return not job_rules.judge(self._job, pod).counts

    def _status(self) -> Object:
        counts = {
            "active": len(self._active),
            "succeeded": len(self._indexes) if self._is_indexed else self._counted["succeeded"],
            "failed": self._counted["failed"],
        }
        status: Object = {
            **{field: count for field, count in counts.items() if count},
            "ready": sum(1 for pod in self._active if objects.is_pod_ready(pod)),
            "terminating": self._terminating,
            "uncountedTerminatedPods": {kind: uids for kind, uids in self._uids.items() if uids},
        }
        if self._start_time is not None:
            status["startTime"] = self._start_time
        if self._is_indexed and self._indexes:
            status["completedIndexes"] = job_rules.format_indexes(self._indexes)
        if self._spec.get("backoffLimitPerIndex") is not None:
            status["failedIndexes"] = job_rules.format_indexes(self._failed_indexes)
        return status


def _attempted(moves: Sequence[actions.Action]) -> list[actions.Action]:
    """Pods that cannot be made or deleted must not keep finished ones from being counted."""
    return [actions.Attempt(moves)] if moves else []


def _with_index(pod: Object, job_name: str, index: int) -> Object:
    """The pod of one index: its name, its label, its host name and its environment tell which."""
    metadata, spec = pod["metadata"], pod["spec"]
    variable = {
        "name": "JOB_COMPLETION_INDEX",
        "valueFrom": {"fieldRef": {"fieldPath": f"metadata.labels['{job_rules.INDEX}']"}},
    }
    tag = {job_rules.INDEX: str(index)}
    made_spec = {**spec, "hostname": spec.get("hostname") or f"{job_name}-{index}"}
    for field in ("initContainers", "containers"):
        if spec.get(field):
            made_spec[field] = [_with_variable(container, variable) for container in spec[field]]
    return {
        **pod,
        "metadata": {
            **metadata,
            "generateName": f"{job_name}-{index}-",
            "annotations": {**(metadata.get("annotations") or {}), **tag},
            "labels": {**(metadata.get("labels") or {}), **tag},
        },
        "spec": made_spec,
    }


def _with_variable(container: Object, variable: Object) -> Object:
    present = container.get("env") or []
    if any(each["name"] == variable["name"] for each in present):
        return container
    return {**container, "env": [*present, variable]}


# -- registration


def _index_tracked(pod: Object) -> Iterable[str]:
    """Pods with the finalizer, by the Job that their reference or label names."""
    if not _is_tracked(pod):
        return ()
    reference = objects.controller_of(pod)
    name = reference["name"] if reference else objects.labels_of(pod).get("batch.kubernetes.io/job-name", "")
    return [f"{objects.namespace_of(pod)}/{name}"]


def _keys_of_pod(view: views.View, pod: Object) -> Iterable[objects.Key]:
    yield from replicaset.orphan_keys(resources.JOBS, "Job")(view, pod)
    for name in _index_tracked(pod):
        namespace, _, job = name.partition("/")
        yield namespace, job


def controller() -> loop.Controller:
    return loop.Controller(
        name="job",
        watches=(loop.Watch(resources.JOBS, loop.own_key), loop.Watch(resources.PODS, _keys_of_pod)),
        indexes=(
            (resources.PODS, "controller", objects.index_by_controller),
            (resources.PODS, "orphan", objects.index_orphans),
            (resources.PODS, "tracked", _index_tracked),
        ),
        plan=plan,
    )
