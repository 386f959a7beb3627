"""Containers of a pod: name, image, ports, environment, mounts, probes, hooks, resources."""

import dataclasses
from collections.abc import Iterable

from pinnace.api import quantity
from pinnace.api.validation import field, formats, resources, security

Fields = field.Fields
Causes = field.Causes

PROTOCOLS = ("SCTP", "TCP", "UDP")
PULL_POLICIES = ("Always", "IfNotPresent", "Never")

_ENV_FIELDS = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)
# Every field that the downward API knows, in an environment or in a volume.
_DOWNWARD_FIELDS = frozenset(
    {*_ENV_FIELDS, "metadata.labels", "metadata.annotations", "spec.restartPolicy", "status.phase"}
)
_RESOURCE_FIELDS = (
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
)
_HUGE_PAGE_PREFIXES = ("limits.hugepages-", "requests.hugepages-")
_BYTE_DIVISORS = ("1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei")


@dataclasses.dataclass(frozen=True, slots=True)
class Surroundings:
    """What of the pod the rules of its containers look at."""

    volumes: dict[str, Fields]
    claims: frozenset[str]
    restart_policy: str
    grace_seconds: int | None
    host_users: bool


def common(found: Causes, container: Fields, around: Surroundings, path: str) -> None:
    """What holds for regular, init and ephemeral containers alike."""
    name = container.get("name") or ""
    if not name:
        found.required(f"{path}.name")
    else:
        found.messages(f"{path}.name", name, formats.dns_label(name))
    if not container.get("image"):
        found.required(f"{path}.image")
    found.one_of(
        f"{path}.terminationMessagePolicy",
        container.get("terminationMessagePolicy"),
        ("File", "FallbackToLogsOnError"),
        is_sorted=False,
    )
    if "ports" in container:
        _ports(found, container["ports"], f"{path}.ports")
    if "env" in container:
        _environment(found, container["env"], around.volumes, f"{path}.env")
    if "envFrom" in container:
        _environment_from(found, container["envFrom"], f"{path}.envFrom")
    if "volumeMounts" in container:
        _mounts(found, container, around.volumes, f"{path}.volumeMounts")
    if "volumeDevices" in container:
        _devices(found, container, around.volumes, f"{path}.volumeDevices")
    found.one_of(f"{path}.imagePullPolicy", container.get("imagePullPolicy"), PULL_POLICIES)
    if container.get("resources"):
        resources.container(found, container["resources"], around.claims, f"{path}.resources")
    if "resizePolicy" in container:
        _resize_policy(found, container["resizePolicy"], around.restart_policy, f"{path}.resizePolicy")
    if "securityContext" in container:
        security.container(found, container["securityContext"], f"{path}.securityContext", host_users=around.host_users)


def regular(found: Causes, containers: list[Fields], around: Surroundings, path: str) -> None:
    if not containers:
        found.required(path)
        return
    names: set[str] = set()
    for index, container in enumerate(containers):
        here = f"{path}[{index}]"
        common(found, container, around, here)
        name = container.get("name") or ""
        if name in names:
            found.duplicate(f"{here}.name", name)
        names.add(name)
        _lifecycle_and_probes(found, container, around, here)
        _restart_policy(found, container, here)
    _host_port_conflicts(found, containers, path)


MAX_RESTART_RULES = 20
MAX_EXIT_CODES = 255


def _restart_policy(found: Causes, container: Fields, path: str) -> None:
    """A container's own, with its rules (KEP-5307)."""
    rules = field.items(container, "restartPolicyRules")
    if "restartPolicy" in container:
        found.maybe_one_of(
            f"{path}.restartPolicy", container["restartPolicy"], ("Always", "OnFailure", "Never"), is_sorted=False
        )
    elif rules:
        found.required(f"{path}.restartPolicy", "must specify restartPolicy when restart rules are used")
    if len(rules) > MAX_RESTART_RULES:
        found.too_many(f"{path}.restartPolicyRules", len(rules), MAX_RESTART_RULES)
    for index, rule in enumerate(rules):
        here = f"{path}.restartPolicyRules[{index}]"
        found.one_of(f"{here}.action", rule.get("action"), ("Restart", "RestartAllContainers"))
        if "exitCodes" not in rule:
            found.required(f"{here}.exitCodes", "must be specified")
            continue
        codes = rule["exitCodes"]
        found.one_of(f"{here}.exitCodes.operator", codes.get("operator"), ("In", "NotIn"))
        if len(codes.get("values") or ()) > MAX_EXIT_CODES:
            found.too_many(f"{here}.exitCodes.values", len(codes["values"]), MAX_EXIT_CODES)


