"""Whether this node takes a pod that was bound to it. Pure; the reasons and words are those of upstream's admission handlers."""

import dataclasses
from collections.abc import Iterable, Sequence

from pinnace.api import labels as api_labels
from pinnace.api import quantity, resource_names
from pinnace.kubelet.pod import podspec, qos


@dataclasses.dataclass(frozen=True, slots=True)
class Rejection:
    reason: str
    """`OutOfcpu`, `NodeAffinity`, `NodePorts` …: the pod's status.reason."""
    message: str


def admit(
    pod: podspec.Object, node: podspec.Object, others: Sequence[podspec.Object], *, has_apparmor: bool = False
) -> Rejection | None:
    """`others`: the pods that this node runs already (terminal ones left out)."""
    if not has_apparmor and wants_apparmor(pod):
        return _refuse("AppArmor", "Cannot enforce AppArmor: AppArmor is not enabled on the host")
    for check in (_operating_system, _sysctls, _resources, _selector, _ports, _taints):
        rejection = check(pod, node, others)
        if rejection is not None:
            return rejection
    return None


def _refuse(reason: str, detail: str) -> Rejection:
    return Rejection(reason, f"Pod was rejected: {detail}")


def _operating_system(pod: podspec.Object, node: podspec.Object, others: Sequence[podspec.Object]) -> Rejection | None:
    wanted = (pod["spec"].get("os") or {}).get("name")
    if wanted and wanted != "linux":
        return _refuse("PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS")
    return None


def wants_apparmor(pod: podspec.Object) -> bool:
    """Whether the pod is to be confined: to run it without that would take away what was asked for."""
    holders = [pod["spec"], *(container for _, container in podspec.containers(pod))]
    profiles = ((holder.get("securityContext") or {}).get("appArmorProfile") or {} for holder in holders)
    return any(profile.get("type", "Unconfined") != "Unconfined" for profile in profiles)


SAFE_SYSCTLS = frozenset(
    {
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ping_group_range",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.tcp_wmem",
    }
)
"""Those that belong to a namespace and cannot harm the node: the others a node would have to allow, and this one allows none."""


def _sysctls(pod: podspec.Object, node: podspec.Object, others: Sequence[podspec.Object]) -> Rejection | None:
    spec = pod["spec"]
    for entry in (spec.get("securityContext") or {}).get("sysctls") or ():
        name = str(entry["name"]).replace("/", ".")
        if name not in SAFE_SYSCTLS:
            return _refuse("SysctlForbidden", f'forbidden sysctl: "{name}" not allowlisted')
        if spec.get("hostNetwork") and name.startswith("net."):
            return _refuse("SysctlForbidden", f'forbidden sysctl: "{name}" not allowed with host net enabled')
        if spec.get("hostIPC") and name.startswith("kernel.shm"):
            return _refuse("SysctlForbidden", f'forbidden sysctl: "{name}" not allowed with host ipc enabled')
    return None


def _resources(pod: podspec.Object, node: podspec.Object, others: Sequence[podspec.Object]) -> Rejection | None:
    allocatable = node.get("status", {}).get("allocatable") or {}
    if len(others) + 1 > quantity.value(str(allocatable.get("pods", "0"))):
        return _refuse(
            "OutOfpods",
            f"Node didn't have enough resource: pods, requested: 1, used: {len(others)}, "
            f"capacity: {allocatable.get('pods', '0')}",
        )
    found = shortage(pod, node, others)
    return None if found is None else _refuse(found.reason, found.message)


def shortage(pod: podspec.Object, node: podspec.Object, others: Sequence[podspec.Object]) -> Rejection | None:
    """The first resource of which the pod wants more than the others leave; its message without the prefix of a refusal."""
    allocatable = node.get("status", {}).get("allocatable") or {}
    for resource in _requested(pod):
        requested = qos.pod_request(pod, resource)
        if not requested or (resource not in allocatable and resource_names.is_extended(resource)):
            # What the node itself does not count may be managed for the cluster as a whole.
            continue
        read = quantity.milli if resource == "cpu" else quantity.value
        capacity = read(str(allocatable.get(resource, "0")))
        used = sum(qos.pod_request(other, resource) for other in others)
        if used + requested > capacity:
            return Rejection(
                f"OutOf{resource}",
                f"Node didn't have enough resource: {resource}, requested: {requested}, used: {used}, "
                f"capacity: {capacity}",
            )
    return None


