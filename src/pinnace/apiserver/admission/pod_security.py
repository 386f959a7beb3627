"""PodSecurity: the Pod Security Standards, as a namespace's labels ask for them.

Enforced on pods; on what makes pods (deployments, jobs …) only told as warnings, as upstream does. Labels that mean nothing
are refused, and who raises a namespace's level is warned of the pods that are there already.
"""

import asyncio
import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pinnace.api import errors, resources
from pinnace.apiserver.admission import attributes as admission
from pinnace.apiserver.admission import pod_standards
from pinnace.apiserver.storage import objects

Object = dict[str, Any]

_LABEL = "pod-security.kubernetes.io/"
_VERSION = re.compile(r"v1\.(0|[1-9][0-9]{0,4})", re.ASCII)
_LEVEL_WRONG = f"must be one of {', '.join(pod_standards.LEVELS)}"
_VERSION_WRONG = 'must be "latest" or "v1.x"'

MOST_PODS = 3000
"""How many pods of a namespace are looked at when its level changes, and for how long (upstream's limits)."""
MOST_SECONDS = 1.0
_PODS_AT_A_TIME = 50


@dataclasses.dataclass(frozen=True, slots=True)
class Standard:
    """A level of the standards as of a version."""

    level: str
    minor: int = pod_standards.LATEST

    def __str__(self) -> str:
        return f"{self.level}:{'latest' if self.minor == pod_standards.LATEST else f'v1.{self.minor}'}"

    def is_stricter_than(self, other: "Standard") -> bool:
        return pod_standards.LEVELS.index(self.level) > pod_standards.LEVELS.index(other.level)


@dataclasses.dataclass(frozen=True, slots=True)
class Policy:
    """What a namespace asks for."""

    enforce: Standard
    warn: Standard
    wrong: tuple[errors.Cause, ...] = ()
    """Labels that mean nothing. The strictest level is enforced for them, and nothing warned of."""


def policy_of(labels: Mapping[str, str], default: str) -> Policy:
    """`default`: the level of namespaces that say nothing."""
    wrong: list[errors.Cause] = []
    enforce = _standard(labels, "enforce", default, "restricted", wrong)
    _standard(labels, "audit", default, "privileged", wrong)
    warn = _standard(labels, "warn", default, "privileged", wrong)
    if f"{_LABEL}warn" not in labels and f"{_LABEL}enforce" in labels and enforce.is_stricter_than(warn):
        # Who is refused later wants to know it now.
        warn = dataclasses.replace(
            warn, level=enforce.level, minor=warn.minor if f"{_LABEL}warn-version" in labels else enforce.minor
        )
    return Policy(enforce, warn, tuple(wrong))


def _standard(labels: Mapping[str, str], mode: str, default: str, fallback: str, wrong: list[errors.Cause]) -> Standard:
    level, version = labels.get(_LABEL + mode, default), labels.get(f"{_LABEL}{mode}-version", "latest")
    if level not in pod_standards.LEVELS:
        wrong.append(_cause(_LABEL + mode, level, _LEVEL_WRONG))
        level = fallback
    if version == "latest":
        return Standard(level)
    match = _VERSION.fullmatch(version)
    if match is None:
        wrong.append(_cause(f"{_LABEL}{mode}-version", version, _VERSION_WRONG))
        return Standard(level)
    return Standard(level, int(match[1]))


def _cause(label: str, value: str, why: str) -> errors.Cause:
    return errors.Cause("FieldValueInvalid", f'Invalid value: "{value}": {why}', f"metadata.labels[{label}]")


def _labels_of(obj: Object | None) -> Mapping[str, str]:
    labels: Mapping[str, str] = ((obj or {}).get("metadata") or {}).get("labels") or {}
    return labels


