"""Jobs against the real API server under virtual time."""

import asyncio
import datetime
from collections.abc import Callable
from typing import Any

import pytest

from pinnace.api import resources
from pinnace.client import cache
from pinnace.controllers import job as jobs
from pinnace.controllers.framework import actions
from pinnace.controllers.framework import lister as views
from pinnace.testing import control_plane

Object = dict[str, Any]


def job(name: str = "work", **spec: Any) -> Object:
    template = control_plane.template(name, restartPolicy="Never")
    return {"metadata": {"name": name}, "spec": {"template": template, **spec}}


def node(decide: Callable[[control_plane.ControlPlane, Object], Object]) -> Any:
    def make(plane: control_plane.ControlPlane) -> control_plane.Node:
        return control_plane.Node(plane, decide=lambda pod: decide(plane, pod))

    return make


def succeed(plane: control_plane.ControlPlane, pod: Object) -> Object:
    return control_plane.finished(plane.time, "Succeeded")


def fail(plane: control_plane.ControlPlane, pod: Object) -> Object:
    return control_plane.finished(plane.time, "Failed", 1)


def index(pod: Object) -> int:
    return int(pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"])


def conditions(found: Object) -> list[tuple[str, str]]:
    return [(each["type"], each["reason"]) for each in found["status"]["conditions"]]


def test_a_job_runs_its_completions_and_no_more() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        await plane.create(resources.JOBS, job(completions=5, parallelism=2))
        await asyncio.sleep(30)
        found = await plane.get(resources.JOBS, "work")
        assert found["status"]["succeeded"] == 5
        assert conditions(found) == [("SuccessCriteriaMet", "CompletionsReached"), ("Complete", "CompletionsReached")]
        assert found["status"]["completionTime"]
        pods = await plane.list(resources.PODS)
        assert len(pods) == 5
        assert all("finalizers" not in pod["metadata"] for pod in pods)
        events = {event["reason"] for event in await plane.list(resources.EVENTS)}
        assert events >= {"SuccessfulCreate", "Completed"}

    control_plane.run(test, node=node(succeed))


def test_failures_are_retried_later_and_later_up_to_the_limit() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        await plane.create(resources.JOBS, job(backoffLimit=2))
        await asyncio.sleep(120)
        found = await plane.get(resources.JOBS, "work")
        assert found["status"]["failed"] == 3
        assert conditions(found) == [("FailureTarget", "BackoffLimitExceeded"), ("Failed", "BackoffLimitExceeded")]
        assert found["status"]["conditions"][1]["message"] == "Job has reached the specified backoff limit"
        created = sorted(pod["metadata"]["creationTimestamp"] for pod in await plane.list(resources.PODS))
        seconds = [int(text[14:16]) * 60 + int(text[17:19]) for text in created]
        assert seconds[1] - seconds[0] in (11, 12)
        assert seconds[2] - seconds[1] in (21, 22)

    control_plane.run(test, node=node(fail))


def test_an_indexed_job_runs_every_index_once() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        await plane.create(resources.JOBS, job(completions=4, parallelism=2, completionMode="Indexed"))
        await asyncio.sleep(30)
        found = await plane.get(resources.JOBS, "work")
        assert found["status"]["completedIndexes"] == "0-3"
        assert found["status"]["succeeded"] == 4
        assert conditions(found)[-1] == ("Complete", "CompletionsReached")
        pods = await plane.list(resources.PODS)
        assert sorted(index(pod) for pod in pods) == [0, 1, 2, 3]
        assert all(pod["spec"]["hostname"] == f"work-{index(pod)}" for pod in pods)
        assert all(pod["spec"]["containers"][0]["env"][0]["name"] == "JOB_COMPLETION_INDEX" for pod in pods)

    control_plane.run(test, node=node(succeed))


def test_indexes_fail_each_for_itself() -> None:
    def decide(plane: control_plane.ControlPlane, pod: Object) -> Object:
        return fail(plane, pod) if index(pod) % 2 else succeed(plane, pod)

    async def test(plane: control_plane.ControlPlane) -> None:
        spec: Object = {"completions": 4, "parallelism": 2, "completionMode": "Indexed", "backoffLimitPerIndex": 1}
        await plane.create(resources.JOBS, job(**spec))
        await asyncio.sleep(120)
        found = await plane.get(resources.JOBS, "work")
        assert found["status"]["completedIndexes"] == "0,2"
        assert found["status"]["failedIndexes"] == "1,3"
        assert (found["status"]["succeeded"], found["status"]["failed"]) == (2, 4)
        assert conditions(found) == [("FailureTarget", "FailedIndexes"), ("Failed", "FailedIndexes")]

    control_plane.run(test, node=node(decide))


def test_a_pod_failure_policy_ends_the_job_at_once() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        rule = {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [1]}}
        await plane.create(resources.JOBS, job(backoffLimit=5, podFailurePolicy={"rules": [rule]}))
        await asyncio.sleep(30)
        found = await plane.get(resources.JOBS, "work")
        assert conditions(found) == [("FailureTarget", "PodFailurePolicy"), ("Failed", "PodFailurePolicy")]
        (pod,) = await plane.list(resources.PODS)
        message = f"Container main for pod default/{pod['metadata']['name']} failed with exit code 1 matching FailJob rule at index 0"
        assert found["status"]["conditions"][0]["message"] == message

    control_plane.run(test, node=node(fail))


