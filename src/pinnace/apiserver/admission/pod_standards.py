"""The Pod Security Standards: what each level forbids, as of which minor version of Kubernetes. Pure; upstream's
pod-security-admission/policy, in its words and its order.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

Object = dict[str, Any]

LEVELS = ("privileged", "baseline", "restricted")
"""From the loosest to the strictest."""
LATEST = 10**6
"""The minor version behind `latest`."""

_CAPABILITIES = frozenset(
    (
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    )
)
# Each with the minor version that first allowed it.
_SYSCTLS = {
    "kernel.shm_rmid_forced": 0,
    "net.ipv4.ip_local_port_range": 0,
    "net.ipv4.ip_unprivileged_port_start": 0,
    "net.ipv4.tcp_syncookies": 0,
    "net.ipv4.ping_group_range": 0,
    "net.ipv4.ip_local_reserved_ports": 27,
    "net.ipv4.tcp_keepalive_time": 29,
    "net.ipv4.tcp_fin_timeout": 29,
    "net.ipv4.tcp_keepalive_intvl": 29,
    "net.ipv4.tcp_keepalive_probes": 29,
    "net.ipv4.tcp_rmem": 32,
    "net.ipv4.tcp_wmem": 32,
}
_SELINUX_TYPES = frozenset(("", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"))
_VOLUMES = frozenset(
    [
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "image",
        "persistentVolumeClaim",
        "projected",
        "secret",
    ]
)


@dataclasses.dataclass(frozen=True, slots=True)
class Pod:
    """What the checks look at."""

    metadata: Object
    spec: Object
    containers: list[Object]
    minor: int
    """Of the standard's version."""

    @property
    def is_windows(self) -> bool:
        return bool((self.spec.get("os") or {}).get("name") == "windows")


Check = Callable[[Pod], Iterator[str]]


def violations(level: str, metadata: Object, spec: Object, minor: int = LATEST) -> Iterator[str]:
    """`reason` or `reason (detail)` for each check of the level, as of version 1.`minor`, that the pod fails."""
    if level == "privileged":
        return
    containers = [
        container
        for field in ("initContainers", "containers", "ephemeralContainers")
        for container in spec.get(field) or ()
    ]
    pod = Pod(metadata, spec, containers, minor)
    is_restricted = level == "restricted"
    for check in _BASELINE:
        if not (is_restricted and check in _STRICTER):
            yield from check(pod)
    if is_restricted:
        for check in _RESTRICTED:
            yield from check(pod)


def reason_of(violation: str) -> str:
    """Without the detail."""
    return violation.partition(" (")[0]


def _named(containers: list[Object], wrong: Callable[[Object], bool]) -> str:
    """`container "a"`, `containers "a", "b"`, or ""."""
    names = [f'"{container.get("name")}"' for container in containers if wrong(container)]
    return f"container{'s' if len(names) > 1 else ''} {', '.join(names)}" if names else ""


def _quoted(text: str) -> str:
    return f'"{text}"'


def _context(container: Object) -> Object:
    return container.get("securityContext") or {}


def _privileged(pod: Pod) -> Iterator[str]:
    if who := _named(pod.containers, lambda container: bool(_context(container).get("privileged"))):
        yield f"privileged ({who} must not set securityContext.privileged=true)"


def _host_namespaces(pod: Pod) -> Iterator[str]:
    found = [f"{field}=true" for field in ("hostNetwork", "hostPID", "hostIPC") if pod.spec.get(field)]
    if found:
        yield f"host namespaces ({', '.join(found)})"


def _host_path(pod: Pod) -> Iterator[str]:
    names = [
        f'"{volume.get("name")}"' for volume in pod.spec.get("volumes") or () if volume.get("hostPath") is not None
    ]
    if names:
        yield f"hostPath volumes (volume{'s' if len(names) > 1 else ''} {', '.join(names)})"


def _host_ports(pod: Pod) -> Iterator[str]:
    def ports(container: Object) -> list[int]:
        return [port["hostPort"] for port in container.get("ports") or () if port.get("hostPort")]

    if who := _named(pod.containers, lambda container: bool(ports(container))):
        numbers = sorted({number for container in pod.containers for number in ports(container)})
        shown = ", ".join(map(str, numbers))
        yield f"hostPort ({who} use{'s' if who.startswith('container ') else ''} hostPort{'s' if len(numbers) > 1 else ''} {shown})"