class PodSecurity:
    def __init__(self, stored: objects.Objects, default: str) -> None:
        self._objects = stored
        self._default = default

    async def validate(self, attributes: admission.Attributes) -> None:
        namespace = self._objects.get(resources.NAMESPACES, "", attributes.namespace)
        policy = policy_of(_labels_of(namespace), self._default)
        if policy.enforce.level == policy.warn.level == "privileged":
            return
        is_pod = attributes.resource == ("", "pods")
        metadata, spec = _pod_of(attributes)
        if spec is None or (is_pod and not _is_significant(attributes)):
            return
        if is_pod and (wrong := _violations(policy.enforce, metadata, spec)):
            raise errors.forbidden(
                "", "pods", attributes.name, f'violates PodSecurity "{policy.enforce}": {", ".join(wrong)}'
            )
        if wrong := _violations(policy.warn, metadata, spec):
            attributes.warnings.append(f'would violate PodSecurity "{policy.warn}": {", ".join(wrong)}')


class NamespaceLabels:
    """The namespace's side: its labels mean something, and whoever makes them stricter learns what does not fit."""

    def __init__(self, stored: objects.Objects, default: str) -> None:
        self._objects = stored
        self._default = default

    async def validate(self, attributes: admission.Attributes) -> None:
        new = policy_of(_labels_of(attributes.obj), self._default)
        old = policy_of(_labels_of(attributes.old), self._default) if attributes.old is not None else None
        if new.wrong and (old is None or new.wrong != old.wrong):
            raise errors.invalid("", "Namespace", attributes.name, new.wrong)
        if old is None or new.enforce == old.enforce or new.enforce.level == "privileged":
            return
        if new.enforce.minor == old.enforce.minor and not new.enforce.is_stricter_than(old.enforce):
            return
        attributes.warnings += await self._violating_pods(attributes.name, new.enforce)

    async def _violating_pods(self, namespace: str, enforce: Standard) -> list[str]:
        records = self._objects.records(resources.PODS, namespace)
        names: dict[str, list[str]] = {}
        loop = asyncio.get_running_loop()
        until, checked = loop.time() + MOST_SECONDS, 0
        for pod in self._objects.all(resources.PODS, namespace):
            if checked >= MOST_PODS or loop.time() > until:
                break
            checked += 1
            wrong = _violations(enforce, pod["metadata"], pod.get("spec") or {})
            if wrong:
                reasons = ", ".join(map(pod_standards.reason_of, wrong))
                names.setdefault(reasons, []).append(pod["metadata"]["name"])
            if checked % _PODS_AT_A_TIME == 0:
                await asyncio.sleep(0)  # Others are served meanwhile.
        told = []
        if checked < len(records):
            told.append(
                f"new PodSecurity enforce level only checked against the first {checked} of {len(records)} existing pods"
            )
        if names:
            told.append(
                f'existing pods in namespace "{namespace}" violate the new PodSecurity enforce level "{enforce}"'
            )
        return told + sorted(f"{_some(sorted(pods))}: {reasons}" for reasons, pods in names.items())


def _some(names: Sequence[str]) -> str:
    others = len(names) - 1
    return f"{names[0]} (and {others} other pod{'s' if others > 1 else ''})" if others else names[0]


def _violations(standard: Standard, metadata: Object, spec: Object) -> list[str]:
    return list(pod_standards.violations(standard.level, metadata, spec, standard.minor))


def _pod_of(attributes: admission.Attributes) -> tuple[Object, Object | None]:
    """(metadata, spec) of the pod, or of the template that pods are made from."""
    obj = attributes.obj or {}
    if attributes.resource == ("", "pods"):
        return obj.get("metadata") or {}, obj.get("spec")
    if attributes.resource == ("batch", "cronjobs"):
        obj = ((obj.get("spec") or {}).get("jobTemplate")) or {}
    template = (
        obj.get("template") if attributes.resource == ("", "podtemplates") else (obj.get("spec") or {}).get("template")
    )
    template = template or {}
    return template.get("metadata") or {}, template.get("spec")


def _is_significant(attributes: admission.Attributes) -> bool:
    """Whether an update may make another pod of it: of what can be changed, only images and new containers can."""
    if attributes.old is None:
        return True
    return _images(attributes.obj) != _images(attributes.old)


def _images(pod: Object | None) -> list[tuple[str, object, object]]:
    spec = (pod or {}).get("spec") or {}
    return [
        (field, container.get("name"), container.get("image"))
        for field in ("initContainers", "containers", "ephemeralContainers")
        for container in spec.get(field) or ()
    ]
