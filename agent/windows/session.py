"""Session windows: readings of a series no more than a gap apart, `[first, last + gap)`.

As in Flink SQL, readings exactly one gap apart are one session, an out-of-order reading may join two, and a late one is
kept where it joins a session that is open. What a session adds up is added in order of arrival.

Open sessions are rows of a `SeriesBuffer`. Readings in order are added in one go for all series; a reading behind
others of its series is a pass of its own, taken for all series at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from agent.core.rows import Rows, no_rows
from agent.core.series import Field, SeriesState, State
from agent.windows import sorted_block as block
from agent.windows.aggregates import STREAMED, parse
from agent.windows.base import Window
from agent.windows.block_view import columns, event_time
from agent.windows.closed_windows import ClosedWindows, concatenated
from agent.windows.lateness import Lateness
from agent.windows.partials import Readings
from agent.windows.results import results
from agent.windows.search import first_at_least
from agent.windows.series_buffer import SeriesBuffer
from agent.windows.session_set import SessionSet, passes
from agent.windows.watermark import NEVER, Closing, Watermark
from sensors.batch import Ints
from sensors.units import MILLISECOND, Duration

_BLOCK = 1 << 15
_END = 1 << 62
_ZERO = Duration(0)
_MILLISECOND = Duration(MILLISECOND)


@dataclass(kw_only=True)
class Session(Window):
    """Sessions end when nothing comes for `gap`; each is emitted when it closes.

    Attributes:
        gap: silence that ends a session.
        emit: `final`, the only way.
        grace: how late a reading may be.
        closing: what closes a window: the time of its series, of all series, or a watermark as in Flink.
        idle: after so long a silence time goes on with the host's clock, so that the last windows close.
        resolution: of time stamps; a watermark closes a window at its end less this.
        emit_late: keep the windows refused to late readings of the last call in `late`, for a side stream.
        most: open sessions of a series; the oldest beyond it are dropped and counted.
    """

    remembers: ClassVar = {**Window.remembers, "journal": "buffer"}
    shared: ClassVar = {"soonest": ("_soonest", min), "arrived": ("_arrived", max)}

    gap: Duration
    emit: str = "final"
    grace: Duration = _ZERO
    closing: Closing = "key"
    idle: Duration | None = None
    resolution: Duration = _MILLISECOND
    emit_late: bool = False
    most: int = 10_000

    def __post_init__(self) -> None:
        if self.gap <= 0:
            raise ValueError("gap must be longer than zero")
        if self.emit != "final":
            raise ValueError('a session is emitted when it closes: emit = "final"')
        wanted = parse(self.aggregates, self.metric)
        for item in wanted:
            if item.function not in STREAMED:
                raise ValueError(f"{item.function} is not available in a session")
        watermark = Watermark(self.closing, self.grace, self.resolution, self.idle)
        lateness = Lateness(self.emit_late)
        self._epoch = SeriesState(epoch=Field(np.int64, NEVER))  # times of readings are relative to it, exactly
        self._begin(wanted, self.most, watermark, lateness, lateness, self._epoch)
        fields: dict[str, Any] = {"start": np.int64, "last": np.int64}
        self.buffer = SeriesBuffer(fields | {f"p{i}": np.float64 for i in range(self.layout.size)}, self.most)
        self._soonest = _END  # no session closes before the watermark is here
        self._arrived = 0

    @property
    def dropped(self) -> int:
        """Open sessions beyond `most` of a series."""
        return self.buffer.dropped

    def process(self, rows: Rows) -> Rows:
        """Sessions that closed, in order."""
        self.late.clear()
        emitted: list[ClosedWindows] = []
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            moved = self.watermark.tick(rows.now)
            if moved is not None:
                emitted.append(self._by_clock(*moved))
            for start in range(0, len(rows), _BLOCK):
                emitted += self._block(rows, start, min(start + _BLOCK, len(rows)))
            return self._rows(emitted, rows)

    def finish(self, now: int) -> Rows:
        """End of input: every open session closes."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            emitted = self._by_clock(np.flatnonzero(self.buffer.count > 0), np.array([_END]))
            return self._rows([emitted], no_rows(now))

    def _by_clock(self, keys: Ints, at: Ints) -> ClosedWindows:
        """Close sessions of these series by watermarks that no reading brought about."""
        if not self.watermark.per_series:
            keys = np.flatnonzero(self.buffer.count > 0)
        self.touch(keys)
        self.watermark.at[keys if self.watermark.per_series else slice(None)] = at
        at = np.broadcast_to(at, keys.shape)
        sessions = SessionSet.read(self.buffer, self.layout, keys)
        due = sessions.last + self.gap <= at[np.searchsorted(keys, sessions.key)]
        emitted = self._emitted(sessions, np.flatnonzero(due), np.full(int(np.count_nonzero(due)), -1))
        sessions.write(self.buffer, keys, np.flatnonzero(~due))
        if self.watermark.per_series and self.idle is not None:
            self.watermark.deactivate(keys[self.buffer.count[keys] == 0])
        return emitted

    def _block(self, rows: Rows, start: int, stop: int) -> list[ClosedWindows]:
        part = slice(start, stop)
        key, time = rows.key[part], event_time(rows, part, self.resolution)
        keep = key >= 0
        if self.where is not None:
            keep &= self.where.holds(rows.take(np.arange(start, stop)))
        position = np.flatnonzero(keep)
        try:
            block.check_width(key, time, 1)
            block.check_width(key[position], time[position], 1)
        except block.TooWideError:
            middle = (start + stop) // 2
            return self._block(rows, start, middle) + self._block(rows, middle, stop)
        watermark = self.watermark
        highest = int(key.max())
        if highest >= self._epoch.series:
            self.grow(highest + 1)
        common = None
        if not watermark.per_series:
            watermark.observe(np.zeros(1, np.int64), time.max(), rows.now)
            common = block.common_watermark(time, watermark)
        emitted = [self._sorted(rows, part, position, key[position], time[position], common)]
        self._arrived += stop - start
        return [item._replace(position=item.position + start) for item in emitted]

    def _sorted(
        self, rows: Rows, part: slice, position: Ints, key: Ints, time: Ints, common: tuple[Ints, Ints] | None
    ) -> ClosedWindows:
        due = common is not None and int(common[1][-1]) >= self._soonest
        if len(key) == 0 and not due:
            return concatenated(size=self.layout.size)
        keys = np.unique(key)
        if due:
            keys = np.union1d(keys, np.flatnonzero(self.buffer.count > 0))
        sessions = SessionSet.read(self.buffer, self.layout, keys)
        s = None
        if len(key):
            mine = None if common is None else (common[0][position], common[1][position])
            s = block.by_series(key, time, self.watermark, mine)
            if s.order is not None:
                position = position[s.order]
            if self.watermark.per_series and self.idle is not None:
                self.watermark.observe(s.owner, np.maximum.reduceat(s.time, s.starts), rows.now)
            self._add(rows, part, sessions, s, position)
        end = sessions.last + self.gap
        if common is not None:
            cause = np.searchsorted(common[1], end)
            closed = np.flatnonzero(cause < len(common[1]))
            cause = cause[closed]
        else:
            assert s is not None  # noqa: S101  # rows without a common watermark are there
            stops = np.append(s.starts[1:], len(s.key))
            number = np.searchsorted(s.owner, sessions.key)
            row = first_at_least(s.after, s.starts[number], stops[number], end)
            closed = np.flatnonzero(row < stops[number])
            cause = position[row[closed]]
        emitted = self._emitted(sessions, closed, cause)
        open_ = np.ones(len(end), np.bool_)
        open_[closed] = False
        if due:  # a common watermark closes sessions of series without a reading, too
            self.touch(sessions.key[closed])
        sessions.write(self.buffer, keys, np.flatnonzero(open_))
        soonest = int(end[open_].min(initial=_END))
        self._soonest = soonest if due else min(self._soonest, soonest)
        return emitted

    def _add(self, rows: Rows, part: slice, sessions: SessionSet, s: block.SortedBlock, position: Ints) -> None:
        """Add readings to the sessions they belong to."""
        epoch = self._epoch["epoch"]
        new = epoch[s.owner] == NEVER
        epoch[s.owner[new]] = s.opens[new]
        found = columns(rows, part, self.layout.columns, position)
        order = (position + (self._arrived + 1)).astype(np.float64)
        offset = (s.time - epoch[s.key]).astype(np.float64)
        each = np.arange(len(s.key))
        r = Readings(found, each, each, np.ones_like(each), each, order, offset, np.zeros(len(each)))
        late = np.zeros(len(s.key), np.bool_)
        for row, out_of_order in passes(s, sessions):
            add = sessions.add_out_of_order if out_of_order else sessions.add_in_order
            late[row] = add(self.gap, s, row, r)
        refused = np.flatnonzero(late)
        self.lateness.count_late(s.key[refused])
        if self.emit_late and len(refused):
            refused = refused[np.argsort(position[refused], kind="stable")]
            time = s.time[refused]
            at = rows.at[part][position[refused]]
            self.lateness.refuse(s.key[refused], time, time + self.gap, at, s.before[refused] - time, rows.now)

    def _emitted(self, sessions: SessionSet, which: Ints, cause: Ints) -> ClosedWindows:
        """Sessions in order of what closed them, start and series; `window` is their number in the order made here."""
        order = np.lexsort((sessions.key[which], sessions.start[which], cause))
        which = which[order]
        times = np.stack((sessions.start[which], sessions.last[which]), axis=1)
        return ClosedWindows(sessions.key[which], times, cause[order], sessions.partial.take(which, axis=1))

    def _rows(self, emitted: list[ClosedWindows], rows: Rows) -> Rows:
        emitted = [item for item in emitted if len(item.key)]
        if not emitted:
            empty = np.zeros(0, np.int64)
            values = results(self.layout, np.zeros((self.layout.size, 0)), 1)
            return Rows(empty, empty, empty, empty, values, rows.now)
        key, times, position, partial = concatenated(*emitted)
        at = np.full(len(position), -1)
        at[position >= 0] = rows.at[position[position >= 0]]
        values = results(self.layout, self.layout.load(partial), 1)
        return Rows(key, times[:, 0], times[:, 1] + self.gap, at, values, rows.now)

    def restore(self, state: State) -> None:
        super().restore(_upgraded(state))


def _upgraded(state: State) -> State:
    """A state in which all series had one epoch, as one of today."""
    if np.ndim(state["epoch"]):
        return state
    series = max(len(state["horizon"]["at"]), int(np.max(state["journal"]["keys"], initial=-1)) + 1)
    return state | {"epoch": np.full(series, state["epoch"], np.int64), "late_partly": 0}
