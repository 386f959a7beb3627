"""Decoding: what is accepted, what it becomes, and the words for what is not, as upstream's decoder has them."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pinnace.api import custom, decode, decode_lenient, decode_strict, errors, kinds, omitempty, schema

REGISTRY = kinds.builtin()


def kind(name: str, group: str = "", version: str = "v1") -> kinds.Kind:
    found = REGISTRY.by_kind(group, version, name)
    assert found is not None
    return found


POD = kind("Pod")


def _decoded(text: str, of: kinds.Kind = POD, **options: Any) -> dict[str, Any]:
    return decode.decode(text.encode(), of, **options).obj


def _refused(text: str | bytes, of: kinds.Kind = POD, **options: Any) -> str:
    data = text.encode() if isinstance(text, str) else text
    with pytest.raises(errors.StatusError) as caught:
        decode.decode(data, of, **options)
    assert (caught.value.code, caught.value.reason) == (400, "BadRequest")
    return caught.value.message


PREFIX = 'Pod in version "v1" cannot be handled as a Pod: '


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            {"spec": {"containers": [{"env": [{"value": 1}]}]}},
            "json: cannot unmarshal number into Go struct field EnvVar.spec.containers.env.value of type string",
        ),
        (
            {"spec": {"containers": [{"ports": [{"containerPort": "80"}]}]}},
            "json: cannot unmarshal string into Go struct field ContainerPort.spec.containers.ports.containerPort of type int32",
        ),
        (
            {"spec": {"containers": [{"ports": [{"containerPort": 1.5}]}]}},
            "json: cannot unmarshal number 1.5 into Go struct field "
            "ContainerPort.spec.containers.ports.containerPort of type int32",
        ),
        (
            {"spec": {"containers": {}}},
            "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container",
        ),
        ({"spec": []}, "json: cannot unmarshal array into Go struct field Pod.spec of type v1.PodSpec"),
        (
            {"spec": {"hostNetwork": "yes"}},
            "json: cannot unmarshal string into Go struct field PodSpec.spec.hostNetwork of type bool",
        ),
        (
            {"metadata": {"labels": {"a": 1}}},
            "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string",
        ),
        (
            {"metadata": {"creationTimestamp": "soon"}},
            'parsing time "soon" as "2006-01-02T15:04:05Z07:00": cannot parse "soon" as "2006"',
        ),
        (
            {"metadata": {"creationTimestamp": "2020-13-01T00:00:00Z"}},
            'parsing time "2020-13-01T00:00:00Z" as "2006-01-02T15:04:05Z07:00": cannot parse "13-01T00:00:00Z" as "01"',
        ),
        (
            {"spec": {"containers": [{"resources": {"limits": {"cpu": "lots"}}}]}},
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        (
            {"spec": {"containers": [{"livenessProbe": {"httpGet": {"port": True}}}]}},
            "json: cannot unmarshal bool into Go value of type int32",
        ),
    ],
)
def test_a_wrong_type_names_the_field_as_gos_decoder_does(body: dict[str, Any], words: str) -> None:
    assert _refused(json.dumps(body)) == PREFIX + words


def test_bad_base64_is_refused() -> None:
    message = _refused('{"data":{"a":"?"}}', kind("Secret"))
    assert message == 'Secret in version "v1" cannot be handled as a Secret: illegal base64 data at input byte 0'


def test_unknown_and_duplicate_fields_are_told_in_the_order_of_the_text() -> None:
    body = '{"spec":{"foo":1,"foo":2,"nodeName":"a","nodeName":"b","containers":[{"name":"x","bar":1,"image":"i","image":"j"}]}}'
    complaints = [
        'unknown field "spec.foo"',
        'duplicate field "spec.nodeName"',
        'unknown field "spec.containers[0].bar"',
        'duplicate field "spec.containers[0].image"',
    ]
    strict = _refused(body, field_validation="Strict")
    assert strict == f"{PREFIX}strict decoding error: {', '.join(complaints)}"
    warned = decode.decode(body.encode(), POD, field_validation="Warn")
    assert list(warned.warnings) == complaints
    ignored = decode.decode(body.encode(), POD, field_validation="Ignore")
    assert ignored.warnings == ()
    for found in (warned, ignored):
        assert found.obj["spec"] == {"nodeName": "b", "containers": [{"name": "x", "image": "j", "resources": {}}]}


def test_duplicates_are_found_in_maps_and_behind_white_space() -> None:
    found = decode.decode(b'{"metadata":{"labels":{"a" :"1","a":"2"}}}', POD)
    assert found.warnings == ('duplicate field "metadata.labels.a"',)


def test_names_are_case_sensitive() -> None:
    assert decode.decode(b'{"Spec":{}}', POD).warnings == ('unknown field "Spec"',)


def test_yaml_is_converted_as_upstream_does() -> None:
    text = "metadata:\n  name: a\n  annotations: {when: 2020-01-01, base60: 1:30}\nspec:\n  hostPID: yes\n  containers: []\n"
    found = _decoded(text, content_type="yaml")
    assert found["metadata"]["annotations"] == {"when": "2020-01-01", "base60": "1:30"}
    assert found["spec"] == {"hostPID": True, "containers": None}


def test_yaml_keys_set_twice_are_told_with_their_line() -> None:
    text = "metadata:\n  name: a\n  name: b\n"
    message = _refused(text, content_type="yaml", field_validation="Strict")
    wanted = 'strict decoding error: yaml: unmarshal errors:\n  line 3: key "name" already set in map'
    assert message == PREFIX + wanted


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "couldn't get version/kind; json parse error: unexpected end of JSON input (<empty>)"),
        (b'{"a":', 'couldn\'t get version/kind; json parse error: unexpected end of JSON input ({"a":)'),
    ],
)
def test_what_is_no_json_is_unrecognised(body: bytes, words: str) -> None:
    assert _refused(body) == f"the object provided is unrecognized (must be of type Pod): {words}"


@pytest.mark.parametrize(
    ("body", "of", "words"),
    [
        (
            '{"apiVersion":"autoscaling/v1","kind":"HorizontalPodAutoscaler"}',
            kind("HorizontalPodAutoscaler", "autoscaling", "v2"),
            "the API version in the data (autoscaling/v1) does not match the expected API version (autoscaling/v2)",
        ),
        (
            '{"apiVersion":"v1","kind":"Service"}',
            POD,
            'Service in version "v1" cannot be handled as a Pod: converting (v1.Service) to (core.Pod): unknown conversion',
        ),
        (
            '{"apiVersion":"v7","kind":"Pod"}',
            POD,
            'Pod in version "v7" cannot be handled as a Pod: no kind "Pod" is registered for version "v7" in scheme '
            '"pkg/api/legacyscheme/scheme.go:30"',
        ),
    ],
)
def test_another_kind_or_version_is_refused(body: str, of: kinds.Kind, words: str) -> None:
    assert _refused(body, of) == words


def test_kind_and_version_may_be_left_out() -> None:
    found = _decoded('{"metadata":{"name":"a"}}')
    assert (found["apiVersion"], found["kind"]) == ("v1", "Pod")


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ({"metadata": {"creationTimestamp": None, "labels": {}}}, {"metadata": {}}),
        ({"spec": {"hostNetwork": False, "nodeName": "", "volumes": []}}, {"spec": {}}),
        ({"spec": {"automountServiceAccountToken": False}}, {"spec": {"automountServiceAccountToken": False}}),
        (
            {"spec": {"containers": [{"env": [{"name": "A", "value": ""}]}]}},
            {"spec": {"containers": [{"env": [{"name": "A"}]}]}},
        ),
        (
            {"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}},
            {"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}},
        ),
        (
            {"spec": {"containers": [{"resources": {"limits": {"cpu": 1.5, "memory": "1024Mi", "x": "1000m"}}}]}},
            {"spec": {"containers": [{"resources": {"limits": {"cpu": "1500m", "memory": "1Gi", "x": "1"}}}]}},
        ),
        (
            {"metadata": {"deletionTimestamp": "2020-01-01T02:00:00.5+02:00"}},
            {"metadata": {"deletionTimestamp": "2020-01-01T00:00:00Z"}},
        ),
        ({"spec": {"containers": [{"args": [None, "a"]}]}}, {"spec": {"containers": [{"args": ["", "a"]}]}}),
    ],
)
def test_values_are_stored_as_upstream_would_print_them(written: dict[str, Any], stored: dict[str, Any]) -> None:
    expected = {"apiVersion": "v1", "kind": "Pod"} | stored
    omitempty.complete("io.k8s.api.core.v1.Pod", expected)
    assert _decoded(json.dumps(written)) == expected


@pytest.mark.parametrize(
    ("of", "written", "stored"),
    [
        ("Pod", {}, {"metadata": {}, "spec": {"containers": None}, "status": {}}),
        (
            "Pod",
            {"status": {"conditions": [{"type": "Ready", "status": "True"}]}},
            {
                "metadata": {},
                "spec": {"containers": None},
                "status": {
                    "conditions": [
                        {"type": "Ready", "status": "True", "lastProbeTime": None, "lastTransitionTime": None}
                    ]
                },
            },
        ),
        ("Service", {}, {"metadata": {}, "spec": {}, "status": {"loadBalancer": {}}}),
        (
            "Event",
            {"firstTimestamp": "0001-01-01T00:00:00Z"},
            {
                "metadata": {},
                "involvedObject": {},
                "source": {},
                "firstTimestamp": None,
                "lastTimestamp": None,
                "eventTime": None,
                "reportingComponent": "",
                "reportingInstance": "",
            },
        ),
    ],
)
def test_what_upstream_prints_though_nobody_set_it_is_there(
    of: str, written: dict[str, Any], stored: dict[str, Any]
) -> None:
    assert _decoded(json.dumps(written), kind(of)) == {"apiVersion": "v1", "kind": of} | stored
    # And it comes back as it went.
    assert decode_strict.is_clean(kind(of).schema, {"apiVersion": "v1", "kind": of} | stored)


def test_printed_lists_that_are_empty_are_null() -> None:
    role = kind("Role", "rbac.authorization.k8s.io")
    assert _decoded('{"rules":[]}', role)["rules"] is None
    assert _decoded('{"rules":null}', role)["rules"] is None


def test_an_empty_class_name_is_not_no_class_name() -> None:
    claim = _decoded('{"spec":{"storageClassName":""}}', kind("PersistentVolumeClaim"))
    assert claim["spec"] == {"storageClassName": "", "resources": {}}


def test_duplicates_in_custom_resources_are_found_even_where_everything_is_kept() -> None:
    thing = custom.kind("example.com", "v1", "Thing", "things")
    body = '{"metadata":{"labels":{"x":"1","x":"2"},"zzz":1},"spec":{"b":[{"c":1,"c":2}],"b":1}}'
    message = _refused(body, thing, field_validation="Strict")
    assert message == (
        'Thing in version "v1" cannot be handled as a Thing: strict decoding error: duplicate field "metadata.labels.x", '
        'duplicate field "spec.b[0].c", duplicate field "spec.b", unknown field "metadata.zzz"'
    )


def test_custom_resources_are_pruned_but_their_types_are_left_to_validation() -> None:
    thing = custom.kind(
        "example.com",
        "v1",
        "Thing",
        "things",
        openapi={
            "type": "object",
            "properties": {
                "spec": {
                    "type": "object",
                    "properties": {
                        "size": {"type": "integer"},
                        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                    },
                }
            },
        },
    )
    found = decode.decode(b'{"spec":{"size":"big","free":{"a":null,"b":[1]},"other":1}}', thing)
    assert found.obj["spec"] == {"size": "big", "free": {"a": None, "b": [1]}}
    assert found.warnings == ('unknown field "spec.other"',)
    assert "ObjectMeta.metadata.name" in _refused('{"metadata":{"name":1}}', thing)


def test_the_encoded_object_begins_with_its_kind_and_metadata() -> None:
    data = decode.encode({"spec": {"metadata": {}}, "metadata": {"name": "a"}, "kind": "Pod", "apiVersion": "v1"})
    assert data == b'{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"},"spec":{"metadata":{}}}'


@pytest.mark.parametrize("depth", [260, 900, 5000])
@pytest.mark.parametrize("mode", ["Strict", "Ignore"])
def test_deep_nesting_is_refused_and_does_no_harm(depth: int, mode: str) -> None:
    deep = b'{"spec":' + b'{"a":' * depth + b"1" + b"}" * (depth + 1)
    thing = custom.kind("example.com", "v1", "Thing", "things")
    assert "unrecognized" in _refused(deep, thing, field_validation=mode)
    props = b'{"properties":{"a":' * depth + b"{}" + b"}}" * depth
    definition = b'{"spec":{"versions":[{"schema":{"openAPIV3Schema":' + props + b"}}]}}"
    assert "unrecognized" in _refused(definition, kind("CustomResourceDefinition", "apiextensions.k8s.io"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**64), 2**64) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def _shaped(draw: st.DrawFn, of: schema.Schema, depth: int = 4) -> Any:
    """A value that mostly has the shape of a schema, and here and there something else."""
    if depth == 0 or draw(st.integers(0, 15)) == 0:
        return draw(JSON)
    match of.type:
        case "object" if of.properties:
            names = draw(st.lists(st.sampled_from(sorted(of.properties)), max_size=4, unique=True))
            made = {name: draw(_shaped(of.properties[name], depth - 1)) for name in names}
            if draw(st.integers(0, 15)) == 0:
                made["unknown"] = 1
            return made
        case "object" if of.additional is not None:
            return draw(
                st.dictionaries(st.sampled_from(("a", "b", "cpu")), _shaped(of.additional, depth - 1), max_size=2)
            )
        case "object":
            return draw(st.just({}) | st.dictionaries(st.text(max_size=3), JSON, max_size=2))
        case "array" if of.items is not None:
            return draw(st.lists(_shaped(of.items, depth - 1), max_size=2))
        case "string":
            texts = ("", "a", "1", "100m", "2020-01-01T00:00:00Z", "2020-01-01T00:00:00.000001Z", "YQ==", "Always")
            return draw(st.sampled_from(texts))
        case "integer":
            return draw(st.sampled_from((0, 1, -1, 2**31, 1.0)))
        case "boolean":
            return draw(st.booleans())
    return draw(JSON)


SAMPLED = st.sampled_from(
    [
        kind("Pod"),
        kind("Service"),
        kind("Secret"),
        kind("Node"),
        kind("Deployment", "apps"),
        kind("Lease", "coordination.k8s.io"),
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_the_fast_path_accepts_only_what_the_thorough_one_would_leave_as_it_is(data: st.DataObject) -> None:
    of = data.draw(SAMPLED).schema
    value = data.draw(_shaped(of))
    walk = decode_lenient.Walk(is_typed=True)
    try:
        made = walk.run(of, value)
    except decode_lenient.Mismatch:
        assert not decode_strict.is_clean(of, value)
        return
    if decode_strict.is_clean(of, value):
        assert made == value
        assert walk.strict_errors == []
    # What comes out is canonical: decoding it again changes nothing.
    again = decode_lenient.Walk(is_typed=True)
    assert again.run(of, made) == made


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_input_raises_anything_but_a_bad_request(data: st.DataObject) -> None:
    of = data.draw(SAMPLED)
    body: bytes = data.draw(
        st.binary(max_size=40)
        | st.text(max_size=40).map(str.encode)
        | _shaped(of.schema).map(lambda value: json.dumps(value).encode())
    )
    mode = data.draw(st.sampled_from(("Strict", "Warn", "Ignore")))
    content_type = data.draw(st.sampled_from(("json", "yaml")))
    try:
        found = decode.decode(body, of, field_validation=mode, content_type=content_type)
    except errors.StatusError as error:
        code = error.code
    else:
        code = 200
        assert orjson.loads(decode.encode(found.obj)) == found.obj
    assert code in (200, 400)


@given(st.lists(st.tuples(st.text(max_size=4), JSON), max_size=5), st.sampled_from(("", " ", "\n")))
@example([("\\", None), ("\\", None)], "")
def test_counting_names_never_misses_a_duplicate(pairs: list[tuple[str, Any]], space: str) -> None:
    text = "{" + ",".join(f"{json.dumps(name)}{space}:{json.dumps(value)}" for name, value in pairs) + "}"
    data = text.encode()
    try:
        left = orjson.dumps(orjson.loads(data))
    except ValueError:
        return
    if len({name for name, _ in pairs}) < len(pairs):
        assert decode.may_have_duplicates(data, left)
