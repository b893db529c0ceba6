"""A score made comparable with others: against its own past, and at rest after an alarm."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np

from agent.core.explanations import Finding
from agent.core.series import Arrays, Field
from agent.detectors.base.baseline import Baseline, in_spreads
from agent.detectors.base.decay import Decay, keep
from agent.detectors.base.scan import places, with_history
from agent.detectors.base.streaming import COUNT, SMALLEST, Streaming
from sensors.batch import Floats, Ints

Method = Literal["ratio", "conformal", "tail", "none"]
_NEVER = -(1 << 40)
_LEAST_REST = 16
_FAR = 1e3  # spreads beyond which a tail is not told apart
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
class Calibrated(Streaming):
    """A score made comparable with others, against its own past.

    `ratio`: over its slowly decaying maximum, 0 to 1; 1 is a record. `conformal`: `-log10` of the share of the last
    `window` scores that were at least as large, which is the p-value if rows can be exchanged (Laxhammar 2014).
    `tail`: `-log10 Q(z)` with `z = (s - mean) / spread` of the score `s` averaged over about the last `smooth` rows
    and its long-run mean and spread before the row, Q the tail of a normal distribution: the anomaly likelihood of
    Numenta (Ahmad et al. 2017), 5 for one in 100,000. `none`: as it is. After a score of `limit` or more it rests at
    0, so that one event is one alarm. Scale does not matter, an offset does but for `tail`: it takes scores, which
    are not negative and whose 0 has a meaning. Where the score has no value, neither has this.

    Attributes:
        method: of calibration.
        half_life: rows after which the maximum has lost half (`ratio`), a row counts half in mean and spread (`tail`).
        window: rows compared with (`conformal`).
        smooth: rows of the average (`tail`); 1 = each row for itself.
        limit: what counts as an alarm, in calibrated scores.
        rest: rows of silence after an alarm; 0 = none, else 16 or more.
        warmup: rows before the first score.
    """

    method: Method = "ratio"
    half_life: float = 2000.0
    window: int = 1000
    smooth: float = 10.0
    limit: float = 1.0
    rest: int = 0
    warmup: int = 30
    state_version: ClassVar[int] = 2
    explains: ClassVar = {"score": Finding("is unusually high")}
    _decay: Decay = field(init=False, repr=False, compare=False)
    _baseline: Baseline = field(init=False, repr=False, compare=False)
    _smooth: Decay | None = field(init=False, repr=False, compare=False)

    def _check(self) -> None:
        if not self.half_life > 0.0 or self.window < 10 or 0 < self.rest < _LEAST_REST or self.rest < 0:
            raise ValueError("half_life must be above 0, window at least 10 rows, rest 0 or at least 16 rows")
        if not self.smooth >= 1.000001 and self.smooth != 1.0:
            raise ValueError(f"smooth must be at least 1.000001 or exactly 1, not {self.smooth}")
        self._decay = Decay(keep(self.half_life))
        self._baseline = Baseline(self.half_life)
        self._smooth = Decay(1.0 - 1.0 / self.smooth) if self.smooth > 1.0 else None

    def _shapes(self) -> dict[str, Field]:
        alarm: dict[str, Field] = {"alarm": Field(np.int64, _NEVER)}
        if self.method == "conformal":
            return alarm | {"ring": Field(np.float64, np.nan, (self.window,))}
        if self.method == "tail":
            return alarm | Baseline.shapes() | {"smooth": Field(np.float64)}
        return alarm | {"largest": Field(np.float64)}

    @property
    def longest(self) -> int:
        smooth = self._smooth if self._smooth is not None and self.method == "tail" else self._decay
        return min(self._decay.longest, smooth.longest)

    @property
    def needs(self) -> int:
        return max(3 if self.method == "tail" else 2, self.warmup)

    def _scores(self, state: Arrays, x: Floats, take: Ints, time: Ints) -> Floats:
        x = np.maximum(x, 0.0)
        score = {"ratio": self._ratio, "conformal": self._conformal, "tail": self._tail}.get(self.method, _plain)(
            state, x, take
        )
        if self.rest == 0:
            return score
        return _rested(state["alarm"], score, places(state[COUNT], x.shape[1]), take, self)

    def _ratio(self, state: Arrays, x: Floats, take: Ints) -> Floats:
        largest = self._decay.highest(state["largest"], state[COUNT], x, take)
        return np.divide(x, largest, out=largest)  # 0 / 0: there was nothing yet

    def _conformal(self, state: Arrays, x: Floats, take: Ints) -> Floats:
        whole = with_history(state["ring"], x, take)
        past = np.lib.stride_tricks.sliding_window_view(whole, self.window, axis=1)[:, : x.shape[1]]
        known = np.minimum(places(state[COUNT], x.shape[1]), self.window)
        score = -np.log10(((past >= x[:, :, None]).sum(axis=2) + 1.0) / (known + 1.0))
        flat = (np.nanmax(np.where(np.isnan(past), 0.0, past), axis=2) == 0.0) & (x == 0.0)
        return np.where(flat, np.nan, np.maximum(score + 0.0, 0.0))

    def _tail(self, state: Arrays, x: Floats, take: Ints) -> Floats:
        if self._smooth is not None:  # the first row stands for those before it
            state["smooth"][:] = np.where(state[COUNT] == 0, x[:, 0] * self.smooth, state["smooth"])
            x = self._smooth.run(state["smooth"], state[COUNT], x, take, positive=True)[:, 1:] / self.smooth
            x = np.where(x < SMALLEST, 0.0, x)
        return tail(in_spreads(*self._baseline.standardise(state, x, take), _FAR))


def _plain(state: Arrays, x: Floats, take: Ints) -> Floats:
    return x


def _rested(last: Ints, score: Floats, number: Ints, take: Ints, how: Calibrated) -> Floats:
    """Scores, but 0 for `rest` rows after one of `limit` or more; `last` `(k,)` is the row of the last such."""
    loud = (score >= how.limit) & (number >= how.needs)
    if not loud.any() and (number[:, 0] - last > how.rest).all():
        return score
    loud &= np.arange(score.shape[1]) < take[:, None]
    resting = np.zeros(score.shape, np.bool_)
    while True:  # once for each alarm of the series that has most, and each lasts `rest` rows
        since = number - last[:, None]
        resting |= (since > 0) & (since <= how.rest)
        loud &= since > how.rest
        some = np.flatnonzero(loud.any(axis=1))
        if not len(some):
            return np.where(resting & ~np.isnan(score), 0.0, score)
        last[some] = number[some, loud[some].argmax(axis=1)]
