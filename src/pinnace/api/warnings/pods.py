"""Pods, and whatever makes pods from a template (pkg/api/pod/warnings.go)."""

from collections.abc import Iterator, Mapping
from typing import Any

from pinnace.api.validation import formats
from pinnace.api.warnings import nodes, storage, volumes

Object = Mapping[str, Any]

_BYTES = ("ephemeral-storage", "memory")
_SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"
_APP_ARMOR = "container.apparmor.security.beta.kubernetes.io/"
_SECCOMP_GONE = 'non-functional in v1.27+; use the "seccompProfile" field instead'
_APP_ARMOR_OLD = 'deprecated since v1.30; use the "appArmorProfile" field instead'
_ANNOTATIONS = {
    "scheduler.alpha.kubernetes.io/critical-pod": 'non-functional in v1.16+; use the "priorityClassName" field instead',
    "security.alpha.kubernetes.io/sysctls": 'non-functional in v1.11+; use the "sysctls" field instead',
    "security.alpha.kubernetes.io/unsafe-sysctls": 'non-functional in v1.11+; use the "sysctls" field instead',
}
_MATCHES_NOTHING = "a null labelSelector results in matching no pod"


def pod(new: Object, old: Object | None, subresource: str) -> list[str]:
    """On creation alone: pods are changed by programs, often, and people do not read what those are told."""
    return [] if old is not None else [*name_of_pods(new), *template("", new)]


def name_of_pods(obj: Object) -> Iterator[str]:
    wrong = formats.dns_label(obj["metadata"].get("name") or "")
    if wrong:
        yield (
            "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; "
            f"a DNS label is recommended: [{' '.join(wrong)}]"
        )


def template(path: str, made: Object) -> Iterator[str]:
    """Of a pod ("") or a template at `path`."""
    prefix = f"{path}." if path else ""
    spec, metadata = made.get("spec") or {}, made.get("metadata") or {}
    where = f"{prefix}spec"
    yield from _of_nodes(where, spec)
    yield from _of_annotations(f"{prefix}metadata.annotations", metadata.get("annotations") or {}, spec)
    for index, volume in enumerate(spec.get("volumes") or ()):
        yield from storage.removed_plugins(f"{where}.volumes[{index}]", volume)
        claim = (volume.get("ephemeral") or {}).get("volumeClaimTemplate") or {}
        yield from storage.claim_spec(
            f"{where}.volumes[{index}].ephemeral.volumeClaimTemplate.spec", claim.get("spec") or {}
        )
    yield from volumes.overlapping(spec.get("volumes") or ())
    yield from _doubles(f"{where}.hostAliases", spec.get("hostAliases"), "ip")
    yield from _doubles(f"{where}.imagePullSecrets", spec.get("imagePullSecrets"), "name")
    for index, secret in enumerate(spec.get("imagePullSecrets") or ()):
        if not secret.get("name"):
            yield f'{where}.imagePullSecrets[{index}].name: invalid empty name ""'
    yield from storage.fractional(f"{where}.overhead", spec.get("overhead") or {}, _BYTES)
    for at, container in _containers(where, spec):
        yield from _of_container(at, container)
    yield from _of_ports(where, spec)
    if (spec.get("terminationGracePeriodSeconds") or 0) < 0:
        yield (
            f"{where}.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"
        )
    for name in ("podAffinity", "podAntiAffinity"):
        yield from _of_pod_affinity(f"{where}.affinity.{name}", (spec.get("affinity") or {}).get(name) or {})


def _containers(where: str, spec: Object) -> Iterator[tuple[str, Object]]:
    for field in ("initContainers", "containers", "ephemeralContainers"):
        for index, container in enumerate(spec.get(field) or ()):
            yield f"{where}.{field}[{index}]", container


def _of_nodes(where: str, spec: Object) -> Iterator[str]:
    for key in sorted(set(spec.get("nodeSelector") or {}) & set(nodes.DEPRECATED_LABELS)):
        yield f"{where}.nodeSelector[{key}]: {nodes.DEPRECATED_LABELS[key]}"
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    base = f"{where}.affinity.nodeAffinity"
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    at = f"{base}.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"
    yield from nodes.selector_terms(at, required.get("nodeSelectorTerms"))
    for index, term in enumerate(affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ()):
        at = f"{base}.preferredDuringSchedulingIgnoredDuringExecution[{index}].preference.matchExpressions"
        yield from nodes.expressions(at, (term.get("preference") or {}).get("matchExpressions"))
    for index, constraint in enumerate(spec.get("topologySpreadConstraints") or ()):
        at = f"{where}.topologySpreadConstraints[{index}]"
        yield from nodes.label_key(f"{at}.topologyKey", constraint.get("topologyKey", ""))
        if constraint.get("labelSelector") is None:
            yield f"{at}.labelSelector: {_MATCHES_NOTHING}"


