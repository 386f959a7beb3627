"""A sorted set of keys that stays fast at hundreds of thousands: blocks of about a thousand keys each.

Python compares strings by code point, which is the order of their UTF-8 bytes.
"""

import bisect
import sys
from collections.abc import Iterable

BLOCK = 1024


def prefix_end(prefix: str) -> str | None:
    """The least string that is greater than every string that starts with `prefix`; None: there is none."""
    stem = prefix.rstrip(chr(sys.maxunicode))
    return stem[:-1] + chr(ord(stem[-1]) + 1) if stem else None


class SortedKeys:
    def __init__(self, keys: Iterable[str] = ()) -> None:
        ordered = sorted(keys)
        self._blocks = [ordered[at : at + BLOCK] for at in range(0, len(ordered), BLOCK)] or [[]]
        # The first key of each block; the first block takes everything that is smaller, so its entry is "".
        self._firsts = ["", *(block[0] for block in self._blocks[1:])]

    def add(self, key: str) -> None:
        """`key` must not be there."""
        at = bisect.bisect_right(self._firsts, key) - 1
        block = self._blocks[at]
        bisect.insort(block, key)
        if len(block) > 2 * BLOCK:
            self._blocks[at : at + 1] = [block[:BLOCK], block[BLOCK:]]
            self._firsts.insert(at + 1, block[BLOCK])

    def remove(self, key: str) -> None:
        """`key` must be there."""
        at = bisect.bisect_right(self._firsts, key) - 1
        block = self._blocks[at]
        del block[bisect.bisect_left(block, key)]
        if not block and at:
            del self._blocks[at], self._firsts[at]

    def rank(self, key: str | None) -> int:
        """How many keys are smaller than `key` (None: all of them)."""
        if key is None:
            return sum(map(len, self._blocks))
        at = bisect.bisect_right(self._firsts, key) - 1
        return sum(map(len, self._blocks[:at])) + bisect.bisect_left(self._blocks[at], key)

    def between(self, first: str, end: str | None, limit: int = 0) -> list[str]:
        """The keys from `first` (included) to `end` (excluded; None: to the last), at most `limit` (0: all)."""
        at = bisect.bisect_right(self._firsts, first) - 1
        low = bisect.bisect_left(self._blocks[at], first)
        found: list[str] = []
        for block in self._blocks[at:]:
            high = len(block) if end is None else bisect.bisect_left(block, end)
            found += block[low:high]
            if high < len(block) or (limit and len(found) >= limit):
                break
            low = 0
        return found[:limit] if limit else found
