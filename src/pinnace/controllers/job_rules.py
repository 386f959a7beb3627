"""What the policies of a Job say: indexes, failures that count, back-off, success. Pure; upstream's pkg/controller/job."""

import dataclasses
import datetime
from collections.abc import Iterable, Sequence
from typing import Any

from pinnace.controllers.framework import objects
from pinnace.kit import clock

Object = dict[str, Any]

INDEX = "batch.kubernetes.io/job-completion-index"
INDEX_FAILURES = "batch.kubernetes.io/job-index-failure-count"
INDEX_IGNORED_FAILURES = "batch.kubernetes.io/job-index-ignored-failure-count"
FIRST_BACKOFF_SECONDS = 10.0
MAX_BACKOFF_SECONDS = 600.0


# -- sets of indexes: "0-2,5"


def parse_indexes(text: str) -> set[int]:
    found: set[int] = set()
    for part in text.split(",") if text else ():
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return found


def format_indexes(indexes: Iterable[int]) -> str:
    """Runs of three and more as `first-last`; two neighbours are written one by one, as upstream does."""
    runs: list[list[int]] = []
    for index in sorted(indexes):
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    parts = []
    for first, last in runs:
        if last == first:
            parts.append(f"{first}")
        elif last == first + 1:
            parts.append(f"{first},{last}")
        else:
            parts.append(f"{first}-{last}")
    return ",".join(parts)


def index_of(pod: Object) -> int | None:
    text = objects.annotations_of(pod).get(INDEX, "")
    return int(text) if text.isdigit() else None


def _number(pod: Object, annotation: str) -> int:
    text = objects.annotations_of(pod).get(annotation, "")
    return int(text) if text.isdigit() else 0


# -- failures


def replaces_only_failed(job: Object) -> bool:
    """Whether a pod that is merely going still counts as one that runs."""
    spec = job["spec"]
    default = "Failed" if spec.get("podFailurePolicy") else "TerminatingOrFailed"
    return bool(spec.get("podReplacementPolicy", default) == "Failed")


def is_failed(pod: Object, job: Object) -> bool:
    phase = objects.status_of(pod).get("phase")
    if phase == "Failed":
        return True
    if replaces_only_failed(job):
        return False
    # A pod that is being deleted may never come to a phase of its own.
    return objects.is_deleting(pod) and phase != "Succeeded"


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """What the pod failure policy says about one failed pod."""

    action: str = ""
    """`Ignore`, `Count`, `FailIndex`, `FailJob`, or "": no rule matches."""
    message: str = ""
    """For `FailJob`."""

    @property
    def counts(self) -> bool:
        return self.action != "Ignore"


def judge(job: Object, pod: Object) -> Verdict:
    rules = (job["spec"].get("podFailurePolicy") or {}).get("rules") or ()
    for position, rule in enumerate(rules):
        if rule["action"] == "FailIndex" and job["spec"].get("backoffLimitPerIndex") is None:
            continue
        why = _matches(rule, pod)
        if why:
            message = f"{why} matching {rule['action']} rule at index {position}"
            return Verdict(rule["action"], message if rule["action"] == "FailJob" else "")
    return Verdict()


def _matches(rule: Object, pod: Object) -> str:
    """What matched, in words; "" when nothing did."""
    name = f"{objects.namespace_of(pod)}/{objects.name_of(pod)}"
    wanted = rule.get("onExitCodes")
    if wanted:
        for container in _container_statuses(pod):
            terminated = (container.get("state") or {}).get("terminated")
            code = terminated.get("exitCode", 0) if terminated else 0
            if not code or wanted.get("containerName") not in (None, "", container["name"]):
                continue
            if (code in wanted["values"]) == (wanted["operator"] == "In"):
                return f"Container {container['name']} for pod {name} failed with exit code {code}"
        return ""
    for pattern in rule.get("onPodConditions") or ():
        found = objects.condition(pod, pattern["type"])
        if found and found.get("status") == pattern.get("status", "True"):
            return f"Pod {name} has condition {pattern['type']}"
    return ""


def _container_statuses(pod: Object) -> list[Object]:
    status = objects.status_of(pod)
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def is_index_failed(job: Object, pod: Object) -> bool:
    """Whether this failed pod was its index's last chance."""
    limit = job["spec"].get("backoffLimitPerIndex")
    if limit is None:
        return False
    verdict = judge(job, pod)
    if verdict.action == "FailIndex":
        return True
    return verdict.counts and _number(pod, INDEX_FAILURES) >= int(limit)


def failure_annotations(job: Object, failed_before: Sequence[Object]) -> dict[str, str]:
    """What the next pod of an index knows of those before it."""
    if job["spec"].get("backoffLimitPerIndex") is None:
        return {}
    failures = ignored = 0
    for pod in failed_before:
        counts = judge(job, pod).counts
        failures = max(failures, _number(pod, INDEX_FAILURES) + (1 if counts else 0))
        ignored = max(ignored, _number(pod, INDEX_IGNORED_FAILURES) + (0 if counts else 1))
    result = {INDEX_FAILURES: str(failures)}
    if ignored:
        result[INDEX_IGNORED_FAILURES] = str(ignored)
    return result


def restarts_exceed(job: Object, pods: Iterable[Object]) -> bool:
    """With restartPolicy OnFailure the pods retry in place: their restarts together are the Job's failures."""
    if job["spec"]["template"]["spec"].get("restartPolicy") != "OnFailure":
        return False
    restarts: int = sum(
        status.get("restartCount", 0)
        for pod in pods
        if objects.status_of(pod).get("phase") in ("Running", "Pending")
        for status in _container_statuses(pod)
    )
    limit = int(job["spec"].get("backoffLimit", 6))
    return restarts > 0 if limit == 0 else restarts >= limit


# -- back-off


def finish_time(pod: Object) -> datetime.datetime:
    """When a finished pod finished, as well as its status tells."""
    ends = [
        clock.parse_rfc3339(terminated["finishedAt"])
        for status in objects.status_of(pod).get("containerStatuses") or ()
        if (terminated := (status.get("state") or {}).get("terminated")) and terminated.get("finishedAt")
    ]
    if ends:
        return max(ends)
    ready = objects.condition(pod, "Ready") or {}
    stamp = ready.get("lastTransitionTime") or pod["metadata"].get("deletionTimestamp")
    return clock.parse_rfc3339(stamp) if stamp else objects.created(pod)


def backoff_left(failed: Sequence[Object], succeeded: Sequence[Object], now: datetime.datetime) -> float:
    """Seconds until the next pod may start: 10, 20, 40 … after the last failure, counted since the last success."""
    last_success = max(map(finish_time, succeeded), default=None)
    ends = [end for end in map(finish_time, failed) if last_success is None or end > last_success]
    if not ends:
        return 0.0
    delay = min(FIRST_BACKOFF_SECONDS * 2.0 ** min(len(ends) - 1, 32), MAX_BACKOFF_SECONDS)
    return max(0.0, delay - (now - max(ends)).total_seconds())


# -- success


def matched_success_rule(job: Object, succeeded: set[int]) -> str:
    """The message of the SuccessCriteriaMet condition, or "" while no rule of the success policy matches."""
    for position, rule in enumerate((job["spec"].get("successPolicy") or {}).get("rules") or ()):
        wanted, count = rule.get("succeededIndexes"), rule.get("succeededCount")
        relevant = succeeded & parse_indexes(wanted) if wanted is not None else succeeded
        needed = count if count is not None else len(parse_indexes(wanted or ""))
        if needed and len(relevant) >= needed:
            return f"Matched rules at index {position}"
    return ""
