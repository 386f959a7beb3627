"""Every kind states its rules, and nothing is left to chance."""

import dataclasses

import pytest

from pinnace.api import kinds
from pinnace.api.rules import base

EVERY_KIND = kinds.builtin(previews=True).all()
STORED = [kind for kind in EVERY_KIND if not kind.is_virtual]


def _name(kind: kinds.Kind) -> str:
    return f"{kind.plural}.{kind.group}.{kind.version}"


@pytest.mark.parametrize("kind", STORED, ids=_name)
def test_whatever_is_stored_is_validated(kind: kinds.Kind) -> None:
    assert kind.rules.validate_create is not base.unchecked
    assert kind.rules.update.validate is not base.metadata_only


@pytest.mark.parametrize("kind", EVERY_KIND, ids=_name)
def test_rules_and_subresources_fit_together(kind: kinds.Kind) -> None:
    known = {sub.name for sub in kind.subresources}
    assert set(kind.rules.parts) <= known - {"status", "scale"}
    assert (kind.rules.scale is not None) == ("scale" in known)
    if "status" not in known:
        assert kind.rules.status == base.Part(base.status_alone)
        assert not kind.rules.counts


@pytest.mark.parametrize("kind", EVERY_KIND, ids=_name)
def test_a_kind_that_is_stored_as_another_is_served_as_that_too(kind: kinds.Kind) -> None:
    stored = kind.rules.stored
    if stored is not None:
        other = kinds.builtin().by_kind(stored.group, stored.version, kind.kind)
        assert other is not None
        assert other.rules.stored is None
        assert kinds.storage_prefix(other) == kinds.storage_prefix(kind)


def test_rules_are_values() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        EVERY_KIND[0].rules.deprecation = "x"  # type: ignore[misc]
