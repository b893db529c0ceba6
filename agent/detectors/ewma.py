"""EWMA control chart: has the recent mean left the long mean?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from agent.detectors.baseline import Baseline, in_spreads
from agent.detectors.decay import Decay
from agent.detectors.streaming import CAP, COUNT, Arrays, Shape, Streaming
from sensors.batch import Floats, Ints


@dataclass
class Ewma(Streaming):
    """EWMA control chart (Roberts 1959): the smoothed value against the long-run mean, in standard errors.

    `z_t = (1 - a) z_(t-1) + a d_t`, where `d_t` is the deviation of the row from the long-run mean in spreads;
    score `|z_t| / sqrt(a / (2 - a))`. About 1 on white noise, whatever the scale and offset of the metric; a limit
    of 3 to 5 is usual. It finds small lasting shifts that a single value hides. `alpha = 1` scores each value
    alone. Adding a constant to the metric or multiplying it changes nothing.

    Attributes:
        alpha: weight of the newest row in the smoothed value, 0 to 1; small finds small shifts, late.
        half_life: rows after which a row counts half in the long-run mean and spread.
        warmup: rows before the first score.
    """

    alpha: float = 0.2
    half_life: float = 500.0
    warmup: int = 30
    _baseline: Baseline = field(init=False, repr=False, compare=False)
    _smooth: Decay | None = field(init=False, repr=False, compare=False)

    usual_limit: ClassVar[float] = 4.0

    def _check(self) -> None:
        if not 0.0 < self.alpha <= 1.0 or not self.half_life > 0.0:
            raise ValueError(
                f"alpha must be in (0, 1] and half_life above 0, not {self.alpha} and {self.half_life}"
            )
        self._smooth = Decay(1.0 - self.alpha) if self.alpha < 1.0 else None
        self._baseline = Baseline(self.half_life, self._smooth.span if self._smooth else 1024)
        if self._smooth and self._smooth.span > self._baseline.span:
            self._smooth = Decay(1.0 - self.alpha, self._baseline.span)

    def _shapes(self) -> dict[str, Shape]:
        return Baseline.shapes() | {"smooth": ((), np.float64, 0.0)}

    @property
    def span(self) -> int:
        return self._baseline.span

    @property
    def needs(self) -> int:
        return max(3, self.warmup)

    def _scores(self, state: Arrays, x: Floats, take: Ints, time: Ints) -> Floats:
        place = state[COUNT] % self.span
        deviation, _, spread = self._baseline.standardise(state, x, take)
        ratio = in_spreads(deviation, spread, CAP)
        if self._smooth is None:
            return np.abs(ratio)
        flat = np.isnan(ratio)
        smooth = self._smooth.run(state["smooth"], place, np.where(flat, 0.0, self.alpha * ratio), take)[:, 1:]
        score = np.abs(smooth) / np.sqrt(self.alpha / (2.0 - self.alpha))
        return np.where(flat & (smooth == 0.0), np.nan, score)