def _of_annotations(path: str, annotations: Object, spec: Object) -> Iterator[str]:
    if not annotations:
        return
    for key, text in _ANNOTATIONS.items():
        if key in annotations:
            yield f"{path}[{key}]: {text}"
    context = spec.get("securityContext") or {}
    if _SECCOMP_POD in annotations and context.get("seccompProfile") is None:
        yield f"{path}[{_SECCOMP_POD}]: {_SECCOMP_GONE}"
    for _, container in _containers("", spec):
        own, name = container.get("securityContext") or {}, container.get("name", "")
        if _SECCOMP_CONTAINER + name in annotations and own.get("seccompProfile") is None:
            yield f"{path}[{_SECCOMP_CONTAINER}{name}]: {_SECCOMP_GONE}"
        has_profile = context.get("appArmorProfile") is not None or own.get("appArmorProfile") is not None
        if _APP_ARMOR + name in annotations and not has_profile:
            yield f"{path}[{_APP_ARMOR}{name}]: {_APP_ARMOR_OLD}"


def _doubles(path: str, items: Any, field: str) -> Iterator[str]:
    seen = set()
    for index, item in enumerate(items or ()):
        value = item.get(field, "")
        if value in seen:
            yield f'{path}[{index}].{field}: duplicate {field} "{value}"'
        seen.add(value)


def _of_container(path: str, container: Object) -> Iterator[str]:
    resources = container.get("resources") or {}
    for part in ("limits", "requests"):
        yield from storage.fractional(f"{path}.resources.{part}", resources.get(part) or {}, _BYTES)
    seen = set()
    for index, variable in enumerate(container.get("env") or ()):
        name, value = variable.get("name", ""), variable.get("value") or ""
        reference = f"$({name})"
        # One that is built on the earlier one hides nothing: PATH=$(PATH):/more.
        builds_on = variable.get("valueFrom") is None and reference in value and value != reference
        if name in seen and not builds_on:
            yield f'{path}.env[{index}]: hides previous definition of "{name}", which may be dropped when using apply'
        seen.add(name)


def _of_ports(where: str, spec: Object) -> Iterator[str]:
    numbers: dict[tuple[int, str], list[tuple[str, Object]]] = {}
    names: dict[str, str] = {}
    for at, container in _containers(where, spec):
        for index, port in enumerate(container.get("ports") or ()):
            here, protocol = f"{at}.ports[{index}]", port.get("protocol") or "TCP"
            number, host_port, host = port.get("containerPort", 0), port.get("hostPort") or 0, port.get("hostIP") or ""
            if host and not host_port:
                shown = f"{{Name:{port.get('name', '')} HostPort:0 ContainerPort:{number} Protocol:{protocol} HostIP:{host}}}"
                yield f"{here}: hostIP set without hostPort: {shown}"
            for there, other in numbers.get((number, protocol), ()):
                how = _clash(host_port, host, other.get("hostPort") or 0, other.get("hostIP") or "")
                if how:
                    yield f"{here}: {how} port definition with {there}"
            numbers.setdefault((number, protocol), []).append((here, port))
            name = port.get("name")
            if not name:
                continue
            # Within one container it is refused.
            if name in names and not names[name].startswith(f"{at}."):
                yield (
                    f'{here}: duplicate port name "{name}" with {names[name]}, '
                    f"services and probes that select ports by name will use {names[name]}"
                )
            names.setdefault(name, here)


def _clash(port: int, host: str, other_port: int, other_host: str) -> str:
    """How two ports of one number and protocol get into each other's way; "" if they do not."""
    if (port, host) == (other_port, other_host):
        return "duplicate"
    if not port or not other_port:
        return "overlapping"
    return "dangerously ambiguous" if port == other_port and bool(host) != bool(other_host) else ""


def _of_pod_affinity(path: str, affinity: Object) -> Iterator[str]:
    for index, term in enumerate(affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or ()):
        if term.get("labelSelector") is None:
            yield f"{path}.requiredDuringSchedulingIgnoredDuringExecution[{index}].labelSelector: {_MATCHES_NOTHING}"
    for index, weighted in enumerate(affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ()):
        if (weighted.get("podAffinityTerm") or {}).get("labelSelector") is None:
            at = f"{path}.preferredDuringSchedulingIgnoredDuringExecution[{index}].podAffinityTerm.labelSelector"
            yield f"{at}: {_MATCHES_NOTHING}"
