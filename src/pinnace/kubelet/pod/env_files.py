"""Environment files: what `fileKeyRef` reads one variable from. Pure.

The syntax is a small part of a POSIX shell's (KEP-3721): `NAME='value'`, the value literal and over as many lines as it likes, `#` comments.
"""

from collections.abc import Iterator


class BadFile(Exception):
    """The text says where, in upstream's words."""


def find(text: str, key: str) -> str | None:
    """The value of the first variable `key`; None: there is none. What follows it is not looked at. Raises BadFile."""
    lines = enumerate((line.removesuffix("\r") for line in text.split("\n")), 1)
    for number, line in lines:
        line = line.lstrip(" \t")
        if not line or line.startswith("#"):
            continue
        name, equals, rest = line.partition("=")
        if not equals:
            raise _bad(number, "missing '='")
        if not name:
            raise _bad(number, "empty variable name")
        if name != name.rstrip(" \t"):
            raise _bad(number, "whitespace before '=' is not allowed")
        value = ""
        # As a shell has it: after a blank nothing of the line belongs to the variable.
        if not rest.startswith((" ", "\t")):
            value = _quoted(number, rest, lines)
        if name == key:
            return value
    return None


def _quoted(number: int, rest: str, lines: Iterator[tuple[int, str]]) -> str:
    """The value that begins in this line; takes further lines where it goes on."""
    if not rest.startswith("'"):
        raise _bad(number, "value must be enclosed in single quotes")
    value, quote, after = rest[1:].partition("'")
    while not quote:
        following = next(lines, None)
        if following is None:
            raise BadFile(f"invalid environment variable format starting at line {number}: unclosed single quote")
        more, quote, after = following[1].partition("'")
        value += f"\n{more}"
    after = after.lstrip(" \t")
    if after and not after.startswith("#"):
        raise _bad(number, "unexpected content after closing quote")
    return value


def _bad(number: int, why: str) -> BadFile:
    return BadFile(f"invalid environment variable format at line {number}: {why}")
