"""CronJobs against the real API server under virtual time, and their plan where time alone decides."""

import asyncio
import datetime
from collections.abc import Sequence
from typing import Any

import pytest

from pinnace.api import resources
from pinnace.client import cache
from pinnace.controllers import cronjob
from pinnace.controllers.framework import actions, objects
from pinnace.controllers.framework import lister as views
from pinnace.kit import clock
from pinnace.testing import control_plane

Object = dict[str, Any]

START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def cron_job(schedule: str = "* * * * *", **spec: Any) -> Object:
    template = {"spec": {"template": control_plane.template("tick", restartPolicy="Never")}}
    return {"metadata": {"name": "tick"}, "spec": {"schedule": schedule, "jobTemplate": template, **spec}}


def node(phase: str, seconds: float = 1.0) -> Any:
    def decide(plane: control_plane.ControlPlane) -> Any:
        return lambda pod: control_plane.finished(plane.time, phase, 0 if phase == "Succeeded" else 1)

    return lambda plane: control_plane.Node(plane, start_seconds=seconds, decide=decide(plane))


async def jobs(plane: control_plane.ControlPlane) -> list[str]:
    return sorted(each["metadata"]["name"] for each in await plane.list(resources.JOBS))


async def reasons(plane: control_plane.ControlPlane) -> set[str]:
    return {
        event["reason"] for event in await plane.list(resources.EVENTS) if event["involvedObject"]["kind"] == "CronJob"
    }


def name(minutes: int) -> str:
    return f"tick-{int(START.timestamp()) // 60 + minutes}"


def test_a_job_is_made_at_each_time_and_told_of() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        made = cron_job(timeZone="Europe/Berlin", failedJobsHistoryLimit=0)
        made["spec"]["jobTemplate"]["metadata"] = {"labels": {"kind": "tick"}, "annotations": {"note": "x"}}
        await plane.create(resources.CRON_JOBS, made)
        await asyncio.sleep(61)
        (first,) = await plane.list(resources.JOBS)
        owner = await plane.get(resources.CRON_JOBS, "tick")
        metadata = first["metadata"]
        assert metadata["name"] == name(1)
        assert metadata["labels"]["kind"] == "tick"
        assert metadata["annotations"]["note"] == "x"
        assert metadata["annotations"][cronjob.SCHEDULED] == "2026-01-01T01:01:00+01:00"
        assert objects.is_controlled_by(first, owner)
        assert [each["name"] for each in owner["status"]["active"]] == [name(1)]
        assert owner["status"]["lastScheduleTime"] == "2026-01-01T00:01:00Z"
        await asyncio.sleep(40)
        owner = await plane.get(resources.CRON_JOBS, "tick")
        assert "active" not in owner["status"]
        assert (
            owner["status"]["lastSuccessfulTime"] == (await plane.list(resources.JOBS))[0]["status"]["completionTime"]
        )
        assert await reasons(plane) == {"SuccessfulCreate", "SawCompletedJob"}
        await asyncio.sleep(60)
        assert await jobs(plane) == [name(1), name(2)]

    control_plane.run(test, node=node("Succeeded", 10))


@pytest.mark.parametrize(
    ("phase", "limit"), [("Succeeded", "successfulJobsHistoryLimit"), ("Failed", "failedJobsHistoryLimit")]
)
def test_only_the_latest_finished_jobs_are_kept(phase: str, limit: str) -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        made = cron_job()
        made["spec"][limit] = 2
        made["spec"]["jobTemplate"]["spec"]["backoffLimit"] = 0
        await plane.create(resources.CRON_JOBS, made)
        await asyncio.sleep(350)
        assert await jobs(plane) == [name(4), name(5)]
        assert "SuccessfulDelete" in await reasons(plane)
        assert len(await plane.list(resources.PODS)) == 2

    control_plane.run(test, node=node(phase))


@pytest.mark.parametrize(
    ("policy", "left", "reason"),
    [
        ("Allow", [1, 2, 3], "SuccessfulCreate"),
        ("Forbid", [1], "JobAlreadyActive"),
        ("Replace", [3], "SuccessfulDelete"),
    ],
)
def test_what_happens_to_a_job_that_still_runs(policy: str, left: list[int], reason: str) -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        await plane.create(resources.CRON_JOBS, cron_job(concurrencyPolicy=policy))
        await asyncio.sleep(190)
        assert await jobs(plane) == [name(each) for each in left]
        status = (await plane.get(resources.CRON_JOBS, "tick"))["status"]
        assert [each["name"] for each in status["active"]] == [name(each) for each in left]
        assert reason in await reasons(plane)

    control_plane.run(test)


def test_a_forbidden_start_is_made_up_for_when_the_job_ends() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        await plane.create(resources.CRON_JOBS, cron_job(concurrencyPolicy="Forbid"))
        await asyncio.sleep(215)
        assert await jobs(plane) == [name(1), name(3)]

    control_plane.run(test, node=node("Succeeded", 145))


def test_suspension_starts_nothing_and_its_end_makes_up_for_the_latest_time() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        await plane.create(resources.CRON_JOBS, cron_job(suspend=True))
        await asyncio.sleep(400)
        assert await jobs(plane) == []
        await plane.patch(resources.CRON_JOBS, "tick", {"spec": {"suspend": False}})
        await asyncio.sleep(2)
        assert await jobs(plane) == [name(6)]

    control_plane.run(test)


def test_a_job_that_is_taken_away_is_missed_and_not_made_again() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        await plane.create(resources.CRON_JOBS, cron_job("0 * * * *"))
        await asyncio.sleep(3605)
        await plane.delete(resources.JOBS, name(60), propagation_policy="Background")
        await asyncio.sleep(30)
        assert await jobs(plane) == []
        assert "active" not in (await plane.get(resources.CRON_JOBS, "tick"))["status"]
        assert "MissingJob" in await reasons(plane)

    control_plane.run(test)


