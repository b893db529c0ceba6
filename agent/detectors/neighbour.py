"""Left nearest neighbour of windows: has this shape been seen before? The matrix profile of a stream."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from agent.detectors.decay import Decay, keep
from agent.detectors.history import Lags, neighbour_sums, sliding_distances, write
from agent.detectors.streaming import COUNT, Arrays, Shape, Streaming, ratio
from sensors.batch import Floats, Ints

_BUNCH = 64


@dataclass
class Neighbour(Streaming):
    """Distance of the last window from the most similar one in the memory, over its usual size.

    The left matrix profile (Yeh et al. 2016) with Euclidean distance, so level and size of a shape count, not only
    its form. Lags from half a window on. A score of about 1 is usual; limits of 3 to 6 are. Scale and
    offset of the metric do not matter. It costs some `memory` operations a row.

    Attributes:
        window: rows; a power of 2.
        memory: rows in which to look; a multiple of 64.
        half_life: rows after which a distance counts half in its usual size.
        warmup: rows before the first score.
    """

    window: int = 32
    memory: int = 512
    half_life: float = 500.0
    warmup: int = 128
    _decay: Decay = field(init=False, repr=False, compare=False)

    cells: ClassVar[int] = 256

    usual_limit: ClassVar[float] = 5.0

    def _check(self) -> None:
        if self.window < 2 or self.window & (self.window - 1) or self.memory % _BUNCH or self.memory < self.window:
            raise ValueError("window must be a power of 2, memory a multiple of 64 and not less than the window")
        self._decay = Decay(keep(self.half_life), 16)

    def _shapes(self) -> dict[str, Shape]:
        return {
            "store": ((self.memory + self.window + 2 * _BUNCH,), np.float32, 0.0),
            "first": ((), np.float64, 0.0),
            "sums": ((1, self.memory // _BUNCH, _BUNCH), np.float64, 0.0),
            "size": ((), np.float64, 0.0),
            "weight": ((), np.float64, 0.0),
        }

    @property
    def span(self) -> int:
        return 16

    @property
    def needs(self) -> int:
        return max(2 * self.window, self.warmup)

    def _scores(self, state: Arrays, x: Floats, take: Ints, time: Ints) -> Floats:
        count, length = state[COUNT], x.shape[1]
        state["first"][:] = np.where(count == 0, x[:, 0], state["first"])
        write(state["store"], count, x - state["first"][:, None], take)
        lag = 1 + np.arange(self.memory).reshape(1, -1, _BUNCH)
        lags = Lags(np.broadcast_to(lag, (len(x), *lag.shape[1:])), np.ones((len(x), *lag.shape[1:]), np.bool_))
        due = np.flatnonzero((count % (16 * self.span) == 0) & (count > 0))
        if len(due):
            some = Lags(lags.lag[due], lags.allowed[due])
            state["sums"][due] = neighbour_sums(state["store"][due], count[due], some, (self.window,))
        windows = (self.window,)
        (distance,) = sliding_distances(state["store"], state["sums"], count, length, take, lags, windows)
        place = count
        known = ~np.isnan(distance)
        far = np.where(known, distance, 0.0)
        weight = self._decay.run(state["weight"], place, known.astype(np.float64), take)[:, :-1]
        size = self._decay.run(state["size"], place, far, take)[:, :-1] / np.where(weight > 0.0, weight, 1.0)
        return np.where(known & (weight > 0.0), ratio(far, size), np.nan)