def _requested(pod: podspec.Object) -> list[str]:
    names = {"cpu", "memory", "ephemeral-storage"}
    for _, container in podspec.containers(pod):
        names.update((container.get("resources") or {}).get("requests") or {})
    return sorted(names)


def _selector(pod: podspec.Object, node: podspec.Object, others: Sequence[podspec.Object]) -> Rejection | None:
    labels = node["metadata"].get("labels") or {}
    selector = pod["spec"].get("nodeSelector") or {}
    if any(labels.get(key) != value for key, value in selector.items()) or not _affinity_matches(pod, node):
        return _refuse(
            "NodeAffinity", "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"
        )
    return None


def _affinity_matches(pod: podspec.Object, node: podspec.Object) -> bool:
    affinity = ((pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    return not affinity or selects(affinity, node)


def selects(selector: podspec.Object, node: podspec.Object) -> bool:
    """Whether a node selector (of a pod's affinity, of a volume) takes the node."""
    return any(_term_matches(term, node) for term in selector.get("nodeSelectorTerms") or ())


def _term_matches(term: podspec.Object, node: podspec.Object) -> bool:
    labels = node["metadata"].get("labels") or {}
    own = {"metadata.name": node["metadata"]["name"]}
    expressions = term.get("matchExpressions") or []
    names = term.get("matchFields") or []
    if not expressions and not names:
        return False
    return all(_matches(expression, labels) for expression in expressions) and all(
        _matches(expression, own) for expression in names
    )


def _matches(expression: podspec.Object, labels: dict[str, str]) -> bool:
    key, values = expression["key"], expression.get("values") or []
    present = key in labels
    match expression["operator"]:
        case "In":
            return present and labels[key] in values
        case "NotIn":
            return not present or labels[key] not in values
        case "Exists":
            return present
        case "DoesNotExist":
            return not present
        case "Gt" | "Lt" as operator:
            try:
                left, right = int(labels[key]), int(values[0])
            except (KeyError, ValueError, IndexError):
                return False
            return left > right if operator == "Gt" else left < right
    return False


def host_ports(pod: podspec.Object) -> set[tuple[str, str, int]]:
    """(address, protocol, port) of everything that the pod takes on the host; init containers do not count, sidecars do."""
    found = set()
    for role, container in podspec.containers(pod):
        if role not in (podspec.Role.MAIN, podspec.Role.SIDECAR):
            continue
        for port in container.get("ports") or ():
            if port.get("hostPort"):
                address = port.get("hostIP") or "0.0.0.0"  # noqa: S104  (the notation for every address, nothing is bound here)
                found.add((address, port.get("protocol", "TCP"), int(port["hostPort"])))
    return found


def _conflict(left: Iterable[tuple[str, str, int]], right: Iterable[tuple[str, str, int]]) -> bool:
    anywhere = "0.0.0.0"  # noqa: S104
    taken = list(right)
    return any(a[1:] == b[1:] and (a[0] == b[0] or anywhere in (a[0], b[0])) for a in left for b in taken)


def _ports(pod: podspec.Object, node: podspec.Object, others: Sequence[podspec.Object]) -> Rejection | None:
    wanted = host_ports(pod)
    own = {("0.0.0.0", "TCP", port) for port in api_labels.reserved_host_ports(node)}  # noqa: S104
    if wanted and any(_conflict(wanted, taken) for taken in (own, *map(host_ports, others))):
        return _refuse(
            "NodePorts", "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"
        )
    return None


def _taints(pod: podspec.Object, node: podspec.Object, others: Sequence[podspec.Object]) -> Rejection | None:
    for taint in node["spec"].get("taints") or ():
        if taint.get("effect") == "NoExecute" and not any(
            _tolerates(toleration, taint) for toleration in pod["spec"].get("tolerations") or ()
        ):
            return _refuse(
                "TaintToleration", "Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate"
            )
    return None


def _tolerates(toleration: podspec.Object, taint: podspec.Object) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return True
    return bool(toleration.get("key")) and toleration.get("value", "") == taint.get("value", "")
