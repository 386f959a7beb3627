"""Events of both groups and certificate requests: upstream's paths and words."""

import copy
from typing import Any

import pytest

from pinnace.api import kinds, strategy

REGISTRY = kinds.builtin()
NEW = {
    "apiVersion": "events.k8s.io/v1",
    "kind": "Event",
    "metadata": {"name": "a", "namespace": "ns"},
    "eventTime": "2026-01-01T00:00:00.000000Z",
    "reportingController": "c",
    "reportingInstance": "i",
    "action": "Do",
    "reason": "Why",
    "type": "Normal",
    "note": "n",
    "regarding": {"kind": "Pod", "name": "x", "namespace": "ns"},
}
OLD = {
    "apiVersion": "v1",
    "kind": "Event",
    "metadata": {"name": "a", "namespace": "ns"},
    "reason": "Why",
    "type": "Anything",
    "message": "m",
    "involvedObject": {"kind": "Pod", "name": "x", "namespace": "ns"},
}


def kind(group: str, name: str) -> kinds.Kind:
    found = REGISTRY.by_kind(group, "v1", name)
    assert found is not None
    return found


def told(group: str, obj: dict[str, Any]) -> list[str]:
    return [str(cause) for cause in strategy.validate_create(kind(group, "Event"), obj)]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, []),
        ({"eventTime": None}, ["eventTime: Required value"]),
        ({"type": "Odd"}, ['type: Invalid value: "": has invalid value: Odd']),
        ({"action": ""}, ["action: Required value"]),
        ({"reason": "r" * 129}, ['reason: Invalid value: "": can have at most 128 characters']),
        ({"note": "n" * 1025}, ['message: Invalid value: "": can have at most 1024 characters']),
        ({"deprecatedCount": 3}, ['count: Invalid value: "": needs to be unset']),
        ({"deprecatedSource": {"host": "h"}}, ['source: Invalid value: "": needs to be unset']),
        (
            {"series": {"count": 1}},
            ['series.count: Invalid value: "": should be at least 2', "series.lastObservedTime: Required value"],
        ),
        (
            {"regarding": {"name": "x", "namespace": "other"}},
            ['involvedObject.namespace: Invalid value: "other": does not match event.namespace'],
        ),
    ],
)
def test_events_of_the_new_group_are_judged_strictly(change: dict[str, Any], words: list[str]) -> None:
    assert told("events.k8s.io", {**NEW, **change}) == words


def test_events_of_the_core_group_are_judged_leniently_until_they_say_when() -> None:
    assert told("", OLD) == []
    assert told("", {**OLD, "metadata": {"name": "a", "namespace": "default"}, "involvedObject": {"name": "n"}}) == []
    timed = told("", {**OLD, "eventTime": "2026-01-01T00:00:00.000000Z"})
    assert timed[0] == "reportingComponent: Required value"
    assert timed[-2:] == ["reportingInstance: Required value", "action: Required value"]


def test_of_a_new_event_only_series_and_note_change() -> None:
    new = copy.deepcopy(NEW)
    old = {**NEW, "metadata": {**NEW["metadata"], "resourceVersion": "1"}}  # type: ignore[dict-item]
    new["metadata"] = dict(old["metadata"])  # type: ignore[call-overload]
    new["series"] = {"count": 2, "lastObservedTime": "2026-01-01T00:00:01.000000Z"}
    assert strategy.validate_update(kind("events.k8s.io", "Event"), new, old, "") == []
    new["note"] = "other"
    assert strategy.validate_update(kind("events.k8s.io", "Event"), new, old, "") == []
    new["action"] = "Other"
    (cause,) = strategy.validate_update(kind("events.k8s.io", "Event"), new, old, "")
    assert str(cause) == 'action: Invalid value: "Other": field is immutable'


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, []),
        ({"usages": []}, ["spec.usages: Required value"]),
        ({"usages": ["client auth", "client auth"]}, ['spec.usages[1]: Duplicate value: "client auth"']),
        ({"signerName": ""}, ["spec.signerName: Required value"]),
        (
            {"signerName": "kubernetes.io/legacy-unknown"},
            [
                'spec.signerName: Invalid value: "kubernetes.io/legacy-unknown": '
                "the legacy signerName is not allowed via this API version"
            ],
        ),
        (
            {"signerName": "nobody"},
            [
                'spec.signerName: Invalid value: "nobody": '
                'must be a fully qualified domain and path of the form "example.com/signer-name"'
            ],
        ),
        (
            {"expirationSeconds": 599},
            [
                "spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 600 seconds (10 minutes)"
            ],
        ),
    ],
)
def test_certificate_requests(change: dict[str, Any], words: list[str]) -> None:
    spec = {"request": "eA==", "signerName": "example.com/own", "usages": ["client auth"], **change}
    obj = {"metadata": {"name": "a"}, "spec": spec}
    found = strategy.validate_create(kind("certificates.k8s.io", "CertificateSigningRequest"), obj)
    assert [str(cause) for cause in found] == words
