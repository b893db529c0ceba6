"""Page-Hinkley test: has the mean since the start (or of late) changed?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from agent.core.explanations import Finding
from agent.core.series import Arrays, Field
from agent.detectors.base.baseline import CLIP, Baseline, in_spreads, learnt_steps
from agent.detectors.base.decay import Decay, keep
from agent.detectors.base.streaming import COUNT, Streaming, where_loud
from sensors.batch import Floats, Ints


@dataclass
class PageHinkley(Streaming):
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
    explains: ClassVar = {"score": Finding("has slowly left its usual mean")}
    loud: ClassVar = ("usual",)

    def _check(self) -> None:
        if not self.delta >= 0.0 or not self.half_life > 0.0 or not self.forget_half_life > 0.0:
            raise ValueError("delta must not be negative; half_life and forget_half_life must be above 0")
        self._fade = Decay(keep(self.forget_half_life))
        self._baseline = Baseline(self.half_life)

    def _shapes(self) -> dict[str, Field]:
        return Baseline.shapes() | dict.fromkeys(("up", "up_low", "down", "down_low"), Field(np.float64))

    @property
    def longest(self) -> int:
        return min(self._fade.longest, self._baseline.longest)

    @property
    def needs(self) -> int:
        return max(3, self.warmup)

    def _scores(
        self, state: Arrays, x: Floats, take: Ints, time: Ints
    ) -> Floats | tuple[Floats, dict[str, Floats]]:
        deviation, spread = self._baseline.standardise(state, x, take)
        ratio = in_spreads(deviation, spread, CLIP)
        step, delta, flat = learnt_steps(ratio, state[COUNT], self.needs, self.delta)
        scale = self._fade.at(state[COUNT], take, x.shape[1])
        up = self._fade.reflect(state["up"], state["up_low"], scale, step - delta, take)
        step += delta
        down = self._fade.reflect(state["down"], state["down_low"], scale, np.negative(step, out=step), take)
        score = np.maximum(up, down, out=up)
        score = score if flat is None else np.where(flat, np.nan, score)
        return where_loud(score, self.default_limit, usual=lambda: x - deviation)
