"""JSON that is no text: bytes that are not UTF-8, and halves of surrogate pairs. As Go reads both, U+FFFD stands in their place."""

import re

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_ESCAPED_BYTE = re.compile("[\udc80-\udcff]")
# Escapes one by one, so that a backslash that is escaped itself begins none; whole pairs first.
_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)


def replaced(data: bytes) -> bytes:
    """`data` with each byte that is in no character, and each lone half of a pair, as U+FFFD; for what a parser has refused."""
    text = _ESCAPED_BYTE.sub(_REPLACEMENT, data.decode("utf-8", "surrogateescape"))
    return _ESCAPE.sub(lambda match: _REPLACEMENT if match[1] else match[0], text).encode()
