"""Quantities: canonical forms, rounding and error texts as upstream's resource package has them."""

import decimal

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from pinnace.api import quantity


@pytest.mark.parametrize(
    ("text", "canonical", "milli", "value"),
    [
        ("0", "0", 0, 0),
        ("0.0Gi", "0", 0, 0),
        ("100m", "100m", 100, 1),
        ("1000m", "1", 1000, 1),
        ("1500m", "1500m", 1500, 2),
        ("-1500m", "-1500m", -1500, -2),
        ("0.5", "500m", 500, 1),
        (".5", "500m", 500, 1),
        ("1.", "1", 1000, 1),
        ("+1", "1", 1000, 1),
        ("1024Mi", "1Gi", 1024**3 * 1000, 1024**3),
        ("1.5Gi", "1536Mi", 1536 * 1024**2 * 1000, 1536 * 1024**2),
        ("1.5Ki", "1536", 1536000, 1536),
        ("0.1Mi", "104857600m", 104857600, 104858),
        ("0.5Ki", "512", 512000, 512),
        ("1e3", "1e3", 10**6, 1000),
        ("1E3", "1e3", 10**6, 1000),
        ("123e-2", "1230e-3", 1230, 2),
        ("100u", "100u", 1, 1),
        ("0.1n", "1n", 1, 1),
        ("1.2345678901", "1234567891n", 1235, 2),
        ("5E", "5E", 2**63 - 1, 5 * 10**18),
        ("100Ei", "9223372036854775807", 2**63 - 1, 2**63 - 1),
        ("1e100", "10e99", 2**63 - 1, 2**63 - 1),
        ("1e-1000000", "1e-9", 1, 1),
    ],
)
def test_canonical_form_and_roundings(text: str, canonical: str, milli: int, value: int) -> None:
    assert quantity.canonical(text) == canonical
    assert quantity.milli(text) == milli
    assert quantity.value(text) == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", quantity.FORMAT_WRONG),
        ("abc", quantity.FORMAT_WRONG),
        ("1 Gi", quantity.FORMAT_WRONG),
        ("1Zi", quantity.FORMAT_WRONG),
        ("1.2.3", quantity.FORMAT_WRONG),
        ("1ki", quantity.SUFFIX_WRONG),
        ("1mm", quantity.SUFFIX_WRONG),
        ("1e", quantity.SUFFIX_WRONG),
        ("1e99999999999", quantity.SUFFIX_WRONG),
    ],
)
def test_errors_are_in_upstreams_words(text: str, words: str) -> None:
    with pytest.raises(ValueError) as raised:
        quantity.parse(text)
    assert str(raised.value) == words


AMOUNTS = st.builds(
    lambda sign, whole, fraction, suffix: f"{sign}{whole}{fraction}{suffix}",
    st.sampled_from(["", "-", "+"]),
    st.integers(0, 10**12),
    st.sampled_from(["", ".5", ".25", ".123456789"]),
    st.sampled_from(["", "m", "u", "n", "k", "M", "G", "Ki", "Mi", "Gi", "e2", "e-3", "E5"]),
)


@given(AMOUNTS)
@example("7556531.25Ki")
def test_canonical_form_keeps_the_amount_and_settles(text: str) -> None:
    shown = quantity.canonical(text)
    assert quantity.parse(shown) == quantity.parse(text)
    # Bytes that are no multiple of 1024 are printed without a suffix, and then read as a decimal amount, as upstream does.
    settled = quantity.canonical(shown)
    assert quantity.canonical(settled) == settled
    assert settled == shown or quantity.format_of(text) is quantity.Format.BINARY


@given(AMOUNTS)
def test_roundings_go_away_from_zero(text: str) -> None:
    amount = quantity.parse(text)
    assume(abs(amount) < 9 * 10**15)
    assert abs(amount) <= abs(decimal.Decimal(quantity.value(text))) < abs(amount) + 1
    assert abs(amount) * 1000 <= abs(quantity.milli(text)) < abs(amount) * 1000 + 1


@given(AMOUNTS, AMOUNTS)
def test_comparison_is_that_of_the_amounts(left: str, right: str) -> None:
    a, b = quantity.parse(left), quantity.parse(right)
    assert quantity.compare(left, right) == (a > b) - (a < b)


@given(st.text(max_size=12))
def test_any_text_is_an_amount_or_a_value_error(text: str) -> None:
    words = ""
    try:
        quantity.canonical(text)
    except ValueError as error:
        words = str(error)
    assert words in ("", quantity.FORMAT_WRONG, quantity.SUFFIX_WRONG)
