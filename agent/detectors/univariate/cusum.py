"""Two-sided CUSUM: the sum of deviations that did not cancel."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from agent.core.explanations import Explanation
from agent.core.series import Arrays, Field
from agent.detectors.base.baseline import CLIP, Baseline, in_spreads, learnt_steps
from agent.detectors.base.scan import cummin, cumsum, last
from agent.detectors.base.streaming import COUNT, StreamingDetector, where_alarm
from sensors.batch import Floats, Ints

QUANTUM = 2.0**-34
"""Deviations are rounded to whole multiples of it, so that adding them rounds no more."""

MOST = 1 << 56
"""Quanta at which a sum stays: 4 million spreads, far above every score."""


@dataclass
class Cusum(StreamingDetector):
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

    state_version: ClassVar[int] = 2
    default_limit: ClassVar[float] = 8.0
    explains: ClassVar = {"score": Explanation("has left its usual mean")}
    alarm_columns: ClassVar = ("usual",)

    def validate(self) -> None:
        if not self.slack > 0.0 or not self.half_life > 0.0:
            raise ValueError(f"slack and half_life must be above 0, not {self.slack} and {self.half_life}")
        self._baseline = Baseline(self.half_life)

    def state_fields(self) -> dict[str, Field]:
        return Baseline.state_fields() | dict.fromkeys(("rise", "fall"), Field(np.int64))

    @property
    def max_block(self) -> int:
        return self._baseline.max_block

    @property
    def min_rows(self) -> int:
        return max(3, self.warmup)

    def score(
        self, state: Arrays, x: Floats, valid_length: Ints, time: Ints
    ) -> Floats | tuple[Floats, dict[str, Floats]]:
        deviation, spread = self._baseline.standardise(state, x, valid_length)
        ratio = in_spreads(deviation, spread, CLIP)
        step, slack, flat = learnt_steps(ratio, state[COUNT], self.min_rows, self.slack)
        up, down = _whole(step - slack), _whole(-step - slack)
        rise, fall = _above_least(state["rise"], up, valid_length), _above_least(state["fall"], down, valid_length)
        score = np.maximum(rise, fall) * QUANTUM
        score = score if flat is None else np.where(flat, np.nan, score)
        return where_alarm(score, self.default_limit, usual=lambda: x - deviation)


def _whole(step: Floats) -> Ints:
    """Spreads as whole numbers of quanta."""
    return np.rint(step * (1.0 / QUANTUM)).astype(np.int64)


def _above_least(carry: Ints, step: Ints, valid_length: Ints) -> Ints:
    """`s_t = max(0, s_(t-1) + step_t)` as a running sum less its running minimum, `(k, length)`.

    Exact, as all are whole numbers; so it does not matter where a matrix begins.

    Args:
        carry: `(k,)` the sums before, changed in place.
        step: `(k, length)` what is added.
        valid_length: `(k,)` cells of each line that count.
    """
    total = cumsum(carry, step)
    total -= cummin(np.zeros_like(carry), total[:, 1:])
    np.minimum(last(total, valid_length), MOST, out=carry)
    return total[:, 1:]
