"""Kubernetes' protobuf form: messages built here by hand, and anything at all as input."""

import base64
import contextlib
import copy
import random
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.api import random_objects

from pinnace.api import decode, kinds, omitempty, protobuf, strategy
from pinnace.api.protobuf import fields

VALUES = {*omitempty.VALUES, "apis.meta.v1.FieldsV1"}
KINDS = kinds.builtin(previews=True).all()


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
    metadata = {"name": "a", "labels": {"app": "web"}}
    assert found == {"apiVersion": api_version, "kind": kind, "metadata": metadata, **expected}


def test_zero_values_that_upstream_omits_disappear_in_decoding() -> None:
    kind = kinds.builtin().by_kind("", "v1", "Pod")
    assert kind is not None
    spec = field(2, field(1, "c") + field(16, 0)) + field(11, 0) + field(4, 0) + field(10, "")
    found = decode.decode(envelope("v1", "Pod", METADATA + field(2, spec)), kind, content_type="protobuf")
    assert found.obj["spec"] == {"containers": [{"name": "c", "resources": {}}], "terminationGracePeriodSeconds": 0}
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


def by_name(kind: kinds.Kind) -> str:
    return f"{kind.api_version}.{kind.kind}"


def canonical(kind: kinds.Kind, data: bytes, content_type: decode.ContentType = "json") -> dict[str, Any]:
    """What is stored of a body."""
    obj = decode.decode(data, kind, field_validation="Strict", content_type=content_type).obj
    omitempty.complete(kind.definition, obj)
    return obj


@pytest.mark.parametrize("kind", KINDS, ids=by_name)
def test_an_object_is_the_same_in_json_and_in_protobuf(kind: kinds.Kind) -> None:
    rng = random.Random(kind.kind)
    for _ in range(10):
        sent = random_objects.of_kind(kind, rng)
        as_json = canonical(kind, orjson.dumps(sent))
        assert canonical(kind, protobuf.encode(sent), "protobuf") == as_json
        # What is stored survives the way through either form, and is written as what was sent.
        assert canonical(kind, orjson.dumps(as_json)) == as_json
        assert canonical(kind, protobuf.encode(as_json), "protobuf") == as_json
        assert protobuf.encode(as_json) == protobuf.encode(sent)


@pytest.mark.parametrize("kind", KINDS, ids=by_name)
def test_zero_values_are_absent_for_defaults_and_validation_too(kind: kinds.Kind) -> None:
    """A Go client's protobuf holds the zero of everything that it did not set; its JSON does not."""
    rng = random.Random(kind.kind)
    for _ in range(10):
        sent = random_objects.of_kind(kind, rng)
        found = []
        for content_type, data in (("json", orjson.dumps(sparse(kind, sent))), ("protobuf", protobuf.encode(sent))):
            obj = decode.decode(data, kind, content_type=content_type).obj
            kind.rules.defaults(obj)
            omitempty.complete(kind.definition, obj)
            causes = strategy.validate_create(kind, copy.deepcopy(obj))
            # Maps, and the values in the texts, are gone through in the order in which they came.
            found.append((obj, sorted((cause.field, cause.reason) for cause in causes)))
        assert found[0] == found[1]


def sparse(kind: kinds.Kind, obj: dict[str, Any]) -> dict[str, Any]:
    """`obj` without the zero values of all that is neither pointer nor struct: as people write JSON."""
    message = fields.of_definition(kind.definition)
    assert message is not None
    return {"apiVersion": obj["apiVersion"], "kind": obj["kind"], **_sparse(message, obj)}


def _sparse(message: str, obj: dict[str, Any]) -> dict[str, Any]:
    made = {}
    for name, field in fields.flat(message):
        value = obj.get(name)
        is_struct = bool(field.message) and field.message not in VALUES and "JSON" not in field.message
        if is_struct and not field.form and (value is not None or not field.is_pointer):
            made[name] = _sparse(field.message, value or {})
        elif value in (None, 0, [], {}) or (value == "" and field.scalar == "s"):
            if field.is_pointer and value is not None:
                made[name] = value
        elif is_struct and field.form == "*":
            made[name] = [_sparse(field.message, one) if isinstance(one, dict) else one for one in value]
        elif is_struct and field.form == "%":
            made[name] = {k: _sparse(field.message, v) if isinstance(v, dict) else v for k, v in value.items()}
        else:
            made[name] = value
    return made


def test_a_port_without_protocol_is_a_tcp_port() -> None:
    kind = kinds.builtin().by_kind("", "v1", "Endpoints")
    assert kind is not None
    subset = field(1, field(1, "10.0.0.1")) + field(3, field(1, "") + field(2, 80) + field(3, ""))
    found = decode.decode(envelope("v1", "Endpoints", METADATA + field(2, subset)), kind, content_type="protobuf").obj
    kind.rules.defaults(found)
    assert found["subsets"] == [{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80, "protocol": "TCP"}]}]


def test_times_have_four_digits_of_year() -> None:
    kind = kinds.builtin().by_kind("coordination.k8s.io", "v1", "Lease")
    assert kind is not None
    zero = (1 << 64) - 62135596800
    spec = field(3, field(1, zero) + field(2, 2000)) + field(4, field(1, zero + 5) + field(2, 0))
    data = envelope("coordination.k8s.io/v1", "Lease", METADATA + field(2, spec))
    found = decode.decode(data, kind, content_type="protobuf").obj
    assert found["spec"] == {"acquireTime": "0001-01-01T00:00:00.000002Z", "renewTime": "0001-01-01T00:00:05.000000Z"}


def test_a_list_holds_its_items_without_their_envelopes() -> None:
    items = [{"metadata": {"name": name}, "data": {"k": "v"}} for name in ("a", "b")]
    config_map = {"apiVersion": "v1", "kind": "ConfigMap"}
    whole = protobuf.encode(
        {"apiVersion": "v1", "kind": "ConfigMapList", "metadata": {"resourceVersion": "5"}, "items": items}
    )
    metadata = field(1, "") + field(2, "5") + field(3, "")
    raw = [protobuf.message("v1", "ConfigMap", {**config_map, **item}) for item in items]
    assert (
        whole
        == envelope("v1", "ConfigMapList", field(1, metadata) + field(2, raw[0]) + field(2, raw[1])) + b"\x1a\0\x22\0"
    )


def test_a_watch_event_says_its_length_first() -> None:
    inner = protobuf.encode({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}})
    frame = protobuf.watch_frame(b"ADDED", inner)
    assert frame == len(frame[4:]).to_bytes(4, "big") + field(1, "ADDED") + field(2, field(1, inner))
