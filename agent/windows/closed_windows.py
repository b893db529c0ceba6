"""Panes to windows: the panes of some series in order, their versions, and the windows that close over them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from agent.windows.assigners import WindowAssigner
from agent.windows.partials import Partials
from agent.windows.search import spread
from agent.windows.sorted_block import Segments, starts_of
from sensors.batch import Floats, Ints

_ROOM = 1 << 62
_LONG = 16  # panes in a window from which a running total beats adding them up


class ClosedWindows(NamedTuple):
    """Windows to be emitted: series, number, position of the cause in the block (-1: the clock), folded partial."""

    key: Ints
    window: Ints
    position: Ints
    partial: Floats

    def take(self, index: Ints) -> ClosedWindows:
        """Those at `index`, in that order."""
        return ClosedWindows(
            self.key[index], self.window[index], self.position[index], self.partial.take(index, axis=1)
        )


def concatenated(*emitted: ClosedWindows, size: int = 0) -> ClosedWindows:
    """One after the other; of partials of this size where there is none."""
    if not emitted:
        empty = np.zeros(0, np.int64)
        return ClosedWindows(empty, empty, empty, np.zeros((size, 0)))
    if len(emitted) == 1:
        return emitted[0]
    return ClosedWindows(
        np.concatenate([item.key for item in emitted]),
        np.concatenate([item.window for item in emitted]),
        np.concatenate([item.position for item in emitted]),
        np.concatenate([item.partial for item in emitted], axis=1),
    )


class RunningPartials(NamedTuple):
    """What the readings of a block made of each pane, one by one.

    Attributes:
        after: `(C, n)` loaded partial of its pane after each reading, readings by series and pane.
        position: `(n,)` position in the block of each.
        before: `(C, g)` loaded partial of each pane before its first.
    """

    after: Floats
    position: Ints
    before: Floats


class PaneVersions:
    """Every state each pane has been in during a block, to look up what it was when a certain reading came.

    Args:
        running: `(C, n)` loaded partial after each sorted reading.
        position: `(n,)` position in the block of each sorted reading; ascending within a pane.
        first: `(t,)` first sorted reading of each pane of the table, `length` their number (0: none in this block).
        carried: `(C, t)` loaded partial of each pane of the table before the block.
    """

    def __init__(self, running: Floats, position: Ints, first: Ints, length: Ints, carried: Floats) -> None:
        self.position, self.first, self.length = position, first, length
        nothing = np.zeros((len(running), 1))
        self.states: Floats = np.concatenate((running, carried, nothing), axis=1)

    def arrange(self, order: Ints, neutral: Floats) -> None:
        """Take the order of the table; the last state is that of an empty pane."""
        n = len(self.position)
        # States of readings stay where they are, `first` points at them; only what is one a pane changes its order.
        self.first, self.length = self.first[order], self.length[order]
        self.states[:, n:-1] = self.states[:, n:-1].take(order, axis=1)
        self.states[:, -1:] = neutral
        # Pane and position as one number: one binary search then answers for all panes at once. Panes without a
        # reading get no number of their own, so that the numbers stay small.
        touched = self.length > 0
        self._rank = np.cumsum(touched) - 1
        self._room = int(self.position.max(initial=0)) + 2
        owner = np.repeat(np.arange(np.count_nonzero(touched)), self.length[touched])
        self._codes = owner * self._room + self.position

    def at(self, pane: Ints, position: Ints) -> Ints:
        """Index into `states` of each pane (of the table, in its order) right after the reading at `position`."""
        codes = self._rank[pane] * self._room + np.minimum(position, self._room - 1)
        found = np.searchsorted(self._codes, codes, side="right") - 1
        # Found before its first reading is a reading of the pane before it: it was still as before the block.
        inside = (self.length[pane] > 0) & (found >= self.first[pane])
        return np.where(inside, found, len(self.position) + pane)


def versions_of(segments: Segments, running: RunningPartials, carried: Floats) -> PaneVersions:
    """The versions of the panes of a block and of others `(C, t)` that it leaves as they are, one after the other."""
    none = np.zeros(carried.shape[1], np.int64)
    return PaneVersions(
        running.after,
        running.position,
        np.concatenate((segments.first, none)),
        np.concatenate((segments.length, none)),
        np.concatenate((running.before, carried), axis=1),
    )


class PaneTable:
    """Panes in order of series and number; there is at least one.

    Args:
        key: `(t,)` series.
        pane: `(t,)` number; no pane of a series twice.
        partial: `(C, t)` loaded partials; `neutral` `(C, 1)` that of an empty pane.
        versions: of the same panes in the same order, where panes are needed as of a certain reading.
    """

    def __init__(
        self, key: Ints, pane: Ints, partial: Floats, neutral: Floats, versions: PaneVersions | None = None
    ) -> None:
        # Series and pane as one number: they are sorted, and looked up by `before`, in one go. The span is one more
        # than there are panes, since `before` may be called with the pane after the last.
        self.least = int(pane.min())
        self.span = int(pane.max()) - self.least + 2
        self._ranks = _ranks(key, self.span)
        code = _ranked(self._ranks, key) * self.span + (pane - self.least)
        order = np.argsort(code, kind="stable") if len(code) > 1 else np.zeros(len(code), np.int64)
        self.key, self.pane, self.code = key[order], pane[order], code[order]
        self._partial, self._order = partial, order
        self.versions = versions
        if versions is not None:
            versions.arrange(order, neutral)

    def __len__(self) -> int:
        return len(self.pane)

    def partial(self) -> Floats:
        """Partials `(C, t)` in order."""
        return self._partial.take(self._order, axis=1)

    def before(self, key: Ints, pane: Ints) -> Ints:
        """Number of panes of the table that precede this pane of this series."""
        inside = np.clip(pane - self.least, 0, self.span - 1)
        found: Ints = np.searchsorted(self.code, _ranked(self._ranks, key) * self.span + inside)
        return found

    def fold(self, layout: Partials, first: Ints, last: Ints, position: Any = None) -> Floats:
        """Panes `first` to `last` of the table to windows `(C, m)`, newest pane first.

        Args:
            layout: of the partials.
            first: `(m,)` index of the oldest pane of each window.
            last: `(m,)` index of the newest, not before it.
            position: as of which reading of the block; None for the panes as they are now.
        """
        length = last - first + 1
        longest = int(length.max(initial=0))
        if position is not None and self.versions is not None:
            return self._fold(layout, self.versions.states, length, last, position)
        # A difference of running totals is exact only for whole numbers, the counts of a histogram.
        if layout.whole and longest > _LONG:
            total = np.zeros((len(self._partial), len(self) + 1))
            np.cumsum(self.partial(), axis=1, out=total[:, 1:])
            return total.take(last + 1, axis=1) - total.take(first, axis=1)
        return self._fold(layout, self._partial, length, last, None)

    def _fold(self, layout: Partials, source: Floats, length: Ints, last: Ints, position: Any) -> Floats:
        def index(pane: Ints, when: Any) -> Ints:
            return self._order[pane] if when is None or self.versions is None else self.versions.at(pane, when)

        # All windows at once, a pane back in time each turn: each adds its panes newest first, as it must to give
        # the same bits however the stream was cut; windows with no pane so far back drop out.
        window = source.take(index(last, position), axis=1)
        longest = int(length.max(initial=0))
        every = bool((length == longest).all())
        for step in range(1, longest):
            rows: Any = slice(None) if every else (length > step).nonzero()[0]
            older = source.take(index(last[rows] - step, None if position is None else position[rows]), axis=1)
            if every:
                layout.fold(window, older)
            else:
                part = window[:, rows]
                layout.fold(part, older)
                window[:, rows] = part
        return window


class Triggers:
    """Which reading closed which window: those readings, at least one, at which the newest closed window moved on.

    Args:
        key: `(c,)` series of each such reading, ascending; None where all series close together.
        before: `(c,)` newest window closed before it.
        closed: `(c,)` newest window closed after it; ascending within a series.
        position: `(c,)` of the reading in the block; -1 for the clock.
    """

    def __init__(self, key: Ints | None, before: Ints, closed: Ints, position: Ints) -> None:
        # Series and window as one number, as in the table: `of` searches for the first trigger that is not before it.
        self.position, self.key, self.closed = position, key, closed
        self.least = int(closed.min())
        self.span = int(closed.max()) - self.least + 2
        if key is None:
            self.code = closed - self.least
            self.series, self.before, self.after = None, before[:1], closed[-1:]
        else:
            self._ranks = _ranks(key, self.span)
            self.code = _ranked(self._ranks, key) * self.span + (closed - self.least)
            first = starts_of(key)
            self.series, self.before = key[first], before[first]
            self.after = closed[np.append(first[1:], len(key)) - 1]

    def bounds(self, key: Ints) -> tuple[Ints, Ints]:
        """Newest window closed before and after all triggers, of each of these series; equal if it has no trigger."""
        if self.series is None:
            return np.repeat(self.before, len(key)), np.repeat(self.after, len(key))
        index = np.minimum(np.searchsorted(self.series, key), len(self.series) - 1)
        there = self.series[index] == key
        return np.where(there, self.before[index], -1), np.where(there, self.after[index], -1)

    def of(self, key: Ints, window: Ints) -> Ints:
        """Position of the reading that closed each window of each series."""
        code = np.maximum(window - self.least, 0)
        if self.key is not None:
            code += _ranked(self._ranks, key) * self.span
        found: Ints = self.position[np.searchsorted(self.code, code)]
        return found


def _ranks(key: Ints, span: int) -> Ints | None:
    """The series there are, where their numbers are too great to be joined with `span` others; else None."""
    return np.unique(key) if (int(key.max()) + 1) * span >= _ROOM else None


def _ranked(ranks: Ints | None, key: Ints) -> Ints:
    return key if ranks is None else np.searchsorted(ranks, key)


def final_rows(table: PaneTable, assigner: WindowAssigner, layout: Partials, triggers: Triggers) -> ClosedWindows:
    """Windows that close, each once, in order of the reading that closed them, then start, then series.

    Args:
        table: panes of the series concerned.
        assigner: which windows there are.
        layout: of the partials.
        triggers: which reading closed what.
    """
    # A window belongs to the first pane in it that is there: so each is found once, from that pane, and one without
    # readings never. `low` is the oldest window that is neither closed before nor owned by the pane before.
    before, after = triggers.bounds(table.key)
    previous = np.empty_like(table.pane)
    previous[1:] = table.pane[:-1]
    same = np.empty(len(table), np.bool_)
    same[:1] = False
    same[1:] = table.key[1:] == table.key[:-1]
    low = np.maximum(assigner.oldest(table.pane), before + 1)
    low[same] = np.maximum(low[same], assigner.after(previous[same]))
    # From `low` to the newest window that holds the pane and closes now: so many rows a pane.
    number = np.maximum(np.minimum(assigner.newest(table.pane), after) - low + 1, 0)
    owner, window = spread(low, number)
    key = table.key[owner]
    last = table.before(key, assigner.end(window)) - 1
    position = triggers.of(key, window)
    partial = table.fold(layout, owner, last, position if table.versions is not None else None)
    # As of the reading that closed it a window may have been empty: what is in it now came too late for it.
    if table.versions is not None:
        some = np.flatnonzero(partial[0] > 0)
        key, window, position, partial = ClosedWindows(key, window, position, partial).take(some)
    # The table runs by series, then window; where all series close together, or the clock does it, start is first.
    if triggers.key is None or position.min(initial=0) < 0:
        order = np.lexsort((key, window, position))
    else:
        order = np.argsort(position, kind="stable")
    return ClosedWindows(key, window, position, partial).take(order)
