"""Caches of pure functions of text, bounded in bytes and not only in entries.

`functools.lru_cache` counts entries: four thousand names of three megabytes each, which somebody sent to be refused, are twelve gigabytes.
Every cache whose keys come from outside is one of these; a test walks all caches of the house.
"""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

LONGEST = 256
"""Characters (of up to four bytes); what is longer than a name is computed each time."""


def short(maxsize: int, longest: int = LONGEST) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Like `functools.lru_cache(maxsize)`, for calls whose first argument (text or bytes) is at most `longest` long.

    The other arguments must be few values of the program's own; errors are never remembered."""

    def decorate(compute: Callable[P, R]) -> Callable[P, R]:
        cached: Any = functools.lru_cache(maxsize)(compute)
        cached.longest = longest

        @functools.wraps(compute)
        def call(*arguments: P.args, **named: P.kwargs) -> R:
            if len(arguments[0]) <= longest:  # type: ignore[arg-type]
                found: R = cached(*arguments, **named)
                return found
            return compute(*arguments, **named)

        return call

    return decorate
