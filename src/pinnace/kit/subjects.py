"""Whom the subject of a certificate names. One reading for whoever signs and for whoever lets in: two could be told different names."""

from collections.abc import Sequence


def sole_common_name(names: Sequence[str]) -> str:
    """The only one of a subject's common names. Raises ValueError for none and for several, of which each reader might
    take another (RFC 5280 allows any number)."""
    if len(names) != 1:
        raise ValueError(f"a subject must have exactly one common name, and this one has {len(names)}")
    return names[0]
