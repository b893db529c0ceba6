"""Seasonal residual: is this value usual for the time of day?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from agent.detectors.decay import Decay, keep
from agent.detectors.history import DAY, Lags, phase_median, rows_a_period, stored, write
from agent.detectors.streaming import COUNT, Arrays, Shape, Streaming, ratio
from sensors.batch import Floats, Ints
from sensors.units import Duration


@dataclass
class Seasonal(Streaming):
    """Distance from the median of the same phase of earlier periods, over its usual size.

    The period in rows follows from the time between rows, learnt every 64 rows. A score of about 1 is usual;
    limits of 5 to 10 are. Scale and offset of the metric do not matter.

    Attributes:
        period: of the season; where two of it do not fit the memory, an even share of the memory is taken.
        periods: how many earlier periods are compared with.
        memory: rows kept.
        half_life: rows after which a residual counts half in its usual size.
        warmup: rows before the first score.
    """

    period: Duration = Duration(DAY)
    periods: int = 7
    memory: int = 2048
    half_life: float = 500.0
    warmup: int = 64
    _decay: Decay = field(init=False, repr=False, compare=False)

    usual_limit: ClassVar[float] = 8.0

    def _check(self) -> None:
        if self.period <= 0 or self.periods < 1 or self.memory < 16 * self.periods or not self.half_life > 0.0:
            raise ValueError("period, periods and half_life must be above 0, memory at least 16 rows a period")
        self._decay = Decay(keep(self.half_life), 64)

    def _shapes(self) -> dict[str, Shape]:
        return {
            "store": ((self.memory + 64,), np.float32, 0.0),
            "first": ((), np.float64, 0.0),
            "times": ((33,), np.int64, 0),
            "rows": ((), np.int64, self.memory // self.periods),
            "size": ((), np.float64, 0.0),
            "weight": ((), np.float64, 0.0),
        }

    @property
    def span(self) -> int:
        return self._decay.span

    @property
    def needs(self) -> int:
        return max(2, self.warmup)

    def _scores(self, state: Arrays, x: Floats, take: Ints, time: Ints) -> Floats:
        count, length = state[COUNT], x.shape[1]
        state["first"][:] = np.where(count == 0, x[:, 0], state["first"])
        due = np.flatnonzero((count % self.span == 0) & (count >= 33))
        if len(due):
            gaps = np.sort(np.diff(np.sort(state["times"][due], axis=1), axis=1), axis=1)
            state["rows"][due] = rows_a_period(gaps[:, 16], self.memory, self.periods, self.period)
        number = count[:, None] + np.arange(length)
        line, column = np.nonzero(np.arange(length) < take[:, None])
        state["times"][line, number[line, column] % 33] = time[line, column]
        y = x - state["first"][:, None]
        write(state["store"], count, y, take)
        usual = phase_median(state["store"], number, Lags.of(state["rows"], self.periods, 1, self.memory))
        residual = np.where(np.isnan(usual), 0.0, np.abs(stored(y) - usual))  # both rounded alike
        place = count % self.span
        known = (~np.isnan(usual)).astype(np.float64)
        weight = self._decay.run(state["weight"], place, known, take)[:, :-1]
        size = self._decay.run(state["size"], place, residual, take)[:, :-1] / np.where(weight > 0.0, weight, 1.0)
        return np.where((weight > 0.0) & (known > 0.0), ratio(residual, size), np.nan)
