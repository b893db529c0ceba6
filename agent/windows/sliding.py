"""Sliding windows over time: one for each time at which a reading came, `[time - size, time]`, both ends inclusive.

The readings of the open windows are kept (`SeriesBuffer`). Time is cut into panes of one `size`, so a window is the end
of one pane and the beginning of the next: two running aggregates, forward and backward, give every window of a stream
in order at constant cost (van Herk 1992, Gil and Werman 1993). Readings behind others of their series take the same two
sums over the readings that had come by then, at a cost of the readings in the window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from agent.core.rows import Rows, no_rows
from agent.core.series import State
from agent.windows import sorted_block as block
from agent.windows.aggregates import parse
from agent.windows.base import Window
from agent.windows.block_view import slice_of
from agent.windows.closed_windows import ClosedWindows, concatenated
from agent.windows.event_time_rows import EventTimeRows
from agent.windows.lateness import Lateness
from agent.windows.results import results
from agent.windows.sampled_aggregates import WindowQuery, with_columns
from agent.windows.search import first_at_least
from agent.windows.series_buffer import SeriesBuffer
from agent.windows.watermark import NEVER, Watermark
from sensors.batch import Ints
from sensors.units import Duration

_END = 1 << 62
_BLOCK = 1 << 15
_ZERO = Duration(0)


@dataclass(kw_only=True)
class Sliding(Window):
    """Windows of `size` that end with each reading.

    Attributes:
        size: of a window; both ends belong to it.
        grace: how late a reading may be.
        emit_late: keep the windows refused to late readings of the last call in `late`, for a side stream.
        emit: `current`: at a reading the window that ends with it, and those after it that contain it; `final`: a
            window is emitted when the series has gone on by more than `grace`.
        most: readings kept of a series; the oldest beyond it are dropped and counted.
    """

    remembers: ClassVar = {**Window.remembers, "journal": "buffer"}
    shared: ClassVar = {"arrived": ("_arrived", max)}

    size: Duration
    emit: Literal["current", "final"] = "final"
    grace: Duration = _ZERO
    emit_late: bool = False
    most: int = 100_000

    def __post_init__(self) -> None:
        if self.size <= 0:
            raise ValueError("size must be longer than zero")
        lateness = Lateness(self.emit_late)
        watermark = Watermark("key", self.grace, 0, None)
        self._begin(parse(self.aggregates, self.metric), self.most, watermark, lateness, lateness)
        fields = {"time": np.int64, "arrival": np.int64, "window": np.bool_}
        self.buffer = SeriesBuffer(
            fields | {f"x{i}": np.float64 for i in range(len(self.layout.columns))}, self.most
        )
        self._arrived = 0

    @property
    def dropped(self) -> int:
        """Readings beyond `most` of a series."""
        return max(super().dropped, self.buffer.dropped)

    def process(self, rows: Rows) -> Rows:
        """Windows that the rows changed (`current`) or closed (`final`), in order."""
        self.late.clear()
        emitted: list[ClosedWindows] = []
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            arrived, owner = self._arrived, rows.key[:0]
            if self.samples is not None and len(rows):
                owner = self.samples.add(rows, rows.end, self._kept(rows), arrived)
            for start in range(0, len(rows), _BLOCK):
                emitted += self._block(rows, start, min(start + _BLOCK, len(rows)))
            found = self._rows(emitted, rows, arrived)
            if self.samples is not None and len(owner):
                self.samples.drop(owner, self.watermark.at[owner] - self.size)
            return found

    def _kept(self, rows: Rows) -> Any:
        """Rows that take part, `(n,)` bool."""
        keep = rows.key >= 0
        return keep if self.where is None else keep & self.where.holds(rows)

    def finish(self, now: int) -> Rows:
        """End of input: emit every window that is open (`final` only)."""
        none = no_rows(now)
        keys = np.flatnonzero(self.buffer.count > 0)
        if self.emit == "current" or len(keys) == 0:
            return self._rows([], none, 0)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            timeline = EventTimeRows(self.layout, int(self.size), *self.buffer.read(keys))
            rows = timeline.windows()
            emitted = ClosedWindows(
                timeline.key[rows], timeline.time[rows], np.full(len(rows), -1), timeline.in_order(rows)
            )
            order = np.lexsort((emitted.key, emitted.window))
            self.touch(keys)
            self.buffer.evict(keys)
            self.watermark.at[keys] = _END
            return self._rows([emitted.take(order)], none, _END)

    def _block(self, rows: Rows, start: int, stop: int) -> list[ClosedWindows]:
        key, time = rows.key[start:stop], rows.end[start:stop]
        position = np.flatnonzero(self._kept(slice_of(rows, slice(start, stop))))
        key, time = key[position], time[position]
        if len(key) == 0:
            return []
        highest = int(key.max())
        if highest >= self.watermark.series:
            self.grow(highest + 1)
        try:
            s = block.by_series(key, time, self.watermark, None)
        except block.TooWideError:
            middle = (start + stop) // 2
            return self._block(rows, start, middle) + self._block(rows, middle, stop)
        if s.order is not None:
            position = position[s.order]
        emitted = self._new(rows, start, position, s.key, s.time, s.after, s.starts, s.length)
        self._arrived += stop - start
        return emitted

    def _new(
        self,
        rows: Rows,
        start: int,
        position: Ints,
        key: Ints,
        time: Ints,
        watermark: Ints,
        first: Ints,
        length: Ints,
    ) -> list[ClosedWindows]:
        """Add readings, sorted by series, to the kept ones and emit windows."""
        size, owner = int(self.size), key[first]
        accepted = time >= watermark - size
        fits = np.maximum(time - size, 0) >= watermark - size
        if not fits.all():
            self.lateness.count(key, 1 - fits, accepted)
            self._refuse(rows, start, position, key, time, watermark, np.flatnonzero(~fits))
        chosen = np.flatnonzero(accepted)
        kept_key, kept = self.buffer.read(owner)
        new: dict[str, Any] = {
            "time": time[chosen],
            "arrival": self._arrived + position[chosen],
            "window": fits[chosen],
        }
        for i, name in enumerate(self.layout.columns):
            new[f"x{i}"] = block.column(rows.values, name, slice(None), len(rows))[start + position[chosen]]
        columns = {name: np.concatenate((kept[name], new[name])) for name in kept}
        timeline = EventTimeRows(self.layout, size, np.concatenate((kept_key, key[chosen])), columns)
        inside = timeline.place[len(kept_key) :]
        in_order = watermark == time - self.grace
        out_of_order = np.zeros(len(self.watermark.at), np.bool_)
        out_of_order[key[~in_order]] = True
        if self.emit == "current":
            emitted = self._current(
                timeline, out_of_order, inside, key[chosen], time[chosen], watermark[chosen], position[chosen]
            )
        else:
            emitted = self._final(timeline, out_of_order, owner, first, length, watermark, position)
        self._keep(timeline, owner)
        return [item._replace(position=item.position + start) for item in emitted]

    def _current(
        self,
        timeline: EventTimeRows,
        out_of_order: Any,
        inside: Ints,
        key: Ints,
        time: Ints,
        watermark: Ints,
        position: Ints,
    ) -> list[ClosedWindows]:
        simple = np.flatnonzero(~out_of_order[key])
        emitted = ClosedWindows(key[simple], time[simple], position[simple], timeline.in_order(inside[simple]))
        hard = np.flatnonzero(out_of_order[key])
        if len(hard):
            reading, window = timeline.after(inside[hard], watermark[hard])
            row = hard[reading]
            partial = timeline.as_of(window, timeline.arrival[inside[row]])
            emitted = concatenated(emitted, ClosedWindows(key[row], timeline.time[window], position[row], partial))
        return [_sorted(emitted)]

    def _final(
        self,
        timeline: EventTimeRows,
        out_of_order: Any,
        owner: Ints,
        first: Ints,
        length: Ints,
        watermark: Ints,
        position: Ints,
    ) -> list[ClosedWindows]:
        window = timeline.windows()
        number = np.searchsorted(owner, timeline.key[window])
        begin, end = first[number], first[number] + length[number]
        closes = np.maximum(timeline.time[window], self.size) + 1  # the watermark at which it closes
        cause = first_at_least(watermark, begin, end, closes)
        done = np.flatnonzero(cause < end)
        window, cause = window[done], cause[done]
        timeline.close(window)
        simple = np.flatnonzero(~out_of_order[timeline.key[window]])
        row = window[simple]
        emitted = ClosedWindows(
            timeline.key[row], timeline.time[row], position[cause[simple]], timeline.in_order(row)
        )
        hard = np.flatnonzero(out_of_order[timeline.key[window]])
        if len(hard):
            row = window[hard]
            partial = timeline.as_of(row, self._arrived + position[cause[hard]])
            emitted = concatenated(
                emitted, ClosedWindows(timeline.key[row], timeline.time[row], position[cause[hard]], partial)
            )
        return [_sorted(emitted)]

    def _keep(self, timeline: EventTimeRows, owner: Ints) -> None:
        """Put back what open windows need."""
        least = (self.watermark.at - self.size)[timeline.key]
        open_ = timeline.window & (np.maximum(timeline.time - self.size, 0) >= least)
        keep = np.flatnonzero(timeline.time >= least)
        columns = {name: column[keep] for name, column in timeline.columns.items()}
        columns["window"] = open_[keep]
        number = np.bincount(np.searchsorted(owner, timeline.key[keep]), minlength=len(owner))
        self.buffer.write(owner, number, columns)

    def _refuse(
        self, rows: Rows, start: int, position: Ints, key: Ints, time: Ints, watermark: Ints, late: Ints
    ) -> None:
        if self.emit_late:
            late = late[np.argsort(position[late], kind="stable")]
            end, at = time[late], rows.at[start + position[late]]
            begin = np.maximum(end - self.size, 0)
            self.lateness.refuse(key[late], begin, end, at, watermark[late] - end, rows.now)

    def _rows(self, emitted: list[ClosedWindows], rows: Rows, arrived: int) -> Rows:
        """Windows as rows; so many readings had come before these."""
        key, time, position, partial = concatenated(*emitted, size=self.layout.size)
        at = position if len(position) and position[0] < 0 else rows.at[position]
        values = results(self.layout, partial, int(self.size))
        start = np.maximum(time - self.size, 0)
        found = Rows(key, start, time, at, values, rows.now)
        if self.samples is None:
            return found
        return with_columns(found, *self.samples.of(WindowQuery(key, start, time + 1, arrived + position)))

    def restore(self, state: State) -> None:
        super().restore(_upgraded(state))


def _upgraded(state: State) -> State:
    """A state with the watermark alone and one counter, as one of today."""
    if "refused" not in state:
        return state
    never = np.full(len(state["horizon"]), NEVER, np.int64)
    watermark = {"at": state["horizon"], "latest": never, "seen": never, "due": NEVER, "now": NEVER}
    return state | {"horizon": watermark, "late": state["refused"], "late_partly": 0}


def _sorted(emitted: ClosedWindows) -> ClosedWindows:
    """In order of cause, then time."""
    return emitted.take(np.lexsort((emitted.window, emitted.position)))
