"""What a series normally does, as an exponentially weighted mean and spread of the rows before."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from agent.core.series import Arrays, Field
from agent.detectors.base.decay import Decay, decay_factor
from agent.detectors.base.scan import row_numbers
from agent.detectors.base.streaming import COUNT, SMALLEST
from sensors.batch import Floats, Ints

CLIP = 8.0
"""A single deviation counts at most so many spreads where deviations are summed, so that one spike is no drift."""

ROUNDING = 1e-12
"""A mean of equal values is their value but for rounding; a deviation of so small a share of it is none."""


@dataclass(slots=True)
class Baseline:
    """Mean and spread of the rows before, of which a row counts half after `half_life` rows.

    The spread is the root of the weighted mean of squared one-step deviations from the mean known before each row:
    no difference of large numbers, so an offset of 1e9 does not harm. A new row moves mean and spread only after
    it is judged.

    Attributes:
        half_life: rows.
        decay: the recursion.
        max_block: most columns of a matrix.
    """

    half_life: float
    decay: Decay = field(init=False)
    max_block: int = field(init=False)

    def __post_init__(self) -> None:
        self.decay = Decay(decay_factor(self.half_life))
        self.max_block = self.decay.max_block

    @staticmethod
    def state_fields() -> dict[str, Field]:
        """State arrays of a series."""
        return dict.fromkeys(("base_total", "base_square"), Field(np.float64))

    def standardise(self, state: Arrays, x: Floats, valid_length: Ints) -> tuple[Floats, Floats]:
        """Deviation of each row from the rows before it, and learn the rows.

        Returns:
            deviation `(k, length)` in units of `x` (0 for the first row of a series), and the spread known before
            the row, `(k, length)`; it is 0 while all rows were equal.
        """
        count, length = state[COUNT], x.shape[1]
        scale = self.decay.scale_at(count, valid_length, length)
        mean = self.decay.run_faint(state["base_total"], scale, x, valid_length)[:, :-1]
        mean *= self.decay.inverse_weight(count, length)
        first = count == 0
        if first.any():
            mean[first, 0] = x[first, 0]
        deviation = x - mean
        rounding = np.abs(mean)
        rounding *= ROUNDING
        rounding += SMALLEST  # hides a mean that has faded away, and keeps squares from underflow
        real = np.abs(deviation) > rounding
        if not real.all():
            deviation = np.where(real, deviation, 0.0)
        square = self.decay.run(state["base_square"], scale, deviation * deviation, valid_length, positive=True)[
            :, :-1
        ]
        # The first row has no deviation, so it has no weight.
        square *= self.decay.inverse_weight(count - 1, length)
        return deviation, np.sqrt(square, out=square)


def in_spreads(deviation: Floats, spread: Floats, cap: float) -> Floats:
    """Deviation over spread, within +-`cap`; NaN where neither is known to differ from 0 (a constant series).

    To be called where division by 0 is no error.
    """
    quotient = deviation / spread
    return np.clip(quotient, -cap, cap, out=quotient)


def learnt_steps(
    ratio: Floats, count: Ints, min_rows: int, slack: float
) -> tuple[Floats, Floats | float, npt.NDArray[np.bool_] | None]:
    """What a row adds to a sum of deviations, and the slack taken off: nothing for its first `min_rows` rows.

    Args:
        ratio: `(k, length)` deviations in spreads; NaN where the series is constant so far.
        count: `(k,)` rows learnt so far.
        min_rows: rows to be learnt before the sums start.
        slack: of each row.

    Returns:
        step `(k, length)`, its own array; slack, as an array only where it differs; where `ratio` was NaN, if it was.
    """
    flat = np.isnan(ratio)
    constant = bool(flat.any())
    if int(count.min()) >= min_rows:
        return (np.where(flat, 0.0, ratio), slack, flat) if constant else (ratio, slack, None)
    learning = row_numbers(count, ratio.shape[1]) < min_rows
    step = np.where(learning | flat, 0.0, ratio)
    return step, np.where(learning, 0.0, slack), flat if constant else None
