"""Whether this node takes a pod that was bound to it. Pure; the reasons and words are those of upstream's admission handlers."""

import dataclasses
from collections.abc import Iterable, Sequence

from pinnace.api import labels as api_labels
from pinnace.api import pods, quantity, resource_names
from pinnace.kubelet.pod import podspec


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
    wanted, taken = pods.requests(pod["spec"]), [pods.requests(other["spec"]) for other in others]
    for resource in _requested(pod):
        requested = _units(resource, wanted)
        if not requested or (resource not in allocatable and resource_names.is_extended(resource)):
            # What the node itself does not count may be managed for the cluster as a whole.
            continue
        read = quantity.milli if resource == "cpu" else quantity.value
        capacity = read(str(allocatable.get(resource, "0")))
        used = sum(_units(resource, amounts) for amounts in taken)
        if used + requested > capacity:
            return Rejection(
                f"OutOf{resource}",
                f"Node didn't have enough resource: {resource}, requested: {requested}, used: {used}, "
                f"capacity: {capacity}",
            )
    return None


def _units(resource: str, amounts: pods.Amounts) -> int:
    return pods.units(resource, amounts[resource]) if resource in amounts else 0


def _requested(pod: podspec.Object) -> list[str]:
    names = {"cpu", "memory", "ephemeral-storage"}
    for _, container in podspec.containers(pod):
        names.update((container.get("resources") or {}).get("requests") or {})
    return sorted(names)


def _selector(pod: podspec.Object, node: podspec.Object, others: Sequence[podspec.Object]) -> Rejection | None:
    if not pods.may_run_on(pod["spec"], node):
        return _refuse(
            "NodeAffinity", "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"
        )
    return None


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
            pods.tolerates(toleration, taint) for toleration in pod["spec"].get("tolerations") or ()
        ):
            return _refuse(
                "TaintToleration", "Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate"
            )
    return None
