"""CronJobs: a Job at each time of a schedule.

Watches CronJobs and Jobs. Owns the Jobs that it made, each named after its time (`<name>-<minutes since 1970>`), so that the API itself
refuses a second one for the same time. Guarantees: of several times that were missed, only the latest is made up for, and
none that is older than startingDeadlineSeconds; under Forbid no Job starts while the list of active ones names another.
"""

import dataclasses
import datetime
import zoneinfo
from collections.abc import Sequence
from typing import Any

from pinnace.api import conditions, cron, resources
from pinnace.controllers import job
from pinnace.controllers.framework import actions, loop, objects
from pinnace.controllers.framework import lister as views
from pinnace.kit import clock

Object = dict[str, Any]

SCHEDULED = "batch.kubernetes.io/cronjob-scheduled-timestamp"
# A little late, so that a time has surely come when its plan is made.
DELAY_SECONDS = 0.1
MANY_MISSED = 100


def plan(view: views.View, key: objects.Key, now: datetime.datetime) -> Sequence[actions.Action]:
    cron_job = view.get(resources.CRON_JOBS, *key)
    if cron_job is None:
        return []
    return _Sync(view, cron_job, view.by_index(resources.JOBS, "controller", objects.uid_of(cron_job)), now).plan()


class _Sync:
    """One plan of one CronJob."""

    def __init__(self, view: views.View, cron_job: Object, jobs: Sequence[Object], now: datetime.datetime) -> None:
        self._view = view
        self._cron_job = cron_job
        self._spec = cron_job["spec"]
        self._jobs = jobs
        self._now = now
        self._status = dict(objects.status_of(cron_job))
        self._active: list[Object] = list(self._status.get("active") or ())
        self._result: list[actions.Action] = []

    def plan(self) -> list[actions.Action]:
        self._note_jobs()
        self._forget_missing()
        self._clean_up()
        due = None if objects.is_deleting(self._cron_job) or self._spec.get("suspend") else self._due()
        if due is not None:
            self._start(due)
        else:
            self._result += _update_status(self._cron_job, self._status, self._active)
        return self._result

    # -- what has become of its jobs

    def _note_jobs(self) -> None:
        active = {reference["uid"] for reference in self._active}
        for each in self._jobs:
            uid, name = objects.uid_of(each), objects.name_of(each)
            if uid in active and job.is_finished(each):
                self._drop(uid)
                kind = "Complete" if conditions.is_true(each, "Complete") else "Failed"
                self._normal("SawCompletedJob", f"Saw completed job: {name}, condition: {kind}")
            elif uid not in active and not job.is_finished(each) and not self._was_made_now(each):
                message = f"Saw a job that the controller did not create or forgot: {name}"
                self._result.append(actions.warning(self._cron_job, "UnexpectedJob", message))
            ended = objects.status_of(each).get("completionTime")
            if ended and conditions.is_true(each, "Complete"):
                # Times of this one form are ordered as their texts are.
                self._status["lastSuccessfulTime"] = max(ended, self._status.get("lastSuccessfulTime") or "")

    def _was_made_now(self, each: Object) -> bool:
        """Made for a time that the status does not know yet: the write of the status was lost and follows in this plan."""
        scheduled = objects.annotations_of(each).get(SCHEDULED)
        last = self._status.get("lastScheduleTime")
        return bool(scheduled) and (not last or clock.parse_rfc3339(str(scheduled)) > clock.parse_rfc3339(last))

    def _forget_missing(self) -> None:
        for reference in list(self._active):
            found = self._view.get(resources.JOBS, objects.namespace_of(self._cron_job), reference["name"])
            if found is None or objects.uid_of(found) != reference["uid"]:
                self._drop(reference["uid"])
                self._normal("MissingJob", f"Active job went missing: {reference['name']}")

    def _clean_up(self) -> None:
        for kind, field in (("Complete", "successfulJobsHistoryLimit"), ("Failed", "failedJobsHistoryLimit")):
            limit = self._spec.get(field)
            if limit is None:
                continue
            ended = [each for each in self._jobs if conditions.is_true(each, kind)]
            ended.sort(key=lambda each: (objects.status_of(each).get("startTime") or "~", objects.name_of(each)))
            surplus = ended[: max(0, len(ended) - limit)]
            self._result += [self._delete(each) for each in surplus if not objects.is_deleting(each)]

    def _delete(self, each: Object) -> actions.Delete:
        name, uid = objects.name_of(each), objects.uid_of(each)
        return actions.Delete(
            resources.JOBS,
            objects.namespace_of(each),
            name,
            uid=uid,
            propagation_policy="Background",
            then=(actions.normal(self._cron_job, "SuccessfulDelete", f"Deleted job {name}"),),
            on_error=(actions.warning(self._cron_job, "FailedDelete", f"Deleted job: {actions.ERROR}"),),
        )

    def _drop(self, uid: str) -> None:
        self._active = [reference for reference in self._active if reference["uid"] != uid]

    def _normal(self, reason: str, message: str) -> None:
        self._result.append(actions.normal(self._cron_job, reason, message))

    def _warn(self, reason: str, message: str) -> None:
        self._result.append(actions.warning(self._cron_job, reason, message))

    # -- when the next one starts

    def _due(self) -> datetime.datetime | None:
        """The time for which a Job has to start now; if there is none, the plan comes back at the next."""
        text, name = self._spec["schedule"], self._spec.get("timeZone")
        try:
            zone = zoneinfo.ZoneInfo(name) if name else datetime.UTC
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            self._warn("UnknownTimeZone", f'invalid timeZone: "{name}": unknown time zone {name}')
            return None
        try:
            schedule = cron.parse(text, zone)
        except cron.ScheduleError as error:
            self._warn("UnparseableSchedule", f'unparseable schedule: "{text}" : {error}')
            return None
        due = self._latest_missed(schedule)
        self._come_back(schedule)
        if due is None or self._is_done(due) or self._is_too_late(due):
            return None
        if self._spec.get("concurrencyPolicy") == "Forbid" and self._active:
            message = "Not starting job because prior execution is running and concurrency policy is Forbid"
            self._normal("JobAlreadyActive", message)
            return None
        return due

    def _earliest(self, *, within_deadline: bool) -> datetime.datetime:
        last = self._status.get("lastScheduleTime")
        earliest = clock.parse_rfc3339(last) if last else objects.created(self._cron_job)
        deadline = self._spec.get("startingDeadlineSeconds")
        if within_deadline and deadline is not None:
            return max(earliest, self._now - datetime.timedelta(seconds=deadline))
        return earliest

    def _latest_missed(self, schedule: cron.Schedule) -> datetime.datetime | None:
        first = schedule.next_after(self._earliest(within_deadline=True))
        if first is None or first > self._now:
            return None
        second = schedule.next_after(first)
        if second is None or second > self._now:
            return first
        if (self._now - first) // (second - first) + 1 > MANY_MISSED:
            message = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew"
            self._warn("TooManyMissedTimes", message)
        return cron.latest(schedule, second, self._now)

    def _come_back(self, schedule: cron.Schedule) -> None:
        # A fixed distance counts from the time before; everything else from now.
        start = self._earliest(within_deadline=False) if isinstance(schedule, cron.Every) else self._now
        following = schedule.next_after(start)
        if following is not None and following <= self._now:
            following = schedule.next_after(cron.latest(schedule, following, self._now))
        if following is not None:
            self._result.append(actions.Requeue((following - self._now).total_seconds() + DELAY_SECONDS))

    def _is_done(self, due: datetime.datetime) -> bool:
        last = self._status.get("lastScheduleTime")
        is_last = bool(last) and clock.parse_rfc3339(str(last)) == due
        return is_last or any(reference["name"] == self._name_of(due) for reference in self._active)

    def _is_too_late(self, due: datetime.datetime) -> bool:
        deadline = self._spec.get("startingDeadlineSeconds")
        if deadline is None or due + datetime.timedelta(seconds=deadline) >= self._now:
            return False
        stamp = due.strftime("%a, %d %b %Y %H:%M:%S UTC")
        self._warn("MissSchedule", f"Missed scheduled time to start a job: {stamp}")
        return True

    # -- starting it

    def _name_of(self, due: datetime.datetime) -> str:
        return f"{objects.name_of(self._cron_job)}-{int(due.timestamp()) // 60}"

    def _start(self, due: datetime.datetime) -> None:
        if self._spec.get("concurrencyPolicy") == "Replace":
            self._replace()
        status = {**self._status, "lastScheduleTime": clock.rfc3339(due)}
        present = self._view.get(resources.JOBS, objects.namespace_of(self._cron_job), self._name_of(due))
        if present is not None:
            # Made by an earlier plan whose status was lost; or somebody else's, who holds the name.
            if objects.is_controlled_by(present, self._cron_job) and not job.is_finished(present):
                self._active = [*self._active, _reference(present)]
            elif not objects.is_controlled_by(present, self._cron_job):
                status = self._status
            self._result += _update_status(self._cron_job, status, self._active)
            return

        self._result.append(
            actions.Create(
                resources.JOBS,
                objects.namespace_of(self._cron_job),
                self._job_for(due),
                then=_Started(self._cron_job, status, tuple(self._active)),
                on_error=(actions.warning(self._cron_job, "FailedCreate", f"Error creating job: {actions.ERROR}"),),
            )
        )

    def _replace(self) -> None:
        for reference in list(self._active):
            found = self._view.get(resources.JOBS, objects.namespace_of(self._cron_job), reference["name"])
            if found is not None:
                self._result.append(self._delete(found))
            self._drop(reference["uid"])

    def _job_for(self, due: datetime.datetime) -> Object:
        template = self._spec["jobTemplate"]
        metadata = template.get("metadata") or {}
        zone = zoneinfo.ZoneInfo(self._spec["timeZone"]) if self._spec.get("timeZone") else datetime.UTC
        stamp = due.astimezone(zone).isoformat(timespec="seconds").replace("+00:00", "Z")
        made: Object = {
            "name": self._name_of(due),
            "namespace": objects.namespace_of(self._cron_job),
            "annotations": {**(metadata.get("annotations") or {}), SCHEDULED: stamp},
            "ownerReferences": [objects.owner_reference(self._cron_job, resources.CRON_JOBS)],
        }
        if metadata.get("labels"):
            made["labels"] = metadata["labels"]
        resource = resources.JOBS
        return {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": made,
            "spec": template["spec"],
        }


