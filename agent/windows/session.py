"""Session windows: readings of a series no more than a gap apart, `[first, last + gap)`.

As in Flink SQL, readings exactly one gap apart are one session, an out-of-order reading may join two, and a late one is
kept where it joins a session that is open. What a session adds up is added in order of arrival.

Open sessions are rows of a `Journal`. Readings in order are added in one go for all series; a reading behind others of
its series is a step of its own, taken for all series at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from agent.expressions import Expression
from agent.rows import Rows, State
from agent.windows import block
from agent.windows.aggregates import STREAMED, parse
from agent.windows.horizon import NEVER, Closing, Horizon
from agent.windows.journal import Journal
from agent.windows.lateness import Counts
from agent.windows.partials import Layout
from agent.windows.results import results
from agent.windows.search import first_at_least
from agent.windows.sessions import Pool, rounds
from agent.windows.sight import columns, event_time
from agent.windows.table import Told, together
from sensors.batch import Ints
from sensors.units import MILLISECOND, SECOND, Duration

_BLOCK = 1 << 15
_END = 1 << 62
_ZERO = Duration(0)
_MILLISECOND = Duration(MILLISECOND)


@dataclass(kw_only=True)
class Session:
    """Sessions end when nothing comes for `gap`; each is told when it closes.

    Attributes:
        gap: silence that ends a session.
        emit: `final`, the only way.
        metric: the column that `count`, `missing` and aggregates without a column of their own are about.
        aggregates: names, such as `mean` or `max(pressure)`, or a table of names and calls.
        grace: how late a reading may be.
        closing: what closes a window: the time of its series, of all series, or a watermark as in Flink.
        idle: after so long a silence time goes on with the host's clock, so that the last windows close.
        where: readings for which this does not hold are left out; they still move a common horizon.
        on: name of the window, detector or source it reads; empty for all readings.
        by: what makes a series.
        resolution: of time stamps; a watermark closes a window at its end less this.
        tell_late: keep the windows refused to late readings of the last call in `late`, for a side stream.
        most: open sessions of a series; the oldest beyond it are dropped and counted.
    """

    gap: Duration
    metric: str = ""
    aggregates: list[str] | dict[str, str] = field(default_factory=lambda: ["mean"])
    emit: str = "final"
    grace: Duration = _ZERO
    closing: Closing = "key"
    idle: Duration | None = None
    where: Expression | None = None
    on: str = ""
    by: tuple[str, ...] = ("machine",)
    resolution: Duration = _MILLISECOND
    tell_late: bool = False
    most: int = 10_000

    def __post_init__(self) -> None:
        if self.where is not None:
            self.where.condition()
        if self.gap <= 0:
            raise ValueError("gap must be longer than zero")
        if self.emit != "final":
            raise ValueError('a session is told when it closes: emit = "final"')
        wanted = parse(self.aggregates, self.metric)
        for item in wanted:
            if item.function not in STREAMED:
                raise ValueError(f"{item.function} is not available in a session")
        self.layout = Layout(wanted, self.metric)
        self.horizon = Horizon(self.closing, self.grace, self.resolution, self.idle)
        fields: dict[str, Any] = {"start": np.int64, "last": np.int64}
        self.journal = Journal(fields | {f"p{i}": np.float64 for i in range(self.layout.size)}, self.most)
        self.counts = Counts()
        self.late: list[Rows] = []
        self._soonest = _END  # no session closes before the horizon is here
        self._arrived = 0
        self._epoch = NEVER

    def outputs(self) -> tuple[str, ...]:
        """Columns of its results."""
        return self.layout.names

    def inputs(self) -> tuple[str, ...]:
        """Columns it needs."""
        return self.layout.columns

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
        empty = np.zeros(0, np.int64)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            told = self._by_clock(np.flatnonzero(self.journal.count > 0), np.array([_END]))
            return self._rows([told], Rows(empty, empty, empty, empty, {}, now))

    def _by_clock(self, who: Ints, at: Ints) -> Told:
        """Close sessions of these series by horizons that no reading brought about."""
        if not self.horizon.each:
            who = np.flatnonzero(self.journal.count > 0)
            self.horizon.at[:] = at
        else:
            self.horizon.at[who] = at
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
        horizon.grow(highest + 1)
        self.journal.grow(highest + 1)
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
        pool.write(self.journal, who, np.flatnonzero(open_))
        soonest = int(end[open_].min(initial=_END))
        self._soonest = soonest if due else min(self._soonest, soonest)
        return told

    def _add(self, rows: Rows, part: slice, pool: Pool, s: block.Sorted, position: Ints) -> None:
        """Add readings to the sessions they belong to."""
        if self._epoch == NEVER:
            self._epoch = int(rows.end[part][0])
        found = columns(rows, part, self.layout.columns, position)
        order = (position + (self._arrived + 1)).astype(np.float64)
        offset = (s.time - self._epoch).astype(np.float64)
        late = np.zeros(len(s.key), np.bool_)
        for row, stray in rounds(s, pool):
            add = pool.stray if stray else pool.stretch
            late[row] = add(
                self.gap, s.key[row], s.time[row], s.before[row], pool.readings(found, order, offset, row)
            )
        refused = np.flatnonzero(late)
        self.counts.late += len(refused)
        if self.tell_late and len(refused):
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

    def snapshot(self) -> State:
        return {
            "journal": self.journal.snapshot(),
            "horizon": self.horizon.snapshot(),
            "soonest": self._soonest,
            "arrived": self._arrived,
            "epoch": self._epoch,
            "late": self.counts.late,
            "overflows": self.layout.overflows,
        }

    def restore(self, state: State) -> None:
        self.journal.restore(state["journal"])
        self.horizon.restore(state["horizon"])
        self.journal.grow(len(self.horizon.at) if self.horizon.each else 0)
        self.horizon.grow(len(self.journal.count))
        self._soonest, self._arrived = int(state["soonest"]), int(state["arrived"])
        self._epoch = int(state["epoch"])
        self.counts = Counts(int(state["late"]))
        self.layout.overflows = int(state["overflows"])

    def on_clock_step(self, to: int) -> None:
        """As of aligned windows."""
        self.evict(self.horizon.on_clock_step(to, len(self.journal.count)))

    def evict(self, keys: Ints) -> None:
        self.journal.evict(keys)
        self.horizon.evict(keys)
