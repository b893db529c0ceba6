"""A sensor that keeps sending the same value."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from typing import ClassVar

import numpy as np

from agent.core.grouping import Grouping
from agent.core.rows import Rows
from agent.core.series import Field, SeriesState
from agent.expressions import Expression
from agent.rules.previous_row import PreviousRow
from agent.rules.threshold import Threshold
from sensors.units import Duration


@dataclass
class Unchanged(Threshold):
    """Raises when the value has not changed for `after`, in event time; resolves when it changes.

    Silence is not stuck: that is a `deadman`. Everything else is as in `Threshold`; a `clear` makes no sense here.

    Attributes:
        metric: column that is watched.
        after: how long it must stay the same.
        tolerance: a step from row to row of at most so much is no change.
    """

    when: Expression = field(init=False)
    clear: Expression | None = field(init=False, default=None)
    _: KW_ONLY
    metric: str
    after: Duration
    tolerance: float = 0.0

    type = "stuck"
    adds = ("unchanged",)
    carries_metric = False
    remembers: ClassVar = {**Threshold.remembers, "previous": "_previous", "": "_state"}

    def __post_init__(self) -> None:
        if self.after <= 0:
            raise ValueError("after: a value is stuck after a time longer than 0")
        if not self.tolerance >= 0:
            raise ValueError("tolerance: must be 0 or more")
        self.when = Expression.parse(f"unchanged >= {self.after.seconds!r}")
        super().__post_init__()
        self._previous = PreviousRow()
        self._state = SeriesState(since=Field(np.int64))  # event time of the first row of the present value

    @property
    def limit(self) -> str:
        """For people."""
        return f"unchanged for {self.after}"

    def _prepared(self, rows: Rows) -> Rows:
        rows = rows.present(self.metric)
        if len(rows) == 0:
            return rows
        value = rows.values[self.metric]
        groups = Grouping.of(rows)
        before, _ = self._previous.of(groups, value, rows.end)
        value, time = groups.sorted(value), groups.sorted(rows.end)
        with np.errstate(invalid="ignore", over="ignore"):
            step = np.abs(value - before)
        same = (step <= self.tolerance) | (value == before)  # infinity minus infinity is no number
        self._state.grow(int(groups.key[-1]) + 1)
        known, first = self._state["since"], groups.first
        start = np.maximum.accumulate(np.where(~same | first, np.arange(len(groups)), 0))
        carried = first[start] & same[start]
        since = np.where(carried, known[groups.key], time[start])
        known[groups.owner] = since[groups.end]
        return rows.with_values(unchanged=groups.unsorted((time - since) / 1e9))
