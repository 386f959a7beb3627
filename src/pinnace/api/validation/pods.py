"""Pods and pod templates: the specification as a whole, what an update may change, what a status may say."""

from typing import Any

from pinnace.api import pods as facts
from pinnace.api import quantity
from pinnace.api.validation import containers, field, formats, metadata, placement, resources, security, volumes

Fields = field.Fields
Causes = field.Causes

MAX_INT32 = 2**31 - 1
MIRROR = "kubernetes.io/config.mirror"
RESTART_POLICIES = ("Always", "OnFailure", "Never")
DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
MAX_NAME_SERVERS = 3
MAX_SEARCH_PATHS = 32
MAX_SEARCH_CHARACTERS = 2048
HOST_NAME_LIMIT = 64
"""Characters of a name in the kernel."""

_UPDATABLE = (
    "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
    "`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def create(found: Causes, pod: Fields) -> None:
    _metadata(found, pod)
    _spec(found, pod)
    spec_fields = field.part(pod, "spec")
    if spec_fields.get("ephemeralContainers"):
        found.forbidden("spec.ephemeralContainers", "cannot be set on create")
    if spec_fields.get("nodeName") and spec_fields.get("schedulingGates"):
        found.forbidden("spec.nodeName", "cannot be set until all schedulingGates have been cleared")


def _metadata(found: Causes, pod: Fields) -> None:
    metadata.create(found, pod, namespaced=True, name_rule=formats.dns_subdomain)
    annotations = field.part(field.part(pod, "metadata"), "annotations")
    _annotations(found, annotations, field.part(pod, "spec"), "metadata.annotations")


def _spec(found: Causes, pod: Fields) -> None:
    meta, fields = field.part(pod, "metadata"), field.part(pod, "spec")
    spec(found, fields, "spec", pod_name=meta.get("name") or "", is_pod=True)
    if not fields.get("serviceAccountName"):
        for index, volume in enumerate(field.items(fields, "volumes")):
            for number, source in enumerate(field.items(volume.get("projected"), "sources")):
                if "serviceAccountToken" in source:
                    found.forbidden(
                        f"spec.volumes[{index}].projected.sources[{number}].serviceAccountToken",
                        "must not be specified when serviceAccountName is not set",
                    )
    for name in ("containers", "initContainers"):
        for index, container in enumerate(field.items(fields, name)):
            containers.only_for_pod(found, container, f"spec.{name}[{index}]")


def template(found: Causes, given: Fields, path: str) -> None:
    """A PodTemplateSpec."""
    meta, fields = field.part(given, "metadata"), field.part(given, "spec")
    metadata.label_map(found, meta.get("labels"), f"{path}.labels")
    metadata.annotations(found, meta.get("annotations"), f"{path}.annotations")
    _annotations(found, field.part(meta, "annotations"), fields, f"{path}.annotations")
    spec(found, fields, f"{path}.spec")
    if fields.get("ephemeralContainers"):
        found.forbidden(f"{path}.spec.ephemeralContainers", "ephemeral containers not allowed in pod template")


def _annotations(found: Causes, annotations: Fields, fields: Fields, path: str) -> None:
    if MIRROR in annotations and not fields.get("nodeName"):
        found.invalid(
            f"{path}[{MIRROR}]", annotations[MIRROR], "must set spec.nodeName if mirror pod annotation is set"
        )
    cost = annotations.get("controller.kubernetes.io/pod-deletion-cost")
    if cost is not None and not _is_int32(cost):
        found.invalid(f"{path}[controller.kubernetes.io/pod-deletion-cost]", cost, "must be a 32bit integer")


def _is_int32(text: str) -> bool:
    digits = text.removeprefix("-")
    canonical = digits.isascii() and digits.isdigit() and (digits == "0" or not digits.startswith("0")) and text != "-0"
    return canonical and -MAX_INT32 - 1 <= int(text) <= MAX_INT32


def spec(found: Causes, fields: Fields, path: str, *, pod_name: str = "", is_pod: bool = False) -> None:
    """A PodSpec, in a pod or in a template."""
    grace = fields.get("terminationGracePeriodSeconds")
    if grace is None:
        found.required(f"{path}.terminationGracePeriodSeconds")
    good = volumes.check(found, field.items(fields, "volumes"), pod_name, f"{path}.volumes", is_pod=is_pod)
    _resource_claims(found, field.items(fields, "resourceClaims"), f"{path}.resourceClaims")
    around = containers.Surroundings(
        volumes=good,
        claims=frozenset(claim["name"] for claim in field.items(fields, "resourceClaims") if claim.get("name")),
        restart_policy=fields.get("restartPolicy") or "",
        grace_seconds=grace,
        host_users=fields.get("hostUsers") is not False,
    )
    regulars, initials = field.items(fields, "containers"), field.items(fields, "initContainers")
    containers.regular(found, regulars, around, f"{path}.containers")
    containers.initial(found, initials, regulars, around, f"{path}.initContainers")
    ephemeral = field.items(fields, "ephemeralContainers")
    containers.ephemeral(found, ephemeral, (*regulars, *initials), around, f"{path}.ephemeralContainers")
    _pod_resources(found, fields, around, f"{path}.resources")
    _host_network_ports(found, fields, path, is_pod=is_pod)
    found.one_of(f"{path}.restartPolicy", fields.get("restartPolicy"), RESTART_POLICIES, is_sorted=False)
    found.one_of(f"{path}.dnsPolicy", fields.get("dnsPolicy"), DNS_POLICIES, is_sorted=False)
    metadata.label_map(found, fields.get("nodeSelector"), f"{path}.nodeSelector")
    security.pod(found, field.part(fields, "securityContext"), fields, f"{path}.securityContext")
    placement.affinity(found, fields.get("affinity"), f"{path}.affinity")
    _dns_config(found, fields, f"{path}.dnsConfig")
    for index, gate in enumerate(field.items(fields, "readinessGates")):
        kind = gate.get("conditionType") or ""
        found.messages(f"{path}.readinessGates[{index}].conditionType", kind, formats.qualified_name(kind))
    _scheduling_gates(found, field.items(fields, "schedulingGates"), f"{path}.schedulingGates")
    placement.spread(found, field.items(fields, "topologySpreadConstraints"), f"{path}.topologySpreadConstraints")
    _host_users(found, fields, path)
    _scalars(found, fields, path)


def _scalars(found: Causes, fields: Fields, path: str) -> None:
    for name in ("serviceAccountName", "nodeName"):
        if fields.get(name):
            found.messages(f"{path}.{name}", fields[name], formats.dns_subdomain(fields[name]))
    found.in_range(f"{path}.activeDeadlineSeconds", fields.get("activeDeadlineSeconds"), 1, MAX_INT32)
    for name in ("hostname", "subdomain"):
        if fields.get(name):
            found.messages(f"{path}.{name}", fields[name], formats.dns_label(fields[name]))
    _hostname_override(found, fields, path)
    placement.tolerations(found, field.items(fields, "tolerations"), f"{path}.tolerations")
    for index, alias in enumerate(field.items(fields, "hostAliases")):
        address = alias.get("ip") or ""
        found.messages(f"{path}.hostAliases[{index}].ip", address, formats.ip(address))
        for number, name in enumerate(field.items(alias, "hostnames")):
            found.messages(f"{path}.hostAliases[{index}].hostnames[{number}]", name, formats.dns_subdomain(name))
    if fields.get("priorityClassName"):
        name = fields["priorityClassName"]
        found.messages(f"{path}.priorityClassName", name, formats.dns_subdomain(name))
    if "runtimeClassName" in fields:
        name = fields["runtimeClassName"]
        found.messages(f"{path}.runtimeClassName", name, formats.dns_subdomain(name))
    if "preemptionPolicy" in fields:
        policies = ("PreemptLowerPriority", "Never")
        found.one_of(f"{path}.preemptionPolicy", fields["preemptionPolicy"], policies, is_sorted=False)
    for name, amount in field.part(fields, "overhead").items():
        resources.container_name(found, name, f"{path}.overhead[{name}]")
        resources.amount(found, name, amount, f"{path}.overhead[{name}]")
    if "os" in fields:
        _operating_system(found, fields["os"].get("name") or "", f"{path}.os")


def _hostname_override(found: Causes, fields: Fields, path: str) -> None:
    name = fields.get("hostnameOverride")
    if name is None:
        return
    here = f"{path}.hostnameOverride"
    if len(name) > HOST_NAME_LIMIT:
        found.too_long(here, HOST_NAME_LIMIT)
    found.messages(here, name, formats.dns_subdomain(name))
    if fields.get("setHostnameAsFQDN"):
        found.forbidden(here, "may not be specified when setHostnameAsFQDN is true")
    if fields.get("hostNetwork"):
        found.forbidden(here, "may not be specified when hostNetwork is true")


def _operating_system(found: Causes, name: str, path: str) -> None:
    if not name:
        found.required(f"{path}.name", "cannot be empty")
    else:
        found.maybe_one_of(path, name, ("linux", "windows"))


def _resource_claims(found: Causes, claims: list[Fields], path: str) -> None:
    names: set[str] = set()
    for index, claim in enumerate(claims):
        here, name = f"{path}[{index}]", claim.get("name") or ""
        if not name:
            found.required(f"{here}.name")
        elif name in names:
            found.duplicate(f"{here}.name", name)
        else:
            found.messages(f"{here}.name", name, formats.dns_label(name))
            names.add(name)
        given = [key for key in ("resourceClaimName", "resourceClaimTemplateName") if key in claim]
        if len(given) > 1:
            found.invalid(
                here, claim, "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"
            )
        if not given:
            found.invalid(here, claim, "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`")
        for key in given:
            found.messages(f"{here}.{key}", claim[key], formats.dns_subdomain(claim[key]))


def _pod_resources(found: Causes, fields: Fields, around: containers.Surroundings, path: str) -> None:
    whole = fields.get("resources")
    if not whole:
        return
    if "claims" in whole:
        found.forbidden(f"{path}.claims", "claims cannot be set for Resources at pod-level")
    resources.container(
        found, {name: whole[name] for name in ("limits", "requests") if name in whole}, around.claims, path
    )
    limits = field.part(whole, "limits")
    for index, container in enumerate(field.items(fields, "containers")):
        for name, amount in field.part(field.part(container, "resources"), "limits").items():
            if name in limits and quantity.compare(amount, limits[name]) > 0:
                found.invalid(
                    f"{path}.containers[{index}][{name}].limits",
                    amount,
                    f"must be less than or equal to pod limits of {limits[name]}",
                )


def _host_network_ports(found: Causes, fields: Fields, path: str, *, is_pod: bool) -> None:
    if not fields.get("hostNetwork"):
        return
    for index, container in enumerate(field.items(fields, "containers")):
        for number, port in enumerate(field.items(container, "ports")):
            host = port.get("hostPort") or 0
            if (is_pod or host) and host != port.get("containerPort"):
                found.invalid(
                    f"{path}.containers[{index}].ports[{number}].hostPort",
                    host,
                    "must match `containerPort` when `hostNetwork` is true",
                )


def _dns_config(found: Causes, fields: Fields, path: str) -> None:
    config = fields.get("dnsConfig")
    if fields.get("dnsPolicy") == "None":
        if config is None:
            found.required(path, "must provide `dnsConfig` when `dnsPolicy` is None")
            return
        if not config.get("nameservers"):
            found.required(f"{path}.nameservers", "must provide at least one DNS nameserver when `dnsPolicy` is None")
            return
    servers, searches = field.items(config, "nameservers"), field.items(config, "searches")
    if len(servers) > MAX_NAME_SERVERS:
        found.invalid(f"{path}.nameservers", servers, f"must not have more than {MAX_NAME_SERVERS} nameservers")
    for index, server in enumerate(servers):
        found.messages(f"{path}.nameservers[{index}]", server, formats.ip(server))
    if len(searches) > MAX_SEARCH_PATHS:
        found.invalid(f"{path}.searches", searches, f"must not have more than {MAX_SEARCH_PATHS} search paths")
    if len(" ".join(searches)) > MAX_SEARCH_CHARACTERS:
        found.invalid(
            f"{path}.searches",
            searches,
            f"must not have more than {MAX_SEARCH_CHARACTERS} characters (including spaces) in the search list",
        )
    for index, search in enumerate(searches):
        if search != ".":
            bare = search.removesuffix(".")
            found.messages(f"{path}.searches[{index}]", bare, formats.dns_subdomain_with_underscore(bare))
    for index, option in enumerate(field.items(config, "options")):
        if not option.get("name"):
            found.required(f"{path}.options[{index}]", "must not be empty")


def _scheduling_gates(found: Causes, gates: list[Fields], path: str) -> None:
    seen: set[str] = set()
    for index, gate in enumerate(gates):
        name = gate.get("name") or ""
        found.messages(f"{path}[{index}]", name, formats.qualified_name(name))
        if name in seen:
            found.duplicate(f"{path}[{index}]", name)
        seen.add(name)


def _host_users(found: Causes, fields: Fields, path: str) -> None:
    if fields.get("hostUsers") is not False:
        return
    for name, shown in (("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")):
        if fields.get(name):
            found.forbidden(f"{path}.{shown}", "when `pod.Spec.HostUsers` is false")


# Updates.


def update(found: Causes, new: Fields, old: Fields) -> None:
    if _common_update(found, new, old):
        _spec_update(found, new["spec"], old["spec"])


def update_ephemeral_containers(found: Causes, new: Fields, old: Fields) -> None:
    _common_update(found, new, old)
    _ephemeral_update(found, new["spec"], old)


def update_resize(found: Causes, new: Fields, old: Fields) -> None:
    _common_update(found, new, old)
    _resize(found, new, old)


def _common_update(found: Causes, new: Fields, old: Fields) -> bool:
    """Whether the spec changes."""
    metadata.update(found, new, old)
    _metadata(found, new)
    is_changed = bool(new["spec"] != old["spec"])
    if is_changed:
        # One that is stored was found good, if perhaps by older rules: whoever leaves it as it is has nothing to mend.
        _spec(found, new)
    _annotation_updates(found, field.part(new["metadata"], "annotations"), field.part(old["metadata"], "annotations"))
    return is_changed


def _annotation_updates(found: Causes, new: Fields, old: Fields) -> None:
    if MIRROR in old and new.get(MIRROR) != old[MIRROR]:
        found.forbidden(f"metadata.annotations[{MIRROR}]", "may not remove or update mirror pod annotation")
    elif MIRROR in new and MIRROR not in old:
        found.forbidden(f"metadata.annotations[{MIRROR}]", "may not add mirror pod annotation")


def _spec_update(found: Causes, new: Fields, old: Fields) -> None:
    for name in ("containers", "initContainers"):
        before, after = field.items(old, name), field.items(new, name)
        if len(before) != len(after):
            found.forbidden(f"spec.{name}", "pod updates may not add or remove containers")
            return
        for index, container in enumerate(after):
            containers.only_for_pod(found, container, f"spec.{name}[{index}]")
    if not _deadline_update(found, new.get("activeDeadlineSeconds"), old.get("activeDeadlineSeconds")):
        return
    placement.only_added_tolerations(
        found, field.items(new, "tolerations"), field.items(old, "tolerations"), "spec.tolerations"
    )
    _gate_update(found, field.items(new, "schedulingGates"), field.items(old, "schedulingGates"))
    munged = _munged(found, new, old)
    if munged != old:
        changed = _changes(munged, old)
        found.forbidden("spec", f"pod updates may not change fields other than {_UPDATABLE}\n{changed}")


def _deadline_update(found: Causes, new: int | None, old: int | None) -> bool:
    """False: what follows would only confuse."""
    path = "spec.activeDeadlineSeconds"
    if new is None:
        if old is not None:
            found.invalid(path, None, "must not update from a positive integer to nil value")
        return True
    if not 0 <= new <= MAX_INT32:
        found.invalid(path, new, field.between(0, MAX_INT32))
        return False
    if old is not None and old < new:
        found.invalid(path, new, "must be less than or equal to previous value")
        return False
    return True


def _gate_update(found: Causes, new: list[Fields], old: list[Fields]) -> None:
    known = {gate.get("name") for gate in old}
    for index, gate in enumerate(new):
        if gate.get("name") not in known:
            found.forbidden(
                f"spec.schedulingGates[{index}].name",
                f"only deletion is allowed, but found new scheduling gate '{gate.get('name')}'",
            )


def _munged(found: Causes, new: Fields, old: Fields) -> Fields:
    """`new` with everything that may change put back to what it was."""
    made = dict(new)
    for name in ("containers", "initContainers"):
        if name in made:
            pairs = zip(made[name], field.items(old, name), strict=True)
            made[name] = [{**after, "image": before.get("image")} for after, before in pairs]
    for name in ("activeDeadlineSeconds", "schedulingGates", "tolerations"):
        _put_back(made, old, name)
    if (old.get("terminationGracePeriodSeconds") or 0) < 0 and made.get("terminationGracePeriodSeconds") == 1:
        _put_back(made, old, "terminationGracePeriodSeconds")
    if old.get("schedulingGates"):
        _gated(found, made, old)
    return made


def _put_back(made: Fields, old: Fields, name: str) -> None:
    if name in old:
        made[name] = old[name]
    else:
        made.pop(name, None)


def _gated(found: Causes, made: Fields, old: Fields) -> None:
    """A pod that waits at a gate may be narrowed down: more node selectors, more node affinity."""
    new_selector, old_selector = field.part(made, "nodeSelector"), field.part(old, "nodeSelector")
    if any(new_selector.get(key) != value for key, value in old_selector.items()):
        found.invalid(
            "spec.nodeSelector",
            new_selector,
            "only additions to spec.nodeSelector are allowed (no mutations or deletions)",
        )
    _put_back(made, old, "nodeSelector")
    new_affinity, old_affinity = field.part(made, "affinity"), field.part(old, "affinity")
    new_nodes, old_nodes = new_affinity.get("nodeAffinity"), old_affinity.get("nodeAffinity")
    if new_nodes == old_nodes:
        return
    _affinity_additions(found, new_nodes, old_nodes)
    merged = {name: value for name, value in new_affinity.items() if name != "nodeAffinity"}
    if old_nodes is not None:
        merged["nodeAffinity"] = old_nodes
    if merged or "affinity" in old:
        made["affinity"] = merged
    else:
        made.pop("affinity", None)


def _affinity_additions(found: Causes, new: Fields | None, old: Fields | None) -> None:
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    path = f"spec.affinity.nodeAffinity.{required}.nodeSelectorTerms"
    before = field.items(field.part(old, required), "nodeSelectorTerms")
    after = field.items(field.part(new, required), "nodeSelectorTerms")
    if not before:
        return
    if len(before) != len(after):
        found.invalid(path, after, "no additions/deletions to non-empty NodeSelectorTerms list are allowed")
        return
    for index, (was, now) in enumerate(zip(before, after, strict=True)):
        for name in ("matchExpressions", "matchFields"):
            kept = field.items(was, name)
            if field.items(now, name)[: len(kept)] != kept or (not was and now):
                found.invalid(f"{path}[{index}]", now, "only additions are allowed (no mutations or deletions)")
                break


def _changes(new: Fields, old: Fields) -> str:
    """Which fields differ, with both values: there to help, its form is nobody's contract."""
    lines = []
    for name in sorted({*new, *old}):
        before, after = old.get(name), new.get(name)
        if before != after:
            lines.append(f"  {name}:")
            lines.append(f"- \t{field.shown(before)}")
            lines.append(f"+ \t{field.shown(after)}")
    return "\n".join(lines) + "\n"


def _ephemeral_update(found: Causes, new: Fields, old: Fields) -> None:
    path = "spec.ephemeralContainers"
    if MIRROR in field.part(old["metadata"], "annotations"):
        found[:] = []
        found.forbidden("", "static pods do not support ephemeral containers")
        return
    now = {container.get("name"): container for container in field.items(new, "ephemeralContainers")}
    for container in field.items(old["spec"], "ephemeralContainers"):
        name = field.quoted(container.get("name") or "")
        after = now.get(container.get("name"))
        if after is None:
            found.forbidden(path, f"existing ephemeral containers {name} may not be removed\n")
        elif after != container:
            found.forbidden(
                path, f"existing ephemeral containers {name} may not be changed\n{_changes(after, container)}"
            )


def _resize(found: Causes, new: Fields, old: Fields) -> None:
    if MIRROR in field.part(old["metadata"], "annotations"):
        found[:] = []
        found.forbidden("", "static pods cannot be resized")
        return
    for name in ("initContainers", "containers"):
        if not _same_names(found, field.items(new["spec"], name), field.items(old["spec"], name), f"spec.{name}"):
            return
    was = field.part(old, "status").get("qosClass") or facts.qos_class(old["spec"])
    if was != facts.qos_class(new["spec"]):
        found.invalid("spec", was, "Pod QOS Class may not change as a result of resizing")
    _resize_container(found, new["spec"], old["spec"], "spec.resources")
    if _beyond_compute(new["spec"])["resources"] != _beyond_compute(old["spec"])["resources"]:
        found.forbidden("spec.resources", "only cpu and memory resources are mutable")
    for name in ("initContainers", "containers"):
        pairs = zip(field.items(new["spec"], name), field.items(old["spec"], name), strict=True)
        for index, (after, before) in enumerate(pairs):
            if name == "containers" or before.get("restartPolicy") == "Always":
                _resize_container(found, after, before, f"spec.{name}[{index}].resources")
                if _beyond_compute(after) != _beyond_compute(before):
                    found.forbidden("spec", "only cpu and memory resources are mutable")
            elif after != before:
                found.forbidden("spec", "resources for non-sidecar init containers are immutable")


def _same_names(found: Causes, new: list[Fields], old: list[Fields], path: str) -> bool:
    if len(new) != len(old):
        found.forbidden(path, "containers may not be added or removed on resize")
        return False
    moved = [index for index, container in enumerate(new) if container.get("name") != old[index].get("name")]
    for index in moved:
        found.forbidden(f"{path}[{index}].name", "containers may not be renamed or reordered on resize")
    return not moved


def _resize_container(found: Causes, new: Fields, old: Fields, path: str) -> None:
    """Also of the pod as a whole."""
    after, before = field.part(new, "resources"), field.part(old, "resources")
    for name in ("requests", "limits"):
        if set(field.part(before, name)) - set(field.part(after, name)):
            found.forbidden(f"{path}.{name}", f"resource {name} cannot be removed")


def _beyond_compute(container: Fields) -> Fields:
    made = {name: value for name, value in container.items() if name not in ("resources", "resizePolicy")}
    whole = field.part(container, "resources")
    made["resources"] = {
        name: {key: value for key, value in field.part(whole, name).items() if key not in resources.POD_LEVEL}
        for name in ("limits", "requests")
    }
    return made


# Status.


def update_status(found: Causes, new: Fields, old: Fields) -> None:
    metadata.update(found, new, old)
    _annotation_updates(found, field.part(new["metadata"], "annotations"), field.part(old["metadata"], "annotations"))
    now, then = field.part(new, "status"), field.part(old, "status")
    _conditions(found, field.items(now, "conditions"))
    nominated = now.get("nominatedNodeName")
    if nominated and nominated != then.get("nominatedNodeName"):
        found.messages("status.nominatedNodeName", nominated, formats.dns_subdomain(nominated))
    found.unchanged("status.qosClass", now.get("qosClass"), then.get("qosClass"))
    spec_fields = field.part(old, "spec")
    policy = "Always" if _restarts_together(spec_fields) else spec_fields.get("restartPolicy")
    for name, effective, exempt in (
        ("containerStatuses", policy, _with_own_policy(spec_fields, "containers")),
        ("initContainerStatuses", policy, _with_own_policy(spec_fields, "initContainers")),
        ("ephemeralContainerStatuses", "Never", set()),
    ):
        _transitions(found, field.items(now, name), field.items(then, name), effective, exempt, f"status.{name}")
    for name in ("podIPs", "hostIPs"):
        _addresses(found, field.items(now, name), f"status.{name}")


def _with_own_policy(spec_fields: Fields, name: str) -> set[Any]:
    return {container.get("name") for container in field.items(spec_fields, name) if "restartPolicy" in container}


def _restarts_together(spec_fields: Fields) -> bool:
    """An exit of one of the containers may restart all of them, whatever their policies say."""
    return any(
        rule.get("action") == "RestartAllContainers"
        for name in ("containers", "initContainers")
        for container in field.items(spec_fields, name)
        for rule in field.items(container, "restartPolicyRules")
    )


def _conditions(found: Causes, conditions: list[Fields]) -> None:
    for index, condition in enumerate(conditions):
        kind = condition.get("type") or ""
        if kind not in ("PodScheduled", "Ready", "Initialized"):
            found.messages(f"metadata.conditions[{index}].Type", kind, formats.qualified_name(kind))


def _transitions(
    found: Causes, new: list[Fields], old: list[Fields], policy: str | None, exempt: set[Any], path: str
) -> None:
    """A container that ended for good stays ended."""
    if policy == "Always":
        return
    now = {status.get("name"): status for status in new}
    for index, status in enumerate(old):
        ended = field.part(status, "state").get("terminated")
        if ended is None or status.get("name") in exempt:
            continue
        if ended.get("exitCode") and policy == "OnFailure":
            continue
        after = now.get(status.get("name"))
        if after is not None and "terminated" not in field.part(after, "state"):
            found.forbidden(f"{path}[{index}].state", "may not be transitioned to non-terminated state")


def _addresses(found: Causes, addresses: list[Fields], path: str) -> None:
    seen: set[str] = set()
    for index, item in enumerate(addresses):
        address = item.get("ip") or ""
        found.messages(f"{path}[{index}]", address, formats.ip(address))
        if address in seen:
            found.duplicate(f"{path}[{index}]", item)
        seen.add(address)
    families = {parsed.version for item in addresses if (parsed := formats.parse_ip(item.get("ip") or ""))}
    if len(addresses) > 1 and len(families) != len(addresses):
        found.invalid(path, addresses, "may specify no more than one IP for each IP family")
