"""The preset `auto`: what one gets who only names the metric."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from agent.core.explanations import Explanation
from agent.core.series import Arrays, Field
from agent.detectors.base.decay import decay_factor
from agent.detectors.base.refractory import LEAST, apply_refractory
from agent.detectors.base.streaming import COUNT, StreamingDetector
from agent.detectors.univariate.history.circular_buffer import rows_a_period, stored
from agent.detectors.univariate.history.features import (
    BINS,
    FAST,
    LATE,
    RECENT,
    VIEWS,
    binned,
    divergence,
    outside,
    over,
    quantile_bins,
    rarity,
)
from agent.detectors.univariate.history.period import find_periods, sharpened
from agent.detectors.univariate.history.phase_profile import (
    AROUND,
    CELL,
    PERIODS,
    cells_at,
    lags_of,
    shape_sums,
    slide,
)
from agent.detectors.univariate.history.record_age import BLOCK, BLOCKS, learn_blocks, record_age
from agent.detectors.univariate.history.symbolic_context import context_fields, new_contexts
from sensors.batch import Floats, Ints

WINDOWS = (2, 6, 16)
"""Cells of the windows whose neighbours are looked for."""

SAMPLE = 512
"""Values, one of each cell, that stand for the history in the distance of a value from all of it."""

EPOCH = 64
"""Rows between two looks at the whole history: its distribution, and the sampling interval."""

SEARCH = 512
"""Rows after which a period is sought, whenever that has doubled, and every 2,048 rows."""

HOLD = 4
"""Cells for which a view's finding lasts, so that views that notice at different times add up."""

ALARM = 1.05
"""Sum over the views that makes a score of 1; the one number fitted to labelled data (half of NAB)."""

BURDEN, BURDEN_ROWS = 0.2, 1000.0
"""What an alarm adds to the sum that the next one needs, and the rows after which that is down to a third."""

FIRST, REMEMBERED = 128, 2048
"""Rows from which contexts are learnt, and rows whose contexts are remembered."""

CONTEXT = 0.5
"""What each of the four alphabets of contexts counts, a view being 1."""

_NEVER = -(1 << 40)


