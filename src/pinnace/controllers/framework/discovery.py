"""Which resources the API serves, asked of the API: for controllers that act on every kind there is."""

import dataclasses
from typing import Any

from pinnace.api import resources
from pinnace.client import client


@dataclasses.dataclass(frozen=True, slots=True)
class Served:
    resource: resources.Resource
    verbs: frozenset[str]


@dataclasses.dataclass(frozen=True, slots=True)
class Discovered:
    served: tuple[Served, ...]
    """Each resource once, in its group's preferred version where that has it."""
    failed: tuple[str, ...]
    """Group versions that could not be read: whoever needs to know everything must not go on."""


async def discover(api: client.Client) -> Discovered:
    """Raises ApiError when not even the list of groups can be read."""
    found: dict[tuple[str, str], Served] = {}
    failed = []
    groups = (await api.get_path("/apis"))["groups"]
    versions = [("", "v1")]
    for group in groups:
        preferred = group["preferredVersion"]["version"]
        others = [each["version"] for each in group["versions"] if each["version"] != preferred]
        versions += [(group["name"], version) for version in (preferred, *others)]
    for group_name, version in versions:
        path = f"/apis/{group_name}/{version}" if group_name else f"/api/{version}"
        try:
            listed = await api.get_path(path)
        except client.ApiError:
            failed.append(f"{group_name}/{version}" if group_name else version)
            continue
        for entry in listed.get("resources") or ():
            if "/" not in entry["name"]:
                found.setdefault((group_name, entry["name"]), _served(group_name, version, entry))
    return Discovered(tuple(found.values()), tuple(failed))


def _served(group: str, version: str, entry: dict[str, Any]) -> Served:
    resource = resources.Resource(group, version, entry["name"], entry["kind"], bool(entry.get("namespaced")))
    return Served(resource, frozenset(entry.get("verbs") or ()))
