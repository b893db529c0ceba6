"""Bytes that may be written a day: flash wears with each one."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

DAY = 86_400.0
AHEAD = DAY / 24
"""Seconds whose bytes may be written ahead where it cannot wait."""


@dataclass(slots=True)
class WriteBudget:
    """What is written is a debt that time pays off.

    Attributes:
        per_day: bytes.
        clock: seconds, never set back.
    """

    per_day: float
    clock: Callable[[], float] = time.monotonic
    _paid: float = field(default=0.0, init=False)  # when the debt is paid off

    def spend(self, size: int) -> None:
        """So many bytes were written."""
        self._paid = max(self._paid, self.clock()) + size / self.per_day * DAY

    def wait(self, *, urgent: bool = False) -> float:
        """Seconds until there may be written again."""
        return max(0.0, self._paid - self.clock() - (AHEAD if urgent else 0.0))