def initial(found: Causes, containers: list[Fields], regulars: list[Fields], around: Surroundings, path: str) -> None:
    names = {container.get("name") or "" for container in regulars}
    for index, container in enumerate(containers):
        here = f"{path}[{index}]"
        common(found, container, around, here)
        _restart_policy(found, container, here)
        name = container.get("name") or ""
        if name in names:
            found.duplicate(f"{here}.name", name)
        elif name:
            names.add(name)
        _host_port_conflicts(found, [container], path)
        if container.get("restartPolicy") == "Always":
            _lifecycle_and_probes(found, container, around, here)
            continue
        for forbidden in ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe"):
            if forbidden in container:
                found.forbidden(
                    f"{here}.{forbidden}", "may not be set for init containers without restartPolicy=Always"
                )


_EPHEMERAL_FORBIDDEN = (
    "ports",
    "resources",
    "resizePolicy",
    "restartPolicy",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
)


def ephemeral(
    found: Causes, containers: list[Fields], others: Iterable[Fields], around: Surroundings, path: str
) -> None:
    other_names = {container.get("name") or "" for container in others}
    names = set(other_names)
    for index, container in enumerate(containers):
        here = f"{path}[{index}]"
        common(found, container, around, here)
        only_for_pod(found, container, here)
        name = container.get("name") or ""
        if name in names:
            found.duplicate(f"{here}.name", name)
        names.add(name)
        target = container.get("targetContainerName")
        if target and target not in other_names:
            found.not_found(f"{here}.targetContainerName", target)
        for forbidden in _EPHEMERAL_FORBIDDEN:
            if container.get(forbidden):
                found.forbidden(f"{here}.{forbidden}", "cannot be set for an Ephemeral Container")
        for number, mount in enumerate(field.items(container, "volumeMounts")):
            for forbidden in ("subPath", "subPathExpr"):
                if mount.get(forbidden):
                    found.forbidden(
                        f"{here}.volumeMounts[{number}].{forbidden}", "cannot be set for an Ephemeral Container"
                    )


def only_for_pod(found: Causes, container: Fields, path: str) -> None:
    """What a pod may not have, though a template may."""
    image = container.get("image") or ""
    if image != image.strip():
        found.invalid(f"{path}.image", image, "must not have leading or trailing whitespace")


def _ports(found: Causes, ports: list[Fields], path: str) -> None:
    names: set[str] = set()
    for index, port in enumerate(ports):
        here = f"{path}[{index}]"
        name = port.get("name")
        if name:
            messages = formats.port_name(name)
            if messages:
                found.messages(f"{here}.name", name, messages)
            elif name in names:
                found.duplicate(f"{here}.name", name)
            else:
                names.add(name)
        number = port.get("containerPort") or 0
        if not number:
            found.required(f"{here}.containerPort")
        else:
            found.messages(f"{here}.containerPort", number, formats.port_number(number))
        if port.get("hostPort"):
            found.messages(f"{here}.hostPort", port["hostPort"], formats.port_number(port["hostPort"]))
        found.one_of(f"{here}.protocol", port.get("protocol"), PROTOCOLS)
        if port.get("hostIP"):
            found.messages(f"{here}.hostIP", port["hostIP"], formats.ip(port["hostIP"]))


def _host_port_conflicts(found: Causes, containers: list[Fields], path: str) -> None:
    taken: set[str] = set()
    for index, container in enumerate(containers):
        for number, port in enumerate(field.items(container, "ports")):
            if not port.get("hostPort"):
                continue
            key = f"{port.get('protocol', '')}/{port.get('hostIP', '')}/{port['hostPort']}"
            if key in taken:
                found.duplicate(f"{path}[{index}].ports[{number}].hostPort", key)
            taken.add(key)


def _environment(found: Causes, variables: list[Fields], volumes: dict[str, Fields], path: str) -> None:
    for index, variable in enumerate(variables):
        name = variable.get("name") or ""
        if not name:
            found.required(f"{path}[{index}].name")
        else:
            found.messages(f"{path}[{index}].name", name, formats.environment_name(name))
        if "valueFrom" in variable:
            _value_from(found, variable, volumes, f"{path}[{index}].valueFrom")