@dataclass
class Auto(StreamingDetector):
    """Thirteen views of one metric; the score is how unusual they find it, all together, against all that was before.

    Each view (`history.features`) is turned into the share of the last 4,096 rows since it was last as large
    (`history.record_age`), so none of them has a scale to set. The shares of the last 16 rows are added; 1 is an alarm,
    larger is clearer. After an alarm the score is 0 for `refractory` rows, so that one event is one alarm, and for
    some 1,000 rows an alarm needs more. The column `view` names what contributed most. Seasons need no setting: it
    compares with the same time of day if two days fit the memory, else with the same phase of the cycle it finds.

    Scale and offset of the metric do not matter but for rounding. A constant series has no score.

    Attributes:
        memory: rows kept to compare with, as means of four.
        warmup: rows before the first score; the median and MAD of every fourth of them set the scale on which
            values are compressed.
        refractory: rows of silence after an alarm; at least 16.
        half_life: rows after which a row counts half in the long mean, spread and restlessness.
    """

    memory: int = 4096
    warmup: int = 128
    refractory: int = 50
    half_life: float = 2000.0
    _keep: float = field(init=False, repr=False, compare=False)
    _fade: Floats = field(init=False, repr=False, compare=False)

    text_columns: ClassVar = {"view": (*VIEWS, "context")}
    state_version: ClassVar[int] = 2
    default_limit: ClassVar[float] = 1.0
    explains: ClassVar = {"score": Explanation(resolved="shows nothing new")}  # it is 0 after an alarm
    max_cells: ClassVar[int] = 1024

    def validate(self) -> None:
        if self.memory < 512 or self.warmup < EPOCH or self.refractory < LEAST or not self.half_life > 0.0:
            raise ValueError(
                f"memory must be at least 512 rows, warmup {EPOCH}, refractory {LEAST}, half_life above 0, not "
                f"{self.memory}, {self.warmup}, {self.refractory}, {self.half_life}"
            )
        self._keep = decay_factor(self.half_life / CELL)
        self._fade = np.exp(-np.arange(1 << 15) / BURDEN_ROWS)
        self._fade[-1] = 0.0

    def state_fields(self) -> dict[str, Field]:
        lags = PERIODS * (2 * AROUND + 1)
        return {
            "first": Field(np.float64),
            "centre": Field(np.float64),
            "scale": Field(np.float64),
            "low": Field(np.float64, np.inf),
            "high": Field(np.float64, -np.inf),
            "before": Field(np.float64, np.nan),
            "part": Field(np.float64, 0, (3,)),
            "cells": Field(np.float32, 0, (self.memory // CELL + 64,)),
            "late": Field(np.float64, np.nan, (2, LATE)),
            "long": Field(np.float64, 0, (4,)),
            "usual": Field(np.float64, np.nan, (3,)),
            "times": Field(np.int64, 0, (17,)),
            "cycle": Field(np.float64),
            "lags": Field(np.int32, 0, (lags,)),
            "sums": Field(np.float64, 0, (len(WINDOWS), lags)),
            "sample": Field(np.float32, np.inf, (SAMPLE,)),
            "ordered": Field(np.float32, np.inf, (SAMPLE,)),
            "edges": Field(np.float64, np.nan, (BINS - 1,)),
            "shares": Field(np.float64, np.nan, (BINS,)),
            "counts": Field(np.float64, 0, (BINS,)),
            "since": Field(np.float32, np.inf, (len(VIEWS), BLOCKS)),
            "current": Field(np.float64, 0, (len(VIEWS),)),
            "found": Field(np.float64, 0, (len(VIEWS), HOLD)),
            "finding": Field(np.float64, 0, (len(VIEWS),)),
            **context_fields(REMEMBERED),
            "alarm": Field(np.int64, _NEVER),
            "burden": Field(np.float64),
        }

    @property
    def block_boundary(self) -> int:
        return CELL

    @property
    def min_rows(self) -> int:
        return self.warmup

    def score(self, state: Arrays, x: Floats, valid_length: Ints, time: Ints) -> tuple[Floats, dict[str, Floats]]:
        count = state[COUNT]
        state["first"][:] = np.where(count == 0, x[:, 0], state["first"])
        number = count[:, None] + np.arange(x.shape[1])
        away = x - state["first"][:, None]
        y = self._compressed(state, away)
        beyond, extent = outside(state["low"], state["high"], x)
        level, spread = state["usual"][:, 0, None], state["usual"][:, 1, None]  # NaN while unknown
        deviation = np.nan_to_num(over(np.abs(y - level), spread))
        fast = np.stack([beyond, rarity(state["ordered"], away, extent), deviation], axis=1)
        strange = self._fast(state, fast, number, valid_length)
        self._add_up(state, y, valid_length)
        due = np.flatnonzero((count + valid_length) % CELL == 0)
        if len(due):
            last = valid_length[due] - 1
            slow = self._slow(state, due, count[due] + last)
            strange[due, len(FAST) :, last] = np.maximum(strange[due, len(FAST) :, last], slow)
            state["times"][due, (count[due] + last) // CELL % 17] = time[due, last]
            state["sample"][due, (count[due] + last) // CELL % SAMPLE] = np.clip(away[due, last], -1e30, 1e30)
            self._end_cell(state, due, count[due] + valid_length[due])
        contexts = new_contexts(state, away, valid_length, FIRST, REMEMBERED)
        strange = np.concatenate([strange, CONTEXT * np.cumsum(contexts, axis=1)[:, -1:]], axis=1)
        total = np.cumsum(strange, axis=1)[:, -1]  # in this order, whatever the shape
        score = self._alarms(state, np.where(number < self.min_rows, 0.0, total / ALARM), number, valid_length)
        top = np.where(score > 0.0, strange.argmax(axis=1), np.nan)
        return np.where((extent == 0.0) & (beyond == 0.0), np.nan, score), {"view": top}

    @staticmethod
    def _compressed(state: Arrays, away: Floats) -> Floats:
        """`asinh((x - centre) / scale)`: nearly linear near the usual values, logarithmic far away; 0 at first."""
        scale = state["scale"][:, None]
        known = scale > 0.0
        y: Floats = np.arcsinh((away - state["centre"][:, None]) / np.where(known, scale, 1.0))
        return np.where(known, y, np.clip(away, -1e30, 1e30))

    @staticmethod
    def _fast(state: Arrays, views: Floats, number: Ints, valid_length: Ints) -> Floats:
        """What the views of each row find, and what the slow ones found last, `(k, 12, length)`; learns the row."""
        k, some, length = views.shape
        each, current = np.arange(k), state["current"]
        running = np.maximum.accumulate(np.concatenate([current[:, :some, None], views], axis=2), axis=2)
        ages = record_age(state["since"], each, 0, running[:, :, :-1], views, number)
        current[:, :some] = running[each, :, valid_length]
        ages = np.maximum.accumulate(np.concatenate([state["finding"][:, :some, None], ages], axis=2), axis=2)
        state["finding"][:, :some] = ages[each, :, valid_length]
        strange = np.repeat(state["found"].max(axis=2)[:, :, None], length, axis=2)
        strange[:, :some] = np.maximum(strange[:, :some], ages[:, :, 1:])
        return strange

    @staticmethod
    def _add_up(state: Arrays, y: Floats, valid_length: Ints) -> None:
        """Sums over the cell that is filling: value, squared deviation, squared step."""
        each, usual = np.arange(len(y)), state["usual"][:, 0, None]
        steps = np.diff(np.concatenate([state["before"][:, None], y], axis=1), axis=1)
        away = np.where(np.isnan(usual), y, y - usual)
        new = np.stack([y, away * away, np.where(np.isnan(steps), 0.0, steps * steps)], axis=1)
        if y.shape[1] == 1:  # the same sum, without the detour; one row a call is the usual case
            state["part"] += new[:, :, 0]
        else:
            sums = np.cumsum(np.concatenate([state["part"][:, :, None], new], axis=2), axis=2)
            state["part"][:] = sums[each, :, valid_length]
        state["before"][:] = y[each, valid_length - 1]

    def _slow(self, state: Arrays, due: Ints, row: Ints) -> Floats:
        """What the views of a cell find, `(k, 9)`, whose last row is `row` `(k,)`; learns the cell."""
        cell, memory = row // CELL, state["cells"]
        part = state["part"][due] / CELL
        memory[due, cell % memory.shape[1]] = stored(part[:, 0])
        known = state["scale"][due] > 0.0
        sums = state["sums"][due]
        lags = state["lags"][due].astype(np.int64)
        near, phase = slide(memory, due, cell, lags, sums, WINDOWS)
        state["sums"][due] = sums
        level, spread, lively = state["usual"][due].T
        late = self._learn_usual(state, due, cell, np.where(known[:, None], part, np.nan))
        last = cells_at(memory, due, cell[:, None] - np.arange(8))
        drift = np.abs(np.cumsum(last, axis=1)[:, -1] / 8 - level)
        steps = np.sqrt(
            np.cumsum(late[np.arange(len(due))[:, None], (cell[:, None] - np.arange(8)) % LATE], axis=1)
        )
        burst, restless = steps[:, 1] / np.sqrt(2.0), steps[:, 7] / np.sqrt(8.0)
        views = np.stack(
            [*near.T, phase, over(drift, spread), over(burst, lively), over(restless, lively),
             over(lively, burst), self._distribution(state, due, cell)],
            axis=1,
        )  # fmt: skip
        views = np.where(np.isnan(views) | ~known[:, None], 0.0, views)
        some, current = len(FAST), state["current"]
        running = current[due, some:]
        ages = record_age(state["since"], due, some, running[:, :, None], views[:, :, None], row[:, None])[:, :, 0]
        current[due, some:] = np.maximum(running, views)
        state["finding"][due, some:] = ages
        return ages

    def _learn_usual(self, state: Arrays, due: Ints, cell: Ints, part: Floats) -> Floats:
        """Level, spread and liveliness go on by the cell 16 ago; returns the mean squared steps by cell, `(k, 16)`."""
        late, long, old = state["late"][due], state["long"][due], cells_at(state["cells"], due, cell - LATE)
        place, each = cell % LATE, np.arange(len(due))
        new = np.stack([old, late[each, 0, place], late[each, 1, place], np.ones(len(due))], axis=1)
        there = ~np.isnan(new[:, 1])
        long[there] = long[there] * self._keep + new[there]
        late[each, :, place] = part[:, 1:]
        state["late"][due], state["long"][due] = late, long
        weight = np.where(long[:, 3] > 0.0, long[:, 3], np.nan)[:, None]
        mean = long[:, :3] / weight
        mean[:, 1:] = np.sqrt(mean[:, 1:])
        state["usual"][due] = mean
        return late[:, 1]

    @staticmethod
    def _distribution(state: Arrays, due: Ints, cell: Ints) -> Floats:
        """Divergence of the last 32 cells from the history, 0 while there are few of either; counts the cell."""
        ends = cells_at(state["cells"], due, np.stack([cell, cell - RECENT], axis=1))
        bins, each = binned(ends, state["edges"][due]), np.arange(len(due))
        counts = state["counts"][due]
        counts[each, bins[:, 0]] += 1.0
        counts[each, bins[:, 1]] -= ~np.isnan(ends[:, 1])
        state["counts"][due] = counts
        return np.where(cell < 2 * RECENT, 0.0, divergence(counts, state["shares"][due]))

    def _end_cell(self, state: Arrays, due: Ints, count: Ints) -> None:
        """After the last row of a cell: begin the next; after that of a block or an epoch, what is to be done then."""
        state["part"][due] = 0.0
        state["found"][due, :, count // CELL % HOLD] = state["finding"][due]
        state["finding"][due] = 0.0
        learn_blocks(state["since"], state["current"], due[count % BLOCK == 0])
        epoch = count % EPOCH == 0
        if epoch.any():
            self._look_back(state, due[epoch], count[epoch])

    def _alarms(self, state: Arrays, score: Floats, number: Ints, valid_length: Ints) -> Floats:
        """One alarm an event, and the more of them a series had of late, the more the next one needs."""
        before = state["alarm"].copy()
        fade = self._fade[np.minimum(number - before[:, None], len(self._fade) - 1)]
        score = apply_refractory(
            state["alarm"],
            score / (1.0 + state["burden"][:, None] * fade),
            number,
            valid_length,
            1.0,
            self.refractory,
        )
        new = np.flatnonzero(state["alarm"] != before)
        since = np.minimum(state["alarm"][new] - before[new], len(self._fade) - 1)
        state["burden"][new] = state["burden"][new] * self._fade[since] + BURDEN
        return score

    def _look_back(self, state: Arrays, due: Ints, count: Ints) -> None:
        """Every 64 rows of a series: set the scale if it is not yet set, learn the period and the distribution."""
        late = (state["scale"][due] == 0.0) & (count >= self.warmup)
        self._set_scale(state, due[late], count[late])
        memory, cells, size = state["cells"], count // CELL, self.memory // CELL
        past = cells_at(memory, due, (cells - size)[:, None] + np.arange(size))
        lags = lags_of(self._period(state, due, count, past), size)
        state["lags"][due] = lags
        state["sums"][due] = shape_sums(memory, due, cells - 1, lags, WINDOWS)
        state["ordered"][due] = np.sort(state["sample"][due], axis=1)
        edges, state["shares"][due] = quantile_bins(np.sort(past.astype(np.float32), axis=1))
        state["edges"][due] = edges
        recent = past[:, -RECENT:]
        bins = np.where(np.isnan(recent), BINS, binned(recent, edges))
        state["counts"][due] = (bins[:, :, None] == np.arange(BINS)).sum(axis=1)

    def _period(self, state: Arrays, due: Ints, count: Ints, past: Floats) -> Floats:
        """Cells in one period: a day by the clock, else what the memory shows, else an even share of the memory."""
        gaps = np.sort(np.diff(np.sort(state["times"][due], axis=1), axis=1), axis=1)
        rows = rows_a_period(gaps[:, 8] // CELL, self.memory, PERIODS)
        times = count // SEARCH
        search = (count % SEARCH == 0) & (times & (times - 1) == 0) | (count % (4 * SEARCH) == 0)
        search &= rows == self.memory // PERIODS
        if search.any():
            state["cycle"][due[search]] = sharpened(past[search], find_periods(past[search]))
        cycle = state["cycle"][due]
        known = (cycle > 0.0) & (rows == self.memory // PERIODS)
        several = np.ceil(WINDOWS[-1] / np.where(known, cycle, 1.0))  # windows of short cycles must not overlap
        return np.where(known, cycle * several, rows / CELL)

    def _set_scale(self, state: Arrays, which: Ints, count: Ints) -> None:
        """Median and MAD of a fourth of the last `warmup` rows become centre and scale, unless they are constant."""
        if not len(which):
            return
        size = self.warmup // CELL
        place = ((count // CELL - size)[:, None] + np.arange(size)) % SAMPLE
        values = state["sample"][which[:, None], place].astype(np.float64)
        middle = np.median(values, axis=1)
        mad = np.median(np.abs(values - middle[:, None]), axis=1)
        scale = np.where(mad > 0.0, mad, values.std(axis=1))
        which, middle, scale = which[scale > 0.0], middle[scale > 0.0], scale[scale > 0.0]
        state["centre"][which], state["scale"][which] = middle, scale
        state["cells"][which] = np.arcsinh((state["cells"][which] - middle[:, None]) / scale[:, None])
        state["before"][which] = np.nan
