"""What a series normally does, as an exponentially weighted mean and spread of the rows before."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from agent.detectors.decay import Decay, keep
from agent.detectors.streaming import COUNT, Arrays, Shape, ratio
from sensors.batch import Floats, Ints

CLIP = 8.0
"""A single deviation counts at most so many spreads where deviations are summed, so that one spike is no drift."""


@dataclass(slots=True)
class Baseline:
    """Mean and spread of the rows before, of which a row counts half after `half_life` rows.

    The spread is the root of the weighted mean of squared one-step deviations from the mean known before each row:
    no difference of large numbers, so an offset of 1e9 does not harm. A new row moves mean and spread only after
    it is judged.

    Attributes:
        half_life: rows.
        decay: the recursion; its `span` must be the span of the detector.
    """

    half_life: float
    span: int = 1024
    decay: Decay = field(init=False)

    def __post_init__(self) -> None:
        self.decay = Decay(keep(self.half_life), self.span)
        self.span = self.decay.span

    @staticmethod
    def shapes() -> dict[str, Shape]:
        """State arrays of a series."""
        return dict.fromkeys(("base_mean", "base_weight", "base_square", "base_pairs"), ((), np.float64, 0.0))

    def standardise(self, state: Arrays, x: Floats, take: Ints) -> tuple[Floats, Floats, Floats]:
        """Deviation of each row from the rows before it, and learn the rows.

        Returns:
            deviation `(k, length)` in units of `x` (0 for the first row of a series), the mean and the spread known
            before the row, both `(k, length)`; the spread is 0 while all rows were equal.
        """
        place = state[COUNT] % self.span
        total = self.decay.run(state["base_mean"], place, x, take)[:, :-1]
        weight = self.decay.run(state["base_weight"], place, np.ones_like(x), take)[:, :-1]
        first = weight == 0.0
        mean = np.where(first, x, total / np.where(first, 1.0, weight))
        deviation = x - mean
        # A mean of equal values is their value but for rounding; what is below it is no deviation.
        deviation[np.abs(deviation) <= 1e-12 * np.abs(mean)] = 0.0
        square = self.decay.run(state["base_square"], place, deviation * deviation, take)[:, :-1]
        pairs = self.decay.run(state["base_pairs"], place, 1.0 - first, take)[:, :-1]
        spread = np.sqrt(square / np.where(pairs == 0.0, 1.0, pairs))
        return deviation, mean, spread


def in_spreads(deviation: Floats, spread: Floats, cap: float) -> Floats:
    """Deviation over spread, within +-`cap`; NaN where neither is known to differ from 0 (a constant series)."""
    return np.copysign(ratio(np.abs(deviation), spread, cap), deviation)
