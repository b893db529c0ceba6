"""Bursts of noise: some rows that move more than the series is used to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from agent.core.explanations import Explanation
from agent.core.series import Arrays, Field
from agent.detectors.base.decay import Decay, decay_factor
from agent.detectors.base.scan import with_history
from agent.detectors.base.streaming import COUNT, StreamingDetector, ratio
from agent.detectors.univariate.history.circular_buffer import trailing
from sensors.batch import Floats, Ints


@dataclass
class NoiseBurst(StreamingDetector):
    """Root mean square of the last steps over that of the long run: how much more restless than usual.

    About 1 is usual; limits of 2 to 4 are. Level and slow movement do not matter, nor scale and offset.

    Attributes:
        window: rows that count as "now"; a power of 2.
        half_life: rows after which a step counts half in the long run.
        warmup: rows before the first score.
    """

    window: int = 16
    half_life: float = 500.0
    warmup: int = 64
    _decay: Decay = field(init=False, repr=False, compare=False)

    state_version: ClassVar[int] = 2
    default_limit: ClassVar[float] = 3.0
    explains: ClassVar = {"score": Explanation("is more restless than usual")}

    def validate(self) -> None:
        if self.window < 2 or self.window & (self.window - 1) or not self.half_life > 0.0:
            raise ValueError(
                f"window must be a power of 2 and half_life above 0, not {self.window}, {self.half_life}"
            )
        self._decay = Decay(decay_factor(self.half_life))

    def state_fields(self) -> dict[str, Field]:
        return {"ring": Field(np.float64, np.nan, (self.window + 1,)), "steps": Field(np.float64)}

    @property
    def max_block(self) -> int:
        return self._decay.max_block

    @property
    def min_rows(self) -> int:
        return max(2 * self.window, self.warmup)

    def score(self, state: Arrays, x: Floats, valid_length: Ints, time: Ints) -> Floats:
        count, length = state[COUNT], x.shape[1]
        whole = with_history(state["ring"], x, valid_length)
        square = whole[:, 1:] - whole[:, :-1]  # the last `window` steps before, then one a row
        square *= square
        if int(count.min()) <= self.window:
            square = np.where(np.isnan(square), 0.0, square)
        now = trailing(square, self.window)[:, -length:]
        # The long run ends where "now" begins.
        long = self._decay.run(state["steps"], count, square[:, :length], valid_length, positive=True)[:, 1:]
        long *= self._decay.inverse_weight(count + 1, length)
        return ratio(np.sqrt(now * (1.0 / self.window)), np.sqrt(long))
