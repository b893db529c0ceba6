"""Event time for patterns: rows wait until the watermark reaches them, and are then in order of their time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from agent.core.rows import Rows
from agent.core.series import Stateful
from agent.core.series_counter import SeriesCounter
from agent.rules.pattern.row_table import RowTable
from agent.rules.series_rows import SeriesRows
from sensors.batch import Ints

NEVER = -(2**62)
END = 2**62


@dataclass
class ReorderBuffer(Stateful):
    """The watermark and the rows that wait for it, as in Flink.

    The watermark is the highest time seen, of all series, less `delay`; it moves after the row that moves it has been
    judged. A row whose time it has reached already is late: dropped and counted. Rows of equal time stay in order of
    arrival.

    Where no row comes for `idle`, time goes on with the host's clock, so that what waits is judged (Flink has no such
    clock).

    Attributes:
        delay: ns; `idle` likewise, 0 = never.
        columns: of the rows that wait.
        late: rows dropped; `late_by_series` of which series.
        highest: time reached; `latest` the highest of a row, `seen` the host time of the last row.
    """

    delay: int
    idle: int
    columns: Sequence[str]
    late: int = 0
    highest: int = NEVER
    latest: int = NEVER
    seen: int = NEVER
    now: int = NEVER

    remembers: ClassVar = {"waiting": "waiting"}
    shared: ClassVar = {name: (name, max) for name in ("late", "highest", "latest", "seen", "now")}

    def __post_init__(self) -> None:
        self.late_by_series = SeriesCounter()
        self.waiting: SeriesRows[RowTable] = SeriesRows(RowTable.snapshot, partial(RowTable.restored, self.columns))

    def pass_on(self, rows: Rows, table: RowTable, usable: Ints) -> tuple[RowTable, Ints]:
        """The rows released, in order, and the watermark after each row of the batch, `(n,)`.

        Args:
            rows: all rows of the batch: each moves the watermark.
            table: the usable ones of them.
            usable: positions of these in `rows`.
        """
        high = np.maximum.accumulate(np.append(self.highest, rows.end))
        before, after = high[:-1] - self.delay, high[1:] - self.delay
        self.highest = int(high[-1])
        self.latest = max(self.latest, int(rows.end.max(initial=NEVER)))
        self.seen = rows.now
        in_time = table.end > before[usable]
        if not in_time.all():
            self._drop(table.key[~in_time])
            table = table.take(in_time)
        if self.waiting.rows is not None:
            table = self.waiting.rows.then(table)
        position = np.searchsorted(after, table.end)
        released = position < len(after)
        self.touch(table.key[released])
        self.waiting.rows = table.take(~released)
        table = table.take(released)
        table.at = rows.at[position[released]]
        return table.take(np.argsort(table.end, kind="stable")), after

    def clock(self, now: int) -> RowTable | None:
        """The rows that a silence releases; None if time did not go on."""
        if not self.idle or now <= self.now:
            return None
        self.now = now
        silent = now - self.seen - self.idle
        if self.seen == NEVER or silent <= 0 or self.latest + silent <= self.highest:
            return None
        self.highest = self.latest + silent
        waiting = self.waiting.rows
        if waiting is None:
            return None
        released = waiting.end <= self.highest - self.delay
        self.touch(waiting.key[released])
        table, self.waiting.rows = waiting.take(released), waiting.take(~released)
        table.at = np.full(len(table), -1)
        return table.take(np.argsort(table.end, kind="stable"))

    def on_clock_step(self, to: int) -> None:
        """The clock was set back to `to`: a watermark after it was wrong, and what waits for it."""
        if self.highest - self.delay > to:
            self.highest = self.latest = NEVER
            if self.waiting.rows is not None:
                self._drop(self.waiting.rows.key)
                self.touch(self.waiting.rows.key)
                self.waiting.rows = None

    def _drop(self, keys: Ints) -> None:
        self.late += len(keys)
        self.late_by_series.add(keys)

    def evict(self, keys: Ints) -> None:
        super().evict(keys)
        self.late_by_series.evict(keys)

    def drain(self) -> RowTable | None:
        """All rows that wait: time has come to its end."""
        table, self.highest = self.waiting.rows, END
        if table is None:
            return None
        self.touch(table.key)
        self.waiting.rows = None
        table.at = np.full(len(table), -1)
        return table.take(np.argsort(table.end, kind="stable"))
