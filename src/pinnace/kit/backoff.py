"""How long to wait before the next try. Pure: the caller sleeps."""

import dataclasses
import random


@dataclasses.dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential: `first * factor**failures`, at most `limit` seconds, spread by +-`jitter` (a fraction)."""

    first: float
    limit: float
    factor: float = 2.0
    jitter: float = 0.0

    def delay(self, failures: int, rng: random.Random | None = None) -> float:
        """Seconds to wait after `failures` failures in a row (0 is the first)."""
        # Beyond 64 doublings every limit is reached; a larger exponent would only overflow.
        base = min(self.limit, self.first * self.factor ** min(failures, 64))
        if rng is None or not self.jitter:
            return base
        return base * (1 + rng.uniform(-self.jitter, self.jitter))
