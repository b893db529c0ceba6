"""Spikes: a value that stands apart from those just before it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from agent.core.explanations import Explanation
from agent.core.series import Arrays, Field
from agent.detectors.base.baseline import ROUNDING
from agent.detectors.base.decay import Decay, decay_factor
from agent.detectors.base.scan import with_history
from agent.detectors.base.streaming import COUNT, StreamingDetector, ratio, where_alarm
from sensors.batch import Floats, Ints


@dataclass
class Spike(StreamingDetector):
    """Distance of a value from the median of the five before it, over the usual such distance.

    A single wrong value stands out; a step scores once or twice and is then the new level. About 1 is usual,
    limits of 8 to 20 are. Scale and offset of the metric do not matter.

    Attributes:
        half_life: rows after which a distance counts half in the usual distance.
        warmup: rows before the first score.
    """

    half_life: float = 500.0
    warmup: int = 30
    _decay: Decay = field(init=False, repr=False, compare=False)

    state_version: ClassVar[int] = 2
    default_limit: ClassVar[float] = 12.0
    explains: ClassVar = {"score": Explanation("is far from the values just before")}
    alarm_columns: ClassVar = ("usual",)

    def validate(self) -> None:
        if not self.half_life > 0.0:
            raise ValueError(f"half_life must be above 0, not {self.half_life}")
        self._decay = Decay(decay_factor(self.half_life))

    def state_fields(self) -> dict[str, Field]:
        return {"ring": Field(np.float64, np.nan, (5,)), "size": Field(np.float64)}

    @property
    def max_block(self) -> int:
        return self._decay.max_block

    @property
    def min_rows(self) -> int:
        return max(6, self.warmup)

    def score(
        self, state: Arrays, x: Floats, valid_length: Ints, time: Ints
    ) -> Floats | tuple[Floats, dict[str, Floats]]:
        count, length = state[COUNT], x.shape[1]
        middle = _middle_of_five(with_history(state["ring"], x, valid_length)[:, :-1])
        distance = np.abs(x - middle)
        real = distance > ROUNDING * np.abs(x)  # nor is NaN, where there were not yet five
        if not real.all():
            distance = np.where(real, distance, 0.0)
        size = self._decay.run(state["size"], count, distance, valid_length, positive=True)[:, :-1]
        size *= self._decay.inverse_weight(count - 5, length)
        return where_alarm(ratio(distance, size), self.default_limit, usual=lambda: middle)


def _middle_of_five(x: Floats) -> Floats:
    """Median of each five neighbours along the last axis, shorter by 4; NaN where one of them is."""
    low, high = np.minimum(x[:, 1:], x[:, :-1]), np.maximum(x[:, 1:], x[:, :-1])
    lower = np.maximum(low[:, 2:-1], low[:, :-3])  # of two pairs, without the least and the greatest
    upper = np.minimum(high[:, 2:-1], high[:, :-3])
    fifth = x[:, 4:]
    result: Floats = np.maximum(np.minimum(lower, upper), np.minimum(fifth, np.maximum(lower, upper)))
    return result
