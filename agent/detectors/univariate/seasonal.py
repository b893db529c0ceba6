"""Seasonal residual: is this value usual for its place in the period?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np

from agent.core.explanations import Explanation
from agent.core.series import Arrays, Field
from agent.detectors.base.decay import Decay, decay_factor
from agent.detectors.base.streaming import COUNT, StreamingDetector, ratio
from agent.detectors.univariate.history.circular_buffer import (
    DAY,
    Lags,
    phase_median,
    read,
    rows_a_period,
    stored,
    write,
)
from agent.detectors.univariate.history.period import find_periods
from sensors.batch import Floats, Ints
from sensors.units import Duration

_EPOCH = 64
"""Rows between two looks at the time between rows."""

_TOGETHER = 64
"""Series whose period is looked for together: bounds the memory that it takes."""


@dataclass
class Seasonal(StreamingDetector):
    """Distance from the median of the same phase of earlier periods, over its usual size.

    The period is found in the memory by autocorrelation (`agent.detectors.univariate.history.period`), anew
    whenever the rows of a series have doubled and later each time a quarter of the memory is new: a machine's cycle,
    a day, a week. Where none shows (three periods must lie in the memory), a day by the clock is taken; where two
    days do not fit, an even share of the memory. The column `period` says which, in rows. A score of about 1 is
    usual; limits of 5 to 10 are. Scale and offset of the metric do not matter.

    Attributes:
        period: `auto`, or how long the season is by the clock (`24h`, `7d`): the rows in it follow from the time
            between rows.
        periods: how many earlier periods are compared with.
        memory: rows kept.
        half_life: rows after which a residual counts half in its usual size.
        warmup: rows before the first score.
    """

    period: Duration | Literal["auto"] = "auto"
    periods: int = 7
    memory: int = 2048
    half_life: float = 500.0
    warmup: int = 64
    _decay: Decay = field(init=False, repr=False, compare=False)

    state_version: ClassVar[int] = 2
    default_limit: ClassVar[float] = 8.0
    explains: ClassVar = {"score": Explanation("is not usual for this time of its period")}
    numeric_columns: ClassVar = ("usual", "period")

    def validate(self) -> None:
        if (
            (self.period != "auto" and self.period <= 0)
            or self.periods < 1
            or self.memory < 16 * self.periods
            or not self.half_life > 0.0
        ):
            raise ValueError("period, periods and half_life must be above 0, memory at least 16 rows a period")
        self._decay = Decay(decay_factor(self.half_life), 64)

    def state_fields(self) -> dict[str, Field]:
        return {
            "store": Field(np.float32, 0, (self.memory + 64,)),
            "first": Field(np.float64),
            "times": Field(np.int64, 0, (33,)),
            "rows": Field(np.int64, self.memory // self.periods),
            "found": Field(np.int64),
            "size": Field(np.float64),
            "weight": Field(np.float64),
        }

    @property
    def block_boundary(self) -> int:
        return _EPOCH

    @property
    def min_rows(self) -> int:
        return max(2, self.warmup)

    def score(self, state: Arrays, x: Floats, valid_length: Ints, time: Ints) -> tuple[Floats, dict[str, Floats]]:
        count, length = state[COUNT], x.shape[1]
        state["first"][:] = np.where(count == 0, x[:, 0], state["first"])
        self._set_period(state, np.flatnonzero((count % self.block_boundary == 0) & (count >= 33)))
        number = count[:, None] + np.arange(length)
        line, column = np.nonzero(np.arange(length) < valid_length[:, None])
        state["times"][line, number[line, column] % 33] = time[line, column]
        y = x - state["first"][:, None]
        write(state["store"], count, y, valid_length)
        usual = phase_median(state["store"], number, Lags.of(state["rows"], self.periods, 1, self.memory))
        residual = np.where(np.isnan(usual), 0.0, np.abs(stored(y) - usual))  # both rounded alike
        known = (~np.isnan(usual)).astype(np.float64)
        scale = self._decay.scale_at(count, valid_length, length)
        weight = self._decay.run(state["weight"], scale, known, valid_length, positive=True)[:, :-1]
        total = self._decay.run(state["size"], scale, residual, valid_length, positive=True)[:, :-1]
        size = total / np.where(weight > 0.0, weight, 1.0)
        score = np.where((weight > 0.0) & (known > 0.0), ratio(residual, size), np.nan)
        return score, {
            "usual": usual + state["first"][:, None],
            "period": np.broadcast_to(state["rows"][:, None].astype(np.float64), x.shape),
        }

    def _set_period(self, state: Arrays, due: Ints) -> None:
        """Rows in a period, for series whose time between rows is known."""
        if not len(due):
            return
        gaps = np.sort(np.diff(np.sort(state["times"][due], axis=1), axis=1), axis=1)
        day = DAY if self.period == "auto" else self.period
        by_clock = rows_a_period(gaps[:, 16], self.memory, self.periods, day)
        if self.period != "auto":
            state["rows"][due] = by_clock
            return
        count = state[COUNT][due]
        new = np.flatnonzero(
            (count & (count - 1) == 0) | (count % max(self.block_boundary, self.memory // 4) < self.block_boundary)
        )
        state["rows"][due] = np.where(state["found"][due] > 0, state["found"][due], by_clock)
        for begin in range(0, len(new), _TOGETHER):
            some = new[begin : begin + _TOGETHER]
            which = due[some]
            number = count[some, None] - self.memory + np.arange(self.memory)
            found = find_periods(read(state["store"][which], number))
            state["found"][which] = found
            state["rows"][which] = np.where(found > 0, found, by_clock[some])