@dataclasses.dataclass(frozen=True, slots=True)
class _Started:
    """The status names the Job that was just made."""

    cron_job: Object
    status: Object
    active: tuple[Object, ...]

    def follow(self, answer: Object) -> Sequence[actions.Action]:
        told = actions.normal(self.cron_job, "SuccessfulCreate", f"Created job {objects.name_of(answer)}")
        return [told, *_update_status(self.cron_job, self.status, [*self.active, _reference(answer)])]


def _update_status(cron_job: Object, status: Object, active: Sequence[Object]) -> list[actions.Action]:
    wanted = {field: value for field, value in status.items() if field != "active"}
    if active:
        wanted["active"] = list(active)
    if objects.is_same(wanted, cron_job.get("status") or {}):
        return []
    return [actions.Update(resources.CRON_JOBS, {**cron_job, "status": wanted}, subresource="status")]


def _reference(each: Object) -> Object:
    return {
        "apiVersion": resources.JOBS.api_version,
        "kind": resources.JOBS.kind,
        "namespace": objects.namespace_of(each),
        "name": objects.name_of(each),
        "uid": objects.uid_of(each),
        "resourceVersion": each["metadata"]["resourceVersion"],
    }


def controller() -> loop.Controller:
    return loop.Controller(
        name="cronjob",
        watches=(
            loop.Watch(resources.CRON_JOBS, loop.own_key),
            loop.Watch(resources.JOBS, loop.controller_key("CronJob")),
        ),
        indexes=((resources.JOBS, "controller", objects.index_by_controller),),
        plan=plan,
    )