def _host_of_handlers(pod: Pod) -> Iterator[str]:
    """A probe or a hook of another host makes the node speak to whatever the pod's author names."""
    if pod.minor < 34:
        return

    def hosts(container: Object) -> set[str]:
        lifecycle = container.get("lifecycle") or {}
        handlers = [container.get(f"{name}Probe") for name in ("liveness", "readiness", "startup")]
        handlers += [lifecycle.get(name) for name in ("postStart", "preStop")]
        actions = [(handler or {}).get(name) or {} for handler in handlers for name in ("httpGet", "tcpSocket")]
        return {action["host"] for action in actions if action.get("host")}

    bad = sorted({str(container.get("name")) for container in pod.containers if hosts(container)})
    if bad:
        found = sorted(set().union(*map(hosts, pod.containers)))
        who = (
            f"container{'s' if len(bad) > 1 else ''} {', '.join(map(_quoted, bad))} {'use' if len(bad) > 1 else 'uses'}"
        )
        what = f"probe or lifecycle host{'s' if len(found) > 1 else ''} {', '.join(map(_quoted, found))}"
        yield f"probe or lifecycle host ({who} {what})"


def _windows_host_process(pod: Pod) -> Iterator[str]:
    def is_host(owner: Object) -> bool:
        return bool((_context(owner).get("windowsOptions") or {}).get("hostProcess"))

    if is_host(pod.spec) or any(map(is_host, pod.containers)):
        yield "hostProcess (pod or containers must not set securityContext.windowsOptions.hostProcess=true)"


def _baseline_capabilities(pod: Pod) -> Iterator[str]:
    def extra(container: Object) -> set[str]:
        return set((_context(container).get("capabilities") or {}).get("add") or ()) - _CAPABILITIES

    if who := _named(pod.containers, lambda container: bool(extra(container))):
        names = sorted(set().union(*map(extra, pod.containers)))
        shown = ", ".join(f'"{name}"' for name in names)
        yield f"non-default capabilities ({who} must not include {shown} in securityContext.capabilities.add)"


def _app_armor(pod: Pod) -> Iterator[str]:
    def is_bad(owner: Object) -> bool:
        return (_context(owner).get("appArmorProfile") or {}).get("type") == "Unconfined"

    prefix = "container.apparmor.security.beta.kubernetes.io/"
    annotated = [
        f'{key}="{value}"'
        for key, value in (pod.metadata.get("annotations") or {}).items()
        if key.startswith(prefix) and value not in ("", "runtime/default") and not value.startswith("localhost/")
    ]
    if is_bad(pod.spec) or any(map(is_bad, pod.containers)) or annotated:
        yield 'forbidden AppArmor profile (pod or containers must not set AppArmor profile type to "Unconfined")'


def _selinux(pod: Pod) -> Iterator[str]:
    def is_bad(owner: Object) -> bool:
        options = _context(owner).get("seLinuxOptions") or {}
        return options.get("type", "") not in _SELINUX_TYPES or bool(options.get("user") or options.get("role"))

    if is_bad(pod.spec) or any(map(is_bad, pod.containers)):
        yield "seLinuxOptions (pod or containers set forbidden securityContext.seLinuxOptions)"


def _proc_mount(pod: Pod) -> Iterator[str]:
    if pod.spec.get("hostUsers") is False:
        return
    if who := _named(pod.containers, lambda item: _context(item).get("procMount", "Default") not in ("", "Default")):
        yield f'procMount ({who} must not set securityContext.procMount to "Unmasked")'


def _baseline_seccomp(pod: Pod) -> Iterator[str]:
    def is_bad(owner: Object) -> bool:
        return (_context(owner).get("seccompProfile") or {}).get("type") == "Unconfined"

    if is_bad(pod.spec) or any(map(is_bad, pod.containers)):
        yield 'seccompProfile (pod or containers must not set securityContext.seccompProfile.type to "Unconfined")'


def _sysctls(pod: Pod) -> Iterator[str]:
    names = [item.get("name", "") for item in _context(pod.spec).get("sysctls") or ()]
    found = sorted({name for name in names if _SYSCTLS.get(name, LATEST + 1) > pod.minor})
    if found:
        yield f"forbidden sysctls ({', '.join(found)})"


