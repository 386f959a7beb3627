"""ServiceCIDRs and IPAddresses: the ranges that Services' addresses come from, and who has which."""

import ipaddress

from pinnace.api.validation import field, formats, metadata

Fields = field.Fields
Causes = field.Causes

_MOST_RANGES = 2


def ip_address(found: Causes, obj: Fields) -> None:
    metadata.create(found, obj, namespaced=False, name_rule=formats.canonical_ip)
    path = "spec.parentRef"
    parent = field.part(obj, "spec").get("parentRef")
    if parent is None:
        found.required(path)
        return
    if group := parent.get("group"):
        found.messages(f"{path}.group", group, formats.dns_subdomain(group))
    for name in ("resource", "name"):
        if not parent.get(name):
            found.required(f"{path}.{name}")
    for name in ("resource", "name", "namespace"):
        if value := parent.get(name):
            found.messages(f"{path}.{name}", value, formats.path_segment(value))


def ip_address_update(found: Causes, new: Fields, old: Fields) -> None:
    metadata.update(found, new, old)
    found.unchanged("spec.parentRef", *(field.part(obj, "spec").get("parentRef") for obj in (new, old)))


def service_cidr(found: Causes, obj: Fields) -> None:
    metadata.create(found, obj, namespaced=False, name_rule=formats.dns_subdomain)
    path, spec = "spec.cidrs", field.part(obj, "spec")
    ranges = field.items(spec, "cidrs")
    if not ranges:
        found.required(path, "at least one CIDR required")
    elif len(ranges) > _MOST_RANGES:
        found.invalid(path, spec, "may only hold up to 2 values")
    elif len(ranges) == _MOST_RANGES and not _is_dual(ranges):
        why = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"
        found.invalid(path, spec, why)
    else:
        for index, text in enumerate(ranges):
            found.messages(f"{path}[{index}]", text, formats.canonical_cidr(text))


def service_cidr_update(found: Causes, new: Fields, old: Fields) -> None:
    metadata.update(found, new, old)
    found.unchanged("spec.cidrs", *(field.items(field.part(obj, "spec"), "cidrs") for obj in (new, old)))


def _is_dual(ranges: list[str]) -> bool:
    try:
        return len({ipaddress.ip_network(text, strict=False).version for text in ranges}) == len(ranges)
    except ValueError:
        return False