def _value_from(found: Causes, variable: Fields, volumes: dict[str, Fields], path: str) -> None:
    source = variable["valueFrom"]
    given = 0
    if "fieldRef" in source:
        given += 1
        field_reference(found, source["fieldRef"], _ENV_FIELDS, f"{path}.fieldRef")
    if "resourceFieldRef" in source:
        given += 1
        resource_reference(found, source["resourceFieldRef"], f"{path}.resourceFieldRef", in_volume=False)
    for name in ("configMapKeyRef", "secretKeyRef"):
        if name in source:
            given += 1
            _key_reference(found, source[name], f"{path}.{name}")
    if "fileKeyRef" in source:
        given += 1
        _file_key_reference(found, source["fileKeyRef"], volumes, f"{path}.fileKeyRef")
    if not given:
        found.invalid(
            path, "", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"
        )
    elif variable.get("value"):
        found.invalid(path, "", "may not be specified when `value` is not empty")
    elif given > 1:
        found.invalid(path, "", "may not have more than one field specified at a time")


def _file_key_reference(found: Causes, reference: Fields, volumes: dict[str, Fields], path: str) -> None:
    volume, file, key = (reference.get(name) or "" for name in ("volumeName", "path", "key"))
    if not volume:
        found.required(f"{path}.volumeName")
    elif volume not in volumes:
        found.not_found(f"{path}.volumeName", volume)
    elif "emptyDir" not in volumes[volume]:
        found.invalid(f"{path}.volumeName", volume, "referenced volume must be of type emptyDir")
    if not file:
        found.required(f"{path}.path")
    else:
        found.messages(f"{path}.path", file, formats.descending_path(file))
    if not key:
        found.required(f"{path}.key")
    else:
        found.messages(f"{path}.key", key, formats.environment_name(key))


def field_reference(found: Causes, reference: Fields, supported: tuple[str, ...], path: str) -> None:
    if not reference.get("apiVersion"):
        found.required(f"{path}.apiVersion")
        return
    wanted = reference.get("fieldPath") or ""
    if not wanted:
        found.required(f"{path}.fieldPath")
        return
    if reference["apiVersion"] != "v1":
        found.invalid(
            f"{path}.fieldPath",
            wanted,
            f"error converting fieldPath: unsupported pod version: {reference['apiVersion']}",
        )
        return
    base, bracket, subscript = wanted.partition("['")
    if bracket and subscript.endswith("']"):
        key = subscript[:-2]
        if base == "metadata.annotations":
            found.messages(path, key.lower(), formats.qualified_name(key.lower()))
        elif base == "metadata.labels":
            found.messages(path, key, formats.qualified_name(key))
        elif base in _DOWNWARD_FIELDS:
            found.invalid(path, base, "does not support subscript")
        else:
            found.invalid(
                f"{path}.fieldPath",
                wanted,
                f"error converting fieldPath: field label does not support subscript: {base}",
            )
    elif wanted not in _DOWNWARD_FIELDS:
        found.invalid(f"{path}.fieldPath", wanted, f"error converting fieldPath: field label not supported: {wanted}")
    elif wanted not in supported:
        found.not_supported(f"{path}.fieldPath", wanted, sorted(supported))


def resource_reference(found: Causes, reference: Fields, path: str, *, in_volume: bool) -> None:
    resource = reference.get("resource") or ""
    if in_volume and not reference.get("containerName"):
        found.required(f"{path}.containerName")
    elif not resource:
        found.required(f"{path}.resource")
    elif resource not in _RESOURCE_FIELDS and not resource.startswith(_HUGE_PAGE_PREFIXES):
        found.not_supported(f"{path}.resource", resource, _RESOURCE_FIELDS)
    divisor = reference.get("divisor") or "0"
    if quantity.parse(divisor) == 0:
        return
    supported, what = _divisors(resource)
    if supported and divisor not in supported:
        found.invalid(f"{path}.divisor", resource, f"only divisor's values {what} resource")


def _divisors(resource: str) -> tuple[tuple[str, ...], str]:
    if resource.endswith(".cpu"):
        return ("1m", "1"), "1m and 1 are supported with the cpu"
    listed = ", ".join(_BYTE_DIVISORS)
    if resource.endswith(".memory"):
        return _BYTE_DIVISORS, f"{listed} are supported with the memory"
    if resource.endswith(".ephemeral-storage"):
        return _BYTE_DIVISORS, f"{listed} are supported with the local ephemeral storage"
    if resource.startswith(_HUGE_PAGE_PREFIXES):
        return _BYTE_DIVISORS, f"{listed} are supported with the hugepages"
    return (), ""


