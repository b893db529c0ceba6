"""Left nearest neighbour of windows: has this shape been seen before? The matrix profile of a stream."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from agent.core.explanations import Explanation
from agent.core.series import Arrays, Field
from agent.detectors.base.decay import Decay, decay_factor
from agent.detectors.base.streaming import COUNT, StreamingDetector, ratio
from agent.detectors.univariate.history.circular_buffer import stored
from agent.detectors.univariate.history.matrix_profile import Profile
from sensors.batch import Floats, Ints

_EPOCH = 1024
"""Rows after which distances are summed from scratch."""


@dataclass
class Neighbour(StreamingDetector):
    """Distance of the last window from the most similar one in the memory, over its usual size.

    The left matrix profile (Yeh et al. 2016) with Euclidean distance, so level and size of a shape count, not only
    its form. Lags from half a window on. A score of about 1 is usual; limits of 3 to 6 are. Scale and
    offset of the metric do not matter. It costs about six times `memory` operations a row.

    Attributes:
        window: rows; a power of 2.
        memory: rows in which to look.
        half_life: rows after which a distance counts half in its usual size.
        warmup: rows before the first score.
    """

    window: int = 32
    memory: int = 512
    half_life: float = 500.0
    warmup: int = 128
    _decay: Decay = field(init=False, repr=False, compare=False)
    _profile: Profile = field(init=False, repr=False, compare=False)

    max_cells: ClassVar[int] = 4096

    state_version: ClassVar[int] = 2
    default_limit: ClassVar[float] = 5.0
    explains: ClassVar = {"score": Explanation("runs unlike anything before")}

    def validate(self) -> None:
        if self.window < 2 or self.window & (self.window - 1) or self.memory < self.window or self.half_life <= 0.0:
            raise ValueError("window must be a power of 2, memory not less than the window, half_life above 0")
        self._decay = Decay(decay_factor(self.half_life))
        self._profile = Profile(self.window, self.memory)

    def state_fields(self) -> dict[str, Field]:
        return {
            "ring": Field(np.float32, 0, (self._profile.kept,)),
            "first": Field(np.float64),
            "sums": Field(np.float64, 0, (self._profile.lags,)),
            "peak": Field(np.float64),
            "size": Field(np.float64),
        }

    @property
    def block_boundary(self) -> int:
        return _EPOCH

    @property
    def max_block(self) -> int:
        return self._decay.max_block

    @property
    def min_rows(self) -> int:
        return max(2 * self.window, self.warmup)

    def score(self, state: Arrays, x: Floats, valid_length: Ints, time: Ints) -> Floats:
        count, length = state[COUNT], x.shape[1]
        new = np.flatnonzero(count == 0)
        state["first"][new] = x[new, 0]
        places = state["ring"], state["sums"], state["peak"]
        due = np.flatnonzero(count % _EPOCH == 0)
        if len(due):
            self._profile.anew(*places, due)
        distance = self._profile.nearest(*places, count, stored(x - state["first"][:, None]), valid_length)
        begun = count - self._profile.first  # rows that had a complete neighbour
        if int(begun.min()) < 0:
            distance = np.where(begun[:, None] + np.arange(length) < 0, 0.0, distance)
        size = self._decay.run(state["size"], count, distance, valid_length, positive=True)[:, :-1]
        size *= self._decay.inverse_weight(begun, length)
        return ratio(distance, size)
