"""From what sets and maps hold to what they shall hold: the steps of one transaction. Pure. For Services, pods and policies alike."""

import collections
from collections.abc import Iterable, Mapping

from pinnace.kernel import elements

Elements = Mapping[tuple[str, elements.Key], bytes]
"""(set or map, key) -> data (b"" in a set)."""


def changes(pairs: Iterable[tuple[Elements, Elements]]) -> list[elements.Change]:
    """`pairs`: (as it is, as it shall be) of parts that share no key; a part that does not differ need not be given, and costs nothing.

    No packet meets a state in between. What has to go comes first: a key is deleted before it is added anew."""
    gone: dict[str, list[elements.Element]] = collections.defaultdict(list)
    come: dict[str, list[elements.Element]] = collections.defaultdict(list)
    for was, now in pairs:
        for (name, key), value in was.items():
            if now.get((name, key)) != value:
                gone[name].append((key, b""))
        for (name, key), value in now.items():
            if was.get((name, key)) != value:
                come[name].append((key, value))
    steps = [elements.Change(name, is_add=False, elements=found) for name, found in gone.items()]
    return steps + [elements.Change(name, is_add=True, elements=found) for name, found in come.items()]


def emptied(names: Iterable[str]) -> list[elements.Change]:
    """Before the first steps, where nobody knows what is there."""
    return [elements.Change(name, is_add=False, is_flush=True) for name in names]
