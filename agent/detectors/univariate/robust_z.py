"""Robust z-score: distance from the median of the last rows in units of their median absolute deviation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from agent.core.explanations import Explanation
from agent.core.series import Arrays, Field
from agent.detectors.base.baseline import ROUNDING
from agent.detectors.base.scan import row_numbers
from agent.detectors.base.streaming import COUNT, StreamingDetector, ratio, where_alarm
from sensors.batch import Floats, Ints

GAUSSIAN = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""

_CELLS = 512
"""Windows that are ordered at once: what a cache holds."""


@dataclass
class RobustZ(StreamingDetector):
    """Distance of a value from the median of the last `window` values, over 1.4826 times their MAD.

    The median and the MAD stand up to half the window being outliers (Hampel's identifier); a limit of 3 to 5 is
    usual. Scale and offset of the metric do not matter. Where more than half the values are equal, the MAD is 0 and
    the mean absolute deviation stands in.

    Attributes:
        window: rows.
        warmup: rows before the first score; at most `window`.
    """

    window: int = 100
    warmup: int = 20

    default_limit: ClassVar[float] = 4.0
    explains: ClassVar = {"score": Explanation("is far from the values just before")}
    alarm_columns: ClassVar = ("usual",)

    def validate(self) -> None:
        if self.window < 3:
            raise ValueError(f"window must be at least 3 rows, not {self.window}")

    def state_fields(self) -> dict[str, Field]:
        return {"ring": Field(np.float64, np.nan, (self.window,))}

    @property
    def min_rows(self) -> int:
        return max(3, min(self.warmup, self.window))

    def score(
        self, state: Arrays, x: Floats, valid_length: Ints, time: Ints
    ) -> Floats | tuple[Floats, dict[str, Floats]]:
        count, (k, length) = state[COUNT], x.shape
        score, usual = np.empty((k, length)), np.empty((k, length))
        step = max(1, _CELLS // min(length, self.window))
        for begin in range(0, k, step):
            some = slice(begin, begin + step)
            whole = _followed(state["ring"][some], x[some], valid_length[some])
            known = np.minimum(row_numbers(count[some], length), self.window)
            wide = max(1, _CELLS // len(whole))
            for column in range(0, length, wide):
                cells = slice(column, min(column + wide, length))
                score[some, cells], usual[some, cells] = self._distance(
                    whole, x[some, cells], known[:, cells], column
                )
        return where_alarm(score, self.default_limit, usual=lambda: usual)

    def _distance(self, whole: Floats, x: Floats, known: Ints, begin: int) -> tuple[Floats, Floats]:
        """Scores of some cells, and the medians `(k, length)` that are preceded by the rows `whole[:, begin + ...]`."""
        line, cell = whole.strides
        past: Floats = np.ndarray((*x.shape, self.window), whole.dtype, whole, begin * cell, (line, cell, cell))
        ordered = np.sort(past, axis=2)  # NaN last
        if int(known.min()) == self.window:
            low, high = (self.window - 1) // 2, self.window // 2
            middle = 0.5 * (ordered[:, :, low] + ordered[:, :, high])
            ordered -= middle[:, :, None]
            mad = _middle_distance(ordered.reshape(-1, self.window)).reshape(x.shape)
        else:
            middle = _median(ordered, known)
            ordered -= middle[:, :, None]
            mad = _median(np.sort(np.abs(ordered), axis=2), known)
        spread = GAUSSIAN * mad
        if not (mad > 0.0).all():
            mean = np.nansum(np.abs(ordered), axis=2) / np.maximum(known, 1) * np.sqrt(np.pi / 2.0)
            spread = np.where(mad > 0.0, spread, mean)
        floor = ROUNDING * np.abs(middle)
        distance = np.abs(x - middle)
        score = ratio(np.where(distance <= floor, 0.0, distance), np.where(spread <= floor, 0.0, spread))
        return score, middle


def _followed(ring: Floats, x: Floats, valid_length: Ints) -> Floats:
    """The rows of each series before `x`, then `x`, `(k, window + length)`, series by series; see `with_history`."""
    (k, length), window = x.shape, ring.shape[1]
    whole = np.empty((k, window + length))
    whole[:, :window], whole[:, window:] = ring, x
    if (valid_length == length).all():
        ring[:] = whole[:, length:]
    else:
        ring[:] = np.take_along_axis(whole, valid_length[:, None] + np.arange(window), axis=1)
    return whole


def _middle_distance(away: Floats) -> Floats:
    """Median of the absolute values of each line of `(n, window)`, which is in ascending order, without a new order.

    The m values nearest to 0 stand side by side. As they move to the right, their left end comes nearer to 0 and
    their right end goes away: where the two cross, the farther one is as near as can be. The next nearest after
    them is one of their two neighbours.
    """
    n, window = away.shape
    m = window - window // 2
    leftmost = away[:, : window - m + 1] + away[:, m - 1 :] < 0.0  # true as long as the left end is the farther
    crossed = leftmost.argmin(axis=1)
    crossed[leftmost[:, -1]] = window - m + 1
    flat, at = away.reshape(-1), np.arange(0, n * window, window) + crossed
    left = np.where(crossed > 0, -flat.take(at - 1, mode="clip"), np.inf)
    right = np.where(crossed < window - m + 1, flat.take(at + (m - 1), mode="clip"), np.inf)
    nearest: Floats = np.minimum(left, right)
    if window % 2:
        return nearest
    first, at = crossed - (left <= right), at - (left <= right)
    left = np.where(first > 0, -flat.take(at - 1, mode="clip"), np.inf)
    right = np.where(first + m < window, flat.take(at + m, mode="clip"), np.inf)
    return 0.5 * (nearest + np.minimum(left, right))


def _median(ordered: Floats, known: Ints) -> Floats:
    """Median along the last axis of the first `known` (k, length) cells; NaN where there is none."""
    low, high = np.maximum((known - 1) // 2, 0), known // 2
    high = np.minimum(high, ordered.shape[2] - 1)
    middle: Floats = (
        0.5
        * (np.take_along_axis(ordered, low[:, :, None], 2) + np.take_along_axis(ordered, high[:, :, None], 2))[
            :, :, 0
        ]
    )
    return middle
