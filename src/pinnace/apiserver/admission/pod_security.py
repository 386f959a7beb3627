"""PodSecurity: the Pod Security Standards, as a namespace's labels ask for them.

Enforced on pods; on what makes pods (deployments, jobs …) only told as warnings, as upstream does.
"""

from collections.abc import Callable, Iterator
from typing import Any

from pinnace.api import errors, resources
from pinnace.apiserver.admission import attributes as admission
from pinnace.apiserver.storage import objects

Object = dict[str, Any]

_LABEL = "pod-security.kubernetes.io/"
LEVELS = ("privileged", "baseline", "restricted")

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
_SYSCTLS = frozenset(
    (
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.ping_group_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_wmem",
    )
)
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


class PodSecurity:
    def __init__(self, stored: objects.Objects, default: str) -> None:
        self._objects = stored
        self._default = default

    async def validate(self, attributes: admission.Attributes) -> None:
        namespace = self._objects.get(resources.NAMESPACES, "", attributes.namespace)
        labels = ((namespace or {}).get("metadata") or {}).get("labels") or {}
        enforced, warned = (self._level(labels.get(_LABEL + mode), mode) for mode in ("enforce", "warn"))
        if enforced == warned == "privileged":
            return
        metadata, spec = _pod_of(attributes)
        if spec is None or _is_unchanged(attributes, spec):
            return
        is_pod = attributes.resource == ("", "pods")
        if is_pod and (wrong := list(violations(enforced, metadata, spec))):
            version = labels.get(f"{_LABEL}enforce-version", "latest")
            raise errors.forbidden(
                "", "pods", attributes.name, f'violates PodSecurity "{enforced}:{version}": {", ".join(wrong)}'
            )
        if wrong := list(violations(warned, metadata, spec)):
            version = labels.get(f"{_LABEL}warn-version", "latest")
            attributes.warnings.append(f'would violate PodSecurity "{warned}:{version}": {", ".join(wrong)}')

    def _level(self, text: str | None, mode: str) -> str:
        """A label that cannot be understood is taken for the strictest, where it enforces."""
        if not text:
            return self._default
        if text in LEVELS:
            return text
        return "restricted" if mode == "enforce" else "privileged"


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


def _is_unchanged(attributes: admission.Attributes, spec: Object) -> bool:
    """An update of something else is no new pod."""
    return attributes.old is not None and (attributes.old.get("spec") or {}) == (attributes.obj or {}).get("spec")


def violations(level: str, metadata: Object, spec: Object) -> Iterator[str]:
    """In upstream's words."""
    if level == "privileged":
        return
    containers = [
        container
        for field in ("initContainers", "containers", "ephemeralContainers")
        for container in spec.get(field) or ()
    ]
    for check in _BASELINE:
        yield from check(metadata, spec, containers)
    if level == "restricted":
        for check in _RESTRICTED:
            yield from check(metadata, spec, containers)


def _named(containers: list[Object], wrong: Callable[[Object], bool]) -> str:
    """`container "a"`, `containers "a", "b"`, or ""."""
    names = [f'"{container.get("name")}"' for container in containers if wrong(container)]
    return f"container{'s' if len(names) > 1 else ''} {', '.join(names)}" if names else ""


def _context(container: Object) -> Object:
    return container.get("securityContext") or {}


def _privileged(_: Object, spec: Object, containers: list[Object]) -> Iterator[str]:
    if who := _named(containers, lambda container: bool(_context(container).get("privileged"))):
        yield f"privileged ({who} must not set securityContext.privileged=true)"


def _host_namespaces(_: Object, spec: Object, containers: list[Object]) -> Iterator[str]:
    found = [f"{field}=true" for field in ("hostNetwork", "hostPID", "hostIPC") if spec.get(field)]
    if found:
        yield f"host namespaces ({', '.join(found)})"


def _host_path(_: Object, spec: Object, containers: list[Object]) -> Iterator[str]:
    names = [f'"{volume.get("name")}"' for volume in spec.get("volumes") or () if volume.get("hostPath")]
    if names:
        yield f"hostPath volumes (volume{'s' if len(names) > 1 else ''} {', '.join(names)})"


def _host_ports(_: Object, spec: Object, containers: list[Object]) -> Iterator[str]:
    def ports(container: Object) -> list[int]:
        return [port["hostPort"] for port in container.get("ports") or () if port.get("hostPort")]

    if who := _named(containers, lambda container: bool(ports(container))):
        numbers = sorted({number for container in containers for number in ports(container)})
        shown = ", ".join(map(str, numbers))
        yield f"hostPort ({who} use{'s' if who.startswith('container ') else ''} hostPort{'s' if len(numbers) > 1 else ''} {shown})"


def _windows_host_process(_: Object, spec: Object, containers: list[Object]) -> Iterator[str]:
    def is_host(owner: Object) -> bool:
        return bool((_context(owner).get("windowsOptions") or {}).get("hostProcess"))

    if is_host(spec) or any(map(is_host, containers)):
        yield "hostProcess (pod or containers must not set securityContext.windowsOptions.hostProcess=true)"


def _baseline_capabilities(_: Object, spec: Object, containers: list[Object]) -> Iterator[str]:
    def extra(container: Object) -> set[str]:
        return set((_context(container).get("capabilities") or {}).get("add") or ()) - _CAPABILITIES

    if who := _named(containers, lambda container: bool(extra(container))):
        names = sorted(set().union(*map(extra, containers)))
        shown = ", ".join(f'"{name}"' for name in names)
        yield f"non-default capabilities ({who} must not include {shown} in securityContext.capabilities.add)"