def test_a_success_policy_ends_the_job_when_its_rule_matches() -> None:
    def decide(plane: control_plane.ControlPlane, pod: Object) -> Object:
        return succeed(plane, pod) if index(pod) == 0 else control_plane.running(plane.time)

    async def test(plane: control_plane.ControlPlane) -> None:
        policy = {"rules": [{"succeededIndexes": "0"}]}
        spec: Object = {"completions": 3, "parallelism": 3, "completionMode": "Indexed", "successPolicy": policy}
        await plane.create(resources.JOBS, job(**spec))
        await asyncio.sleep(30)
        found = await plane.get(resources.JOBS, "work")
        assert conditions(found) == [("SuccessCriteriaMet", "SuccessPolicy"), ("Complete", "SuccessPolicy")]

    control_plane.run(test, node=node(decide))


def test_a_deadline_ends_what_runs() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        await plane.create(resources.JOBS, job(activeDeadlineSeconds=10))
        await asyncio.sleep(30)
        found = await plane.get(resources.JOBS, "work")
        assert conditions(found) == [("FailureTarget", "DeadlineExceeded"), ("Failed", "DeadlineExceeded")]
        assert found["status"].get("active", 0) == 0
        assert await plane.list(resources.PODS) == []

    control_plane.run(test)


def test_a_suspended_job_has_no_pods_and_its_ended_ones_are_no_failures() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        await plane.create(resources.JOBS, job(parallelism=2, completions=2))
        await asyncio.sleep(5)
        assert len(await plane.list(resources.PODS)) == 2
        await plane.patch(resources.JOBS, "work", {"spec": {"suspend": True}})
        await asyncio.sleep(10)
        found = await plane.get(resources.JOBS, "work")
        assert await plane.list(resources.PODS) == []
        assert found["status"].get("failed", 0) == 0
        assert conditions(found) == [("Suspended", "JobSuspended")]
        assert "startTime" not in found["status"]
        await plane.patch(resources.JOBS, "work", {"spec": {"suspend": False}})
        await asyncio.sleep(10)
        assert len(await plane.list(resources.PODS)) == 2
        assert conditions(await plane.get(resources.JOBS, "work")) == [("Suspended", "JobResumed")]

    control_plane.run(test)


def test_a_suspended_job_with_nothing_to_do_is_complete() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        await plane.create(resources.JOBS, job(completions=0, suspend=True))
        await asyncio.sleep(5)
        found = await plane.get(resources.JOBS, "work")
        assert ("Complete", "CompletionsReached") in conditions(found)

    control_plane.run(test)


@pytest.mark.parametrize("policy", ["Background", "Foreground"])
def test_deleting_a_job_leaves_no_pod_behind(policy: str) -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        await plane.create(resources.JOBS, job(parallelism=2))
        await asyncio.sleep(5)
        await plane.delete(resources.JOBS, "work", propagation_policy=policy)
        await asyncio.sleep(20)
        assert await plane.find(resources.JOBS, "work") is None
        assert await plane.list(resources.PODS) == []

    control_plane.run(test)


def test_an_orphaned_pod_is_adopted_again() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        await plane.create(resources.JOBS, job(parallelism=1))
        await asyncio.sleep(5)
        (pod,) = await plane.list(resources.PODS)
        await plane.patch(resources.PODS, pod["metadata"]["name"], {"metadata": {"ownerReferences": None}})
        await asyncio.sleep(5)
        (again,) = await plane.list(resources.PODS)
        assert again["metadata"]["uid"] == pod["metadata"]["uid"]
        assert again["metadata"]["ownerReferences"][0]["name"] == "work"
        assert again["metadata"]["finalizers"] == ["batch.kubernetes.io/job-tracking"]

    control_plane.run(test)


def test_a_job_that_fails_and_succeeds_at_once_has_failed() -> None:
    policy = {"rules": [{"succeededIndexes": "0"}]}
    spec = {"completions": 2, "completionMode": "Indexed", "backoffLimitPerIndex": 0, "successPolicy": policy}
    work = job(**spec, selector={"matchLabels": {"app": "work"}})
    work["metadata"] |= {"namespace": "x", "uid": "u"}
    work["status"] = {"completedIndexes": "0", "failedIndexes": "1", "startTime": "2026-01-02T03:04:05Z"}
    caches = {resources.JOBS: cache.Cache(), resources.PODS: cache.Cache()}
    caches[resources.JOBS].set(("x", "work"), work)
    for resource, name, function in jobs.controller().indexes:
        caches[resource].add_index(name, function)
    now = datetime.datetime(2026, 1, 2, 4, tzinfo=datetime.UTC)
    (update,) = jobs.plan(views.View(caches), ("x", "work"), now)
    assert isinstance(update, actions.Update)
    assert conditions(update.obj) == [("FailureTarget", "FailedIndexes")]
