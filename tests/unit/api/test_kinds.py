"""The table of kinds is the one that upstream v1.36 prints, and objects are kept where upstream keeps them."""

import json
import pathlib
from typing import Any

import pytest

from pinnace.api import custom, kinds

REFERENCE = pathlib.Path(__file__).resolve().parents[3].parent / "shared" / "reference"


def _reference(name: str) -> Any:
    path = REFERENCE / name
    if not path.exists():
        pytest.skip(f"no reference data: {path.name}")
    return json.loads(path.read_text())


def _described(kind: kinds.Kind) -> tuple[Any, ...]:
    subs = tuple((sub.name, sub.kind, sub.group, sub.version, sub.verbs) for sub in kind.subresources)
    return (
        kind.plural,
        kind.kind,
        kind.singular,
        kind.namespaced,
        kind.short_names,
        kind.categories,
        kind.verbs,
        subs,
    )


def _discovered(resource: dict[str, Any]) -> tuple[Any, ...]:
    subs = tuple(
        (
            sub["subresource"],
            sub["responseKind"]["kind"],
            sub["responseKind"]["group"],
            sub["responseKind"]["version"],
            tuple(sub["verbs"]),
        )
        for sub in resource.get("subresources", ())
    )
    return (
        resource["resource"],
        resource["responseKind"]["kind"],
        resource["singularResource"],
        resource["scope"] == "Namespaced",
        tuple(resource.get("shortNames", ())),
        tuple(resource.get("categories", ())),
        tuple(resource["verbs"]),
        subs,
    )


def test_groups_are_those_of_upstreams_aggregated_discovery_in_its_order() -> None:
    found = _reference("discovery-v1.36.json")
    wanted = [
        (item["metadata"]["name"], version["version"], _discovered(resource))
        for item in found["items"]
        for version in item["versions"]
        for resource in version["resources"]
    ]
    have = [
        (kind.group, kind.version, _described(kind)) for kind in kinds.builtin(previews=True).all() if kind.group != ""
    ]
    assert have == wanted


def test_core_kinds_are_those_of_upstreams_discovery_in_its_order() -> None:
    found = _reference("discovery-core-v1.json")
    wanted = [
        (resource["name"], resource["kind"], resource["namespaced"], tuple(resource["verbs"]))
        for resource in found["resources"]
    ]
    have = []
    for kind in kinds.builtin().all():
        if kind.group == "":
            have.append((kind.plural, kind.kind, kind.namespaced, kind.verbs))
            have.extend(
                (f"{kind.plural}/{sub.name}", sub.kind, kind.namespaced, sub.verbs) for sub in kind.subresources
            )
    assert have == wanted


def test_every_builtin_kind_has_a_definition() -> None:
    for kind in kinds.builtin(previews=True).all():
        assert kind.schema.type == "object", kind


@pytest.mark.parametrize(
    ("group", "plural", "key"),
    [
        ("", "pods", "/registry/pods/ns/name"),
        ("", "services", "/registry/services/specs/ns/name"),
        ("", "endpoints", "/registry/services/endpoints/ns/name"),
        ("", "nodes", "/registry/minions/name"),
        ("", "namespaces", "/registry/namespaces/name"),
        ("", "replicationcontrollers", "/registry/controllers/ns/name"),
        ("", "events", "/registry/events/ns/name"),
        ("events.k8s.io", "events", "/registry/events/ns/name"),
        ("apps", "deployments", "/registry/deployments/ns/name"),
        ("networking.k8s.io", "ingresses", "/registry/ingress/ns/name"),
        ("coordination.k8s.io", "leases", "/registry/leases/ns/name"),
        ("rbac.authorization.k8s.io", "clusterroles", "/registry/clusterroles/name"),
        ("apiregistration.k8s.io", "apiservices", "/registry/apiregistration.k8s.io/apiservices/name"),
        (
            "apiextensions.k8s.io",
            "customresourcedefinitions",
            "/registry/apiextensions.k8s.io/customresourcedefinitions/name",
        ),
    ],
)
def test_objects_are_kept_where_upstream_keeps_them(group: str, plural: str, key: str) -> None:
    kind = kinds.builtin().by_path(group, "v1", plural)
    assert kind is not None
    assert kinds.storage_key(kind, "ns", "name") == key


def test_custom_resources_are_kept_below_their_group() -> None:
    kind = custom.kind("stable.example.com", "v1", "CronTab", "crontabs")
    assert kinds.storage_key(kind, "ns", "a") == "/registry/stable.example.com/crontabs/ns/a"


def test_a_registry_forgets_what_is_removed() -> None:
    registry = kinds.builtin()
    kind = custom.kind("example.com", "v1", "Thing", "things", namespaced=False)
    registry.add(kind)
    assert registry.by_path("example.com", "v1", "things") is kind
    assert registry.by_kind("example.com", "v1", "Thing") is kind
    assert registry.all()[-1] is kind
    registry.remove(kind)
    assert registry.by_path("example.com", "v1", "things") is None
    assert kind not in registry.all()


def test_preview_versions_are_served_only_when_asked_for() -> None:
    assert not any(kinds.is_preview(kind.version) for kind in kinds.builtin().all())
    assert any(kinds.is_preview(kind.version) for kind in kinds.builtin(previews=True).all())
