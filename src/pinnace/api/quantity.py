"""Quantities: `100m`, `1.5Gi`, `2e3`. Exact arithmetic, canonical form, and upstream's rounding.

Called by validation, defaulting, scheduler, quota and printers with the same few texts over and over: results are cached.
Format follows the first suffix family: decimal (`m`, `k`, `M` …), binary (`Ki`, `Mi` …) or exponent (`e3`).
All errors are ValueError in the words of apimachinery's resource package.
"""

import decimal
import enum
import re

from pinnace.kit import remembered

FORMAT_WRONG = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
SUFFIX_WRONG = "unable to parse quantity's suffix"

_SHAPE = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?([eEinumkKMGTP]*[-+]?[0-9]*)", re.ASCII)
_DECIMAL_SUFFIXES = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY_SUFFIXES = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_DECIMAL_BY_EXPONENT = {exponent: suffix for suffix, exponent in _DECIMAL_SUFFIXES.items()}
_BINARY_BY_EXPONENT = {0: "", **{exponent: suffix for suffix, exponent in _BINARY_SUFFIXES.items()}}

_EXPONENT_LIMIT = 2**31
_MAX_INT64 = 2**63 - 1
# The finest step that a quantity can carry; anything smaller but not zero counts as one step.
_NANO_EXPONENT = -9
# Digits are limited so that a hostile text costs bounded time.
_MAX_DIGITS = 512
_EXACT = decimal.Context(prec=2 * _MAX_DIGITS, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN)


class Format(enum.Enum):
    DECIMAL = "DecimalSI"
    BINARY = "BinarySI"
    EXPONENT = "DecimalExponent"


def parse(text: str) -> decimal.Decimal:
    """The exact amount, rounded away from zero to whole nanos. Raises ValueError."""
    return _parse(text)[0]


@remembered.short(4096)
def milli(text: str) -> int:
    """Thousandths, rounded away from zero: `100m` is 100, `1` is 1000. Raises ValueError."""
    return scaled(parse(text), 3)


@remembered.short(4096)
def value(text: str) -> int:
    """Whole units, rounded away from zero: `1Ki` is 1024, `100m` is 1. Raises ValueError."""
    return scaled(parse(text), 0)


@remembered.short(4096)
def canonical(text: str) -> str:
    """The form that the API stores and prints: `1000m` is `1`, `0.5` is `500m`, `1024Mi` is `1Gi`. Raises ValueError."""
    return render(*_parse(text))


def compare(left: str, right: str) -> int:
    """-1, 0 or 1. Raises ValueError."""
    a, b = parse(left), parse(right)
    return (a > b) - (a < b)


def format_of(text: str) -> Format:
    """Which family of suffixes `text` uses; sums are printed in the family of their first term."""
    return _parse(text)[1]


def render(amount: decimal.Decimal, form: Format = Format.DECIMAL) -> str:
    """`amount` in canonical form of the family `form`: no fraction, the largest suffix that keeps it exact."""
    if not amount:
        return "0"
    if form is Format.BINARY and abs(amount) >= 1024 and _is_whole(amount):
        return _render_binary(int(amount))
    sign, digits, exponent = amount.as_tuple()
    assert isinstance(exponent, int)
    mantissa = "".join(map(str, digits)).lstrip("0")
    stripped = mantissa.rstrip("0")
    exponent += len(mantissa) - len(stripped)
    shift = exponent % 3
    exponent -= shift
    number = ("-" if sign else "") + stripped + "0" * shift
    if form is Format.EXPONENT:
        return f"{number}e{exponent}" if exponent else number
    if exponent > 18:
        # There is no decimal suffix beyond E.
        return f"{number}e{exponent}"
    return number + _DECIMAL_BY_EXPONENT[exponent]


@remembered.short(4096)
def _parse(text: str) -> tuple[decimal.Decimal, Format]:
    # The length first: the digits of whole number and suffix overlap, which costs the square of it.
    match = _SHAPE.fullmatch(text) if 0 < len(text) <= _MAX_DIGITS else None
    if match is None:
        raise ValueError(FORMAT_WRONG)
    sign, whole, fraction, suffix = match.groups()
    exponent, power, form = _interpret(suffix)
    amount = decimal.Decimal(f"{whole or '0'}.{fraction}" if fraction else whole or "0")
    amount = _EXACT.scaleb(amount, exponent) if exponent else amount
    if power:
        amount = _EXACT.multiply(amount, decimal.Decimal(2**power))
    amount = _round_to_nano(amount)
    if form is Format.BINARY:
        amount = min(amount, decimal.Decimal(_MAX_INT64))
        form = Format.DECIMAL if 0 < amount < 1 else form
    return (amount.copy_negate() if sign == "-" and amount else amount), form


def _interpret(suffix: str) -> tuple[int, int, Format]:
    """(power of ten, power of two, family) of a suffix."""
    if suffix in _DECIMAL_SUFFIXES:
        return _DECIMAL_SUFFIXES[suffix], 0, Format.DECIMAL
    if suffix in _BINARY_SUFFIXES:
        return 0, _BINARY_SUFFIXES[suffix], Format.BINARY
    if suffix[0] in "eE" and re.fullmatch(r"[-+]?[0-9]+", suffix[1:]):
        exponent = int(suffix[1:])
        if abs(exponent) < _EXPONENT_LIMIT:
            return exponent, 0, Format.EXPONENT
    raise ValueError(SUFFIX_WRONG)


def _round_to_nano(amount: decimal.Decimal) -> decimal.Decimal:
    exponent = amount.as_tuple().exponent
    assert isinstance(exponent, int)
    if not amount:
        return decimal.Decimal(0)
    if exponent >= _NANO_EXPONENT:
        return amount
    if amount.adjusted() < _NANO_EXPONENT:
        return decimal.Decimal(1).scaleb(_NANO_EXPONENT)
    return amount.quantize(decimal.Decimal(1).scaleb(_NANO_EXPONENT), rounding=decimal.ROUND_UP, context=_EXACT)


def scaled(amount: decimal.Decimal, places: int) -> int:
    """`amount * 10**places` in whole units, rounded away from zero, within the bounds of int64."""
    if amount.adjusted() + places > 20:
        return -_MAX_INT64 if amount < 0 else _MAX_INT64
    shifted = _EXACT.scaleb(amount, places).to_integral_value(rounding=decimal.ROUND_UP)
    return max(-_MAX_INT64, min(_MAX_INT64, int(shifted)))


def _is_whole(amount: decimal.Decimal) -> bool:
    exponent = amount.as_tuple().exponent
    assert isinstance(exponent, int)
    return exponent >= 0 or amount == amount.to_integral_value()


def _render_binary(amount: int) -> str:
    power = 0
    while amount % 1024 == 0 and power < 60:
        amount //= 1024
        power += 10
    return f"{amount}{_BINARY_BY_EXPONENT[power]}"
