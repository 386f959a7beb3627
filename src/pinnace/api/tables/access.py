"""Cells of roles, certificates, admission, flow control, devices and extensions of the API."""

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from pinnace.api.tables import duration, printers


def _binding(obj: printers.Object, now: datetime.datetime) -> printers.Cells:
    subjects = obj.get("subjects") or ()
    role = obj.get("roleRef") or {}
    return [
        printers.name(obj),
        f"{role.get('kind', '')}/{role.get('name', '')}",
        printers.age(obj, now),
        _subjects(subjects, "User"),
        _subjects(subjects, "Group"),
        ", ".join(
            f"{s.get('namespace', '')}/{s.get('name', '')}" for s in subjects if s.get("kind") == "ServiceAccount"
        ),
    ]


def _subjects(subjects: Sequence[Mapping[str, Any]], kind: str) -> str:
    return ", ".join(subject.get("name", "") for subject in subjects if subject.get("kind") == kind)


def _signing_request(obj: printers.Object, now: datetime.datetime) -> printers.Cells:
    seconds = printers.at(obj, "spec.expirationSeconds")
    return [
        printers.name(obj),
        printers.age(obj, now),
        printers.at(obj, "spec.signerName", printers.NONE),
        printers.at(obj, "spec.username", ""),
        printers.NONE if seconds is None else duration.human(seconds),
        _signing_status(obj),
    ]


def _signing_status(obj: printers.Object) -> str:
    types = {item.get("type") for item in printers.at(obj, "status.conditions", ())}
    status = "Denied" if "Denied" in types else ("Approved" if "Approved" in types else "Pending")
    if "Failed" in types:
        status += ",Failed"
    return f"{status},Issued" if printers.at(obj, "status.certificate") else status


def _trust_bundle(obj: printers.Object, now: datetime.datetime) -> printers.Cells:
    return [printers.name(obj), printers.at(obj, "spec.signerName") or printers.NONE]


def _webhooks(obj: printers.Object, now: datetime.datetime) -> printers.Cells:
    return [printers.name(obj), printers.length(obj, "webhooks"), printers.age(obj, now)]


def _validating_policy(obj: printers.Object, now: datetime.datetime) -> printers.Cells:
    return [printers.name(obj), printers.length(obj, "spec.validations"), _param_kind(obj), printers.age(obj, now)]


def _mutating_policy(obj: printers.Object, now: datetime.datetime) -> printers.Cells:
    return [printers.name(obj), printers.length(obj, "spec.mutations"), _param_kind(obj), printers.age(obj, now)]


def _param_kind(obj: printers.Object) -> str:
    kind = printers.at(obj, "spec.paramKind")
    return f"{kind.get('apiVersion', '')}/{kind.get('kind', '')}" if kind else printers.UNSET


def _policy_binding(obj: printers.Object, now: datetime.datetime) -> printers.Cells:
    reference = printers.at(obj, "spec.paramRef")
    shown = printers.UNSET
    if reference:
        if reference.get("name"):
            namespace = reference.get("namespace")
            shown = f"{namespace}/{reference['name']}" if namespace else f"*/{reference['name']}"
        elif reference.get("selector") is not None:
            shown = printers.selector(reference["selector"])
    return [printers.name(obj), printers.at(obj, "spec.policyName", ""), shown, printers.age(obj, now)]


def _flow_schema(obj: printers.Object, now: datetime.datetime) -> printers.Cells:
    dangling = next(
        (item.get("status") for item in printers.at(obj, "status.conditions", ()) if item.get("type") == "Dangling"),
        "?",
    )
    return [
        printers.name(obj),
        printers.at(obj, "spec.priorityLevelConfiguration.name", printers.NONE),
        printers.count(obj, "spec.matchingPrecedence"),
        printers.at(obj, "spec.distinguisherMethod.type", printers.NONE),
        printers.age(obj, now),
        dangling,
    ]


def _priority_level(obj: printers.Object, now: datetime.datetime) -> printers.Cells:
    def limited(path: str) -> Any:
        return printers.at(obj, f"spec.limited.{path}", printers.NONE)

    return [
        printers.name(obj),
        printers.at(obj, "spec.type", ""),
        limited("nominalConcurrencyShares"),
        limited("limitResponse.queuing.queues"),
        limited("limitResponse.queuing.handSize"),
        limited("limitResponse.queuing.queueLengthLimit"),
        printers.age(obj, now),
    ]


def _api_service(obj: printers.Object, now: datetime.datetime) -> printers.Cells:
    service = printers.at(obj, "spec.service")
    shown = f"{service.get('namespace', '')}/{service.get('name', '')}" if service else "Local"
    available = next(
        (item for item in printers.at(obj, "status.conditions", ()) if item.get("type") == "Available"), None
    )
    state = "Unknown"
    if available is not None:
        state = available.get("status", "")
        if state != "True":
            state = f"{state} ({available.get('reason', '')})"
    return [printers.name(obj), shown, state, printers.age(obj, now)]


def _resource_claim(obj: printers.Object, now: datetime.datetime) -> printers.Cells:
    states = []
    if obj["metadata"].get("deletionTimestamp"):
        states.append("deleted")
    if printers.at(obj, "status.allocation") is None:
        states.append("pending")
    else:
        states.append("allocated")
        states.append("reserved" if printers.at(obj, "status.reservedFor") else "")
    return [printers.name(obj), ",".join(filter(None, states)), printers.age(obj, now)]


def _resource_slice(obj: printers.Object, now: datetime.datetime) -> printers.Cells:
    return [
        printers.name(obj),
        printers.at(obj, "spec.nodeName", ""),
        printers.at(obj, "spec.driver", ""),
        printers.at(obj, "spec.pool.name", ""),
        printers.age(obj, now),
    ]


ROLE_BINDING = printers.Printer(
    printers.columns("Name", "Role", "Age", wide=("Users", "Groups", "ServiceAccounts")), _binding
)
CERTIFICATE_SIGNING_REQUEST = printers.Printer(
    printers.columns("Name", "Age", "SignerName", "Requestor", "RequestedDuration", "Condition"), _signing_request
)
CLUSTER_TRUST_BUNDLE = printers.Printer(printers.columns("Name", "SignerName"), _trust_bundle)
WEBHOOKS = printers.Printer(printers.columns("Name", "Webhooks:integer", "Age"), _webhooks)
VALIDATING_ADMISSION_POLICY = printers.Printer(
    printers.columns("Name", "Validations:integer", "ParamKind", "Age"), _validating_policy
)
MUTATING_ADMISSION_POLICY = printers.Printer(
    printers.columns("Name", "Mutations:integer", "ParamKind", "Age"), _mutating_policy
)
POLICY_BINDING = printers.Printer(printers.columns("Name", "PolicyName", "ParamRef", "Age"), _policy_binding)
FLOW_SCHEMA = printers.Printer(
    printers.columns("Name", "PriorityLevel", "MatchingPrecedence:integer", "DistinguisherMethod", "Age", "MissingPL"),
    _flow_schema,
)
PRIORITY_LEVEL_CONFIGURATION = printers.Printer(
    printers.columns("Name", "Type", "NominalConcurrencyShares", "Queues", "HandSize", "QueueLengthLimit", "Age"),
    _priority_level,
)
API_SERVICE = printers.Printer(printers.columns("Name", "Service", "Available", "Age"), _api_service)
RESOURCE_CLAIM = printers.Printer(printers.columns("Name", "State", "Age"), _resource_claim)
RESOURCE_SLICE = printers.Printer(printers.columns("Name", "Node", "Driver", "Pool", "Age"), _resource_slice)
