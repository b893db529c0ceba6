"""How long to wait before the next try."""

from __future__ import annotations

import random
from dataclasses import dataclass, field


@dataclass
class Backoff:
    """Exponential back-off with full jitter, so that a thousand agents do not return to a broker as one.

    The first wait is short (a dropped connection mostly comes back at once). Only a connection that stayed up for
    `stable_seconds` starts the count again: a broker that accepts and then throws us out is not flooded.

    Attributes:
        first, longest: bounds of the wait, s; the k-th is drawn from `[0, min(longest, first * 2**k)]`.
    """

    first: float = 1.0
    longest: float = 30.0
    stable_seconds: float = 60.0
    random: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        self.tries = 0

    def next(self, was_up_seconds: float = 0.0) -> float:
        """Seconds to wait, after a connection that was up for so long."""
        if was_up_seconds >= self.stable_seconds:
            self.tries = 0
        ceiling = min(self.longest, self.first * 2.0 ** min(self.tries, 30))
        self.tries += 1
        return self.random.uniform(0.0, ceiling)
