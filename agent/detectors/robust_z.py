"""Robust z-score: distance from the median of the last rows in units of their median absolute deviation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from agent.detectors.scan import with_history
from agent.detectors.streaming import COUNT, Arrays, Shape, Streaming, ratio
from sensors.batch import Floats, Ints

GAUSSIAN = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""


@dataclass
class RobustZ(Streaming):
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

    usual_limit: ClassVar[float] = 4.0

    def _check(self) -> None:
        if self.window < 3:
            raise ValueError(f"window must be at least 3 rows, not {self.window}")

    def _shapes(self) -> dict[str, Shape]:
        return {"ring": ((self.window,), np.float64, np.nan)}

    @property
    def needs(self) -> int:
        return max(3, min(self.warmup, self.window))

    def _scores(self, state: Arrays, x: Floats, take: Ints, time: Ints) -> Floats:
        number = state[COUNT][:, None] + np.arange(x.shape[1])
        whole = with_history(state["ring"], x, take)
        score = np.empty(x.shape)
        chunk = max(1, (1 << 18) // (self.window * len(x)))
        for begin in range(0, x.shape[1], chunk):
            part = slice(begin, begin + chunk)
            past = np.lib.stride_tricks.sliding_window_view(whole[:, begin:], self.window, axis=1)
            past = past[:, : x[:, part].shape[1]]
            score[:, part] = self._distance(past, x[:, part], np.minimum(number[:, part], self.window))
        return score

    def _distance(self, past: Floats, x: Floats, known: Ints) -> Floats:
        middle = _median(past, known)
        away = np.abs(past - middle[:, :, None])
        mad = GAUSSIAN * _median(away, known)
        mean = np.nansum(away, axis=2) / np.maximum(known, 1) * np.sqrt(np.pi / 2.0)
        spread = np.where(mad > 0.0, mad, mean)
        floor = 1e-12 * np.abs(middle)  # what is below it is rounding
        distance = np.abs(x - middle)
        return ratio(np.where(distance <= floor, 0.0, distance), np.where(spread <= floor, 0.0, spread))


def _median(values: Floats, known: Ints) -> Floats:
    """Median along the last axis of the `known` (k, length) cells that are not NaN; NaN where there is none."""
    ordered = np.sort(values, axis=2)  # NaN last
    low, high = np.maximum((known - 1) // 2, 0), known // 2
    high = np.minimum(high, values.shape[2] - 1)
    middle: Floats = (
        0.5
        * (np.take_along_axis(ordered, low[:, :, None], 2) + np.take_along_axis(ordered, high[:, :, None], 2))[
            :, :, 0
        ]
    )
    return middle
