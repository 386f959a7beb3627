"""Services, Endpoints and EndpointSlices."""

from pinnace.api import services
from pinnace.api.validation import containers, field, formats, metadata

Fields = field.Fields
Causes = field.Causes

MAX_AFFINITY_SECONDS = 86400
MAX_ENDPOINTS = 1000
MAX_SLICE_PORTS = 20000
MAX_ADDRESSES = 100
MAX_ZONE_HINTS = 8
_ONLY_BALANCER = "may only be used when `type` is 'LoadBalancer'"


def service(found: Causes, obj: Fields) -> None:
    metadata.create(found, obj, namespaced=True, name_rule=formats.dns_1035_label)
    _spec(found, field.part(obj, "spec"))


def _spec(found: Causes, spec: Fields) -> None:
    kind, ports = spec.get("type") or "", field.items(spec, "ports")
    headless = services.is_headless(spec)
    if not ports and not headless and kind != "ExternalName":
        found.required("spec.ports")
    if kind in ("LoadBalancer", "NodePort") and headless:
        found.invalid("spec.clusterIPs[0]", services.HEADLESS, f"may not be set to 'None' for {kind} services")
    if kind == "ExternalName":
        _external_name(found, spec)
    _ports(found, ports)
    metadata.label_map(found, spec.get("selector"), "spec.selector")
    _session_affinity(found, spec)
    _cluster_ips(found, spec)
    for index, address in enumerate(field.items(spec, "externalIPs")):
        messages = formats.ip(address) or formats.special_ip(address)
        found.messages(f"spec.externalIPs[{index}]", address, messages)
    found.one_of("spec.type", kind, ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort"))
    _port_collisions(found, ports, kind)
    _balancer(found, spec, kind)
    _traffic(found, spec, kind)


def _external_name(found: Causes, spec: Fields) -> None:
    for name in ("clusterIPs", "ipFamilies", "ipFamilyPolicy"):
        if spec.get(name):
            found.forbidden(f"spec.{name}", "may not be set for ExternalName services")
    name = (spec.get("externalName") or "").removesuffix(".")
    if name:
        found.messages("spec.externalName", name, formats.dns_subdomain(name))
    else:
        found.required("spec.externalName")


def _ports(found: Causes, ports: list[Fields]) -> None:
    names: set[str] = set()
    for index, port in enumerate(ports):
        path, name = f"spec.ports[{index}]", port.get("name") or ""
        if len(ports) > 1 and not name:
            found.required(f"{path}.name")
        elif name:
            found.messages(f"{path}.name", name, formats.dns_label(name))
            if name in names:
                found.duplicate(f"{path}.name", name)
            names.add(name)
        number = port.get("port") or 0
        found.messages(f"{path}.port", number, formats.port_number(number))
        found.one_of(f"{path}.protocol", port.get("protocol"), containers.PROTOCOLS)
        containers.port(found, port.get("targetPort", 0), f"{path}.targetPort")
        if port.get("appProtocol") is not None:
            protocol = port["appProtocol"]
            found.messages(f"{path}.appProtocol", protocol, formats.qualified_name(protocol))


def _port_collisions(found: Causes, ports: list[Fields], kind: str) -> None:
    if kind == "ClusterIP":
        for index, port in enumerate(ports):
            if port.get("nodePort"):
                found.forbidden(f"spec.ports[{index}].nodePort", "may not be used when `type` is 'ClusterIP'")
    for name in ("nodePort", "port"):
        seen: set[tuple[str | None, int]] = set()
        for index, port in enumerate(ports):
            number, protocol = port.get(name), port.get("protocol")
            if not number:
                continue
            if (protocol, number) in seen:
                if name == "nodePort":
                    found.duplicate(f"spec.ports[{index}].nodePort", number)
                else:
                    shown = {"protocol": protocol, "port": number, "targetPort": 0}
                    found.duplicate(f"spec.ports[{index}]", shown)
            seen.add((protocol, number))


def _session_affinity(found: Causes, spec: Fields) -> None:
    affinity, config = spec.get("sessionAffinity") or "", spec.get("sessionAffinityConfig")
    found.one_of("spec.sessionAffinity", affinity, ("ClientIP", "None"))
    path = "spec.sessionAffinityConfig"
    if affinity == "None":
        if config is not None:
            found.forbidden(path, "must not be set when session affinity is None")
        return
    if affinity != "ClientIP":
        return
    when = "when session affinity type is ClientIP"
    if config is None:
        found.required(path, when)
    elif config.get("clientIP") is None:
        found.required(f"{path}.clientIP", when)
    else:
        seconds = config["clientIP"].get("timeoutSeconds")
        if seconds is None:
            found.required(f"{path}.clientIP.timeoutSeconds", when)
        elif not 0 < seconds <= MAX_AFFINITY_SECONDS:
            found.invalid(
                f"{path}.clientIP.timeoutSeconds",
                seconds,
                f"must be greater than 0 and less than {MAX_AFFINITY_SECONDS}",
            )


def _cluster_ips(found: Causes, spec: Fields) -> None:
    if spec.get("type") == "ExternalName":
        return
    one, many = spec.get("clusterIP") or "", field.items(spec, "clusterIPs")
    path = "spec.clusterIPs"
    if one and not many:
        found.required(path)
    elif one and many[0] != one:
        found.invalid(path, many, "first value must match `clusterIP`")
    elif many and not one:
        found.invalid(path, many, "must be empty when `clusterIP` is not specified")
    seen: set[str] = set()
    for index, family in enumerate(field.items(spec, "ipFamilies")):
        found.maybe_one_of(f"spec.ipFamilies[{index}]", family, ("IPv4", "IPv6"))
        if family in seen:
            found.duplicate(f"spec.ipFamilies[{index}]", family)
        seen.add(family)
    found.maybe_one_of(
        "spec.ipFamilyPolicy", spec.get("ipFamilyPolicy"), ("PreferDualStack", "RequireDualStack", "SingleStack")
    )
    before = len(found)
    for index, address in enumerate(many):
        if index == 0 and address == services.HEADLESS:
            if len(many) > 1:
                found.invalid(path, many, "'None' must be the first and only value")
            continue
        found.messages(f"{path}[{index}]", address, formats.ip(address))
    if len(many) > 2:
        found.invalid(path, many, "may only hold up to 2 values")
    if len(found) == before and len(many) > 1:
        families = {parsed.version for address in many if (parsed := formats.parse_ip(address))}
        if len(families) != len(many):
            found.invalid(path, many, "may specify no more than one IP for each IP family")


def _balancer(found: Causes, spec: Fields, kind: str) -> None:
    is_balancer = kind == "LoadBalancer"
    ranges = field.items(spec, "loadBalancerSourceRanges")
    if ranges and not is_balancer:
        found.forbidden("spec.LoadBalancerSourceRanges", _ONLY_BALANCER)
    for index, value in enumerate(ranges):
        found.messages(f"spec.LoadBalancerSourceRanges[{index}]", value.strip(), formats.cidr(value.strip()))
    if spec.get("allocateLoadBalancerNodePorts") is not None and not is_balancer:
        found.forbidden("spec.allocateLoadBalancerNodePorts", _ONLY_BALANCER)
    name = spec.get("loadBalancerClass")
    if name is not None:
        if is_balancer:
            found.messages("spec.loadBalancerClass", name, formats.qualified_name(name))
        else:
            found.forbidden("spec.loadBalancerClass", _ONLY_BALANCER)


def _traffic(found: Causes, spec: Fields, kind: str) -> None:
    external, path = spec.get("externalTrafficPolicy") or "", "spec.externalTrafficPolicy"
    if not services.is_externally_accessible(spec):
        if external:
            found.invalid(path, external, "may only be set for externally-accessible services")
    else:
        found.one_of(path, external, ("Cluster", "Local"))
    check = spec.get("healthCheckNodePort") or 0
    if check and not services.needs_health_check_port(spec):
        found.invalid(
            "spec.healthCheckNodePort",
            check,
            "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
        )
    elif check:
        found.messages("spec.healthCheckNodePort", check, formats.port_number(check))
    internal = spec.get("internalTrafficPolicy")
    if internal is None and kind in ("NodePort", "LoadBalancer", "ClusterIP"):
        found.required("spec.internalTrafficPolicy")
    found.maybe_one_of("spec.internalTrafficPolicy", internal, ("Cluster", "Local"))
    found.maybe_one_of(
        "spec.trafficDistribution",
        spec.get("trafficDistribution"),
        ("PreferClose", "PreferSameNode", "PreferSameZone"),
    )


def service_update(found: Causes, new: Fields, old: Fields) -> None:
    metadata.update(found, new, old)
    after, before = field.part(new, "spec"), field.part(old, "spec")
    if "ExternalName" not in (after.get("type"), before.get("type")):
        _cluster_ip_update(found, after, before)
        _family_update(found, after, before)
    if after.get("type") == before.get("type") == "LoadBalancer" and after.get("loadBalancerClass") != before.get(
        "loadBalancerClass"
    ):
        found.invalid("spec.loadBalancerClass", after.get("loadBalancerClass"), "may not change once set")
    keeps_check = services.needs_health_check_port(before) and services.needs_health_check_port(after)
    if keeps_check and after.get("healthCheckNodePort") != before.get("healthCheckNodePort"):
        found.forbidden("spec.healthCheckNodePort", field.IMMUTABLE)
    service(found, new)


def _cluster_ip_update(found: Causes, new: Fields, old: Fields) -> None:
    if services.is_headless(new) and services.is_headless(old):
        return
    after, before = field.items(new, "clusterIPs"), field.items(old, "clusterIPs")
    if len(after) == len(before):
        for index, (now, then) in enumerate(zip(after, before, strict=True)):
            if now != then:
                found.invalid(f"spec.clusterIPs[{index}]", after, "may not change once set")
        return
    if not after:
        found.invalid("spec.clusterIPs[0]", after, "primary clusterIP can not be unset")
    elif before and after[0] != before[0]:
        found.invalid("spec.clusterIPs[0]", after, "may not change once set")
    if len(before) > len(after) == 1 and new.get("ipFamilyPolicy") != "SingleStack":
        found.invalid(
            "spec.ipFamilyPolicy",
            new.get("ipFamilyPolicy"),
            "must be set to 'SingleStack' when releasing the secondary clusterIP",
        )


def _family_update(found: Causes, new: Fields, old: Fields) -> None:
    if services.is_headless(new) or services.is_headless(old):
        return
    after, before = field.items(new, "ipFamilies"), field.items(old, "ipFamilies")
    if after and before and after[0] != before[0]:
        found.invalid("spec.ipFamilies[0]", after, "may not change once set")


def service_status(found: Causes, new: Fields, old: Fields) -> None:
    metadata.update(found, new, old)
    ingress = field.items(field.part(field.part(new, "status"), "loadBalancer"), "ingress")
    path = "status.loadBalancer.ingress"
    if ingress and field.part(new, "spec").get("type") != "LoadBalancer":
        found.forbidden(path, "may only be used when `spec.type` is 'LoadBalancer'")
        return
    for index, item in enumerate(ingress):
        _ingress_point(found, item, f"{path}[{index}]")


def _ingress_point(found: Causes, item: Fields, path: str) -> None:
    address, name = item.get("ip") or "", item.get("hostname") or ""
    if address:
        found.messages(f"{path}.ip", address, formats.ip(address))
    mode = item.get("ipMode")
    if mode is None:
        if address:
            found.required(f"{path}.ipMode", "must be specified when `ip` is set")
    elif not address:
        found.forbidden(f"{path}.ipMode", "may not be specified when `ip` is not set")
    else:
        found.maybe_one_of(f"{path}.ipMode", mode, ("Proxy", "VIP"))
    if name:
        found.messages(f"{path}.hostname", name, formats.dns_subdomain(name))
        if formats.parse_ip(name) is not None:
            found.invalid(f"{path}.hostname", name, "must be a DNS name, not an IP address")


def endpoints(found: Causes, obj: Fields) -> None:
    metadata.create(found, obj, namespaced=True, name_rule=formats.dns_subdomain)
    for index, subset in enumerate(field.items(obj, "subsets")):
        path = f"subsets[{index}]"
        if not subset.get("addresses") and not subset.get("notReadyAddresses"):
            found.required(path, "must specify `addresses` or `notReadyAddresses`")
        for name in ("addresses", "notReadyAddresses"):
            for number, address in enumerate(field.items(subset, name)):
                _endpoint_address(found, address, f"{path}.{name}[{number}]")
        ports = field.items(subset, "ports")
        for number, port in enumerate(ports):
            _endpoint_port(found, port, f"{path}.ports[{number}]", needs_name=len(ports) > 1)


def _endpoint_address(found: Causes, address: Fields, path: str) -> None:
    given = address.get("ip") or ""
    found.messages(f"{path}.ip", given, formats.ip(given))
    if address.get("hostname"):
        found.messages(f"{path}.hostname", address["hostname"], formats.dns_label(address["hostname"]))
    if address.get("nodeName") is not None:
        found.messages(f"{path}.nodeName", address["nodeName"], formats.dns_subdomain(address["nodeName"]))
    found.messages(f"{path}.ip", given, formats.special_ip(given))


def _endpoint_port(found: Causes, port: Fields, path: str, *, needs_name: bool) -> None:
    name, number = port.get("name") or "", port.get("port") or 0
    if needs_name and not name:
        found.required(f"{path}.name")
    elif name:
        found.messages(f"{path}.name", name, formats.dns_label(name))
    found.messages(f"{path}.port", number, formats.port_number(number))
    found.one_of(f"{path}.protocol", port.get("protocol"), containers.PROTOCOLS)
    if port.get("appProtocol") is not None:
        found.messages(f"{path}.appProtocol", port["appProtocol"], formats.qualified_name(port["appProtocol"]))


def endpoints_update(found: Causes, new: Fields, old: Fields) -> None:
    metadata.update(found, new, old)
    endpoints(found, new)


def endpoint_slice(found: Causes, obj: Fields) -> None:
    metadata.create(found, obj, namespaced=True, name_rule=formats.dns_subdomain)
    kind = obj.get("addressType") or ""
    if not kind:
        found.required("addressType")
    else:
        found.maybe_one_of("addressType", kind, ("FQDN", "IPv4", "IPv6"))
    members = field.items(obj, "endpoints")
    if len(members) > MAX_ENDPOINTS:
        found.too_many("endpoints", len(members), MAX_ENDPOINTS)
    else:
        for index, member in enumerate(members):
            _member(found, member, kind, f"endpoints[{index}]")
    _slice_ports(found, field.items(obj, "ports"))


def _member(found: Causes, member: Fields, kind: str, path: str) -> None:
    addresses = field.items(member, "addresses")
    if not addresses:
        found.required(f"{path}.addresses", "must contain at least 1 address")
    if len(addresses) > MAX_ADDRESSES:
        found.too_many(f"{path}.addresses", len(addresses), MAX_ADDRESSES)
    for index, address in enumerate(addresses):
        here = f"{path}.addresses[{index}]"
        if kind == "FQDN":
            found.messages(here, address, formats.dns_subdomain(address))
            continue
        parsed = formats.parse_ip(address)
        wanted = {"IPv4": 4, "IPv6": 6}.get(kind)
        if wanted and (parsed is None or parsed.version != wanted):
            found.invalid(here, address, f"must be a valid {kind} address")
        elif wanted:
            found.messages(here, address, formats.special_ip(address))
    if member.get("nodeName") is not None:
        found.messages(f"{path}.nodeName", member["nodeName"], formats.dns_subdomain(member["nodeName"]))
    metadata.label_map(found, member.get("deprecatedTopology"), f"{path}.deprecatedTopology")
    if member.get("hostname") is not None:
        found.messages(f"{path}.hostname", member["hostname"], formats.dns_label(member["hostname"]))
    hints = field.items(member.get("hints"), "forZones")
    if len(hints) > MAX_ZONE_HINTS:
        found.too_many(f"{path}.hints.forZones", len(hints), MAX_ZONE_HINTS)


def _slice_ports(found: Causes, ports: list[Fields]) -> None:
    if len(ports) > MAX_SLICE_PORTS:
        found.too_many("ports", len(ports), MAX_SLICE_PORTS)
        return
    names: set[str] = set()
    for index, port in enumerate(ports):
        path, name = f"ports[{index}]", port.get("name") or ""
        if name:
            found.messages(f"{path}.name", name, formats.dns_label(name))
        if name in names:
            found.duplicate(f"{path}.name", name)
        names.add(name)
        found.one_of(f"{path}.protocol", port.get("protocol"), containers.PROTOCOLS)
        if port.get("port") is not None:
            found.messages(f"{path}.port", port["port"], formats.port_number(port["port"]))
        if port.get("appProtocol") is not None:
            found.messages(f"{path}.appProtocol", port["appProtocol"], formats.qualified_name(port["appProtocol"]))


def endpoint_slice_update(found: Causes, new: Fields, old: Fields) -> None:
    metadata.update(found, new, old)
    endpoint_slice(found, new)
    found.unchanged("addressType", new.get("addressType"), old.get("addressType"))
