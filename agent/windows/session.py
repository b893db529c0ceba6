"""Session windows: readings of a series no more than a gap apart, `[first, last + gap)`.

As in Flink SQL, readings exactly one gap apart are one session, an out-of-order reading may join two, and a late one is
kept where it joins a session that is open. What a session adds up is added in order of arrival.

Open sessions are rows of a `Journal`. Readings in order are added in one go for all series; a reading behind others of
its series is a step of its own, taken for all series at once.
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
from agent.windows.closed_windows import Told, together
from agent.windows.lateness import Lateness
from agent.windows.results import results
from agent.windows.search import first_at_least
from agent.windows.series_buffer import Journal
from agent.windows.session_set import Pool, rounds
from agent.windows.watermark import NEVER, Closing, Horizon
from sensors.batch import Ints
from sensors.units import MILLISECOND, SECOND, Duration

_BLOCK = 1 << 15
_END = 1 << 62
_ZERO = Duration(0)
_MILLISECOND = Duration(MILLISECOND)


@dataclass(kw_only=True)
class Session(Window):
    """Sessions end when nothing comes for `gap`; each is told when it closes.

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

    remembers: ClassVar = {**Window.remembers, "journal": "journal"}
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
            raise ValueError('a session is told when it closes: emit = "final"')
        wanted = parse(self.aggregates, self.metric)
        for item in wanted:
            if item.function not in STREAMED:
                raise ValueError(f"{item.function} is not available in a session")
        horizon = Horizon(self.closing, self.grace, self.resolution, self.idle)
        lateness = Lateness(self.emit_late)
        self._epoch = SeriesState(epoch=Field(np.int64, NEVER))  # times of readings are told from it, exactly
        self._begin(wanted, self.most, horizon, lateness, lateness, self._epoch)
        fields: dict[str, Any] = {"start": np.int64, "last": np.int64}
        self.journal = Journal(fields | {f"p{i}": np.float64 for i in range(self.layout.size)}, self.most)
        self._soonest = _END  # no session closes before the horizon is here
        self._arrived = 0

    @property
    def dropped(self) -> int:
        """Open sessions beyond `most` of a series."""
        return self.journal.dropped

    def process(self, rows: Rows) -> Rows:
        """Sessions that closed, in order."""
        self.late.clear()
        told: list[Told] = []
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            moved = self.horizon.clock(rows.now)
            if moved is not None:
                told.append(self._by_clock(*moved))
            for start in range(0, len(rows), _BLOCK):
                told += self._block(rows, start, min(start + _BLOCK, len(rows)))
            return self._rows(told, rows)

    def finish(self, now: int) -> Rows:
        """End of input: every open session closes."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            told = self._by_clock(np.flatnonzero(self.journal.count > 0), np.array([_END]))
            return self._rows([told], no_rows(now))

    def _by_clock(self, who: Ints, at: Ints) -> Told:
        """Close sessions of these series by horizons that no reading brought about."""
        if not self.horizon.each:
            who = np.flatnonzero(self.journal.count > 0)
        self.touch(who)
        self.horizon.at[who if self.horizon.each else slice(None)] = at
        at = np.broadcast_to(at, who.shape)
        pool = Pool.read(self.journal, self.layout, who)
        due = pool.last + self.gap <= at[np.searchsorted(who, pool.key)]
        told = self._told(pool, np.flatnonzero(due), np.full(int(np.count_nonzero(due)), -1))
        pool.write(self.journal, who, np.flatnonzero(~due))
        if self.horizon.each and self.idle is not None:
            self.horizon.rest(who[self.journal.count[who] == 0])
        return told

    def _block(self, rows: Rows, start: int, stop: int) -> list[Told]:
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
        horizon = self.horizon
        highest = int(key.max())
        if highest >= self._epoch.series:
            self.grow(highest + 1)
        common = None
        if not horizon.each:
            horizon.heard(np.zeros(1, np.int64), time.max(), rows.now)
            common = block.common_horizon(time, horizon)
        told = [self._sorted(rows, part, position, key[position], time[position], common)]
        self._arrived += stop - start
        return [item._replace(position=item.position + start) for item in told]

    def _sorted(
        self, rows: Rows, part: slice, position: Ints, key: Ints, time: Ints, common: tuple[Ints, Ints] | None
    ) -> Told:
        due = common is not None and int(common[1][-1]) >= self._soonest
        if len(key) == 0 and not due:
            return together(size=self.layout.size)
        who = np.unique(key)
        if due:
            who = np.union1d(who, np.flatnonzero(self.journal.count > 0))
        pool = Pool.read(self.journal, self.layout, who)
        s = None
        if len(key):
            mine = None if common is None else (common[0][position], common[1][position])
            s = block.by_series(key, time, self.horizon, mine)
            if s.order is not None:
                position = position[s.order]
            if self.horizon.each and self.idle is not None:
                self.horizon.heard(s.key[s.starts], np.maximum.reduceat(s.time, s.starts), rows.now)
            self._add(rows, part, pool, s, position)
        end = pool.last + self.gap
        if common is not None:
            cause = np.searchsorted(common[1], end)
            closed = np.flatnonzero(cause < len(common[1]))
            cause = cause[closed]
        else:
            assert s is not None  # noqa: S101  # rows without a common horizon are there
            stops = np.append(s.starts[1:], len(s.key))
            number = np.searchsorted(s.key[s.starts], pool.key)
            row = first_at_least(s.after, s.starts[number], stops[number], end)
            closed = np.flatnonzero(row < stops[number])
            cause = position[row[closed]]
        told = self._told(pool, closed, cause)
        open_ = np.ones(len(end), np.bool_)
        open_[closed] = False
        if due:  # a common horizon closes sessions of series without a reading, too
            self.touch(pool.key[closed])
        pool.write(self.journal, who, np.flatnonzero(open_))
        soonest = int(end[open_].min(initial=_END))
        self._soonest = soonest if due else min(self._soonest, soonest)
        return told

    def _add(self, rows: Rows, part: slice, pool: Pool, s: block.Sorted, position: Ints) -> None:
        """Add readings to the sessions they belong to."""
        epoch = self._epoch["epoch"]
        new = epoch[s.key[s.starts]] == NEVER
        epoch[s.key[s.starts[new]]] = s.time[s.starts[new]]
        found = columns(rows, part, self.layout.columns, position)
        order = (position + (self._arrived + 1)).astype(np.float64)
        offset = (s.time - epoch[s.key]).astype(np.float64)
        late = np.zeros(len(s.key), np.bool_)
        for row, stray in rounds(s, pool):
            add = pool.stray if stray else pool.stretch
            late[row] = add(
                self.gap, s.key[row], s.time[row], s.before[row], pool.readings(found, order, offset, row)
            )
        refused = np.flatnonzero(late)
        self.lateness.late += len(refused)
        if self.emit_late and len(refused):
            refused = refused[np.argsort(position[refused], kind="stable")]
            time = s.time[refused]
            by = {"late_by": (s.before[refused] - time) / SECOND}
            at = rows.at[part][position[refused]]
            self.late.append(Rows(s.key[refused], time, time + self.gap, at, by, rows.now))

    def _told(self, pool: Pool, which: Ints, cause: Ints) -> Told:
        """Sessions in order of what closed them, start and series; `window` is their number in the order made here."""
        order = np.lexsort((pool.key[which], pool.start[which], cause))
        which = which[order]
        times = np.stack((pool.start[which], pool.last[which]), axis=1)
        return Told(pool.key[which], times, cause[order], pool.partial.take(which, axis=1))

    def _rows(self, told: list[Told], rows: Rows) -> Rows:
        told = [item for item in told if len(item.key)]
        if not told:
            empty = np.zeros(0, np.int64)
            values = results(self.layout, np.zeros((self.layout.size, 0)), 1)
            return Rows(empty, empty, empty, empty, values, rows.now)
        key, times, position, partial = together(*told)
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
