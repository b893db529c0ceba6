"""A score made comparable with others: against its own past, with a refractory period after an alarm."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np

from agent.core.explanations import Explanation
from agent.core.series import Arrays, Field
from agent.detectors.base.baseline import Baseline, in_spreads
from agent.detectors.base.decay import Decay, decay_factor
from agent.detectors.base.refractory import LEAST, apply_refractory
from agent.detectors.base.scan import row_numbers, with_history
from agent.detectors.base.streaming import COUNT, SMALLEST, StreamingDetector
from sensors.batch import Floats, Ints

Method = Literal["ratio", "conformal", "tail", "none"]
_NEVER = -(1 << 40)
_FAR = 1e3  # spreads beyond which tails are not distinguished
_ERFC = (
    -1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806, 0.27886807, -1.13520398, 1.48851587, -0.82215223,
    0.17087277,
)  # fmt: skip


def tail(z: Floats) -> Floats:
    """`-log10 Q(z)`, Q the share of a normal distribution above z; to 5e-8 (Press et al., Numerical Recipes, erfcc).

    Worked out as a logarithm, so that it goes on growing where Q is less than the smallest number.
    """
    half = np.abs(z) / np.sqrt(2.0)
    t = 1.0 / (1.0 + 0.5 * half)
    series = np.polynomial.polynomial.polyval(t, _ERFC)
    above = np.log(0.5 * t) - half * half + series  # ln Q(|z|)
    found: Floats = np.where(z < 0.0, 0.0 - np.log1p(-np.exp(above)), -above) / np.log(10.0)
    return found


@dataclass
class Calibrated(StreamingDetector):
    """A score made comparable with others, against its own past.

    `ratio`: over its slowly decaying maximum, 0 to 1; 1 is a record. `conformal`: `-log10` of the share of the last
    `window` scores that were at least as large, which is the p-value if rows can be exchanged (Laxhammar 2014).
    `tail`: `-log10 Q(z)` with `z = (s - mean) / spread` of the score `s` averaged over about the last `smooth` rows
    and its long-run mean and spread before the row, Q the tail of a normal distribution: the anomaly likelihood of
    Numenta (Ahmad et al. 2017), 5 for one in 100,000. `none`: as it is. After a score of `limit` or more it is 0
    for `refractory` rows, so that one event is one alarm. Scale does not matter, an offset does but for `tail`: it
    takes scores, which are not negative and whose 0 has a meaning. Where the score has no value, neither has this.

    Attributes:
        method: of calibration.
        half_life: rows after which the maximum has lost half (`ratio`), a row counts half in mean and spread (`tail`).
        window: rows compared with (`conformal`).
        smooth: rows of the average (`tail`); 1 = each row for itself.
        limit: what counts as an alarm, in calibrated scores.
        refractory: rows of silence after an alarm; 0 = none, else 16 or more.
        warmup: rows before the first score.
    """

    method: Method = "ratio"
    half_life: float = 2000.0
    window: int = 1000
    smooth: float = 10.0
    limit: float = 1.0
    refractory: int = 0
    warmup: int = 30
    state_version: ClassVar[int] = 2
    explains: ClassVar = {"score": Explanation("is unusually high")}
    _decay: Decay = field(init=False, repr=False, compare=False)
    _baseline: Baseline = field(init=False, repr=False, compare=False)
    _smooth: Decay | None = field(init=False, repr=False, compare=False)

    def validate(self) -> None:
        if not self.half_life > 0.0 or self.window < 10 or 0 < self.refractory < LEAST or self.refractory < 0:
            raise ValueError("half_life must be above 0, window at least 10 rows, refractory 0 or at least 16 rows")
        if not self.smooth >= 1.000001 and self.smooth != 1.0:
            raise ValueError(f"smooth must be at least 1.000001 or exactly 1, not {self.smooth}")
        self._decay = Decay(decay_factor(self.half_life))
        self._baseline = Baseline(self.half_life)
        self._smooth = Decay(1.0 - 1.0 / self.smooth) if self.smooth > 1.0 else None

    def state_fields(self) -> dict[str, Field]:
        alarm: dict[str, Field] = {"alarm": Field(np.int64, _NEVER)}
        if self.method == "conformal":
            return alarm | {"ring": Field(np.float64, np.nan, (self.window,))}
        if self.method == "tail":
            return alarm | Baseline.state_fields() | {"smooth": Field(np.float64)}
        return alarm | {"largest": Field(np.float64)}

    @property
    def max_block(self) -> int:
        smooth = self._smooth if self._smooth is not None and self.method == "tail" else self._decay
        return min(self._decay.max_block, smooth.max_block)

    @property
    def min_rows(self) -> int:
        return max(3 if self.method == "tail" else 2, self.warmup)

    def score(self, state: Arrays, x: Floats, valid_length: Ints, time: Ints) -> Floats:
        x = np.maximum(x, 0.0)
        score = {"ratio": self._ratio, "conformal": self._conformal, "tail": self._tail}.get(self.method, _plain)(
            state, x, valid_length
        )
        if self.refractory == 0:
            return score
        number = row_numbers(state[COUNT], x.shape[1])
        return apply_refractory(
            state["alarm"], score, number, valid_length, self.limit, self.refractory, self.min_rows
        )

    def _ratio(self, state: Arrays, x: Floats, valid_length: Ints) -> Floats:
        largest = self._decay.decayed_max(state["largest"], state[COUNT], x, valid_length)
        return np.divide(x, largest, out=largest)  # 0 / 0: there was nothing yet

    def _conformal(self, state: Arrays, x: Floats, valid_length: Ints) -> Floats:
        whole = with_history(state["ring"], x, valid_length)
        past = np.lib.stride_tricks.sliding_window_view(whole, self.window, axis=1)[:, : x.shape[1]]
        known = np.minimum(row_numbers(state[COUNT], x.shape[1]), self.window)
        score = -np.log10(((past >= x[:, :, None]).sum(axis=2) + 1.0) / (known + 1.0))
        flat = (np.nanmax(np.where(np.isnan(past), 0.0, past), axis=2) == 0.0) & (x == 0.0)
        return np.where(flat, np.nan, np.maximum(score + 0.0, 0.0))

    def _tail(self, state: Arrays, x: Floats, valid_length: Ints) -> Floats:
        if self._smooth is not None:  # the first row stands for those before it
            state["smooth"][:] = np.where(state[COUNT] == 0, x[:, 0] * self.smooth, state["smooth"])
            x = self._smooth.run(state["smooth"], state[COUNT], x, valid_length, positive=True)[:, 1:] / self.smooth
            x = np.where(x < SMALLEST, 0.0, x)
        return tail(in_spreads(*self._baseline.standardise(state, x, valid_length), _FAR))


def _plain(state: Arrays, x: Floats, valid_length: Ints) -> Floats:
    return x
