"""Two-sided CUSUM: the sum of deviations that did not cancel."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from agent.detectors.baseline import CLIP, Baseline, in_spreads
from agent.detectors.decay import Decay
from agent.detectors.streaming import COUNT, Arrays, Shape, Streaming
from sensors.batch import Floats, Ints


@dataclass
class Cusum(Streaming):
    """Two-sided CUSUM chart (Page 1954) of the deviations from an adaptive mean, in spreads.

    Up: `s_t = max(0, s_(t-1) + d_t - slack)`, down likewise with `-d_t`; the score is the larger of the two. `d_t`
        is
    the deviation from the mean before the row, at most 8 spreads. A limit of 5 to 10 is usual. It is the fastest
    chart for a shift of `2 * slack` spreads. Scale and offset of the metric do not matter.

    Attributes:
        slack: spreads that a row may deviate without adding up.
        half_life: rows after which a row counts half in mean and spread.
        warmup: rows before the first score; sums start there.
    """

    slack: float = 0.5
    half_life: float = 500.0
    warmup: int = 30
    _baseline: Baseline = field(init=False, repr=False, compare=False)
    _sum: Decay = field(init=False, repr=False, compare=False)

    usual_limit: ClassVar[float] = 8.0

    def _check(self) -> None:
        if not self.slack > 0.0 or not self.half_life > 0.0:
            raise ValueError(f"slack and half_life must be above 0, not {self.slack} and {self.half_life}")
        self._baseline = Baseline(self.half_life)
        self._sum = Decay(1.0, self._baseline.span)

    def _shapes(self) -> dict[str, Shape]:
        return Baseline.shapes() | dict.fromkeys(("up", "up_low", "down", "down_low"), ((), np.float64, 0.0))

    @property
    def span(self) -> int:
        return self._baseline.span

    @property
    def needs(self) -> int:
        return max(3, self.warmup)

    def _scores(self, state: Arrays, x: Floats, take: Ints, time: Ints) -> Floats:
        place = state[COUNT] % self.span
        deviation, _, spread = self._baseline.standardise(state, x, take)
        ratio = in_spreads(deviation, spread, CLIP)
        learning = state[COUNT][:, None] + np.arange(x.shape[1]) < self.needs
        step = np.where(learning | np.isnan(ratio), 0.0, ratio)
        slack = np.where(learning, 0.0, self.slack)
        up = self._sum.reflect(state["up"], state["up_low"], place, step - slack, take)
        down = self._sum.reflect(state["down"], state["down_low"], place, -step - slack, take)
        return np.where(np.isnan(ratio), np.nan, np.maximum(up, down))
