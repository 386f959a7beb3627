"""Flow control and admission policies: upstream's paths and words."""

from typing import Any

import pytest

from pinnace.api import kinds, strategy
from pinnace.api.validation import flowcontrol
from pinnace.apiserver.bootstrap import flow_table

REGISTRY = kinds.builtin()
FLOW = "flowcontrol.apiserver.k8s.io"
ADMISSION = "admissionregistration.k8s.io"


def told(group: str, name: str, spec: dict[str, Any], object_name: str = "a") -> list[str]:
    kind = REGISTRY.by_kind(group, "v1", name)
    assert kind is not None
    obj = {"metadata": {"name": object_name}, "spec": spec}
    kind.rules.defaults(obj)
    return [str(cause) for cause in strategy.validate_create(kind, obj)]


def test_the_defaults_of_a_cluster_are_valid() -> None:
    for obj in (*flow_table.levels(), *flow_table.schemas()):
        assert told(FLOW, obj["kind"], obj["spec"], obj["metadata"]["name"]) == []


USER = {"kind": "User", "user": {"name": "u"}}
URLS = {"verbs": ["get"], "nonResourceURLs": ["/x"]}


def schema(**rule: Any) -> dict[str, Any]:
    rules = {"subjects": [USER], "nonResourceRules": [URLS], **rule}
    return {"priorityLevelConfiguration": {"name": "l"}, "rules": [rules]}


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (schema(), []),
        ({}, ["spec.priorityLevelConfiguration.name: Required value: must reference a priority level"]),
        (
            {**schema(), "matchingPrecedence": 10001},
            ["spec.matchingPrecedence: Invalid value: 10001: must not be greater than 10000"],
        ),
        (
            {**schema(), "matchingPrecedence": 1},
            [
                "spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have matchingPrecedence 1",
            ],
        ),
        (
            schema(subjects=[{"kind": "Robot"}]),
            [
                'spec.rules[0].subjects[0].kind: Unsupported value: "Robot": supported values: "Group", '
                '"ServiceAccount", "User"'
            ],
        ),
        (
            schema(subjects=[{**USER, "group": {"name": "g"}}]),
            ["spec.rules[0].subjects[0].group: Forbidden: group is forbidden when subject kind is not 'Group'"],
        ),
        (
            schema(nonResourceRules=[]),
            ["spec.rules[0]: Required value: at least one of resourceRules and nonResourceRules has to be non-empty"],
        ),
        (
            schema(nonResourceRules=[{"verbs": ["get"], "nonResourceURLs": ["/a*"]}]),
            [
                'spec.rules[0].nonResourceRules[0].nonResourceURLs[0]: Invalid value: "/a*": '
                "wildcard can only do suffix matching"
            ],
        ),
        (
            schema(resourceRules=[{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]),
            [
                "spec.rules[0].resourceRules[0].namespaces: Required value: "
                "resource rules that are not cluster scoped must supply at least one namespace"
            ],
        ),
    ],
)
def test_flow_schemas(spec: dict[str, Any], words: list[str]) -> None:
    assert told(FLOW, "FlowSchema", spec) == words


def limited(**response: Any) -> dict[str, Any]:
    return {"type": "Limited", "limited": {"limitResponse": {"type": "Queue", **response}}}


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (limited(queuing={}), []),
        (
            {"type": "Exempt"},
            ["spec.type: Invalid value: \"Exempt\": type must be 'Exempt' if and only if name is 'exempt'"],
        ),
        ({"type": "Limited"}, ["spec.limited: Required value: must not be empty when type is Limited"]),
        (
            limited(),
            [
                "spec.limited.limitResponse.queuing: Required value: "
                "must not be empty if limited.limitResponse.type is Limited"
            ],
        ),
        (
            limited(queuing={"queues": 4, "handSize": 5}),
            [
                "spec.limited.limitResponse.queuing.handSize: Invalid value: 5: should not be greater than queues (4)",
            ],
        ),
        (
            limited(queuing={"queues": 512, "handSize": 8}),
            [
                "spec.limited.limitResponse.queuing.handSize: Invalid value: 8: "
                "required entropy bits of deckSize 512 and handSize 8 should not be greater than 60"
            ],
        ),
    ],
)
def test_priority_levels(spec: dict[str, Any], words: list[str]) -> None:
    assert told(FLOW, "PriorityLevelConfiguration", spec) == words


def test_hands_of_queues_take_random_bits() -> None:
    assert [flowcontrol.entropy_bits(*pair) for pair in ((1, 1), (64, 6), (128, 8), (512, 8))] == [0, 36, 56, 72]


RULE = {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["deployments"]}
MATCH = {"resourceRules": [RULE]}


@pytest.mark.parametrize(
    ("kind", "spec", "words"),
    [
        ("ValidatingAdmissionPolicy", {"matchConstraints": MATCH, "validations": [{"expression": "true"}]}, []),
        (
            "ValidatingAdmissionPolicy",
            {},
            [
                "spec.matchConstraints: Required value",
                "spec.validations: Required value: validations or auditAnnotations must be non-empty",
                "spec.auditAnnotations: Required value: validations or auditAnnotations must be non-empty",
            ],
        ),
        (
            "ValidatingAdmissionPolicy",
            {"matchConstraints": {}, "validations": [{"expression": " "}]},
            [
                "spec.matchConstraints.resourceRules: Required value",
                "spec.validations[0].expression: Required value: expression is not specified",
            ],
        ),
        ("ValidatingAdmissionPolicyBinding", {"policyName": "p", "validationActions": ["Deny", "Audit"]}, []),
        (
            "ValidatingAdmissionPolicyBinding",
            {"policyName": "p", "paramRef": {}, "validationActions": ["Deny", "Shout"]},
            [
                "spec.paramRef: Required value: one of name or selector must be specified",
                "spec.paramRef.parameterNotFoundAction: Required value",
                'spec.validationActions[1]: Unsupported value: "Shout": supported values: "Audit", "Deny", "Warn"',
            ],
        ),
        (
            "MutatingAdmissionPolicy",
            {
                "matchConstraints": MATCH,
                "reinvocationPolicy": "Never",
                "mutations": [{"patchType": "JSONPatch"}],
            },
            ["spec.mutations[0].jsonPatch: Required value: must be specified when patchType is JSONPatch"],
        ),
        ("MutatingAdmissionPolicyBinding", {}, ["spec.policyName: Required value"]),
    ],
)
def test_admission_policies_and_bindings(kind: str, spec: dict[str, Any], words: list[str]) -> None:
    assert told(ADMISSION, kind, spec) == words
