"""Spatial rule: a value outside the range ever seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from agent.core.explanations import Explanation
from agent.core.series import Arrays, Field
from agent.detectors.base.scan import cummax, cummin
from agent.detectors.base.streaming import StreamingDetector, ratio, where_alarm
from sensors.batch import Floats, Ints


@dataclass
class Spatial(StreamingDetector):
    """How far a value lies outside the range of all values before it, as a share of that range.

    0 inside the range. After a value has been outside, it belongs to the range. No parameter, one comparison: the
    rule that most ensembles win most by. Scale and offset of the metric do not matter.

    Attributes:
        warmup: rows before the first score.
    """

    warmup: int = 30

    default_limit: ClassVar[float] = 0.1
    explains: ClassVar = {"score": Explanation("is outside the range of all values before")}
    alarm_columns: ClassVar = ("low", "high")

    def state_fields(self) -> dict[str, Field]:
        return {"low": Field(np.float64, np.inf), "high": Field(np.float64, -np.inf)}

    @property
    def min_rows(self) -> int:
        return max(2, self.warmup)

    def score(
        self, state: Arrays, x: Floats, valid_length: Ints, time: Ints
    ) -> Floats | tuple[Floats, dict[str, Floats]]:
        low, high = cummin(state["low"], x), cummax(state["high"], x)
        state["low"][:], state["high"][:] = (
            low[:, -1],
            high[:, -1],
        )  # cells behind `valid_length` repeat a row: no harm
        low, high = low[:, :-1], high[:, :-1]
        outside = np.maximum(low - x, x - high)
        score = ratio(np.maximum(outside, 0.0, out=outside), high - low)  # before the first row -inf / -inf is NaN
        return where_alarm(score, self.default_limit, low=lambda: low, high=lambda: high)
