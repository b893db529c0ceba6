"""Context model: has this value ever come after those before it?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from agent.core.explanations import Explanation
from agent.core.series import Arrays, Field
from agent.detectors.base.refractory import LEAST, apply_refractory
from agent.detectors.base.streaming import COUNT, StreamingDetector
from agent.detectors.univariate.history.symbolic_context import ALPHABETS, HOLD, context_fields, new_contexts
from sensors.batch import Floats, Ints

ALARM = 0.3
"""Mean over the alphabets that makes a score of 1; fitted to labelled metrics of several sources."""

_NEVER = -(1 << 40)


@dataclass
class Contexts(StreamingDetector):
    """Share of the history since as many pairs of symbols were new as are now, over four alphabets (`symbols`).

    It checks whether the present value has ever come one, two, three and four rows after values like those before it,
    and if it has not, how long there was nothing as new. The mean over the alphabets and its maximum over 16 rows,
    scaled so that 1 is an alarm; after one the score is 0 for `refractory` rows. The memory is read anew once it
    is full, so what has not occurred for one to two memories is new again.

    Scale and offset of the metric do not matter but for rounding. A constant series has no score.

    Attributes:
        memory: rows that are remembered; a multiple of `warmup`.
        warmup: rows before the first score, from which the first alphabets are learnt; a multiple of 16.
        refractory: rows of silence after an alarm; at least 16.
    """

    memory: int = 2048
    warmup: int = 128
    refractory: int = 50

    default_limit: ClassVar[float] = 1.0
    explains: ClassVar = {"score": Explanation("comes in an order never seen", "shows nothing new")}
    max_cells: ClassVar[int] = 1024

    def validate(self) -> None:
        if self.warmup < HOLD or self.warmup % HOLD or self.memory < self.warmup or self.memory % self.warmup:
            raise ValueError("warmup must be a multiple of 16 rows, memory a multiple of warmup")
        if self.refractory < LEAST:
            raise ValueError("refractory must be at least 16 rows")

    def state_fields(self) -> dict[str, Field]:
        return {
            "first": Field(np.float64),
            "moved": Field(np.bool_),
            **context_fields(self.memory),
            "alarm": Field(np.int64, _NEVER),
        }

    @property
    def block_boundary(self) -> int:
        return HOLD

    @property
    def min_rows(self) -> int:
        return self.warmup

    def score(self, state: Arrays, x: Floats, valid_length: Ints, time: Ints) -> Floats:
        state["first"][:] = np.where(state[COUNT] == 0, x[:, 0], state["first"])
        away = x - state["first"][:, None]
        moved = np.logical_or.accumulate(np.concatenate([state["moved"][:, None], away != 0.0], axis=1), axis=1)
        state["moved"][:] = moved[:, -1]
        strange = new_contexts(state, away, valid_length, self.warmup, self.memory)
        total = strange[:, 0]
        for alphabet in range(1, ALPHABETS):  # in this order, whatever the shape
            total = total + strange[:, alphabet]
        number = state[COUNT][:, None] + np.arange(x.shape[1])
        score = apply_refractory(
            state["alarm"], total / (ALPHABETS * ALARM), number, valid_length, 1.0, self.refractory
        )
        return np.where(moved[:, 1:], score, np.nan)
