"""The left matrix profile of a stream: how far is the last window from the most similar one before it?

The squared distance of the windows that end at row t and at row t - lag is that of row t - 1 and the same lag, plus
the newest pair's square, less that of the pair that leaves the window: a few operations a lag, whatever the window
is long (Yeh et al. 2016, STOMPI; with plain distances, not correlations). Lags lie along the last axis, the longest
first, so that rows and lags are both read in the order in which they stand in memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agent.detectors.base.scan import cummax, last
from sensors.batch import Floats, Ints

_TOGETHER = 8
"""Series that are summed from scratch at once."""

_CELLS, _DEEP = 48, 8
"""Rows whose lags are worked on at once, and rows of one series among them if it has so many."""

_ROUNDING = 1e-11
"""Share of the largest square that adding and taking away may leave; smaller distances are 0."""

Ring = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Profile:
    """Where neighbours are looked for.

    Attributes:
        window: rows of a window; a power of 2.
        memory: longest lag.
    """

    window: int
    memory: int

    @property
    def shortest(self) -> int:
        """The shortest lag: windows that overlap by more than half do not count."""
        return max(1, self.window // 2)

    @property
    def lags(self) -> int:
        """How many there are."""
        return self.memory - self.shortest + 1

    @property
    def kept(self) -> int:
        """Rows that must be kept."""
        return self.memory + self.window

    @property
    def first(self) -> int:
        """Number of the first row of a series that has a complete neighbour."""
        return self.window - 1 + self.shortest

    def anew(self, ring: Ring, sums: Floats, peak: Floats, which: Ints) -> None:
        """Compute the sums of the series `which` from scratch, so that rounding does not pile up; arguments as below."""
        for begin in range(0, len(which), _TOGETHER):
            some = which[begin : begin + _TOGETHER]
            rows = ring[some].astype(np.float64)
            squares = self._squares(rows, 0, np.empty((len(some), self.window, self.lags)))
            while squares.shape[1] > 1:  # by halves: the same order whatever the number of series
                half = squares.shape[1] // 2
                squares = squares[:, :half] + squares[:, half:]
            sums[some], peak[some] = squares[:, 0], np.abs(rows).max(axis=1)

    def nearest(self, ring: Ring, sums: Floats, peak: Floats, count: Ints, x: Floats, valid_length: Ints) -> Floats:
        """Root mean square distance of the window that ends at each row from its nearest neighbour, `(k, length)`.

        Args:
            ring: `(k, kept)` the rows before, oldest first, 0 before the first; changed in place.
            sums: `(k, lags)` squared distances of the last window, changed in place.
            peak: `(k,)` largest row since the sums were computed from scratch, changed in place.
            count: `(k,)` rows before.
            x: `(k, length)` new rows, as exact as the ring keeps them.
            valid_length: `(k,)` cells of each line that count.

        Returns:
            0 where rounding is all that is left; what stands before row `first` of a series means nothing.
        """
        k, length = x.shape
        found = np.empty((k, length))
        step = max(1, _CELLS // min(length, _DEEP))
        for begin in range(0, k, step):
            some = slice(begin, begin + step)
            found[some] = self._some(ring[some], sums[some], count[some], x[some], valid_length[some])
        largest = cummax(peak, np.abs(x))
        peak[:] = last(largest, valid_length)
        found[found <= _ROUNDING * np.square(largest[:, 1:])] = 0.0
        return np.sqrt(found * (1.0 / self.window))

    def _some(self, ring: Ring, sums: Floats, count: Ints, x: Floats, valid_length: Ints) -> Floats:
        """The same of few enough series that a cache holds what there is of them; squared, 0 where none is complete."""
        k, length = x.shape
        rows = np.empty((k, self.kept + length))
        rows[:, : self.kept], rows[:, self.kept :] = ring, x
        full = bool((valid_length == length).all())
        if full:
            ring[:] = rows[:, length:]
        else:
            ring[:] = np.take_along_axis(rows, valid_length[:, None] + np.arange(self.kept), axis=1)
        longest = count - (self.window - 1)  # lag whose neighbour is complete, at the first new row
        young = int(longest.min()) < self.memory
        step = min(max(1, _CELLS // k), length)
        both = np.empty((2, k, step, self.lags))
        found = np.empty((k, length))
        before: Floats = sums
        for begin in range(0, length, step):
            columns = min(step, length - begin)
            change = self._squares(rows, self.window + begin, both[0, :, :columns])
            change -= self._squares(rows, begin, both[1, :, :columns])
            change[:, 0] += before
            for i in range(1, columns):
                change[:, i] += change[:, i - 1]
            if young:
                known = np.arange(self.lags) >= (self.memory - longest - begin)[:, None, None] - np.arange(
                    columns
                )[:, None]  # fmt: skip
                nearest = np.where(known, change, np.inf).min(axis=2)
                found[:, begin : begin + columns] = np.where(np.isinf(nearest), 0.0, nearest)
            else:
                change.min(axis=2, out=found[:, begin : begin + columns])
            before = change[:, -1].copy() if begin + columns < length else change[:, -1]
            if full:
                continue
            ends = np.flatnonzero((valid_length > begin) & (valid_length <= begin + columns))
            sums[ends] = change[ends, valid_length[ends] - 1 - begin]
        if full:
            sums[:] = before
        return found

    def _squares(self, rows: Floats, begin: int, out: Floats) -> Floats:
        """Squared differences of some rows from those at each lag.

        Args:
            rows: `(k, kept + ...)`.
            begin: 0 is the row that stands `window` before the first new one.
            out: `(k, length, lags)` where they are put.
        """
        line, cell = rows.strides
        # `sliding_window_view` without its checks, which cost as much as the work
        past: Floats = np.ndarray(out.shape, rows.dtype, rows, cell * begin, (line, cell, cell))
        now = rows[:, self.memory + begin : self.memory + begin + out.shape[1], None]
        np.subtract(now, past, out=out)
        return np.multiply(out, out, out=out)
