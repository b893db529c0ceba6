"""Histograms of panes, on edges that are fixed for each series, with a bin below and one above all edges."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from agent.core.series import Field, SeriesState, State, Stateful
from agent.windows.partials import Readings
from sensors.batch import Floats, Ints

_SCALES = (np.finfo(np.float64).tiny, np.finfo(np.float64).max)


class Histograms(Stateful):
    """Counts of readings by bin, as partial aggregates of panes.

    Counts are whole numbers, so the order of addition does not matter and the histogram of a window that moves on is
    the old one, plus the panes that came, less those that went: a difference of two running totals.

    Rows of a partial: number of readings, then the bins: below the edges, `bins` equal ones, above the edges.

    Args:
        metric: column.
        bins: number of equal bins between the edges.

    Edges that each series has of its own are remembered; those of all are configuration.
    """

    remembers: ClassVar = {"": "_learnt"}

    def __init__(self, metric: str, bins: int) -> None:
        self.columns: tuple[str, ...] = (metric,)
        self.bins = bins
        self.size = bins + 3
        self.neutral: Floats = np.zeros((self.size, 1))
        self.ends = False
        self.whole = True
        self.simple = True
        self._edges = SeriesState(**self._fields())
        self._learnt: SeriesState | None = self._edges

    def _fields(self) -> dict[str, Field]:
        return {name: Field(np.float64) for name in ("low", "high", "scale")}

    @property
    def is_shared(self) -> bool:
        """One row of edges is for all series."""
        return self._learnt is None

    @property
    def low(self) -> Floats:
        """`(series,)` lowest edge, or `(1,)` that of all."""
        return self._edges.arrays["low"]

    @property
    def high(self) -> Floats:
        """Highest edge, as `low`."""
        return self._edges.arrays["high"]

    @property
    def scale(self) -> Floats:
        """Bins per unit, as `low`."""
        return self._edges.arrays["scale"]

    def edges(self, series: int, low: Floats, high: Floats, keys: Ints | None = None) -> None:
        """Set the edges of these series (None: of all, for ever)."""
        if keys is None:
            self._learnt = None
            keys, series = np.zeros(1, np.int64), 1
        self._edges.grow(series)
        self.low[keys], self.high[keys], self.scale[keys] = low, high, self._scales(low, high)

    def _scales(self, low: Floats, high: Floats) -> Floats:
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            return np.clip(self.bins / (high - low), *_SCALES)  # 0 times infinity is in no bin

    def restore(self, state: State) -> None:
        if self._learnt is not None and "scale" not in state:  # saved before it was kept
            low, high = (np.array(state[name], np.float64) for name in ("low", "high"))
            state = state | {"scale": self._scales(low, high)}
        super().restore(state)

    def bin(self, key: Ints, value: Floats, number: Ints | None = None) -> Ints:
        """Bin of each value: 0 below the edges, 1 to `bins`, `bins` + 1 above; the highest edge is inside.

        Args:
            key: `(n,)` series of each; `(g,)` of each segment if `number` is given.
            value: `(n,)`; finite.
            number: `(n,)` segment of each.
        """
        low: Any
        high: Any
        scale: Any
        if self.is_shared:
            low, high, scale = self.low[0], self.high[0], self.scale[0]
        else:
            low, high, scale = self.low[key], self.high[key], self.scale[key]
            if number is not None:
                low, high, scale = low.take(number), high.take(number), scale.take(number)
        place = value - low
        place *= scale
        place += 1.0
        np.clip(place, 0.0, self.bins + 1.0, out=place)  # numbers too great for int64 end here
        found: Ints = place.astype(np.int64)
        top = found > self.bins
        if top.any():
            found[top & (value <= high)] = self.bins
        return found

    def add(self, data: npt.NDArray[Any], slot: Ints, r: Readings) -> None:
        """Count readings where the histograms lie: segments in the columns `slot` of `data`."""
        data[0][slot] += r.length
        (value, valid), segment = r.columns[self.columns[0]], r.segment
        if valid is not None:
            value, segment = value[valid], segment[valid]
        cell = self.bin(r.key, value, segment)
        cell += 1
        cell *= data.shape[1]
        cell += slot.take(segment)
        np.add.at(data.reshape(-1), cell, data.dtype.type(1))

    def reduce(self, carry: Floats, r: Readings) -> Floats:
        """Counts `(C, g)` of the segments with their readings; `carry` is changed and returned."""
        carry[0] += r.length
        (value, valid), segment = r.columns[self.columns[0]], r.segment
        if valid is not None:
            value, segment = value[valid], segment[valid]
        cell = self.bin(r.key, value, segment)
        cell *= len(r.length)
        cell += segment
        counts = carry[1:].reshape(-1)  # a view
        if len(cell) * 8 < len(counts):
            np.add.at(counts, cell, 1.0)
        else:
            counts += np.bincount(cell, minlength=len(counts))
        return carry

    def running(self, carry: Floats, r: Readings) -> Floats:
        """Counts `(C, n)` after each reading."""
        n = len(r.segment)
        value, valid = r.columns[self.columns[0]]
        out = np.zeros((self.size, n))
        out[0] = 1.0
        rows = np.arange(n) if valid is None else np.flatnonzero(valid)
        out[self.bin(r.key[r.segment[rows]], value[rows]) + 1, rows] = 1.0
        np.cumsum(out, axis=1, out=out)
        before = np.zeros((self.size, len(r.first)))
        before[:, 1:] = out[:, r.first[1:] - 1]
        out += (carry - before)[:, r.segment]
        return out

    def load(self, partial: Floats) -> Floats:
        """Counts are ready to be folded as they are."""
        return partial

    def fold(self, window: Floats, older: Floats) -> None:
        """Add the next older pane, in place."""
        window += older
