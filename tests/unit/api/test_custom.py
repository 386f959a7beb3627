"""A definition becomes kinds that are like any other."""

from typing import Any

from pinnace.api import custom, kinds, strategy

DEFINITION: dict[str, Any] = {
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"kind": "Widget", "plural": "widgets", "shortNames": ["wd"], "categories": ["all"]},
        "versions": [
            {"name": "v1beta1", "served": True, "storage": False, "deprecated": True},
            {"name": "v1alpha1", "served": False, "storage": False},
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "properties": {
                                    "replicas": {"type": "integer", "default": 1, "minimum": 0},
                                    "color": {"type": "string"},
                                },
                            },
                            "status": {
                                "type": "object",
                                "properties": {"replicas": {"type": "integer"}, "selector": {"type": "string"}},
                            },
                        },
                    }
                },
                "subresources": {
                    "status": {},
                    "scale": {
                        "specReplicasPath": ".spec.replicas",
                        "statusReplicasPath": ".status.replicas",
                        "labelSelectorPath": ".status.selector",
                    },
                },
                "additionalPrinterColumns": [{"name": "Color", "type": "string", "jsonPath": ".spec.color"}],
                "selectableFields": [{"jsonPath": ".spec.color"}],
            },
            {"name": "v2", "served": True, "storage": False, "deprecated": True, "deprecationWarning": "use v1"},
        ],
    }
}


def _widget() -> kinds.Kind:
    return next(kind for kind in custom.kinds_of(DEFINITION) if kind.version == "v1")


def test_served_versions_come_in_their_order() -> None:
    assert [kind.version for kind in custom.kinds_of(DEFINITION)] == ["v2", "v1", "v1beta1"]
    assert [kind.rules.deprecation for kind in custom.kinds_of(DEFINITION)] == [
        "use v1",
        "",
        "example.com/v1beta1 Widget is deprecated",
    ]


def test_what_the_definition_says_is_what_the_kind_is() -> None:
    kind = _widget()
    assert (kind.api_version, kind.kind, kind.singular) == ("example.com/v1", "Widget", "widget")
    assert kind.short_names == ("wd",)
    assert kind.definition == "com.example.v1.Widget"
    assert kinds.storage_key(kind, "ns", "a") == "/registry/example.com/widgets/ns/a"
    assert [column.name for column in kind.rules.printer.columns] == ["Name", "Color"]
    assert kind.rules.fields.name("spec.color") == "spec.color"
    scale = kind.rules.scale
    assert scale is not None
    assert (scale.spec_replicas, scale.status_replicas) == (("spec", "replicas"), ("status", "replicas"))
    assert scale.selector({"status": {"selector": "a=b"}}) == "a=b"


def test_its_objects_go_the_way_of_all_objects() -> None:
    kind = _widget()
    obj: dict[str, Any] = {"metadata": {"name": "a", "namespace": "ns"}, "spec": {}, "status": {"replicas": 5}}
    kind.rules.defaults(obj)
    strategy.prepare_create(kind, obj)
    assert obj["spec"] == {"replicas": 1}
    assert "status" not in obj
    assert obj["metadata"]["generation"] == 1
    obj["spec"]["replicas"] = -1
    (cause,) = strategy.validate_create(kind, obj)
    assert cause.field == "spec.replicas"
