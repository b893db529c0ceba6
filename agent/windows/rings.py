"""Sample rings: the last w samples of every series, cut into overlapping windows for detectors of waveforms.

Only detectors that need the waveform itself use a ring (own-range histograms, spectra, phase); everything else
combines panes. A ring of `w + w/4` samples a series is written by one scatter a block, whatever the number of
series, and the windows that the block completes are gathered in one go, so there is no loop over samples or series.
A window depends on the samples of its series alone: how the stream is cut into calls changes nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from agent.rows import Rows, State
from sensors.batch import Floats, Ints

_CHUNK = 1 << 18
"""Most samples handed over in one `Cut`; bounds the memory of a detector whatever it is fed."""

_NEVER = np.iinfo(np.int64).min


@dataclass(frozen=True, slots=True)
class Cut:
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


@dataclass(slots=True)
class Rings:
    """The last samples of each series. Memory: about 20 bytes x `size` a series.

    Attributes:
        size: samples in a window, w.
        hop: samples between the ends of successive windows; the first window ends with sample w.
        every: if not 0, ns between windows instead of `hop` samples: a window ends before the first sample at or
            beyond each multiple of it and holds the w samples before that one. A gap of several multiples makes
            one window.
    """

    size: int
    hop: int = 1
    every: int = 0
    _ring: Floats = field(init=False, repr=False)
    _times: Ints = field(init=False, repr=False)
    _count: Ints = field(init=False, repr=False)
    _slot: Ints = field(init=False, repr=False)
    _absent: Ints = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.size < 1 or self.hop < 1 or self.every < 0:
            raise ValueError(f"a window of {self.size} samples every {self.hop}: both must be 1 or more")
        self._ring = np.empty((0, self._room))
        self._times = np.empty((0, self._room), np.int64)
        self._count = np.empty(0, np.int64)
        self._slot = np.empty(0, np.int64)
        self._absent = np.empty(0, np.int64)

    @property
    def _block(self) -> int:
        """Most samples of one series written before the windows that they complete are gathered."""
        return max(16, self.size // 4)

    @property
    def _room(self) -> int:
        return self.size + self._block

    def feed(self, rows: Rows, metric: str) -> Iterator[Cut]:
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
        self._grow(int(rows.key[present].max()) + 1)
        order = present[np.argsort(rows.key[present], kind="stable")]
        turn = _rank(rows.key[order]) // self._block
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
        if not missing.any() and not self._absent.any():
            return Gaps(known[:0], rows.at[:0], rows.start[:0])
        self._grow(int(rows.key.max(initial=-1)) + 1)
        order = np.argsort(rows.key[known], kind="stable")
        known, missing = known[order], missing[order]
        key = rows.key[known]
        place = np.arange(len(key))
        opens = np.append(True, key[1:] != key[:-1])[: len(key)]
        opening = np.maximum.accumulate(np.where(opens, place, 0))
        valued = np.maximum.accumulate(np.where(missing, -1, place))
        run = np.where(valued >= opening, place - valued, place - opening + 1 + self._absent[key])
        last = np.flatnonzero(np.append(opens[1:], True)[: len(key)])
        self._absent[key[last]] = run[last]
        found = np.sort(known[(run > 0) & (run % self.size == 0)])
        return Gaps(rows.key[found], rows.at[found], rows.start[found])

    def _write(self, key: Ints, time: Ints, value: Floats, at: Ints) -> Iterator[Cut]:
        """Write a block sorted by series, at most `_block` samples of each, and gather what it completes."""
        position = self._count[key] + _rank(key)
        self._ring[key, position % self._room] = value
        self._times[key, position % self._room] = time
        last = np.flatnonzero(np.append(key[1:] != key[:-1], True))
        self._count[key[last]] = position[last] + 1
        if self.every:
            ends, stop = self._crossed(key, time, last, position), position
        else:
            ends, stop = (position + 1 >= self.size) & ((position + 1 - self.size) % self.hop == 0), position + 1
        done = np.flatnonzero(ends)
        many = max(1, _CHUNK // self.size)
        for first in range(0, len(done), many):
            some = done[first : first + many]
            place = (stop[some, None] - self.size + np.arange(self.size)) % self._room
            whose = key[some, None]
            yield Cut(key[some], at[some], self._ring[whose, place], self._times[whose, place])

    def _crossed(self, key: Ints, time: Ints, last: Ints, position: Ints) -> npt.NDArray[np.bool_]:
        """Which samples are the first at or beyond a multiple of `every`; time that steps back crosses none."""
        slot = time // self.every
        group = np.cumsum(np.append(0, key[1:] != key[:-1]))
        opening = np.append(0, last[:-1] + 1)
        known = self._slot[key[opening]]
        low = int(min(slot.min(), known[known != _NEVER].min(initial=slot.min())))
        span = int(max(slot.max(), known.max())) - low + 2
        lifted = slot - low + 1 + group * span
        before = np.empty_like(lifted)
        before[1:] = lifted[:-1]
        before[opening] = np.where(known == _NEVER, slot[opening], known) - low + 1 + np.arange(len(opening)) * span
        before = np.maximum.accumulate(before)
        self._slot[key[last]] = np.maximum(before[last], lifted[last]) - group[last] * span + low - 1
        crossed: npt.NDArray[np.bool_] = (lifted > before) & (position >= self.size)
        return crossed

    def _grow(self, series: int) -> None:
        if series <= len(self._count):
            return
        more = max(series, 2 * len(self._count)) - len(self._count)
        self._ring = np.concatenate([self._ring, np.zeros((more, self._room))])
        self._times = np.concatenate([self._times, np.zeros((more, self._room), np.int64)])
        self._count = np.concatenate([self._count, np.zeros(more, np.int64)])
        self._slot = np.concatenate([self._slot, np.full(more, _NEVER)])
        self._absent = np.concatenate([self._absent, np.zeros(more, np.int64)])

    def snapshot(self) -> State:
        """What is in the rings."""
        return {
            "ring": self._ring.copy(),
            "times": self._times.copy(),
            "count": self._count.copy(),
            "slot": self._slot.copy(),
            "absent": self._absent.copy(),
        }

    def restore(self, state: State) -> None:
        """Go on from `state` of rings of the same size."""
        ring = np.asarray(state["ring"], np.float64)
        if ring.ndim != 2 or ring.shape[1] != self._room:
            raise ValueError(f"the state holds rings of shape {ring.shape}, here a series has {self._room} places")
        self._ring = ring.copy()
        self._times = np.array(state["times"], np.int64)
        self._count = np.array(state["count"], np.int64)
        self._slot = np.array(state["slot"], np.int64)
        self._absent = np.array(state["absent"], np.int64)

    def evict(self, keys: Ints) -> None:
        """Empty the rings of these series."""
        keys = keys[(keys >= 0) & (keys < len(self._count))]
        self._count[keys] = 0
        self._slot[keys] = _NEVER
        self._absent[keys] = 0


def _rank(key: Ints) -> Ints:
    """`(n,)` how many equal neighbours stand before each element of a sorted array."""
    place = np.arange(len(key))
    opens = np.append(True, key[1:] != key[:-1])
    return place - np.maximum.accumulate(np.where(opens, place, 0))
