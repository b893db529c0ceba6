"""EWMA control chart: has the recent mean left the long mean?"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from agent.core.explanations import Explanation
from agent.core.series import Arrays, Field
from agent.detectors.base.baseline import Baseline, in_spreads, learnt_steps
from agent.detectors.base.decay import Decay
from agent.detectors.base.streaming import CAP, COUNT, StreamingDetector, where_alarm
from sensors.batch import Floats, Ints


@dataclass
class Ewma(StreamingDetector):
    """EWMA control chart (Roberts 1959): the smoothed value against the long-run mean, in standard errors.

    `z_t = (1 - a) z_(t-1) + a d_t`, where `d_t` is the deviation of the row from the long-run mean in spreads;
    score `|z_t| / sqrt(a / (2 - a))`. About 1 on white noise, whatever the scale and offset of the metric; a limit
    of 3 to 5 is usual. It finds small lasting shifts that a single value hides. `alpha = 1` scores each value
    alone. Adding a constant to the metric or multiplying it changes nothing.

    Attributes:
        alpha: weight of the newest row in the smoothed value, 0 to 1; small finds small shifts, late.
        half_life: rows after which a row counts half in the long-run mean and spread.
        warmup: rows before the first score; smoothing starts there.
    """

    alpha: float = 0.2
    half_life: float = 500.0
    warmup: int = 30
    _baseline: Baseline = field(init=False, repr=False, compare=False)
    _smooth: Decay | None = field(init=False, repr=False, compare=False)

    state_version: ClassVar[int] = 2
    default_limit: ClassVar[float] = 4.0
    explains: ClassVar = {"score": Explanation("has left its usual mean")}
    alarm_columns: ClassVar = ("usual",)

    def validate(self) -> None:
        if not 0.0 < self.alpha <= 1.0 or not self.half_life > 0.0:
            raise ValueError(
                f"alpha must be in (0, 1] and half_life above 0, not {self.alpha} and {self.half_life}"
            )
        self._smooth = Decay(1.0 - self.alpha, bits=900) if self.alpha < 1.0 else None
        self._baseline = Baseline(self.half_life)

    def state_fields(self) -> dict[str, Field]:
        return Baseline.state_fields() | {"smooth": Field(np.float64)}

    @property
    def max_block(self) -> int:
        return min(self._baseline.max_block, self._smooth.max_block if self._smooth else self._baseline.max_block)

    @property
    def min_rows(self) -> int:
        return max(3, self.warmup)

    def score(
        self, state: Arrays, x: Floats, valid_length: Ints, time: Ints
    ) -> Floats | tuple[Floats, dict[str, Floats]]:
        deviation, spread = self._baseline.standardise(state, x, valid_length)
        ratio = in_spreads(deviation, spread, CAP)
        if self._smooth is None:
            score = np.abs(ratio)
            return where_alarm(score, self.default_limit, usual=lambda: x - deviation)
        # While the spread is that of a few rows, a deviation means nothing; it would be smoothed for long.
        step, _, flat = learnt_steps(ratio, state[COUNT], self.min_rows, 0.0)
        score = self._smooth.run(state["smooth"], state[COUNT], self.alpha * step, valid_length)[:, 1:]
        np.abs(score, out=score)
        score *= 1.0 / math.sqrt(self.alpha / (2.0 - self.alpha))
        score = score if flat is None else np.where(flat & (score == 0.0), np.nan, score)
        return where_alarm(score, self.default_limit, usual=lambda: x - deviation)
