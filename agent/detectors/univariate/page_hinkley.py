"""Page-Hinkley test: has the mean since the start (or of late) changed?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from agent.core.explanations import Explanation
from agent.core.series import Arrays, Field
from agent.detectors.base.baseline import CLIP, Baseline, in_spreads, learnt_steps
from agent.detectors.base.decay import Decay, decay_factor
from agent.detectors.base.streaming import COUNT, StreamingDetector, where_alarm
from sensors.batch import Floats, Ints


@dataclass
class PageHinkley(StreamingDetector):
    """Page-Hinkley test (Page 1954, Hinkley 1971) with forgetting, two-sided, in spreads.

    The sum of `d_t - delta` above its lowest point so far, sum and lowest point both fading by `w` a row, which is
    `g_t = max(0, w g_(t-1) + d_t - delta)`; down likewise; the score is the larger. `d_t` is the deviation from a
    long mean of the rows before, at most 8 spreads. Limits of 20 to 50 are usual: it is for small changes that
    last, where CUSUM is for quick ones. Scale and offset of the metric do not matter.

    Attributes:
        delta: change of the mean in spreads that is tolerated.
        forget_half_life: rows after which a deviation counts half in the sum.
        half_life: rows after which a row counts half in mean and spread.
        warmup: rows before the first score.
    """

    delta: float = 0.1
    forget_half_life: float = 5000.0
    half_life: float = 2000.0
    warmup: int = 30
    _baseline: Baseline = field(init=False, repr=False, compare=False)
    _fade: Decay = field(init=False, repr=False, compare=False)

    state_version: ClassVar[int] = 2
    default_limit: ClassVar[float] = 30.0
    explains: ClassVar = {"score": Explanation("has slowly left its usual mean")}
    alarm_columns: ClassVar = ("usual",)

    def validate(self) -> None:
        if not self.delta >= 0.0 or not self.half_life > 0.0 or not self.forget_half_life > 0.0:
            raise ValueError("delta must not be negative; half_life and forget_half_life must be above 0")
        self._fade = Decay(decay_factor(self.forget_half_life))
        self._baseline = Baseline(self.half_life)

    def state_fields(self) -> dict[str, Field]:
        return Baseline.state_fields() | dict.fromkeys(("up", "up_low", "down", "down_low"), Field(np.float64))

    @property
    def max_block(self) -> int:
        return min(self._fade.max_block, self._baseline.max_block)

    @property
    def min_rows(self) -> int:
        return max(3, self.warmup)

    def score(
        self, state: Arrays, x: Floats, valid_length: Ints, time: Ints
    ) -> Floats | tuple[Floats, dict[str, Floats]]:
        deviation, spread = self._baseline.standardise(state, x, valid_length)
        ratio = in_spreads(deviation, spread, CLIP)
        step, delta, flat = learnt_steps(ratio, state[COUNT], self.min_rows, self.delta)
        scale = self._fade.scale_at(state[COUNT], valid_length, x.shape[1])
        up = self._fade.cusum_decayed(state["up"], state["up_low"], scale, step - delta, valid_length)
        step += delta
        down = self._fade.cusum_decayed(
            state["down"], state["down_low"], scale, np.negative(step, out=step), valid_length
        )
        score = np.maximum(up, down, out=up)
        score = score if flat is None else np.where(flat, np.nan, score)
        return where_alarm(score, self.default_limit, usual=lambda: x - deviation)
