"""What this server serves, as clients ask it: group by group, or all at once (aggregated discovery)."""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

from pinnace.api import kinds
from pinnace.apiserver import context as contexts
from pinnace.apiserver.http import negotiate, respond
from pinnace.web import messages

Object = dict[str, Any]

_AGGREGATED = "APIGroupDiscoveryList"
_AGGREGATED_GROUP = "apidiscovery.k8s.io"


def storage_hash(kind: kinds.Kind) -> str:
    """Tells clients when the stored version changes: the first eight bytes of a digest of its group, version and kind."""
    stored = kind.rules.stored or kind
    digest = hashlib.sha256(f"{stored.group}/{stored.version}/{kind.kind}".encode()).digest()
    return base64.b64encode(digest[:8]).decode()


def _resources(served: Sequence[kinds.Kind]) -> list[Object]:
    """APIResource of each kind and of its subresources, in the order of their names."""
    out: list[Object] = []
    for kind in served:
        entry: Object = {
            "name": kind.plural,
            "singularName": kind.singular,
            "namespaced": kind.namespaced,
            "kind": kind.kind,
            "verbs": list(kind.verbs),
        }
        if kind.short_names:
            entry["shortNames"] = list(kind.short_names)
        if kind.categories:
            entry["categories"] = list(kind.categories)
        if not kind.is_virtual:
            entry["storageVersionHash"] = storage_hash(kind)
        out.append(entry)
        for sub in kind.subresources:
            part: Object = {
                "name": f"{kind.plural}/{sub.name}",
                "singularName": "",
                "namespaced": kind.namespaced,
                "kind": sub.kind,
                "verbs": list(sub.verbs),
            }
            if sub.version:
                part["group"], part["version"] = sub.group, sub.version
            out.append(part)
    return sorted(out, key=lambda entry: str(entry["name"]))


def _groups(registry: kinds.Registry) -> list[str]:
    return list(dict.fromkeys(kind.group for kind in registry.all() if kind.group))


def _group(registry: kinds.Registry, group: str) -> Object:
    versions = [{"groupVersion": f"{group}/{version}", "version": version} for version in registry.versions(group)]
    return {"name": group, "versions": versions, "preferredVersion": versions[0]}


async def core_versions(context: contexts.Context) -> messages.Answer:
    """`/api`."""
    form = negotiate.form(context.accept, negotiate.OF_DISCOVERY)
    if _is_aggregated(form):
        return _aggregated(context, [""], form)
    address = f"{context.services.settings.advertise_address}:{context.services.settings.advertise_port}"
    body = {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    }
    return respond.value(body, form)


async def groups(context: contexts.Context) -> messages.Answer:
    """`/apis`."""
    registry = context.services.registry
    form = negotiate.form(context.accept, negotiate.OF_DISCOVERY)
    if _is_aggregated(form):
        return _aggregated(context, _groups(registry), form)
    listed = [_group(registry, group) for group in _groups(registry)]
    return respond.value({"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}, form)


async def below(context: contexts.Context) -> messages.Answer:
    """`/api/v1`, `/apis/<group>`, `/apis/<group>/<version>`."""
    registry = context.services.registry
    parts = context.request.path.strip("/").split("/")
    form = negotiate.form(context.accept, negotiate.NONE)
    if parts[0] == "api" and len(parts) == 2:
        return _resource_list(registry, "", parts[1], form)
    if parts[0] == "apis" and len(parts) == 2 and registry.versions(parts[1]):
        return respond.value({"kind": "APIGroup", "apiVersion": "v1", **_group(registry, parts[1])}, form)
    if parts[0] == "apis" and len(parts) == 3:
        return _resource_list(registry, parts[1], parts[2], form)
    return respond.no_page()


def _resource_list(registry: kinds.Registry, group: str, version: str, form: negotiate.Form) -> messages.Answer:
    served = [kind for kind in registry.all() if kind.group == group and kind.version == version]
    if not served:
        return respond.no_page()
    body = {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": served[0].api_version,
        "resources": _resources(served),
    }
    return respond.value(body, form)


def _is_aggregated(form: negotiate.Form) -> bool:
    return form.transform == _AGGREGATED


def _aggregated(context: contexts.Context, wanted: Sequence[str], form: negotiate.Form) -> messages.Answer:
    body = form.serializer.encode(
        {
            "kind": _AGGREGATED,
            "apiVersion": f"{_AGGREGATED_GROUP}/{form.version}",
            "metadata": {},
            "items": [_discovered(context.services.registry, group) for group in wanted],
        }
    )
    tag = '"' + hashlib.sha512(body).hexdigest().upper() + '"'
    headers = [
        ("Content-Type", f"{form.serializer.media};g={_AGGREGATED_GROUP};v={form.version};as={_AGGREGATED}"),
        ("ETag", tag),
        ("Vary", "Accept"),
        ("Cache-Control", "public"),
    ]
    if context.request.headers.get("if-none-match") == tag:
        return messages.Response(304, headers, b"")
    return messages.Response(200, headers, body)


def _discovered(registry: kinds.Registry, group: str) -> Object:
    versions = []
    for version in registry.versions(group):
        served = [kind for kind in registry.all() if kind.group == group and kind.version == version]
        resources = [_discovered_resource(kind) for kind in sorted(served, key=lambda kind: kind.plural)]
        versions.append({"version": version, "resources": resources, "freshness": "Current"})
    return {"metadata": {"name": group} if group else {}, "versions": versions}


def _discovered_resource(kind: kinds.Kind) -> Object:
    entry: Object = {
        "resource": kind.plural,
        "responseKind": {"group": "", "version": "", "kind": kind.kind},
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": list(kind.verbs),
    }
    if kind.short_names:
        entry["shortNames"] = list(kind.short_names)
    if kind.categories:
        entry["categories"] = list(kind.categories)
    if kind.subresources:
        entry["subresources"] = [
            {
                "subresource": sub.name,
                "responseKind": {"group": sub.group, "version": sub.version, "kind": sub.kind},
                "verbs": list(sub.verbs),
            }
            for sub in sorted(kind.subresources, key=lambda sub: sub.name)
        ]
    return entry


class Root:
    """`/`: the paths that there are, as far as they are not objects."""

    def __init__(self, plain: Iterable[str]) -> None:
        self._plain = frozenset(plain)

    async def paths(self, context: contexts.Context) -> messages.Answer:
        found = set(self._plain)
        for kind in context.services.registry.all():
            found |= {f"/apis/{kind.group}", f"/apis/{kind.api_version}"} if kind.group else {f"/api/{kind.version}"}
        return respond.value({"paths": sorted(found)}, negotiate.document_form(context.accept))
