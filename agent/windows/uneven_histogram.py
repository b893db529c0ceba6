"""Histograms of panes on edges that are not equally far apart, such as quantiles of a reference."""

from __future__ import annotations

import numpy as np

from agent.core.series import Field
from agent.windows.histogram import Histograms
from sensors.batch import Floats, Ints


class UnevenHistograms(Histograms):
    """Histograms whose edges are given one by one; as `Histograms` otherwise. Equal edges have an empty bin between."""

    def _fields(self) -> dict[str, Field]:
        return super()._fields() | {"inner": Field(np.float64, 0, (self.bins + 1,))}

    @property
    def inner(self) -> Floats:
        """`(series, bins + 1)` edges, ascending; one row if they are for all series."""
        return self._edges.arrays["inner"]

    def uneven(self, series: int, edges: Floats, keys: Ints | None = None) -> None:
        """Set the edges `(k, bins + 1)` of these series (None: of all, for ever)."""
        self.edges(series, edges[:, 0], edges[:, -1], keys)
        self.inner[0 if keys is None else keys] = edges

    def bin(self, key: Ints, value: Floats, number: Ints | None = None) -> Ints:
        """Bin of each value: 0 below the edges, 1 to `bins`, `bins` + 1 above; the highest edge is inside."""
        row = np.zeros(len(value), np.int64) if self.is_shared else key if number is None else key.take(number)
        found: Ints
        if self.is_shared:
            found = np.searchsorted(self.inner[0], value, side="right").astype(np.int64)
        else:
            found = self._search(row, value)
        top = found > self.bins
        found[top & (value <= self.high[row])] = self.bins
        return found

    def _search(self, row: Ints, value: Floats) -> Ints:
        """How many edges of its series are not above each value: a binary search for all at once."""
        edges, width = self.inner.reshape(-1), self.bins + 1
        before = row * width - 1
        found = np.zeros(len(value), np.int64)
        step = 1 << (width.bit_length() - 1)
        while step:
            further = found + step
            reach = np.minimum(further, width)
            found = np.where((further <= width) & (edges.take(before + reach) <= value), further, found)
            step >>= 1
        return found
