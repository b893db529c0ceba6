"""Sample rings: the last w samples of every series, cut into overlapping windows for detectors of waveforms.

Only detectors that need the waveform itself use a ring (own-range histograms, spectra, phase); everything else
combines panes. A ring of `w + w/4` samples a series is written by one scatter a block, whatever the number of
series, and the windows that the block completes are gathered in one go, so there is no loop over samples or series.
A window depends on the samples of its series alone: how the stream is cut into calls changes nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from agent.core.grouping import Bools, Grouping
from agent.core.rows import Rows
from agent.core.series import Field, SeriesState, Stateful
from agent.windows.padding import before_each
from sensors.batch import Floats, Ints

_CHUNK = 1 << 18
"""Most samples handed over in one `WindowBatch`; bounds the memory of a detector whatever it is fed."""

_NEVER = np.iinfo(np.int64).min


@dataclass(frozen=True, slots=True)
class WindowBatch:
    """Windows that became complete: k windows of w samples, oldest sample first.

    Attributes:
        key: `(k,)` series of each window.
        at: `(k,)` position in the batch of the reading that completed it.
        samples: `(k, w)` values, never NaN: a reading without a value does not enter the ring, it leaves a gap in
            `times`.
        times: `(k, w)` their event times, ns.
    """

    key: Ints
    at: Ints
    samples: Floats
    times: Ints

    def __len__(self) -> int:
        return len(self.key)


@dataclass(frozen=True, slots=True)
class Gaps:
    """Where as many readings in a row as a window has samples had no value: `(k,)` series, position, time."""

    key: Ints
    at: Ints
    time: Ints


@dataclass
class SampleWindows(Stateful):
    """The last samples of each series. Memory: about 20 bytes x `size` a series.

    Attributes:
        size: samples in a window, w.
        hop: samples between the ends of successive windows; the first window ends with sample w.
        every: if not 0, ns between windows instead of `hop` samples: a window ends before the first sample at or
            beyond each multiple of it and holds the w samples before that one. A gap of several multiples makes
            one window.
    """

    remembers: ClassVar = {"": "_state"}

    size: int
    hop: int = 1
    every: int = 0

    def __post_init__(self) -> None:
        if self.size < 1 or self.hop < 1 or self.every < 0:
            raise ValueError(f"a window of {self.size} samples every {self.hop}: both must be 1 or more")
        self._state = SeriesState(
            ring=Field(np.float64, 0, (self._room,)),
            times=Field(np.int64, 0, (self._room,)),
            count=Field(np.int64),  # samples so far
            slot=Field(np.int64, _NEVER),  # multiple of `every` that was reached last
            absent=Field(np.int64),  # readings without a value since the last one with one
        )

    @property
    def _block(self) -> int:
        """Most samples of one series written before the windows that they complete are gathered."""
        return max(16, self.size // 4)

    @property
    def _room(self) -> int:
        return self.size + self._block

    def feed(self, rows: Rows, metric: str) -> Iterator[WindowBatch]:
        """Take the readings of `metric` in and hand over the windows they complete, in blocks.

        Within a series the windows come in order; across series they do not: sort results by `at`. Rows without a
        value or with key -1 are skipped.
        """
        column = rows.values.get(metric)
        if column is None:
            return
        present = np.flatnonzero((rows.key >= 0) & ~np.isnan(column))
        if not len(present):
            return
        series = Grouping.of(rows) if len(present) == len(rows) else Grouping(rows.key[present])
        self.grow(int(series.key[-1]) + 1)
        order = series.sorted(present)
        # No series may write over samples of its ring before the windows over them are gathered.
        turn = series.number // self._block
        by_turn = np.argsort(turn, kind="stable")
        bounds = np.searchsorted(turn[by_turn], np.arange(int(turn.max()) + 2)).tolist()
        for first, last in itertools.pairwise(bounds):
            part = order[by_turn[first:last]]
            yield from self._write(rows.key[part], rows.start[part], column[part], rows.at[part])

    def gaps(self, rows: Rows, metric: str) -> Gaps:
        """Where a whole window of readings in a row has no value; to be called once a batch, beside `feed`."""
        known = np.flatnonzero(rows.key >= 0)
        column = rows.values.get(metric)
        missing = np.ones(len(known), np.bool_) if column is None else np.isnan(column[known])
        if not missing.any() and not self._state["absent"].any():
            return Gaps(known[:0], rows.at[:0], rows.start[:0])
        self.grow(int(rows.key.max(initial=-1)) + 1)
        absent = self._state["absent"]
        series = Grouping.of(rows) if len(known) == len(rows) else Grouping(rows.key[known])
        known, missing = series.sorted(known), series.sorted(missing)
        place = np.arange(len(known))
        valued = np.maximum.accumulate(np.where(missing, -1, place))
        number = series.number
        run = np.where(valued >= place - number, place - valued, number + 1 + absent[series.key])
        absent[series.owner] = run[series.end]
        found = np.sort(known[(run > 0) & (run % self.size == 0)])
        return Gaps(rows.key[found], rows.at[found], rows.start[found])

    def _write(self, key: Ints, time: Ints, value: Floats, at: Ints) -> Iterator[WindowBatch]:
        """Write a block sorted by series, at most `_block` samples of each, and gather what it completes."""
        ring, times, count = self._state["ring"], self._state["times"], self._state["count"]
        series = Grouping(key)
        position = count[key] + series.number
        ring[key, position % self._room] = value
        times[key, position % self._room] = time
        count[series.owner] += series.length
        if self.every:
            ends, stop = self._crossed(series, time) & (position >= self.size), position
        else:
            ends, stop = (position + 1 >= self.size) & ((position + 1 - self.size) % self.hop == 0), position + 1
        done = np.flatnonzero(ends)
        many = max(1, _CHUNK // self.size)
        for first in range(0, len(done), many):
            some = done[first : first + many]
            place = (stop[some, None] - self.size + np.arange(self.size)) % self._room
            whose = key[some, None]
            yield WindowBatch(key[some], at[some], ring[whose, place], times[whose, place])

    def _crossed(self, series: Grouping, time: Ints) -> Bools:
        """Which samples are the first at or beyond a multiple of `every`; time that steps back crosses none."""
        slot = time // self.every
        reached = self._state["slot"]
        known = reached[series.owner]
        low = int(min(slot.min(), known[known != _NEVER].min(initial=slot.min())))
        span = int(max(slot.max(), known.max())) - low + 2
        # Each series is lifted above the one before it, so that one running maximum serves all.
        base = np.arange(len(known)) * span - low + 1
        lifted = slot + series.spread(base)
        before = before_each(lifted, series.begin, np.where(known == _NEVER, slot[series.begin], known) + base)
        before = np.maximum.accumulate(before)
        reached[series.owner] = np.maximum(before[series.end], lifted[series.end]) - base
        return lifted > before
