"""Label and field selectors: grammar, matching, error words."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinnace.api import custom, kinds, selectors

REGISTRY = kinds.builtin()


def kind(group: str, name: str) -> kinds.Kind:
    found = REGISTRY.by_kind(group, "v1", name)
    assert found is not None
    return found


POD = kind("", "Pod")


@pytest.mark.parametrize(
    ("text", "labels", "matches"),
    [
        ("", {}, True),
        ("", None, True),
        ("a=b", {"a": "b"}, True),
        ("a=b", {"a": "c"}, False),
        ("a=b", {}, False),
        ("a==b", {"a": "b"}, True),
        ("a=", {"a": ""}, True),
        ("a!=b", {}, True),
        ("a!=b", {"a": "b"}, False),
        ("a in (x, y)", {"a": "y"}, True),
        ("a in (x,y)", {}, False),
        ("a in ()", {"a": ""}, True),
        ("a in (,x)", {"a": ""}, True),
        ("a notin (x,y)", {}, True),
        ("a notin (x,y)", {"a": "x"}, False),
        ("in in (in)", {"in": "in"}, True),
        ("a", {"a": ""}, True),
        ("!a", {"a": ""}, False),
        ("! a", {}, True),
        ("a>1", {"a": "2"}, True),
        ("a>1", {"a": "1"}, False),
        ("a<2", {"a": "1"}, True),
        ("a>1", {"a": "x"}, False),
        ("a>1", {}, False),
        ("k8s.io/a=b,c!=d,!e", {"k8s.io/a": "b"}, True),
        ("k8s.io/a=b,c!=d,!e", {"k8s.io/a": "b", "e": "1"}, False),
    ],
)
def test_label_selector_matches(text: str, labels: dict[str, str] | None, matches: bool) -> None:
    assert selectors.LabelSelector.parse(text).matches(labels) is matches


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,", "found '', expected: identifier after ','"),
        (",a", "found ',', expected: !, identifier, or 'end of string'"),
        ("a=b c", "found 'c', expected: ',' or 'end of string'"),
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("a in b", "unable to parse requirement: found 'b' expected: '('"),
        ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("!", "unable to parse requirement: found '', expected: identifier"),
        ("a===b", "unable to parse requirement: found '=', expected: identifier"),
        (
            "a>x",
            "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an integer",
        ),
    ],
)
def test_label_selector_errors_are_in_upstreams_words(text: str, words: str) -> None:
    with pytest.raises(ValueError) as raised:
        selectors.LabelSelector.parse(text)
    assert str(raised.value) == words


def test_wrong_keys_and_values_are_named_with_their_rule() -> None:
    with pytest.raises(
        ValueError, match=r'^unable to parse requirement: <nil>: Invalid value: "a_/b": prefix part a lowercase'
    ):
        selectors.LabelSelector.parse("a_/b=1")
    with pytest.raises(
        ValueError, match=r'^unable to parse requirement: values\[0\]\[a\]: Invalid value: "b@": a valid label'
    ):
        selectors.LabelSelector.parse("a=b@")
    assert selectors.qualified_name_errors("x" * 64) == ["name part must be no more than 63 bytes"]
    assert selectors.label_value_errors("x" * 64) == ["must be no more than 63 bytes"]


def test_object_selectors() -> None:
    assert not selectors.from_object(None).matches({})
    assert not selectors.from_object(None).is_everything
    assert selectors.from_object({}).is_everything
    chosen = selectors.from_object(
        {
            "matchLabels": {"app": "web"},
            "matchExpressions": [
                {"key": "tier", "operator": "NotIn", "values": ["b"]},
                {"key": "x", "operator": "Exists"},
                {"key": "y", "operator": "DoesNotExist"},
            ],
        }
    )
    assert str(chosen) == "app=web,tier notin (b),x,!y"
    assert chosen.matches({"app": "web", "x": "1"})
    assert not chosen.matches({"app": "web", "x": "1", "y": "1"})
    with pytest.raises(ValueError, match=r'^"Gt" is not a valid label selector operator$'):
        selectors.from_object({"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]})
    with pytest.raises(ValueError, match="values set can't be empty"):
        selectors.from_object({"matchExpressions": [{"key": "a", "operator": "In"}]})


WORDS = st.sampled_from(["a", "b", "x1", "in", "notin", "k8s.io/a", "="])
TOKENS = st.sampled_from(["=", "!=", "==", "in", "notin", "(", ")", ",", "!", ">", "<", " ", "a", "b", "1"])


@given(st.lists(TOKENS, max_size=12).map("".join))
def test_what_parses_prints_to_the_same_selector(text: str) -> None:
    try:
        parsed = selectors.LabelSelector.parse(text)
    except ValueError:
        return
    assert selectors.LabelSelector.parse(str(parsed)) == parsed


@given(
    st.dictionaries(st.sampled_from("abc"), st.sampled_from(["", "1", "x"])),
    st.sampled_from("abc"),
    st.sampled_from(["", "1", "x"]),
)
def test_a_requirement_and_its_negation_part_the_world(labels: dict[str, str], key: str, value: str) -> None:
    for left, right in (
        (f"{key}={value}", f"{key}!={value}"),
        (key, f"!{key}"),
        (f"{key} in ({value},z)", f"{key} notin ({value},z)"),
    ):
        assert selectors.LabelSelector.parse(left).matches(labels) is not selectors.LabelSelector.parse(right).matches(
            labels
        )


@pytest.mark.parametrize(
    ("text", "values", "matches"),
    [
        ("", {}, True),
        ("spec.nodeName=n1", {"spec.nodeName": "n1"}, True),
        ("spec.nodeName==n1,status.phase!=Failed", {"spec.nodeName": "n1", "status.phase": "Running"}, True),
        ("spec.nodeName=", {}, True),
        ("spec.nodeName!=", {"spec.nodeName": "n1"}, True),
        ("a=b,", {"a": "b"}, True),
        ("a=x\\,y\\=z\\\\", {"a": "x,y=z\\"}, True),
    ],
)
def test_field_selector_matches(text: str, values: dict[str, str], matches: bool) -> None:
    assert selectors.FieldSelector.parse(text).matches(values) is matches


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("foo", "invalid selector: 'foo'; can't understand 'foo'"),
        ("a=b=c", "invalid field selector: unescaped character in value: 61"),
        ("a=b\\c", "invalid field selector: invalid escape sequence: \\c"),
        ("a=b\\", "invalid field selector: invalid escape sequence: \\"),
    ],
)
def test_field_selector_errors(text: str, words: str) -> None:
    with pytest.raises(ValueError) as raised:
        selectors.FieldSelector.parse(text)
    assert str(raised.value) == words


@given(st.text(max_size=8))
def test_an_escaped_value_comes_back(value: str) -> None:
    assert selectors.FieldSelector.parse("a=" + selectors.escape(value)).required_value("a") == value


@pytest.mark.parametrize(
    ("of", "field", "words"),
    [
        (POD, "spec.foo", "field label not supported: spec.foo"),
        (kind("", "Node"), "metadata.namespace", "field label not supported: metadata.namespace"),
        (
            kind("", "ConfigMap"),
            "data",
            '"data" is not a known field selector: only "metadata.name", "metadata.namespace"',
        ),
        (kind("events.k8s.io", "Event"), "involvedObject.name", "field label not supported: involvedObject.name"),
    ],
)
def test_fields_that_a_kind_does_not_have(of: kinds.Kind, field: str, words: str) -> None:
    with pytest.raises(ValueError) as raised:
        selectors.FieldSelector.parse(f"{field}=x").renamed(of.rules.fields.name)
    assert str(raised.value) == words


@pytest.mark.parametrize(
    ("of", "obj", "text", "matches"),
    [
        (POD, {"metadata": {"name": "p"}}, "metadata.name=p", True),
        (POD, {"spec": {"nodeName": "n"}}, "spec.host=n", True),
        (POD, {"spec": {}}, "spec.hostNetwork=false", True),
        (POD, {"status": {"podIP": "1.1.1.1", "podIPs": [{"ip": "1.1.1.1"}]}}, "status.podIP=1.1.1.1", True),
        (kind("", "Node"), {"spec": {"unschedulable": True}}, "spec.unschedulable=true", True),
        (kind("", "Node"), {"spec": {}}, "spec.unschedulable=false", True),
        (kind("", "Event"), {"involvedObject": {"kind": "Pod"}}, "involvedObject.kind=Pod", True),
        (kind("", "Event"), {"reportingComponent": "k", "source": {}}, "source=k", True),
        (kind("events.k8s.io", "Event"), {"regarding": {"name": "p"}}, "regarding.name=p", True),
        (kind("events.k8s.io", "Event"), {"reportingController": "c"}, "reportingController=c", True),
        (kind("", "Secret"), {"type": "Opaque"}, "type!=Opaque", False),
        (kind("batch", "Job"), {"status": {}}, "status.successful=0", True),
        (kind("", "Namespace"), {"metadata": {"name": "d"}}, "name=d", True),
    ],
)
def test_selecting_objects_by_field(of: kinds.Kind, obj: dict[str, Any], text: str, matches: bool) -> None:
    chosen = selectors.FieldSelector.parse(text).renamed(of.rules.fields.name)
    assert chosen.matches(of.rules.fields.of(obj)) is matches


def test_custom_resources_bring_their_own_fields() -> None:
    fields = custom.kind("example.com", "v1", "Widget", "widgets", selectable_fields=[".spec.color"]).rules.fields
    chosen = selectors.FieldSelector.parse("spec.color=red").renamed(fields.name)
    assert chosen.matches(fields.of({"spec": {"color": "red"}}))
    with pytest.raises(ValueError, match=r"^field label not supported: spec\.size$"):
        selectors.FieldSelector.parse("spec.size=1").renamed(fields.name)
