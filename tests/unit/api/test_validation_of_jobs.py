"""What may change in Jobs: the template of one at rest, and a status that never contradicts itself."""

from typing import Any

import pytest

from pinnace.api.validation import batch, field, job_status

Object = dict[str, Any]
METADATA = {"name": "j", "namespace": "d", "uid": "u", "resourceVersion": "1"}
EARLY, LATE = "2026-01-02T03:04:05Z", "2026-01-02T03:05:05Z"


def conditions(*true: str, **others: str) -> list[Object]:
    return [
        *({"type": each, "status": "True"} for each in true),
        *({"type": k, "status": v} for k, v in others.items()),
    ]


def job(status: Object | None = None, **spec: Any) -> Object:
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": "1"}}}
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"restartPolicy": "Never", "containers": [container]}}
    made = {"selector": {"matchLabels": {"a": "b"}}, "template": template, "completions": 3, "parallelism": 1, **spec}
    return {"metadata": METADATA, "spec": made, "status": status or {}}


def with_container(obj: Object, **fields: Any) -> Object:
    template = obj["spec"]["template"]
    container = {**template["spec"]["containers"][0], **fields}
    changed = {**template, "spec": {**template["spec"], "containers": [container]}}
    return {**obj, "spec": {**obj["spec"], "template": changed}}


@pytest.mark.parametrize(
    ("suspend", "status", "is_allowed"),
    [
        (False, {}, False),
        (True, {}, True),
        (True, {"active": 1}, False),
        (True, {"startTime": EARLY}, False),
        (True, {"startTime": EARLY, "conditions": conditions("Suspended")}, True),
        (True, {"startTime": EARLY, "active": 1, "conditions": conditions("Suspended")}, False),
    ],
)
def test_resources_and_placement_of_a_job_at_rest_may_change(suspend: bool, status: Object, is_allowed: bool) -> None:
    old = job(status, suspend=suspend)
    placed = job(status, suspend=suspend)
    placed["spec"]["template"]["spec"]["nodeSelector"] = {"disk": "fast"}
    for new in (with_container(old, resources={"limits": {"cpu": "2"}}), placed):
        found = field.Causes()
        batch.job_update(found, new, old)
        assert ("spec.template" in {each.field for each in found}) is not is_allowed


def test_nothing_else_of_a_job_at_rest_may_change() -> None:
    old = job(suspend=True)
    found = field.Causes()
    batch.job_update(found, with_container(old, image="other"), old)
    assert "spec.template" in {each.field for each in found}


COMPLETE = {"conditions": conditions("SuccessCriteriaMet", "Complete"), "startTime": EARLY, "completionTime": LATE}
FAILED = {"conditions": conditions("FailureTarget", "Failed"), "startTime": EARLY}
STATUSES: list[tuple[Object, Object, list[str]]] = [
    ({}, {"startTime": EARLY}, []),
    ({}, {"active": -1}, ["status.active"]),
    ({"startTime": EARLY}, COMPLETE, []),
    ({"startTime": EARLY}, FAILED, []),
    ({"startTime": EARLY}, {**COMPLETE, "active": 1, "terminating": 1}, ["status.active", "status.terminating"]),
    ({"startTime": EARLY}, {**COMPLETE, "completionTime": None}, ["status.completionTime"]),
    ({"startTime": LATE}, {**COMPLETE, "startTime": LATE, "completionTime": EARLY}, ["status.completionTime"]),
    ({"startTime": EARLY}, {"startTime": EARLY, "completionTime": LATE}, ["status.completionTime"]),
    ({}, {**FAILED, "startTime": None}, ["status.startTime"]),
    ({}, {**FAILED, "conditions": conditions("Failed")}, ["status.conditions"]),
    ({}, {**COMPLETE, "conditions": conditions("Complete")}, ["status.conditions"]),
    ({}, {"conditions": conditions("SuccessCriteriaMet", "FailureTarget")}, ["status.conditions"]),
    (COMPLETE, {**COMPLETE, "completionTime": "2026-01-02T03:06:05Z"}, ["status.completionTime"]),
    (FAILED, {"startTime": EARLY}, ["status.conditions", "status.conditions"]),
    ({"startTime": EARLY}, {"startTime": LATE}, ["status.startTime"]),
    ({"startTime": EARLY}, {}, ["status.startTime"]),
    (
        {"startTime": EARLY, "conditions": conditions("Suspended")},
        {"startTime": LATE, "conditions": conditions(Suspended="False")},
        [],
    ),
    ({"succeeded": 2, "failed": 2}, {"succeeded": 1, "failed": 1}, ["status.succeeded", "status.failed"]),
    ({}, {"active": 1, "ready": 2}, ["status.ready"]),
    ({"ready": 2}, {"ready": 2, "failed": 1}, []),
    ({}, {**FAILED, "uncountedTerminatedPods": {"failed": ["x"]}}, ["status.uncountedTerminatedPods"]),
    (
        {},
        {"uncountedTerminatedPods": {"succeeded": ["x", ""], "failed": ["x"]}},
        ["status.uncountedTerminatedPods.succeeded[1]", "status.uncountedTerminatedPods.failed[0]"],
    ),
    ({}, {"completedIndexes": "0"}, ["status.completedIndexes"]),
    ({}, {"failedIndexes": "0"}, ["status.failedIndexes"]),
]


@pytest.mark.parametrize(("old", "new", "paths"), STATUSES)
def test_a_status_neither_contradicts_itself_nor_takes_back_what_it_said(
    old: Object, new: Object, paths: list[str]
) -> None:
    found = field.Causes()
    job_status.update(found, job(new), job(old))
    assert [each.field for each in found] == paths


@pytest.mark.parametrize(
    ("completed", "failed", "words"),
    [
        ("0,2", "1", []),
        ("0-2", "", []),
        ("0,3", "", ['error parsing completedIndexes: too large index: "3"']),
        ("1,0", "", ["error parsing completedIndexes: non-increasing order, previous: 1, current: 0"]),
        ("x", "", ['error parsing completedIndexes: cannot convert string to integer for index: "x"']),
        ("0,1", "1,2", ["failedIndexes and completedIndexes overlap at index 1"]),
    ],
)
def test_indexes_of_a_status_are_in_order_and_apart(completed: str, failed: str, words: list[str]) -> None:
    spec = {"completionMode": "Indexed", "backoffLimitPerIndex": 1}
    found = field.Causes()
    job_status.update(found, job({"completedIndexes": completed, "failedIndexes": failed}, **spec), job(**spec))
    assert [each.message.partition(": ")[2].partition(": ")[2] for each in found] == words


def test_an_indexed_job_that_shrinks_may_forget_successes() -> None:
    spec = {"completionMode": "Indexed", "completions": 1, "parallelism": 1}
    found = field.Causes()
    job_status.update(found, job({"succeeded": 1}, **spec), job({"succeeded": 2}, **spec))
    assert found == []
