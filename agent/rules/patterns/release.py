"""Event time for patterns: rows wait until the watermark reaches them, and are then in order of their time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agent.rows import Rows, State
from agent.rules.patterns.table import Table
from sensors.batch import Ints

NEVER = -(2**62)
END = 2**62


@dataclass(slots=True)
class Release:
    """The watermark and the rows that wait for it, as in Flink.

    The watermark is the highest time seen, of all series, less `delay`; it moves after the row that moves it has been
    judged. A row whose time it has reached already is late: dropped and counted. Rows of equal time stay in order of
    arrival.

    Attributes:
        delay: ns.
        late: rows dropped.
    """

    delay: int
    late: int = 0
    highest: int = NEVER
    waiting: Table | None = None

    def pass_on(self, rows: Rows, table: Table, usable: Ints) -> tuple[Table, Ints]:
        """The rows released, in order, and the watermark after each row of the batch, `(n,)`.

        Args:
            rows: all rows of the batch: each moves the watermark.
            table: the usable ones of them.
            usable: positions of these in `rows`.
        """
        high = np.maximum.accumulate(np.append(self.highest, rows.end))
        before, after = high[:-1] - self.delay, high[1:] - self.delay
        self.highest = int(high[-1])
        in_time = table.end > before[usable]
        self.late += int(len(table) - np.count_nonzero(in_time))
        if not in_time.all():
            table = table.take(in_time)
        if self.waiting is not None:
            table = self.waiting.joined(table)
        spot = np.searchsorted(after, table.end)
        released = spot < len(after)
        self.waiting = table.take(~released)
        table = table.take(released)
        table.at = rows.at[spot[released]]
        return table.take(np.argsort(table.end, kind="stable")), after

    def drain(self) -> Table | None:
        """All rows that wait: time has come to its end."""
        table, self.waiting, self.highest = self.waiting, None, END
        if table is None:
            return None
        table.at = np.full(len(table), -1)
        return table.take(np.argsort(table.end, kind="stable"))

    def state(self) -> State:
        waiting = self.waiting.state() if self.waiting is not None and len(self.waiting) else None
        return {"late": self.late, "highest": self.highest, "waiting": waiting}

    def restore(self, state: State) -> None:
        self.late, self.highest = int(state["late"]), int(state["highest"])
        self.waiting = None if state["waiting"] is None else Table.restored(state["waiting"])