def _app_armor(metadata: Object, spec: Object, containers: list[Object]) -> Iterator[str]:
    def is_bad(owner: Object) -> bool:
        return (_context(owner).get("appArmorProfile") or {}).get("type") == "Unconfined"

    prefix = "container.apparmor.security.beta.kubernetes.io/"
    annotated = [
        f'{key}="{value}"'
        for key, value in (metadata.get("annotations") or {}).items()
        if key.startswith(prefix) and value not in ("", "runtime/default") and not value.startswith("localhost/")
    ]
    if is_bad(spec) or any(map(is_bad, containers)) or annotated:
        yield 'forbidden AppArmor profile (pod or containers must not set AppArmor profile type to "Unconfined")'


def _selinux(_: Object, spec: Object, containers: list[Object]) -> Iterator[str]:
    def is_bad(owner: Object) -> bool:
        options = _context(owner).get("seLinuxOptions") or {}
        return options.get("type", "") not in _SELINUX_TYPES or bool(options.get("user") or options.get("role"))

    if is_bad(spec) or any(map(is_bad, containers)):
        yield "seLinuxOptions (pod or containers set forbidden securityContext.seLinuxOptions)"


def _proc_mount(_: Object, spec: Object, containers: list[Object]) -> Iterator[str]:
    if spec.get("hostUsers") is False:
        return
    if who := _named(containers, lambda item: _context(item).get("procMount", "Default") not in ("", "Default")):
        yield f'procMount ({who} must not set securityContext.procMount to "Unmasked")'


def _baseline_seccomp(_: Object, spec: Object, containers: list[Object]) -> Iterator[str]:
    def is_bad(owner: Object) -> bool:
        return (_context(owner).get("seccompProfile") or {}).get("type") == "Unconfined"

    if is_bad(spec) or any(map(is_bad, containers)):
        yield 'seccompProfile (pod or containers must not set securityContext.seccompProfile.type to "Unconfined")'


def _sysctls(_: Object, spec: Object, containers: list[Object]) -> Iterator[str]:
    names = [item.get("name", "") for item in _context(spec).get("sysctls") or ()]
    found = sorted(set(names) - _SYSCTLS)
    if found:
        yield f"forbidden sysctls ({', '.join(found)})"


def _restricted_volumes(_: Object, spec: Object, containers: list[Object]) -> Iterator[str]:
    bad: dict[str, set[str]] = {}
    for volume in spec.get("volumes") or ():
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


def _escalation(_: Object, spec: Object, containers: list[Object]) -> Iterator[str]:
    if who := _named(containers, lambda item: _context(item).get("allowPrivilegeEscalation") is not False):
        yield f"allowPrivilegeEscalation != false ({who} must set securityContext.allowPrivilegeEscalation=false)"


def _restricted_capabilities(_: Object, spec: Object, containers: list[Object]) -> Iterator[str]:
    def keeps(container: Object) -> bool:
        return "ALL" not in ((_context(container).get("capabilities") or {}).get("drop") or ())

    def adds(container: Object) -> bool:
        return bool(set((_context(container).get("capabilities") or {}).get("add") or ()) - {"NET_BIND_SERVICE"})

    if who := _named(containers, keeps):
        yield f'unrestricted capabilities ({who} must set securityContext.capabilities.drop=["ALL"])'
    if who := _named(containers, adds):
        yield f'unrestricted capabilities ({who} must not include other than "NET_BIND_SERVICE" in securityContext.capabilities.add)'


def _non_root(_: Object, spec: Object, containers: list[Object]) -> Iterator[str]:
    by_pod = _context(spec).get("runAsNonRoot") is True

    def is_bad(container: Object) -> bool:
        own = _context(container).get("runAsNonRoot")
        return own is False or (own is None and not by_pod)

    if spec.get("hostUsers") is False:
        return
    if who := _named(containers, is_bad):
        yield f"runAsNonRoot != true (pod or {who} must set securityContext.runAsNonRoot=true)"


def _user(_: Object, spec: Object, containers: list[Object]) -> Iterator[str]:
    if spec.get("hostUsers") is False:
        return
    if _context(spec).get("runAsUser") == 0:
        yield "runAsUser=0 (pod must not set runAsUser=0)"
    elif who := _named(containers, lambda item: _context(item).get("runAsUser") == 0):
        yield f"runAsUser=0 ({who} must not set runAsUser=0)"


def _restricted_seccomp(_: Object, spec: Object, containers: list[Object]) -> Iterator[str]:
    good = ("RuntimeDefault", "Localhost")
    by_pod = (_context(spec).get("seccompProfile") or {}).get("type") in good

    def is_bad(container: Object) -> bool:
        profile = _context(container).get("seccompProfile")
        return profile.get("type") not in good if profile else not by_pod

    if who := _named(containers, is_bad):
        yield (
            f'seccompProfile (pod or {who} must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")'
        )


_BASELINE = (
    _app_armor,
    _baseline_capabilities,
    _host_namespaces,
    _host_path,
    _host_ports,
    _windows_host_process,
    _privileged,
    _proc_mount,
    _baseline_seccomp,
    _selinux,
    _sysctls,
)
_RESTRICTED = (_escalation, _restricted_capabilities, _restricted_volumes, _non_root, _user, _restricted_seccomp)