def _restricted_volumes(pod: Pod) -> Iterator[str]:
    bad: dict[str, set[str]] = {}
    for volume in pod.spec.get("volumes") or ():
        kinds = {key for key, value in volume.items() if key != "name" and value is not None}
        if kinds - _VOLUMES or not kinds:
            for kind in kinds - _VOLUMES or {"unknown"}:
                bad.setdefault(kind, set()).add(f'"{volume.get("name")}"')
    if bad:
        names = sorted(set().union(*bad.values()))
        kinds_shown = ", ".join(f'"{kind}"' for kind in sorted(bad))
        plural = "s" if len(names) > 1 else ""
        uses = "use" if plural else "uses"
        yield f"restricted volume types (volume{plural} {', '.join(names)} {uses} restricted volume type{'s' if len(bad) > 1 else ''} {kinds_shown})"


def _escalation(pod: Pod) -> Iterator[str]:
    if pod.minor < 8 or (pod.is_windows and pod.minor >= 25):
        return
    if who := _named(pod.containers, lambda item: _context(item).get("allowPrivilegeEscalation") is not False):
        yield f"allowPrivilegeEscalation != false ({who} must set securityContext.allowPrivilegeEscalation=false)"


def _restricted_capabilities(pod: Pod) -> Iterator[str]:
    if pod.minor < 22 or (pod.is_windows and pod.minor >= 25):
        return

    def keeps(container: Object) -> bool:
        return "ALL" not in ((_context(container).get("capabilities") or {}).get("drop") or ())

    def added(container: Object) -> set[str]:
        return set((_context(container).get("capabilities") or {}).get("add") or ()) - {"NET_BIND_SERVICE"}

    details = []
    if who := _named(pod.containers, keeps):
        details.append(f'{who} must set securityContext.capabilities.drop=["ALL"]')
    if who := _named(pod.containers, lambda container: bool(added(container))):
        names = ", ".join(map(_quoted, sorted(set().union(*map(added, pod.containers)))))
        details.append(f"{who} must not include {names} in securityContext.capabilities.add")
    if details:
        yield f"unrestricted capabilities ({'; '.join(details)})"


def _non_root(pod: Pod) -> Iterator[str]:
    by_pod = _context(pod.spec).get("runAsNonRoot") is True

    def is_bad(container: Object) -> bool:
        own = _context(container).get("runAsNonRoot")
        return own is False or (own is None and not by_pod)

    if pod.spec.get("hostUsers") is False:
        return
    if who := _named(pod.containers, is_bad):
        yield f"runAsNonRoot != true (pod or {who} must set securityContext.runAsNonRoot=true)"


def _user(pod: Pod) -> Iterator[str]:
    if pod.minor < 23 or pod.spec.get("hostUsers") is False:
        return
    if _context(pod.spec).get("runAsUser") == 0:
        yield "runAsUser=0 (pod must not set runAsUser=0)"
    elif who := _named(pod.containers, lambda item: _context(item).get("runAsUser") == 0):
        yield f"runAsUser=0 ({who} must not set runAsUser=0)"


def _restricted_seccomp(pod: Pod) -> Iterator[str]:
    if pod.minor < 19 or (pod.is_windows and pod.minor >= 25):
        return
    good = ("RuntimeDefault", "Localhost")
    by_pod = (_context(pod.spec).get("seccompProfile") or {}).get("type") in good

    def is_bad(container: Object) -> bool:
        profile = _context(container).get("seccompProfile")
        return profile.get("type") not in good if profile else not by_pod

    if who := _named(pod.containers, is_bad):
        yield (
            f'seccompProfile (pod or {who} must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")'
        )


_BASELINE: tuple[Check, ...] = (
    _app_armor,
    _baseline_capabilities,
    _host_namespaces,
    _host_path,
    _host_ports,
    _host_of_handlers,
    _windows_host_process,
    _privileged,
    _proc_mount,
    _baseline_seccomp,
    _selinux,
    _sysctls,
)
_RESTRICTED: tuple[Check, ...] = (
    _escalation,
    _restricted_capabilities,
    _restricted_volumes,
    _non_root,
    _user,
    _restricted_seccomp,
)
# Baseline checks that a stricter one of the level `restricted` stands for.
_STRICTER = (_baseline_capabilities, _baseline_seccomp, _host_path)