def _key_reference(found: Causes, reference: Fields, path: str) -> None:
    name = reference.get("name") or ""
    found.messages(f"{path}.name", name, formats.dns_subdomain(name))
    key = reference.get("key") or ""
    if not key:
        found.required(f"{path}.key")
    else:
        found.messages(f"{path}.key", key, formats.config_key(key))


def _environment_from(found: Causes, sources: list[Fields], path: str) -> None:
    for index, source in enumerate(sources):
        here = f"{path}[{index}]"
        if source.get("prefix"):
            found.messages(f"{here}.prefix", source["prefix"], formats.environment_name(source["prefix"]))
        given = 0
        for kind in ("configMapRef", "secretRef"):
            if kind in source:
                given += 1
                name = source[kind].get("name") or ""
                if not name:
                    found.required(f"{here}.{kind}.name")
                else:
                    found.messages(f"{here}.{kind}.name", name, formats.dns_subdomain(name))
        if not given:
            found.invalid(path, "", "must specify one of: `configMapRef` or `secretRef`")
        elif given > 1:
            found.invalid(path, "", "may not have more than one field specified at a time")


def _mounts(found: Causes, container: Fields, volumes: dict[str, Fields], path: str) -> None:
    devices = {device.get("name"): device.get("devicePath") for device in field.items(container, "volumeDevices")}
    points: set[str] = set()
    for index, mount in enumerate(container["volumeMounts"]):
        here, name, point = f"{path}[{index}]", mount.get("name") or "", mount.get("mountPath") or ""
        if not name:
            found.required(f"{here}.name")
        if name not in volumes:
            found.not_found(f"{here}.name", name)
        if not point:
            found.required(f"{here}.mountPath")
        if point in points:
            found.invalid(f"{here}.mountPath", point, "must be unique")
        points.add(point)
        if name in devices:
            found.invalid(f"{here}.name", name, "must not already exist in volumeDevices")
        if point in devices.values():
            found.invalid(f"{here}.mountPath", point, "must not already exist as a path in volumeDevices")
        _sub_path(found, mount, path, here)
        if "mountPropagation" in mount:
            _propagation(found, mount["mountPropagation"], container, f"{path}.mountPropagation")
        if "recursiveReadOnly" in mount:
            _recursive_read_only(found, mount, f"{path}.recursiveReadOnly")


def _sub_path(found: Causes, mount: Fields, path: str, here: str) -> None:
    sub, expression = mount.get("subPath"), mount.get("subPathExpr")
    if sub:
        found.messages(f"{path}.subPath", sub, formats.descending_path(sub))
    if expression:
        if sub:
            found.invalid(f"{here}.subPathExpr", expression, "subPathExpr and subPath are mutually exclusive")
        found.messages(f"{path}.subPathExpr", expression, formats.descending_path(expression))


def _propagation(found: Causes, value: str, container: Fields, path: str) -> None:
    found.maybe_one_of(path, value, ("Bidirectional", "HostToContainer", "None"))
    if value == "Bidirectional" and not field.part(container, "securityContext").get("privileged"):
        found.forbidden(path, "Bidirectional mount propagation is available only to privileged containers")


def _recursive_read_only(found: Causes, mount: Fields, path: str) -> None:
    value = mount["recursiveReadOnly"]
    if value in ("Enabled", "IfPossible"):
        if not mount.get("readOnly"):
            found.forbidden(path, "may only be specified when readOnly is true")
        if mount.get("mountPropagation", "None") != "None":
            found.forbidden(path, "may only be specified when mountPropagation is None or not specified")
    else:
        found.maybe_one_of(path, value, ("Disabled", "IfPossible", "Enabled"))


