"""CSIDrivers and VolumeAttachments: upstream's paths and words."""

from typing import Any

import pytest

from pinnace.api import kinds, strategy

REGISTRY = kinds.builtin()


def kind(name: str) -> kinds.Kind:
    found = REGISTRY.by_kind("storage.k8s.io", "v1", name)
    assert found is not None
    return found


def told(name: str, spec: dict[str, Any], object_name: str = "d.example.com") -> list[str]:
    obj = {"metadata": {"name": object_name}, "spec": spec}
    kind(name).rules.defaults(obj)
    return [str(cause) for cause in strategy.validate_create(kind(name), obj)]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({}, []),
        (
            {"attachRequired": False, "tokenRequests": [{"audience": ""}, {"audience": "a", "expirationSeconds": 600}]},
            [],
        ),
        (
            {"fsGroupPolicy": "Maybe"},
            [
                'spec.fsGroupPolicy: Unsupported value: "Maybe": supported values: "File", "None", '
                '"ReadWriteOnceWithFSType"'
            ],
        ),
        (
            {"volumeLifecycleModes": ["Persistent", "Eternal"]},
            [
                'spec.volumeLifecycleModes[1]: Unsupported value: "Eternal": supported values: "Ephemeral", "Persistent"',
            ],
        ),
        (
            {"tokenRequests": [{"audience": "a"}, {"audience": "a", "expirationSeconds": 5}]},
            [
                'spec.tokenRequests[1].audience: Duplicate value: "a"',
                "spec.tokenRequests[1].expirationSeconds: Invalid value: 5: may not specify a duration less than 10 minutes",
            ],
        ),
    ],
)
def test_drivers(spec: dict[str, Any], words: list[str]) -> None:
    assert told("CSIDriver", spec) == words


def test_names_of_drivers_are_short() -> None:
    assert told("CSIDriver", {}, "d" * 64) == ["metadata.name: Too long: may not be more than 63 bytes"]


def test_whether_a_driver_attaches_does_not_change() -> None:
    old = {"metadata": {"name": "d", "resourceVersion": "1"}, "spec": {}}
    kind("CSIDriver").rules.defaults(old)
    new = {"metadata": old["metadata"], "spec": {**old["spec"], "attachRequired": False, "storageCapacity": True}}
    (cause,) = strategy.validate_update(kind("CSIDriver"), new, old, "")
    assert cause.field == "spec.attachedRequired"


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"attacher": "a", "nodeName": "n", "source": {"persistentVolumeName": "v"}}, []),
        (
            {"attacher": "", "source": {}},
            [
                "spec.attacher: Required value",
                "spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName",
                "spec.nodeName: Required value",
            ],
        ),
    ],
)
def test_attachments(spec: dict[str, Any], words: list[str]) -> None:
    assert told("VolumeAttachment", spec) == words
