"""Kubernetes' protobuf form: messages built here by hand, and anything at all as input."""

import base64
import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinnace.api import decode, kinds, protobuf


def varint(value: int) -> bytes:
    out = bytearray()
    value &= 2**64 - 1
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


def field(number: int, value: int | bytes | str) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def envelope(api_version: str, kind: str, raw: bytes) -> bytes:
    return protobuf.MAGIC + field(1, field(1, api_version) + field(2, kind)) + field(2, raw)


METADATA = field(1, field(1, "a") + field(11, field(1, "app") + field(2, "web")) + field(8, b""))


@pytest.mark.parametrize(
    ("api_version", "kind", "raw", "expected"),
    [
        ("v1", "ConfigMap", METADATA + field(2, field(1, "k") + field(2, "v")), {"data": {"k": "v"}}),
        (
            "v1",
            "Secret",
            METADATA + field(2, field(1, "k") + field(2, b"\xff")),
            {"data": {"k": base64.b64encode(b"\xff").decode()}},
        ),
        (
            "v1",
            "Service",
            METADATA + field(2, field(1, field(2, "TCP") + field(3, 80) + field(4, field(1, 1) + field(3, "http")))),
            {"spec": {"ports": [{"protocol": "TCP", "port": 80, "targetPort": "http"}]}},
        ),
        (
            "v1",
            "Pod",
            METADATA
            + field(
                2,
                field(1, field(1, "v") + field(2, field(2, field(1, "Memory"))))
                + field(2, field(1, "c") + field(8, field(1, field(1, "cpu") + field(2, field(1, "10m")))))
                + field(4, -1),
            ),
            {
                "spec": {
                    "volumes": [{"name": "v", "emptyDir": {"medium": "Memory"}}],
                    "containers": [{"name": "c", "resources": {"limits": {"cpu": "10m"}}}],
                    "terminationGracePeriodSeconds": -1,
                }
            },
        ),
        (
            "apps/v1",
            "Deployment",
            METADATA + field(2, field(1, 0) + field(4, field(2, field(1, field(1, 0) + field(2, 0))))),
            {"spec": {"replicas": 0, "strategy": {"rollingUpdate": {"maxUnavailable": 0}}}},
        ),
    ],
)
def test_an_object_reads_as_its_json(api_version: str, kind: str, raw: bytes, expected: dict[str, Any]) -> None:
    found = protobuf.parse(envelope(api_version, kind, raw))
    metadata = {"name": "a", "labels": {"app": "web"}, "creationTimestamp": None}
    assert found == {"apiVersion": api_version, "kind": kind, "metadata": metadata, **expected}


def test_zero_values_that_upstream_omits_disappear_in_decoding() -> None:
    kind = kinds.builtin().by_kind("", "v1", "Pod")
    assert kind is not None
    spec = field(2, field(1, "c") + field(16, 0)) + field(11, 0) + field(4, 0) + field(10, "")
    found = decode.decode(envelope("v1", "Pod", METADATA + field(2, spec)), kind, content_type="protobuf")
    assert found.obj["spec"] == {"containers": [{"name": "c"}], "terminationGracePeriodSeconds": 0}
    assert "creationTimestamp" not in found.obj["metadata"]


def test_delete_options_are_known_in_every_group() -> None:
    found = protobuf.parse(envelope("apps/v1", "DeleteOptions", field(1, 0) + field(4, "Orphan")))
    assert found["gracePeriodSeconds"] == 0
    assert found["propagationPolicy"] == "Orphan"


def test_every_stored_kind_has_its_message() -> None:
    for kind in kinds.builtin().all():
        assert protobuf.parse(envelope(kind.api_version, kind.kind, b""))["kind"] == kind.kind


@pytest.mark.parametrize(
    "data", [b"", b"{}", protobuf.MAGIC, envelope("v1", "Nothing", b""), envelope("v1", "Pod", b"\x0a\xff")]
)
def test_what_is_wrong_is_one_error(data: bytes) -> None:
    with pytest.raises(protobuf.ProtobufError):
        protobuf.parse(data)


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_else(raw: bytes) -> None:
    for data in (raw, protobuf.MAGIC + raw, envelope("v1", "Pod", raw)):
        with contextlib.suppress(protobuf.ProtobufError):
            protobuf.parse(data)