def _devices(found: Causes, container: Fields, volumes: dict[str, Fields], path: str) -> None:
    mounts = {mount.get("name"): mount.get("mountPath") for mount in field.items(container, "volumeMounts")}
    names: set[str] = set()
    points: set[str] = set()
    for index, device in enumerate(container["volumeDevices"]):
        here, name, point = f"{path}[{index}]", device.get("name") or "", device.get("devicePath") or ""
        source = volumes.get(name)
        if not name:
            found.required(f"{here}.name")
        if name in names:
            found.invalid(f"{here}.name", name, "must be unique")
        if source is not None and not ("persistentVolumeClaim" in source or "ephemeral" in source):
            found.invalid(
                f"{here}.name",
                name,
                "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode",
            )
        if source is None:
            found.not_found(f"{here}.name", name)
        if not point:
            found.required(f"{here}.devicePath")
        if point in points:
            found.invalid(f"{here}.devicePath", point, "must be unique")
        if formats.no_backsteps(point):
            found.invalid(f"{here}.devicePath", point, "can not contain backsteps ('..')")
        else:
            points.add(point)
        if name in mounts:
            found.invalid(f"{here}.name", name, "must not already exist in volumeMounts")
        if point in mounts.values():
            found.invalid(f"{here}.devicePath", point, "must not already exist as a path in volumeMounts")
        if name:
            names.add(name)


def _resize_policy(found: Causes, policies: list[Fields], restart_policy: str, path: str) -> None:
    seen: set[str] = set()
    for index, policy in enumerate(policies):
        resource, restart = policy.get("resourceName") or "", policy.get("restartPolicy") or ""
        if resource in seen:
            found.duplicate(f"{path}[{index}]", resource)
        seen.add(resource)
        found.one_of(path, resource, ("cpu", "memory"))
        found.one_of(path, restart, ("NotRequired", "RestartContainer"))
        if restart_policy == "Never" and restart != "NotRequired":
            found.invalid(path, restart, "must be 'NotRequired' when `restartPolicy` is 'Never'")


def _lifecycle_and_probes(found: Causes, container: Fields, around: Surroundings, path: str) -> None:
    for name in ("postStart", "preStop"):
        hook = field.part(container, "lifecycle").get(name)
        if hook is not None:
            _handler(found, hook, around.grace_seconds, f"{path}.lifecycle.{name}")
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if name in container:
            _probe(found, container[name], name, around.grace_seconds, f"{path}.{name}")


def _probe(found: Causes, probe: Fields, kind: str, grace_seconds: int | None, path: str) -> None:
    _handler(found, probe, grace_seconds, path)
    for name in ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"):
        found.not_negative(f"{path}.{name}", probe.get(name))
    grace = probe.get("terminationGracePeriodSeconds")
    if grace is not None and grace <= 0:
        found.invalid(f"{path}.terminationGracePeriodSeconds", grace, "must be greater than 0")
    if kind == "readinessProbe":
        if grace is not None:
            found.invalid(f"{path}.terminationGracePeriodSeconds", grace, "must not be set for readinessProbes")
    elif probe.get("successThreshold") != 1:
        found.invalid(f"{path}.successThreshold", probe.get("successThreshold") or 0, "must be 1")


_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")


def _handler(found: Causes, handler: Fields, grace_seconds: int | None, path: str) -> None:
    given = [name for name in _HANDLERS if name in handler]
    for index, name in enumerate(given):
        here, action = f"{path}.{name}", handler[name]
        if index:
            found.forbidden(here, "may not specify more than 1 handler type")
        elif name == "exec":
            if not action.get("command"):
                found.required(f"{here}.command")
        elif name == "httpGet":
            _http_get(found, action, here)
        elif name in ("tcpSocket", "grpc"):
            port(found, action.get("port", 0), f"{here}.port")
        else:
            _sleep(found, action.get("seconds") or 0, grace_seconds, here)
    if not given:
        found.required(path, "must specify a handler type")


def _http_get(found: Causes, action: Fields, path: str) -> None:
    if not action.get("path"):
        found.required(f"{path}.path")
    port(found, action.get("port", 0), f"{path}.port")
    scheme = action.get("scheme") or ""
    if scheme not in ("HTTP", "HTTPS"):
        found.not_supported(f"{path}.scheme", scheme, ("HTTP", "HTTPS"))
    for header in field.items(action, "httpHeaders"):
        name = header.get("name") or ""
        found.messages(f"{path}.httpHeaders", name, formats.header_name(name))


def _sleep(found: Causes, seconds: int, grace_seconds: int | None, path: str) -> None:
    if grace_seconds is not None and not 0 <= seconds <= grace_seconds:
        found.invalid(
            path, seconds, f"must be non-negative and less than terminationGracePeriodSeconds ({grace_seconds})"
        )


def port(found: Causes, value: int | str, path: str) -> None:
    """A number, or the name of a container's port."""
    found.messages(path, value, formats.port_number(value) if isinstance(value, int) else formats.port_name(value))
