"""Readings of some series in order of time, and windows of one size that end anywhere among them."""

from __future__ import annotations

from typing import Any

import numpy as np

from agent.windows.partials import PartialLayout, Readings, masked
from agent.windows.search import first_at_least, spread
from agent.windows.sorted_block import lengths, starts_of
from sensors.batch import Floats, Ints

_PAIRS = 1 << 20


class EventTimeRows:
    """Readings by series, time and arrival.

    Args:
        layout: of the aggregates.
        size: of a window, ns.
        key: `(n,)` series.
        columns: `time` (ns), `arrival`, `window` (whether a window that ends then is open), `x0`, `x1`, ... (the
            columns of the layout).

    Attributes:
        place: `(n,)` where each of the rows handed in is now.
    """

    def __init__(self, layout: PartialLayout, size: int, key: Ints, columns: dict[str, Any]) -> None:
        order = np.lexsort((columns["arrival"], columns["time"], key))
        self.layout, self.size = layout, size
        self.key = key[order]
        self.columns = {name: column[order] for name, column in columns.items()}
        self.time: Ints = self.columns["time"]
        self.arrival: Ints = self.columns["arrival"]
        self.window: Any = self.columns["window"]
        self.place = np.empty_like(order)
        self.place[order] = np.arange(len(order))
        self.pane = self.time // size
        fresh = np.append(True, self.key[1:] != self.key[:-1])[: len(self.key)]
        starts = np.flatnonzero(fresh)
        length = np.diff(starts, append=len(self.key))
        self.begin, self.end = np.repeat(starts, length), np.repeat(starts + length, length)
        self._twin = ~fresh
        self._twin[1:] &= self.time[1:] == self.time[:-1]  # ends when the row before it does
        self._numbers = {name: masked(self.columns[f"x{i}"]) for i, name in enumerate(layout.columns)}

    def windows(self) -> Ints:
        """Open windows: the last row at each time at which one ends."""
        group = np.cumsum(~self._twin) - 1
        first = np.flatnonzero(~self._twin)
        if len(first) == 0:
            return first
        last = np.append(first[1:], len(group)) - 1
        return last[np.logical_or.reduceat(self.window, first)]

    def close(self, rows: Ints) -> None:
        """The windows that end at the times of these rows are open no longer."""
        group = np.cumsum(~self._twin) - 1
        closed = np.zeros(len(group) + 1, np.bool_)
        closed[group[rows]] = True
        self.window[closed[group]] = False

    def in_order(self, rows: Ints) -> Floats:
        """Windows `(C, m)` that end with these rows, of the rows up to each; series whose rows came in order."""
        if len(rows) == 0:
            return np.zeros((self.layout.size, 0))
        fresh = np.append(True, (self.pane[1:] != self.pane[:-1]) | (self.key[1:] != self.key[:-1]))
        first = np.flatnonzero(fresh)
        everything = np.arange(len(self.key))
        forward = self._running(everything, first, False)
        backward = self._running(everything[::-1], len(self.key) - np.append(first[1:], len(self.key))[::-1], True)
        window = forward.take(rows, axis=1)
        begin = first_at_least(self.time, self.begin[rows], rows, np.maximum(self.time[rows] - self.size, 0))
        before = self.pane[begin] == self.pane[rows] - 1
        older = backward.take(len(self.key) - 1 - begin, axis=1)
        older[:, ~before] = self.layout.neutral
        self.layout.fold(window, older)
        return window

    def _running(self, rows: Ints, first: Ints, backwards: bool) -> Floats:
        length = np.diff(first, append=len(rows))
        carry = np.repeat(self.layout.neutral, len(first), axis=1)
        return self.layout.load(self.layout.running(carry, self._readings(rows, first, length, backwards)))

    def _readings(self, rows: Ints, first: Ints, length: Ints, backwards: bool) -> Readings:
        head = rows[first]
        return Readings(
            columns={name: column.take(rows) for name, column in self._numbers.items()},
            segment=np.repeat(np.arange(len(first)), length),
            first=first,
            length=length,
            key=self.key[head],
            order=self.arrival[rows].astype(np.float64),
            offset=(self.time[rows] - self.pane[rows] * self.size).astype(np.float64),
            pane=self.pane[head].astype(np.float64),
            by_time=True,
            backwards=backwards,
        )

    def after(self, rows: Ints, watermark: Ints) -> tuple[Ints, Ints]:
        """Windows that readings change: those that were open, contain them, and end with a reading come by then.

        Args:
            rows: `(m,)` of the readings.
            watermark: `(m,)` when each came, ns.

        Returns:
            Number of the reading (0 to m - 1) and a row at the end of the window, for each window; each once.
        """
        low = np.maximum(self.time[rows], 0)
        least = np.where(watermark > self.size, np.maximum(low, watermark), low)  # older ones are closed
        begin = first_at_least(self.time, self.begin[rows], self.end[rows], least)
        stop = first_at_least(self.time, self.begin[rows], self.end[rows], low + self.size + 1)
        reading, row = spread(begin, np.maximum(stop - begin, 0))
        come = self.window[row] & (self.arrival[row] <= self.arrival[rows][reading])
        reading, row = reading[come], row[come]
        again = np.zeros(len(row), np.bool_)
        again[1:] = (reading[1:] == reading[:-1]) & (self.time[row[1:]] == self.time[row[:-1]])
        return reading[~again], row[~again]

    def as_of(self, rows: Ints, arrival: Ints) -> Floats:
        """Windows `(C, m)` that end at the times of these rows, of the readings that had come by `arrival`."""
        out = np.repeat(self.layout.neutral, len(rows), axis=1)
        time = self.time[rows]
        begin = first_at_least(self.time, self.begin[rows], rows, np.maximum(time - self.size, 0))
        stop = first_at_least(self.time, rows, self.end[rows], time + 1)
        cuts = np.flatnonzero(np.diff(np.cumsum(stop - begin) // _PAIRS, prepend=0))
        for part in np.split(np.arange(len(rows)), cuts):
            if len(part):
                self._as_of(out, part, rows[part], arrival[part], begin[part], stop[part])
        return out

    def _as_of(self, out: Floats, part: Ints, rows: Ints, arrival: Ints, begin: Ints, stop: Ints) -> None:
        window, row = spread(begin, stop - begin)
        come = self.arrival[row] <= arrival[window]
        window, row = window[come], row[come]
        own = self.pane[row] == self.pane[rows][window]
        newer = self._reduced(window[own], row[own], len(part), False)
        older = self._reduced(window[~own][::-1], row[~own][::-1], len(part), True)
        self.layout.fold(newer, older)
        out[:, part] = newer

    def _reduced(self, window: Ints, row: Ints, number: int, backwards: bool) -> Floats:
        """Partials of the windows `(C, number)`, each of its rows in the order given."""
        found = np.repeat(self.layout.neutral, number, axis=1)
        if len(window):
            first = starts_of(window)
            length = lengths(first, len(window))
            carry = np.repeat(self.layout.neutral, len(first), axis=1)
            found[:, window[first]] = self.layout.load(
                self.layout.reduce(carry, self._readings(row, first, length, backwards))
            )
        return found
