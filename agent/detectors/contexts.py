"""Context model: has this value ever come after those before it?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from agent.detectors.history import read, stored, write
from agent.detectors.records import rested
from agent.detectors.streaming import COUNT, Arrays, Shape, Streaming
from agent.detectors.symbols import (
    ALPHABETS,
    LAGS,
    alphabets_due,
    learn_alphabets,
    level_age,
    new_pairs,
    symbol_shapes,
)
from sensors.batch import Floats, Ints

ALARM = 0.3
"""Mean over the alphabets that makes a score of 1; fitted to labelled metrics of several sources."""

HOLD = 16
"""Rows for which a finding lasts, so that alphabets that notice at different times add up."""

_NEVER = -(1 << 40)


@dataclass
class Contexts(Streaming):
    """Share of the history since as many pairs of symbols were new as are now, over four alphabets (`symbols`).

    It asks whether the present value has ever come one, two, three and four rows after values like those before it,
    and if it has not, how long there was nothing as new. The mean over the alphabets and its maximum over 16 rows,
    scaled so that 1 is an alarm; after one the score rests at 0 for `rest` rows. The memory is read anew once it
    is full, so what has not occurred for one to two memories is new again.

    Scale and offset of the metric do not matter but for rounding. A constant series has no score.

    Attributes:
        memory: rows that are remembered; a multiple of `warmup`.
        warmup: rows before the first score, from which the first alphabets are learnt; a multiple of 16.
        rest: rows of silence after an alarm; at least 16.
    """

    memory: int = 2048
    warmup: int = 128
    rest: int = 50

    usual_limit: ClassVar[float] = 1.0
    cells: ClassVar[int] = 1024

    def _check(self) -> None:
        if self.warmup < HOLD or self.warmup % HOLD or self.memory < self.warmup or self.memory % self.warmup:
            raise ValueError("warmup must be a multiple of 16 rows, memory a multiple of warmup")
        if self.rest < HOLD:
            raise ValueError("rest must be at least 16 rows")

    def _shapes(self) -> dict[str, Shape]:
        return {
            "store": ((self.memory + LAGS + HOLD,), np.float32, 0.0),
            "first": ((), np.float64, 0.0),
            "moved": ((), np.bool_, False),
            **symbol_shapes(),
            "held": ((ALPHABETS, HOLD - 1), np.float64, 0.0),
            "alarm": ((), np.int64, _NEVER),
        }

    @property
    def span(self) -> int:
        return HOLD

    @property
    def needs(self) -> int:
        return self.warmup

    def _scores(self, state: Arrays, x: Floats, take: Ints, time: Ints) -> Floats:
        count, length = state[COUNT], x.shape[1]
        state["first"][:] = np.where(count == 0, x[:, 0], state["first"])
        due = alphabets_due(count, self.warmup, self.memory)
        if len(due):
            back = (count[due] - self.memory)[:, None] + np.arange(self.memory)
            learn_alphabets(state, due, read(state["store"][due], back))
        away = x - state["first"][:, None]
        moved = np.logical_or.accumulate(np.concatenate([state["moved"][:, None], away != 0.0], axis=1), axis=1)
        state["moved"][:] = moved[:, -1]
        before = read(state["store"], (count - LAGS)[:, None] + np.arange(LAGS))
        write(state["store"], count, away, take)
        recent = np.concatenate([np.where(np.isnan(before), 0.0, before), stored(away)], axis=1)
        number = count[:, None] + np.arange(length)
        learning = (count < self.warmup)[:, None, None]
        level = np.where(learning, 0, new_pairs(state, recent, take))
        strange = held(state["held"], level_age(state["symbol_last"], level, number, take), take)
        total = strange[:, 0]
        for alphabet in range(1, ALPHABETS):  # in this order, whatever the shape
            total = total + strange[:, alphabet]
        score = rested(state["alarm"], total / (ALPHABETS * ALARM), number, take, 1.0, self.rest)
        return np.where(moved[:, 1:], score, np.nan)


def held(ring: Floats, score: Floats, take: Ints) -> Floats:
    """Maximum of each score over the last 16 rows; `ring` `(k, alphabets, 15)` holds the rows before."""
    whole = np.concatenate([ring, score], axis=2)
    ring[:] = np.take_along_axis(whole, (take[:, None] + np.arange(HOLD - 1))[:, None, :], axis=2)
    step = 1
    while step < HOLD:
        whole = np.maximum(whole[:, :, step:], whole[:, :, :-step])
        step *= 2
    return whole
