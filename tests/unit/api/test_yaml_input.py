"""YAML that is made to hurt: it is refused, at once and with a reason; what merely uses the language is read."""

import pytest

from pinnace.api import yaml_input

LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "exceeded max depth"),
        ("{a: " * 50_000, "exceeded max depth"),
        ("- " * 20_000, "exceeded max depth"),
        (LAUGHS, "excessive aliasing"),
        ("a: &a [*a]", "anchor 'a' value contains itself"),
        ("&a a: {b: &b [*b]}", "anchor 'b' value contains itself"),
        ("a: *nobody", "undefined alias"),
    ],
)
def test_hurtful_documents_are_refused(text: str, message: str) -> None:
    with pytest.raises(yaml_input.YamlError, match=message):
        yaml_input.load(text.encode())


def test_anchors_and_depth_within_reason_are_read() -> None:
    assert yaml_input.load(b"a: &a {b: [1, 2]}\nc: *a\nd: {<<: *a, e: 3}")[0] == {
        "a": {"b": [1, 2]},
        "c": {"b": [1, 2]},
        "d": {"b": [1, 2], "e": 3},
    }
    value = yaml_input.load(b"[" * 100 + b"]" * 100)[0]
    for _ in range(99):
        [value] = value
    assert value == []


def test_what_follows_the_first_document_is_not_looked_at() -> None:
    with pytest.raises(yaml_input.YamlError):
        yaml_input.load(b"a: 1\n---\n" + b"[" * 100_000)
