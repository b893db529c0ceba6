"""Readings to windows by way of panes.

One block of readings goes this way: sort by series (stable), find the pane of each, split into segments of one
series and pane, add them to what is carried, and combine panes to windows: all windows that close, or those that
each reading changes. A window belongs to the first pane in it that is not empty, so each window with readings is
emitted once and empty ones never; the cost is linear in readings, however long the time between them.

A late reading may come to a pane after some window over that pane was emitted. Windows are then combined from the
panes as they were at that moment (`PaneVersions`), so that cutting the stream changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from agent.core.rows import Rows
from agent.core.series import Stateful
from agent.expressions import Expression
from agent.windows import sorted_block as block
from agent.windows.assigners import HoppingAssigner, WindowAssigner
from agent.windows.block_view import BlockView, columns, event_time, slice_of
from agent.windows.closed_windows import (
    ClosedWindows,
    PaneTable,
    RunningPartials,
    Triggers,
    concatenated,
    final_rows,
    versions_of,
)
from agent.windows.current import current_rows, current_rows_in_order
from agent.windows.lateness import Lateness
from agent.windows.padding import before_each
from agent.windows.panes import PaneRing
from agent.windows.partials import MaskedColumn, Partials, Readings
from agent.windows.search import spread
from agent.windows.watermark import Watermark
from sensors.batch import Floats, Ints

_NOTHING = np.zeros(0)
_CELLS = 1 << 20  # slots of a ring whose windows are combined at once


@dataclass(kw_only=True)
class PaneOperator(Stateful):
    """The panes of all series and the windows over them. The owner of the watermark remembers it.

    Attributes:
        assigner: which windows there are.
        pane: length of a pane, ns; `shift` from the epoch to the start of the first.
        layout: of partial aggregates; `ring` holds them.
        watermark: what is closed.
        current: emit windows as they change, not when they close.
        where: readings for which this does not hold are left out.
        resolution: of time stamps, ns.
        lateness: what was refused.
        arrived: readings so far, a number for the next one; only its order within a series matters.
    """

    remembers: ClassVar = {"": "lateness", "ring": "ring"}
    shared: ClassVar = {"arrived": ("arrived", max)}

    assigner: WindowAssigner
    layout: Partials
    watermark: Watermark
    ring: PaneRing
    pane: int
    shift: int
    current: bool
    where: Expression | None
    resolution: int
    lateness: Lateness
    arrived: int = 0

    def close(self, keys: Ints, at: Ints) -> Iterator[ClosedWindows]:
        """Close the windows of these series that end by the watermarks `at`."""
        if self.current:
            return
        before = self.closed(
            self.watermark.at[keys] if self.watermark.per_series else self.watermark.at.repeat(len(keys))
        )
        after = self.closed(at)
        some = (after > before) & (self.assigner.newest(self.ring.newest[keys]) > before)
        if some.any():
            keys, before, after = keys[some], before[some], after[some]
            yield from self._over_ring(Triggers(keys, before, after, np.full(len(keys), -1)), keys, before)

    def advance(self, rows: Rows, start: int, stop: int) -> Iterator[tuple[ClosedWindows, int]]:
        """What readings `start` to `stop` lead to, with the position that positions count from."""
        part = slice(start, stop)
        try:
            emitted = self._in_order_block(rows, part)
            if emitted is None:
                key, time = rows.key[part], event_time(rows, part, self.resolution)
                block.check_width(key, time, self.pane)
                emitted = list(self._sorted_block(rows, part, key, time))
        except block.TooWideError:
            middle = (start + stop) // 2
            yield from self.advance(rows, start, middle)
            yield from self.advance(rows, middle, stop)
            return
        self.arrived += stop - start
        for item in emitted:
            yield item, start

    def _in_order_block(self, rows: Rows, part: slice) -> list[ClosedWindows] | None:
        """The common case: every series on its own, no reading left out, none behind another; None if it is not so."""
        watermark = self.watermark
        if not watermark.per_series or self.where is not None or self.shift:
            return None
        view = BlockView.of(rows, part, self.resolution)
        s = view.series
        if s is None or not s.in_order:
            return None
        view.check_width(self.pane)
        self.ring.grow(view.highest + 1)
        watermark.grow(view.highest + 1)
        carried = watermark.at[s.owner]
        if (s.opens - watermark.lag < carried).any():
            return None
        segments = view.segments(self.pane)
        watermark.at[s.owner] = s.ends - watermark.lag
        if watermark.idle is not None:
            watermark.observe(s.owner, s.ends, rows.now)
        triggers = None if self.current else self._own_triggers(s, segments, carried)
        readings = self._readings(view.columns(self.layout.columns), s.time, s.order, segments)
        if not self.current and self.layout.simple and self._fits(segments, carried):
            slot = self.ring.slots_of(segments.key, segments.panes)
            self.ring.open(slot, segments.panes)
            self.layout.add(self.ring.data, slot, readings)
            self.ring.newest[s.owner] = segments.panes[segments.tails]
            return list(self._finals(triggers))
        return list(self._add(segments, readings, s.order, triggers, None, True, False))

    def _fits(self, segments: block.Segments, carried: Ints) -> bool:
        """Whether the ring can take the panes of a block without losing any that a window still needs."""
        newest = segments.panes[segments.tails]
        had = self.ring.newest[segments.key[segments.heads]]
        if len(segments.panes) == len(newest) and (newest == had).all():
            return True
        oldest = segments.panes[segments.heads]
        needed = self.assigner.first(self.closed(carried) + 1)
        oldest = np.where(had >= needed, np.minimum(needed, oldest), oldest)
        return bool((newest - oldest < self.ring.slots).all())

    def _own_triggers(self, s: block.SortedBlock, segments: block.Segments, carried: Ints) -> Triggers | None:
        """Readings that close windows of their series, in series that are in order."""
        lag = self.watermark.lag
        if lag % self.pane == 0:  # windows close where a pane begins
            first, heads = segments.first, segments.heads
            after = np.maximum(self.assigner.closed(segments.panes - lag // self.pane), -1)
        else:
            first, heads = np.arange(len(s.key)), s.starts
            after = self.closed(s.time - lag)
        before = before_each(after, heads, self.closed(carried))
        moved = (after > before).nonzero()[0]
        if len(moved) == 0:
            return None
        row = first[moved]
        return Triggers(s.key[row], before[moved], after[moved], row if s.order is None else s.order[row])

    def _sorted_block(self, rows: Rows, part: slice, key: Ints, time: Ints) -> Iterator[ClosedWindows]:
        watermark, n = self.watermark, len(key)
        highest = int(key.max())
        self.ring.grow(highest + 1)
        watermark.grow(highest + 1)
        common = triggers = None
        if not watermark.per_series:
            watermark.observe(np.zeros(1, np.int64), time.max(), rows.now)
            common = block.common_watermark(time, watermark)
            if not self.current:
                before, after = self.closed(common[0]), self.closed(common[1])
                moved = np.flatnonzero(after > before)
                triggers = Triggers(None, before[moved], after[moved], moved) if len(moved) else None
        position = self._kept(rows, part, key)
        if position is not None:
            key, time = key[position], time[position]
            common = None if common is None else (common[0][position], common[1][position])
        if len(key) == 0:
            yield from self._finals(triggers)
            return
        s = block.by_series(key, time, watermark, common)
        if watermark.per_series and watermark.idle is not None:
            watermark.observe(s.owner, np.maximum.reduceat(s.time, s.starts), rows.now)
        if s.order is not None:
            position = s.order if position is None else position[s.order]
        elif position is None:
            position = np.arange(n)
        if not self.current and watermark.per_series:
            before, after = self.closed(s.before), self.closed(s.after)
            moved = np.flatnonzero(after > before)
            if len(moved):
                triggers = Triggers(s.key[moved], before[moved], after[moved], position[moved])
        yield from self._panes(rows, part, s, position, triggers)

    def _kept(self, rows: Rows, part: slice, key: Ints) -> Ints | None:
        """Positions of the readings of the block that take part; None for all."""
        keep = None
        if int(key.min()) < 0:
            keep = key >= 0
        if self.where is not None:
            chosen = self.where.holds(slice_of(rows, part))
            keep = chosen if keep is None else keep & chosen
        return None if keep is None else np.flatnonzero(keep)

    def _panes(
        self, rows: Rows, part: slice, s: block.SortedBlock, position: Ints, triggers: Triggers | None
    ) -> Iterator[ClosedWindows]:
        pane = (s.time - self.shift) // self.pane
        trusted = s.in_order and self.watermark.per_series  # nothing can be late
        accepted: Any = None
        closed = None
        partially_late = False
        if not trusted or self.shift:
            newest, closed = self.assigner.newest(pane), self.closed(s.before)
            taken = (newest > closed) & (newest >= 0)
            if not taken.all():
                accepted = taken
            refused = np.minimum(newest, closed) - np.maximum(self.assigner.oldest(pane), 0) + 1
            partially_late = self.lateness.count(s.key, refused, taken)
            if self.lateness.emit:
                self._emit_late(rows, part, s, position, pane, refused)
        segments = block.segments(s.key, pane, accepted, s.in_order)
        if segments is None:
            yield from self._finals(triggers)
            return
        row = segments.row
        time = s.time
        if row is not None:
            position, time = position[row], time[row]
            closed = None if closed is None else closed[row]
        sorted_columns = columns(rows, part, self.layout.columns, position)
        readings = self._readings(sorted_columns, time, position, segments)
        yield from self._add(segments, readings, position, triggers, closed, trusted, partially_late)

    def _add(
        self,
        segments: block.Segments,
        readings: Readings,
        position: Ints | None,
        triggers: Triggers | None,
        closed: Ints | None,
        trusted: bool,
        partially_late: bool,
    ) -> Iterator[ClosedWindows]:
        """Add readings to panes and emit the windows that change or close."""
        slot = self.ring.slots_of(segments.key, segments.panes)
        carry = self.ring.carry(slot, segments.panes)
        if not self.current and not partially_late:
            partial = self.layout.reduce(carry, readings)
            yield from self._finals(triggers, segments, partial)
        else:
            if position is None:
                position = np.arange(len(segments.pane))
            after = self.layout.running(carry, readings)
            partial = after.take(segments.first + segments.length - 1, axis=1)
            running = RunningPartials(self.layout.load(after), position, self.layout.load(carry))
            if not self.current:
                yield from self._finals(triggers, segments, partial, running)
            else:
                yield self._currents(segments, partial, running, closed, trusted)
        self.ring.write(segments.key, segments.panes, slot, segments.tails, partial)

    def _finals(
        self,
        triggers: Triggers | None,
        segments: block.Segments | None = None,
        partial: Floats | None = None,
        running: RunningPartials | None = None,
    ) -> Iterator[ClosedWindows]:
        """Windows that close in the block, over panes of the ring and of the block."""
        if triggers is None:
            return
        ring, assigner = self.ring, self.assigner
        if triggers.series is None:
            keys = np.flatnonzero(assigner.newest(ring.newest) > triggers.before[0])
            since = np.repeat(triggers.before, len(keys))
        else:
            keys, since = triggers.series, triggers.before
        if segments is None or partial is None:
            yield from self._over_ring(triggers, keys, since)
            return
        key, pane, carried = ring.live(keys, assigner.first(since + 1))
        self.layout.load(carried)
        versions = None
        mine = np.arange(len(segments.key))
        if running is not None:
            versions = versions_of(segments, running, carried)
        elif triggers.series is not None:
            before, after = triggers.bounds(segments.key)
            mine = np.flatnonzero(after > before)
        key = np.concatenate((segments.key[mine], key))
        pane = np.concatenate((segments.panes[mine], pane))
        carried = np.concatenate((self.layout.load(partial.take(mine, axis=1)), carried), axis=1)
        if len(key):
            table = PaneTable(key, pane, carried, self.layout.neutral, versions)
            yield final_rows(table, assigner, self.layout, triggers)

    def _over_ring(self, triggers: Triggers, keys: Ints, since: Ints) -> list[ClosedWindows]:
        """Windows that close over the panes of these series in the ring; of so many series at a time as fit memory."""
        emitted = []
        number = -(-len(keys) * self.ring.slots // _CELLS)
        for part in np.array_split(np.arange(len(keys)), number) if number > 1 else [slice(None)]:
            key, pane, partial = self.ring.live(keys[part], self.assigner.first(since[part] + 1))
            if len(key):
                table = PaneTable(key, pane, self.layout.load(partial), self.layout.neutral)
                emitted.append(final_rows(table, self.assigner, self.layout, triggers))
        if len(emitted) < 2:
            return emitted
        found = concatenated(*emitted)
        return [found.take(np.lexsort((found.key, found.window, found.position)))]

    def _currents(
        self,
        segments: block.Segments,
        partial: Floats,
        running: RunningPartials,
        closed: Ints | None,
        trusted: bool,
    ) -> ClosedWindows:
        """Windows that the readings of the block change."""
        heads = segments.heads
        since = self.assigner.first(np.maximum(self.assigner.oldest(segments.panes[heads]), 0))
        key, pane, carried = self.ring.live(segments.key[heads], since)
        self.layout.load(carried)
        panes = (
            np.concatenate((segments.key, key)),
            np.concatenate((segments.panes, pane)),
            np.concatenate((self.layout.load(partial.copy()), carried), axis=1),
            self.layout.neutral,
        )
        if trusted and isinstance(self.assigner, HoppingAssigner):
            return current_rows_in_order(PaneTable(*panes), self.assigner, self.layout, segments, running)
        versions = versions_of(segments, running, carried)
        table = PaneTable(*panes, versions)
        return current_rows(table, versions, self.assigner, self.layout, segments, running.position, closed)

    def _readings(
        self, columns: dict[str, MaskedColumn], time: Ints, position: Ints | None, segments: block.Segments
    ) -> Readings:
        """The columns the aggregates need, in segments."""
        order = offset = pane = _NOTHING
        if self.layout.ends:
            at = np.arange(len(time)) if position is None else position
            order = (at + (self.arrived + 1)).astype(np.float64)
            offset = (time - self.shift - segments.pane * self.pane).astype(np.float64)
            pane = segments.panes.astype(np.float64)
        return Readings(
            columns,
            segments.number,
            segments.first,
            segments.length,
            segments.key,
            order,
            offset,
            pane,
        )

    def _emit_late(
        self, rows: Rows, part: slice, s: block.SortedBlock, position: Ints, pane: Ints, refused: Ints
    ) -> None:
        """Keep the windows refused to late readings: so many of the oldest that contain each."""
        late = np.flatnonzero(refused > 0)
        late = late[np.argsort(position[late], kind="stable")]
        owner, window = spread(np.maximum(self.assigner.oldest(pane[late]), 0), refused[late])
        reading = late[owner]
        start = self.assigner.first(window) * self.pane + self.shift
        end = self.assigner.end(window) * self.pane + self.shift
        at, by = rows.at[part][position[reading]], s.before[reading] - s.time[reading]
        self.lateness.refuse(s.key[reading], start, end, at, by, rows.now)

    def closed(self, watermark: Ints) -> Ints:
        """Number of the newest window closed at each watermark, at least -1."""
        return np.maximum(self.assigner.closed((watermark - self.shift) // self.pane), -1)

    def rows(self, emitted: ClosedWindows, rows: Rows, values: dict[str, Floats]) -> Rows:
        """Windows as rows; `at` is that of the reading that caused each."""
        position = emitted.position
        if len(position) and int(position[0]) < 0:
            at = np.full(len(position), -1)
            caused = position >= 0
            at[caused] = rows.at[position[caused]]
        else:
            at = rows.at.take(position)
        start = self.assigner.first(emitted.window) * self.pane
        end = self.assigner.end(emitted.window) * self.pane
        if self.shift:
            start, end = start + self.shift, end + self.shift
        return Rows(emitted.key, start, end, at, values, rows.now)
