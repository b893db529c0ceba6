"""A sensor that used to move and does not any more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from agent.detectors.streaming import COUNT, Arrays, Shape, Streaming
from sensors.batch import Floats, Ints


@dataclass
class Stuck(Streaming):
    """Rows since the value last moved by more than `tolerance`, over `rows`: 1 and more is stuck.

    A series that never moved has no score: it may be a set point. An offset does not matter; scale does
    not either if `tolerance` is 0.

    Attributes:
        rows: that a moving sensor may stay the same.
        tolerance: in the unit of the metric; a smaller step is no movement.
    """

    rows: int = 60
    tolerance: float = 0.0

    usual_limit: ClassVar[float] = 1.0

    def _check(self) -> None:
        if self.rows < 1 or not self.tolerance >= 0.0:
            raise ValueError(
                f"rows must be at least 1 and tolerance not negative, not {self.rows}, {self.tolerance}"
            )

    def _shapes(self) -> dict[str, Shape]:
        return {"value": ((), np.float64, np.nan), "moved": ((), np.int64, -1)}

    def _scores(self, state: Arrays, x: Floats, take: Ints, time: Ints) -> Floats:
        number = state[COUNT][:, None] + np.arange(x.shape[1])
        before = np.concatenate([state["value"][:, None], x[:, :-1]], axis=1)
        moves = np.where(np.abs(x - before) > self.tolerance, number, -1)  # NaN before the first row is no move
        moved = np.maximum.accumulate(np.concatenate([state["moved"][:, None], moves], axis=1), axis=1)[:, 1:]
        line = np.arange(len(x))
        state["value"][:], state["moved"][:] = x[line, take - 1], moved[line, take - 1]
        return np.where(moved < 0, np.nan, (number - moved) / self.rows)
