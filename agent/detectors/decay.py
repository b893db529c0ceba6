"""Exponentially weighted averages of many series over time, without a loop over time.

`a_t = w a_(t-1) + (1 - w) x_t` is a running sum of `x_t w^-t`, scaled. `np.cumsum` adds in order, one number after
the other, so the sum does not depend on how the stream is cut, to the last bit, if the scale does not: it starts
anew every `span` rows of a series, counted from its first. Nothing is subtracted, so no precision is lost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from sensors.batch import Floats, Ints

_DECADES = 100.0
"""The scale may shrink to 1e-100 before it starts anew."""


def keep(half_life: float) -> float:
    """The weight `w` that an average keeps a row, so that a value counts half after `half_life` rows."""
    return float(0.5 ** (1.0 / half_life))


@dataclass(slots=True)
class Decay:
    """The recursion `s_t = w s_(t-1) + x_t`, vectorised over series and time.

    Attributes:
        w: what a row leaves of the sum before it, 0 < w <= 1.
        span: rows between two fresh starts of the scale.
    """

    w: float
    span: int = 1024
    _up: Floats = field(init=False, repr=False)
    _down: Floats = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.w < 1.0:
            self.span = max(1, min(self.span, int(_DECADES / -math.log10(self.w))))
        self._down = np.array([self.w**i for i in range(self.span + 1)])
        self._up = 1.0 / self._down

    def run(self, carry: Floats, place: Ints, x: Floats, take: Ints) -> Floats:
        """Go on with the sums of some series.

        Args:
            carry: `(k,)` scaled sums, changed in place; a new series has 0.
            place: `(k,)` rows since the last fresh start: rows learnt so far modulo `span`.
            x: `(k, length)` new values; `place + take <= span`.
            take: `(k,)` cells of each line that count.

        Returns:
            `(k, length + 1)`: the sum before the first cell, then after each.
        """
        scale, sums = self._sums(carry, place, x)
        line = np.arange(len(x))
        result: Floats = sums * scale
        carry[:] = np.where(place + take == self.span, result[line, take], sums[line, take])
        return result

    def reflect(self, carry: Floats, low: Floats, place: Ints, x: Floats, take: Ints) -> Floats:
        """`s_t = max(0, w s_(t-1) + x_t)` as a running sum less its running minimum (Page 1954), with forgetting.

        Args:
            carry: `(k,)` scaled sums, changed in place; a new series has 0.
            low: `(k,)` lowest scaled sums since the last fresh start, changed in place; a new series has 0.
            place: see `run`.
            x: see `run`.
            take: see `run`.

        Returns:
            `(k, length)` the sums after each cell.
        """
        scale, sums = self._sums(carry, place, x)
        lows = sums.copy()
        lows[:, 0] = low
        lows = np.minimum.accumulate(lows, axis=1)
        result: Floats = (sums - lows) * scale
        line, fresh = np.arange(len(x)), place + take == self.span
        carry[:] = np.where(fresh, result[line, take], sums[line, take])
        low[:] = np.where(fresh, 0.0, lows[line, take])
        return result[:, 1:]

    def highest(self, carry: Floats, place: Ints, x: Floats, take: Ints) -> Floats:
        """`m_t = max(w m_(t-1), x_t)` for `x >= 0`, `(k, length)`; arguments as of `run`."""
        steps = np.minimum(place[:, None] + np.arange(x.shape[1] + 1), self.span)
        scaled = np.concatenate([carry[:, None], x * self._up[steps[:, 1:]]], axis=1)
        scaled = np.maximum.accumulate(scaled, axis=1)
        result: Floats = scaled * self._down[steps]
        line = np.arange(len(x))
        carry[:] = np.where(place + take == self.span, result[line, take], scaled[line, take])
        return result[:, 1:]

    def _sums(self, carry: Floats, place: Ints, x: Floats) -> tuple[Floats, Floats]:
        """Scale and scaled sums, both `(k, length + 1)`."""
        steps = place[:, None] + np.arange(x.shape[1] + 1)
        np.minimum(steps, self.span, out=steps)  # only cells that do not count lie beyond
        sums = np.empty(steps.shape)
        sums[:, 0] = carry
        np.multiply(x, self._up[steps[:, 1:]], out=sums[:, 1:])
        return self._down[steps], np.cumsum(sums, axis=1)