def test_deleting_a_cron_job_takes_its_jobs_along() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        await plane.create(resources.CRON_JOBS, cron_job())
        await asyncio.sleep(130)
        await plane.delete(resources.CRON_JOBS, "tick", propagation_policy="Background")
        await asyncio.sleep(60)
        assert await jobs(plane) == []
        assert await plane.list(resources.PODS) == []

    control_plane.run(test)


# -- the plan alone


def planned(
    seconds: float, owned: Sequence[Object] = (), status: Object | None = None, **spec: Any
) -> Sequence[actions.Action]:
    """What is planned `seconds` after the CronJob was made."""
    made = cron_job(**spec)
    made["metadata"] |= {"namespace": "x", "uid": "owner", "creationTimestamp": clock.rfc3339(START)}
    made["status"] = status or {}
    caches = {resources.CRON_JOBS: cache.Cache(), resources.JOBS: cache.Cache()}
    caches[resources.JOBS].add_index("controller", objects.index_by_controller)
    caches[resources.CRON_JOBS].set(("x", "tick"), made)
    for each in owned:
        caches[resources.JOBS].set(cache.key_of(each), each)
    return cronjob.plan(views.View(caches), ("x", "tick"), START + datetime.timedelta(seconds=seconds))


def created(plan: Sequence[actions.Action]) -> list[str]:
    return [action.obj["metadata"]["name"] for action in plan if isinstance(action, actions.Create)]


def told(plan: Sequence[actions.Action]) -> list[tuple[str, str]]:
    return [(action.reason, action.message) for action in plan if isinstance(action, actions.Record)]


def returns(plan: Sequence[actions.Action]) -> list[float]:
    return [round(action.seconds, 1) for action in plan if isinstance(action, actions.Requeue)]


@pytest.mark.parametrize(
    ("seconds", "spec", "names", "events", "again"),
    [
        (59, {}, [], [], [1.1]),
        (60.1, {}, [name(1)], [], [60.0]),
        # Ten minutes were missed: the latest counts.
        (601, {}, [name(10)], [], [59.1]),
        (601, {"startingDeadlineSeconds": 30}, [name(10)], [], [59.1]),
        # A deadline in the past hides what was due before it: nothing is due any more.
        (650, {"startingDeadlineSeconds": 20}, [], [], [10.1]),
        (60 * 300, {"startingDeadlineSeconds": 3600}, [name(300)], [], [60.1]),
        (
            60 * 300,
            {},
            [name(300)],
            ["too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew"],
            [60.1],
        ),
        (60 * 300, {"suspend": True}, [], [], []),
        (100, {"schedule": "@every 90s"}, [f"tick-{(int(START.timestamp()) + 90) // 60}"], [], [80.1]),
        (100, {"schedule": "0 0 31 2 *"}, [], [], []),
        (
            100,
            {"timeZone": "Nowhere/Atall"},
            [],
            ['invalid timeZone: "Nowhere/Atall": unknown time zone Nowhere/Atall'],
            [],
        ),
        (
            100,
            {"schedule": "every day"},
            [],
            ['unparseable schedule: "every day" : expected exactly 5 fields, found 2: [every day]'],
            [],
        ),
    ],
)
def test_when_a_job_starts(
    seconds: float, spec: Object, names: list[str], events: list[str], again: list[float]
) -> None:
    plan = planned(seconds, **spec)
    assert (created(plan), [message for _, message in told(plan)], returns(plan)) == (names, events, again)


def test_a_time_that_was_served_is_not_served_again() -> None:
    assert created(planned(100, status={"lastScheduleTime": "2026-01-01T00:01:00Z"})) == []


def owned_job(minutes: int, status: Object) -> Object:
    reference = {"kind": "CronJob", "name": "tick", "uid": "owner", "controller": True}
    annotations = {cronjob.SCHEDULED: clock.rfc3339(START + datetime.timedelta(minutes=minutes))}
    metadata = {"namespace": "x", "name": name(minutes), "uid": f"job{minutes}", "resourceVersion": "7"}
    return {"metadata": {**metadata, "annotations": annotations, "ownerReferences": [reference]}, "status": status}


def test_a_job_whose_note_was_lost_is_noted_and_not_made_twice() -> None:
    plan = planned(61, [owned_job(1, {})])
    (update,) = [action for action in plan if isinstance(action, actions.Update)]
    assert [each["name"] for each in update.obj["status"]["active"]] == [name(1)]
    assert update.obj["status"]["lastScheduleTime"] == "2026-01-01T00:01:00Z"
    assert (created(plan), told(plan)) == ([], [])


def test_a_job_that_nobody_expected_is_told_of() -> None:
    plan = planned(90, [owned_job(0, {})], status={"lastScheduleTime": "2026-01-01T00:01:00Z"})
    assert told(plan) == [("UnexpectedJob", f"Saw a job that the controller did not create or forgot: {name(0)}")]


def test_a_going_cron_job_starts_nothing() -> None:
    made = cron_job()
    made["metadata"] |= {"namespace": "x", "uid": "owner", "creationTimestamp": clock.rfc3339(START)}
    made["metadata"]["deletionTimestamp"] = clock.rfc3339(START)
    caches = {resources.CRON_JOBS: cache.Cache(), resources.JOBS: cache.Cache()}
    caches[resources.JOBS].add_index("controller", objects.index_by_controller)
    caches[resources.CRON_JOBS].set(("x", "tick"), made)
    assert cronjob.plan(views.View(caches), ("x", "tick"), START + datetime.timedelta(hours=1)) == []
