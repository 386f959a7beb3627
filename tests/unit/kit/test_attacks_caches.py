"""No cache of the house keeps what strangers send: each is bounded in bytes, or has keys of the program's own."""

import functools
import gc
import importlib
import pkgutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import pinnace
from pinnace.api import quantity, selectors
from pinnace.api.validation import formats
from pinnace.apiserver.authn import authenticate
from pinnace.apiserver.http import negotiate
from pinnace.kit import remembered

# Caches whose keys are the program's own words (definitions, kinds, capabilities), or that look at lengths themselves.
REVIEWED = frozenset(
    {
        "pinnace.api.kinds._known",
        "pinnace.api.schema.structure",
        "pinnace.api.openapi._definitions_digest",
        "pinnace.client.compact._remembered",
        "pinnace.engine.seccomp._profile",
        "pinnace.testing.certificates.made",
    }
)
# Functions without arguments, or of the names of definitions alone: as many entries as there are of those.
OF_DEFINITIONS = ("pinnace.api.omitempty.", "pinnace.api.protobuf.", "pinnace.api.rules.generic.", "pinnace.kernel.")
MOST_BYTES = 4 * remembered.LONGEST


def caches() -> Iterator[tuple[str, Any]]:
    for module in pkgutil.walk_packages(pinnace.__path__, "pinnace."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for found in gc.get_objects():
        if isinstance(found, functools._lru_cache_wrapper) and found.__module__.startswith("pinnace."):
            yield f"{found.__module__}.{found.__qualname__}", found


def test_every_cache_is_bounded_in_bytes_or_reviewed() -> None:
    unknown = set()
    bounded = 0
    for name, cache in caches():
        longest = getattr(cache, "longest", None)
        if longest is not None:
            bounded += 1
            assert cache.cache_info().maxsize * longest * 4 <= 128 << 20, name
        elif name not in REVIEWED and not name.startswith(OF_DEFINITIONS):
            unknown.add(name)
    assert not unknown
    assert bounded > 15


@pytest.mark.parametrize(
    "call",
    [
        formats.dns_label,
        formats.dns_subdomain,
        formats.qualified_name,
        formats.label_value,
        formats.config_key,
        formats.environment_name,
        formats.port_name,
        lambda text: authenticate.certified(text, ()),
        lambda text: selectors.LabelSelector.parse("a in (" + ",".join(text[:2000]) + ")"),
        lambda text: negotiate.form("application/json;x=" + text),
        lambda text: selectors.FieldSelector.parse("metadata.name=" + text),
    ],
)
def test_long_texts_are_answered_and_forgotten(call: Callable[[str], object]) -> None:
    before = {name: cache.cache_info().currsize for name, cache in caches()}
    for number in range(5):
        call(f"x{number}" * 100_000)
    after = {name: cache.cache_info().currsize for name, cache in caches()}
    assert {name for name in after if after[name] > before[name]} == set()


def test_quantities_of_any_length_are_refused_at_once() -> None:
    for text in ("1" * 1_000_000 + "x", "1" * 1_000_000, "-" + "1" * 1_000_000 + "."):
        for read in (quantity.milli, quantity.value, quantity.canonical, quantity.parse):
            with pytest.raises(ValueError, match="quantities must match"):
                read(text)


def test_what_is_short_is_computed_once() -> None:
    calls: list[str] = []

    @remembered.short(8, longest=4)
    def compute(text: str) -> int:
        calls.append(text)
        return len(text)

    assert [compute(text) for text in ("a", "a", "abcde", "abcde")] == [1, 1, 5, 5]
    assert calls == ["a", "abcde", "abcde"]
