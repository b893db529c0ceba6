"""A sensor that used to move and does not any more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from agent.core.explanations import Explanation
from agent.core.series import Arrays, Field
from agent.detectors.base.scan import cummax, last, row_numbers, with_history
from agent.detectors.base.streaming import COUNT, StreamingDetector
from sensors.batch import Floats, Ints


@dataclass
class Stuck(StreamingDetector):
    """Rows since the value last moved by more than `tolerance`, over `rows`: 1 and more is stuck.

    A series that never moved has no score: it may be a set point. An offset does not matter; scale does
    not either if `tolerance` is 0.

    Attributes:
        rows: that a moving sensor may stay the same.
        tolerance: in the unit of the metric; a smaller step is no movement.
    """

    rows: int = 60
    tolerance: float = 0.0

    state_version: ClassVar[int] = 2
    default_limit: ClassVar[float] = 1.0
    explains: ClassVar = {"score": Explanation("does not move any more", "moves again")}

    def validate(self) -> None:
        if self.rows < 1 or not self.tolerance >= 0.0:
            raise ValueError(
                f"rows must be at least 1 and tolerance not negative, not {self.rows}, {self.tolerance}"
            )

    def state_fields(self) -> dict[str, Field]:
        return {"value": Field(np.float64, np.nan, (1,)), "moved": Field(np.int64, -1)}

    def score(self, state: Arrays, x: Floats, valid_length: Ints, time: Ints) -> Floats:
        number = row_numbers(state[COUNT], x.shape[1])
        whole = with_history(state["value"], x, valid_length)
        moves = np.where(np.abs(whole[:, 1:] - whole[:, :-1]) > self.tolerance, number, -1)  # from NaN is no move
        moved = cummax(state["moved"], moves)
        state["moved"][:] = last(moved, valid_length)
        still = (number - moved[:, 1:]) / self.rows
        return np.where(moved[:, 1:] < 0, np.nan, still)
