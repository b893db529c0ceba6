"""A series that falls silent: nothing comes, or only NaN, for longer than it usually takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from agent.core.explanations import Explanation
from agent.core.grouping import Grouping
from agent.core.operator import Operator
from agent.core.rows import Rows
from agent.core.series import Arrays, Field, SeriesState
from agent.detectors.base.series_blocks import series_blocks
from agent.detectors.base.streaming import CAP, COUNT, LARGEST, MISSING, NOT_MEASURED, REASONS, TOO_FEW_ROWS
from sensors.batch import Floats, Ints, Text

BLOCKS = 5
"""The usual interval is the median of the longest intervals of so many blocks of rows."""
_NEVER = -(2**62)
_REPORTED = 0.5  # score from which on a silence by the clock is reported


@dataclass
class Missing(Operator):
    """Silence of a series over the time that its values usually take to come; 1 and more is missing.

    `score = silence / (factor * usual)`, where `usual` is the median of the longest intervals of the last five
    blocks of `rows` values: regular, random or in bursts, and one outage teaches nothing. It is measured twice:

    * in event time, at each row: the time since the value before; a row without a value ends no silence. A gap in a
      recording is found so, when the next row comes.
    * by the clock of the host, first of all rows of a call, when it has moved on: the time since the last call that
      brought a value, against the usual time between such calls, from a score of 1/2 on. It needs no row at all.

    Results: `score`, `silence` and `usual` in seconds, `missing` 1 where the row has no value; `start` is the time
    of the last value. Scale and offset of the metric do not matter, nor do its values.

    Attributes:
        metric: column that is missed; empty = any row will do.
        on: name of the window whose results are missed; empty = the readings.
        by: grouping columns of a series.
        factor: how many usual intervals a silence may last.
        rows: values of a block; more than a burst has. A series is watched once it has shown so many intervals.
    """

    metric: str = ""
    on: str = ""
    by: tuple[str, ...] = ("machine",)
    factor: float = 5.0
    rows: int = 16
    _table: SeriesState = field(init=False, repr=False, compare=False)
    _now: int = field(init=False, repr=False, compare=False)

    remembers: ClassVar = {"table": "_table"}
    shared: ClassVar = {"now": ("_now", max)}
    texts: ClassVar = ("reason",)
    default_limit: ClassVar[float] = 1.0
    explains: ClassVar = {"score": Explanation("is missing", "comes again")}

    def __post_init__(self) -> None:
        if not 1.0 <= self.factor < np.inf or self.rows < 2:
            raise ValueError(f"factor must be at least 1 and rows at least 2, not {self.factor} and {self.rows}")
        blocks = Field(np.float64, np.nan, (BLOCKS,))
        self._now = _NEVER
        self._table = SeriesState(**{
            COUNT: Field(np.int64),  # values so far
            "last": Field(np.int64, _NEVER),  # event time of the newest
            "longest": Field(np.float64),  # interval of the present block
            "past": blocks,  # longest interval of each of the last blocks, NaN = none
            "seen": Field(np.int64, _NEVER),  # host time of the last call that brought a value
            "calls": Field(np.int64),  # intervals between such calls
            "call_longest": Field(np.float64),
            "call_past": blocks,
        })  # fmt: skip

    def outputs(self) -> tuple[str, ...]:
        return ("score", "silence", "usual", "missing", "reason")

    def fit(self, rows: Rows) -> None:
        """Learn from rows of normal operation ahead, as if they had come live; no result is emitted."""
        self.process(rows)

    def process(self, rows: Rows) -> Rows:
        """Silences by the clock, then one score for each row of a known series."""
        by_clock = self._silences(rows.now)
        chosen = np.flatnonzero(rows.key >= 0)
        key, time = rows.key[chosen], rows.end[chosen]
        column = (
            rows.values.get(self.metric, np.full(len(rows), np.nan))[chosen] if self.metric else np.zeros(len(key))
        )
        here = np.abs(column) <= LARGEST
        if len(key):
            self._table.grow(int(key.max()) + 1)
        last, usual = self._before(key, time, here)
        self._learn_calls(key[here], rows.now)
        silence = np.where(last == _NEVER, np.nan, np.maximum(time - last, 0))
        return self._output(
            np.concatenate([by_clock.key, key]),
            np.concatenate([by_clock.last, np.where(last == _NEVER, time, np.minimum(last, time))]),
            np.concatenate([by_clock.last + by_clock.silence.astype(np.int64), time]),
            np.concatenate([np.full(len(by_clock.key), -1), rows.at[chosen]]),
            np.concatenate([by_clock.silence, silence]),
            np.concatenate([by_clock.usual, usual]),
            np.concatenate(
                [
                    np.full(len(by_clock.key), -1),
                    np.where(here, TOO_FEW_ROWS, np.where(np.isnan(column), MISSING, NOT_MEASURED)),
                ]
            ),
            rows.now,
        )

    def _output(
        self, key: Ints, start: Ints, end: Ints, at: Ints, silence: Floats, usual: Floats, reason: Ints, now: int
    ) -> Rows:
        score = np.minimum(silence / (self.factor * usual), CAP)
        why = np.where(np.isnan(score), reason, -1)
        evidence: list[Mapping[str, float] | None] = [None] * len(key)
        for i in np.flatnonzero(score >= 1.0).tolist():
            evidence[i] = {"silence_s": float(silence[i]) / 1e9, "usual_s": float(usual[i]) / 1e9}
        values = {
            "score": score,
            "silence": silence / 1e9,
            "usual": usual / 1e9,
            "missing": (reason != TOO_FEW_ROWS).astype(np.float64),
        }
        texts = {"reason": Text(REASONS, why.astype(np.int32))}
        return Rows(key, start, end, at, values, now, texts, {"evidence": evidence})

    # --- by the clock -----------------------------------------------------------------------------------------

    def _silences(self, now: int) -> _Silences:
        """Series that have been silent for some time, once for each time the clock moves."""
        table = self._table.arrays
        if now <= self._now:
            return _Silences(*np.zeros((2, 0), np.int64), *np.zeros((2, 0)))
        self._now = now
        usual = middle(table["call_past"])
        silence = np.where(table["seen"] == _NEVER, np.nan, now - table["seen"].astype(np.float64))
        key = np.flatnonzero(silence >= _REPORTED * self.factor * usual)
        return _Silences(key, table["last"][key], (now - table["seen"][key]).astype(np.float64), usual[key])

    def _learn_calls(self, key: Ints, now: int) -> None:
        """Values of these series came with this call; learn the time since the call before."""
        table, key = self._table.arrays, np.unique(key)
        key = key[table["seen"][key] < now]
        known = key[table["seen"][key] != _NEVER]
        table["call_longest"][known] = np.maximum(table["call_longest"][known], now - table["seen"][known])
        table["calls"][known] += 1
        table["seen"][key] = now
        done = known[table["calls"][known] % self.rows == 0]
        if len(done):
            table["call_past"][done, :-1] = table["call_past"][done, 1:]
            table["call_past"][done, -1] = table["call_longest"][done]
            table["call_longest"][done] = 0.0

    # --- in event time ----------------------------------------------------------------------------------------

    def _before(self, key: Ints, time: Ints, here: npt.NDArray[np.bool_]) -> tuple[Ints, Floats]:
        """Time of the newest value before each row (`_NEVER` = none) and the usual interval then, ns; learn."""
        last, usual = np.full(len(key), _NEVER), np.full(len(key), np.nan)
        if not here.all():  # what is known of a series before the call
            gone = np.flatnonzero(~here)
            last[gone] = self._table["last"][key[gone]]
            usual[gone] = middle(self._table["past"][key[gone]])
        newest, then = last.copy(), usual.copy()  # after each value
        for block in series_blocks(Grouping(np.where(here, key, -1)), self._table[COUNT]):
            state, view = self._table.at(block.keys)
            before, learnt = self._learn(state, time[block.index], block.valid_length)
            if not view:
                self._table.put(block.keys, state)
            line, cell, position = block.rows()
            last[position], usual[position] = before[line, cell], learnt[line, cell]
            newest[position], then[position] = before[line, cell + 1], learnt[line, cell + 1]
        if not here.all() and here.any():  # of a row without a value: what its last value of this call left
            series = Grouping(key)
            some = series.sorted(here)
            number = np.maximum.accumulate(np.where(some, np.arange(len(key)), -1))
            follows = ~some & (number >= series.spread(series.begin))
            row, source = series.order[follows], series.order[number[follows]]
            last[row], usual[row] = newest[source], then[source]
        return last, usual

    def _learn(self, state: Arrays, time: Ints, valid_length: Ints) -> tuple[Ints, Floats]:
        """Newest time and usual interval before each cell and after the last, both `(k, length + 1)`; learn."""
        k, length = time.shape
        newest = np.maximum.accumulate(np.concatenate([state["last"][:, None], time], axis=1), axis=1)
        gap = np.where(newest[:, :-1] == _NEVER, 0, time - newest[:, :-1])
        place = state[COUNT] % self.rows
        number = (self.rows - 1 + length) // self.rows + 1
        cell = np.arange(number * self.rows) - place[:, None]
        inside = (cell >= 0) & (cell < valid_length[:, None])
        blocks = np.where(inside, np.take_along_axis(gap, np.clip(cell, 0, length - 1), axis=1), 0)
        longest = blocks.reshape(k, number, self.rows).max(axis=2).astype(np.float64)
        longest[:, 0] = np.maximum(longest[:, 0], state["longest"])
        history = np.concatenate([state["past"], np.where(longest > 0.0, longest, np.nan)], axis=1)
        usual = middle(np.lib.stride_tricks.sliding_window_view(history, BLOCKS, axis=1))
        line = np.arange(k)
        done = (place + valid_length) // self.rows
        state["past"][:] = history[line[:, None], done[:, None] + np.arange(BLOCKS)]
        state["longest"][:] = longest[line, done]
        state["last"][:] = newest[line, valid_length]
        state[COUNT] += valid_length
        return newest, np.take_along_axis(usual, (place[:, None] + np.arange(length + 1)) // self.rows, axis=1)

    def on_clock_step(self, to: int) -> None:
        ahead = np.flatnonzero(self._table["last"] > to)  # the times of the values to come go on from there
        self.touch(ahead)
        self._table["last"][ahead] = to


@dataclass(frozen=True, slots=True)
class _Silences:
    """Series that the clock finds silent: time of the last value, silence and usual interval, all ns, `(m,)`."""

    key: Ints
    last: Ints
    silence: Floats
    usual: Floats


def middle(longest: npt.NDArray[Any]) -> Floats:
    """Median along the last axis of what is not NaN, the lower of two; NaN where there is none."""
    ordered = np.sort(longest, axis=-1)  # NaN last
    known = (~np.isnan(ordered)).sum(axis=-1)
    found: Floats = np.take_along_axis(ordered, np.maximum(known - 1, 0)[..., None] // 2, axis=-1)[..., 0]
    return found
