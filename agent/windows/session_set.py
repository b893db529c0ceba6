"""The open sessions of some series, and how readings are added to them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from agent.windows import sorted_block as block
from agent.windows.padding import before_each
from agent.windows.partials import PartialLayout, Readings
from agent.windows.search import first_at_least
from agent.windows.series_buffer import SeriesBuffer
from sensors.batch import Floats, Ints

_NEVER = -(2**61)


@dataclass(slots=True)
class SessionSet:
    """Sessions by series and last time, of times `[start, last]`; among the open ones that is also by start.

    Attributes:
        layout: of the partials.
        key: `(s,)` series.
        start: `(s,)` time of the first reading, `last` of the last, ns.
        partial: `(C, s)` as they are added to, not loaded.
    """

    layout: PartialLayout
    key: Ints
    start: Ints
    last: Ints
    partial: Floats

    @classmethod
    def read(cls, buffer: SeriesBuffer, layout: PartialLayout, keys: Ints) -> SessionSet:
        """The open sessions of these series."""
        key, rows = buffer.read(keys)
        partial = np.array([rows[f"p{i}"] for i in range(layout.size)])
        return cls(layout, key, rows["start"], rows["last"], partial)

    def write(self, buffer: SeriesBuffer, keys: Ints, which: Ints) -> None:
        """Keep these sessions, and no others, of the series."""
        number = np.bincount(np.searchsorted(keys, self.key[which]), minlength=len(keys))
        rows: dict[str, Any] = {"start": self.start[which], "last": self.last[which]}
        rows |= {f"p{i}": self.partial[i, which] for i in range(self.layout.size)}
        buffer.write(keys, number, rows)

    def newest(self, key: Ints) -> Ints:
        """Number of the newest session of each series, -1 where there is none."""
        found = np.searchsorted(self.key, key, side="right") - 1
        there = (found >= 0) & (self.key[found] == key) if len(self.key) else np.zeros(len(key), np.bool_)
        return np.where(there, found, -1)

    def add_in_order(self, gap: int, s: block.SortedBlock, row: Ints, r: Readings) -> Any:
        """Add rows of a block, in order, none before the last of its series' sessions; which were late, `(n,)` bool."""
        key, time, before = s.key[row], s.time[row], s.before[row]
        heads = block.starts_of(key)
        newest = self.newest(key[heads])
        carried = np.where(newest >= 0, self.last[newest], _NEVER) if len(self.last) else _NEVER
        previous = before_each(time, heads, carried)
        linked = (time - previous <= gap) & (previous + gap > before)
        late = ~linked & (time + gap <= before)
        kept = np.flatnonzero(~late)
        if len(kept) == 0:
            return late
        begins = ~linked[kept]
        begins[block.starts_of(key[kept])] = True
        first = np.flatnonzero(begins)
        length = block.lengths(first, len(kept))
        head = kept[first]
        joins = np.flatnonzero(linked[head])  # these go on with a session of before
        old = newest[np.searchsorted(key[heads], key[head[joins]])]
        carry = np.repeat(self.layout.neutral, len(first), axis=1)
        carry[:, joins] = self.partial[:, old]
        start = time[head]
        start[joins] = self.start[old]
        partial = self.layout.reduce(carry, _segments(r, row[kept], first, length))
        self._replace(old, key[head], start, time[kept[first + length - 1]], partial)
        return late

    def add_out_of_order(self, gap: int, s: block.SortedBlock, row: Ints, r: Readings) -> Any:
        """Add rows of a block, one a series, behind others of it; which were too late, `(n,)` bool."""
        if len(self.key) == 0:
            return self.add_in_order(gap, s, row, r)
        key, time, before = s.key[row], s.time[row], s.before[row]
        begin, end = np.searchsorted(self.key, key), np.searchsorted(self.key, key, side="right")
        begin = first_at_least(self.last, begin, end, before - gap + 1)  # those before it are closed
        right = first_at_least(self.start, begin, end, time + 1)
        left = right - 1
        least, most = np.maximum(left, 0), np.minimum(right, len(self.key) - 1)
        last = self.last[least]
        on_left = (left >= begin) & (time - last <= gap) & (last + gap > before)
        on_right = (right < end) & (self.start[most] - time <= gap) & (self.last[most] + gap > before)
        late = ~on_left & ~on_right & (time + gap <= before)
        kept = np.flatnonzero(~late)
        if len(kept) == 0:
            return late
        a, b = on_left[kept], on_right[kept]
        least, most, when = least[kept], most[kept], time[kept]
        neutral = self.layout.neutral
        newer = np.where(b, self.partial[:, most], neutral)
        older = np.where(a, self.partial[:, least], neutral)
        start = np.where(a, self.start[least], when)
        stop = np.where(b, self.last[most], when)
        stop = np.where(a, np.maximum(stop, self.last[least]), stop)
        ones = np.ones(len(kept), np.int64)
        partial = self.layout.reduce(
            self.layout.joined(newer, older), _segments(r, row[kept], np.arange(len(kept)), ones)
        )
        self._replace(np.concatenate((least[a], most[b])), key[kept], start, stop, partial)
        return late

    def _replace(self, gone: Ints, key: Ints, start: Ints, last: Ints, partial: Floats) -> None:
        """Take sessions out and put others in."""
        stay = np.ones(len(self.key), np.bool_)
        stay[gone] = False
        key, start = np.concatenate((self.key[stay], key)), np.concatenate((self.start[stay], start))
        last, partial = (
            np.concatenate((self.last[stay], last)),
            np.concatenate((self.partial[:, stay], partial), axis=1),
        )
        order = np.lexsort((last, key))  # not by start: an open session may begin before a closed one, not end
        self.key, self.start, self.last = key[order], start[order], last[order]
        self.partial = partial.take(order, axis=1)


def passes(s: block.SortedBlock, sessions: SessionSet) -> Iterator[tuple[Ints, bool]]:
    """Passes over a block, each a run in order or one reading out of order of some series: rows, and which it is."""
    newest = sessions.newest(s.owner)
    known = (
        np.where(newest >= 0, sessions.last[newest], _NEVER) if len(sessions.last) else np.full(len(newest), _NEVER)
    )
    latest = before_each(block.running_maximum(s.time, s.starts, s.length), s.starts, known)
    latest = np.maximum(latest, np.repeat(known, s.length))
    out_of_order = s.time < latest
    if not out_of_order.any():
        yield np.arange(len(s.key)), False
        return
    change = np.ones(len(s.key), np.bool_)
    change[1:] = out_of_order[1:] | out_of_order[:-1]
    change[s.starts] = True
    run: Ints = np.cumsum(change, dtype=np.int64)
    run -= np.repeat(run[s.starts], s.length)  # number of the run within its series
    order = np.argsort(run, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(run[order])) + 1):
        for kind in (False, True):
            some = rows[out_of_order[rows] == kind]
            if len(some):
                yield some, kind


def _segments(r: Readings, rows: Ints, first: Ints, length: Ints) -> Readings:
    """Some of the readings, cut into segments."""
    return Readings(
        columns={name: column.take(rows) for name, column in r.columns.items()},
        segment=np.repeat(np.arange(len(first)), length),
        first=first,
        length=length,
        key=first,
        order=r.order[rows],
        offset=r.offset[rows],
        pane=np.zeros(len(first)),
    )
