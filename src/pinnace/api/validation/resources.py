"""Amounts of compute resources: names, values, requests against limits."""

import re

from pinnace.api import quantity, resource_names
from pinnace.api.validation import field, formats

Fields = field.Fields
Causes = field.Causes

_STANDARD_CONTAINER = frozenset({"cpu", "memory", "ephemeral-storage"})
# Numbers of objects: whole ones.
_INTEGERS = frozenset(
    {
        "pods",
        "resourcequotas",
        "services",
        "replicationcontrollers",
        "secrets",
        "configmaps",
        "persistentvolumeclaims",
        "services.nodeports",
        "services.loadbalancers",
    }
)
_OF_PODS = frozenset(f"{side}.{name}" for side in ("requests", "limits") for name in _STANDARD_CONTAINER)
_STANDARD = _STANDARD_CONTAINER | _OF_PODS | _INTEGERS | {"storage"}
STANDARD_QUOTA = _STANDARD_CONTAINER | _OF_PODS | _INTEGERS | {"requests.storage"}
POD_LEVEL = ("cpu", "memory")


def _is_extended(name: str) -> bool:
    return resource_names.is_extended(name) and not formats.qualified_name(f"requests.{name}")


def name(found: Causes, value: str, path: str) -> bool:
    """Whether the name is right as far as every place of a resource goes."""
    messages = formats.qualified_name(value)
    found.messages(path, value, messages)
    if messages:
        return False
    if (
        "/" not in value
        and value not in _STANDARD
        and value not in STANDARD_QUOTA
        and not resource_names.is_huge_page(value)
    ):
        found.invalid(path, value, "must be a standard resource type or fully qualified")
        return False
    return True


def container_name(found: Causes, value: str, path: str) -> None:
    name(found, value, path)
    if "/" not in value:
        if value not in _STANDARD_CONTAINER and not resource_names.is_huge_page(value):
            found.invalid(path, value, "must be a standard resource for containers")
    elif not resource_names.is_native(value) and not _is_extended(value):
        found.invalid(path, value, "doesn't follow extended resource name standard")


def quota_name(found: Causes, value: str, path: str) -> None:
    if value.startswith("count/"):
        return
    name(found, value, path)
    bare = value.removeprefix("requests.").removeprefix("limits.")
    if "/" not in value and value not in STANDARD_QUOTA and not resource_names.is_huge_page(bare):
        found.invalid(path, value, "must be a standard resource for quota")


def amount(found: Causes, resource: str, value: str, path: str) -> None:
    if quantity.parse(value) < 0:
        found.invalid(path, value, field.NOT_NEGATIVE)
    if (resource in _INTEGERS or _is_extended(resource)) and quantity.milli(value) % 1000:
        found.invalid(path, value, "must be an integer")


def positive(found: Causes, value: str, path: str) -> bool:
    if quantity.parse(value) <= 0:
        found.invalid(path, value, field.POSITIVE)
        return False
    return True


def container(found: Causes, requirements: Fields, claims: frozenset[str], path: str) -> None:
    limits, requests = field.part(requirements, "limits"), field.part(requirements, "requests")
    for key, value in limits.items():
        here = f"{path}.limits[{key}]"
        container_name(found, key, here)
        amount(found, key, value, here)
        _huge_page_multiple(found, key, value, here)
    for key, value in requests.items():
        here = f"{path}.requests[{key}]"
        container_name(found, key, here)
        amount(found, key, value, here)
        _request_within_limit(found, key, value, limits.get(key), path)
        _huge_page_multiple(found, key, value, here)
    names = {*limits, *requests}
    if any(resource_names.is_huge_page(key) for key in names) and not names & {"cpu", "memory"}:
        found.forbidden(path, "HugePages require cpu or memory")
    _claims(found, field.items(requirements, "claims"), claims, f"{path}.claims")


def _request_within_limit(found: Causes, key: str, value: str, limit: str | None, path: str) -> None:
    if limit is None:
        if not resource_names.allows_overcommit(key):
            found.required(f"{path}.limits", "Limit must be set for non overcommitable resources")
        return
    order = quantity.compare(value, limit)
    if order and not resource_names.allows_overcommit(key):
        found.invalid(f"{path}.requests", value, f"must be equal to {key} limit of {limit}")
    elif order > 0:
        found.invalid(f"{path}.requests", value, f"must be less than or equal to {key} limit of {limit}")


def _huge_page_multiple(found: Causes, key: str, value: str, path: str) -> None:
    if not resource_names.is_huge_page(key):
        return
    size = key.removeprefix("hugepages-")
    unit = quantity.value(size) if re.fullmatch(r"[0-9]+[KMGTPE]?i?", size) else 0
    if not unit or quantity.value(value) % unit:
        found.invalid(path, value, f"{value} is not positive integer multiple of {key}")


def _claims(found: Causes, claims: list[Fields], known: frozenset[str], path: str) -> None:
    seen: set[str] = set()
    for index, claim in enumerate(claims):
        here, claim_name, request = f"{path}[{index}]", claim.get("name") or "", claim.get("request") or ""
        if not claim_name:
            found.required(here)
            continue
        if claim_name in seen:
            found.duplicate(here, claim_name)
        else:
            key = f"{claim_name}/{request}" if request else claim_name
            if request:
                found.messages(f"{here}.request", request, formats.dns_label(request))
            if key in seen:
                found.duplicate(here, key)
            elif not request and any(other.startswith(f"{claim_name}/") for other in seen):
                found.duplicate(here, claim_name)
            seen.add(key)
        if claim_name not in known:
            detail = "must be one of the names in pod.spec.resourceClaims"
            detail += ": " + ", ".join(sorted(known)) if known else " which is empty"
            found.not_found(here, claim_name, detail)
