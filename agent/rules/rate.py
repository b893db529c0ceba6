"""How fast a value changes from one row to the next of its series."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

import numpy as np

from agent.core.grouping import Grouping
from agent.core.rows import Rows
from agent.rules.previous_row import PreviousRow
from agent.rules.threshold import Threshold
from sensors.units import Duration

SECOND = Duration("1s")


@dataclass
class Rate(Threshold):
    """A threshold over `rate`, the change of `metric` per `per`, and `change`, the change itself: `abs(rate) > 5`.

    Rows without a value are passed over. The first row of a series, and one that is not later than the row before,
    has no rate: unknown. Everything else is as in `Threshold`.

    Attributes:
        metric: column whose change is judged.
        per: the time a rate is for.
    """

    _: KW_ONLY
    per: Duration = SECOND

    type = "rate"
    adds = ("rate", "change")
    carries_metric = False
    remembers: ClassVar = {**Threshold.remembers, "previous": "_previous"}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.metric in ("rate", "change", ""):
            raise ValueError("metric: name the column whose rate of change is judged")
        if self.per <= 0:
            raise ValueError("per: a rate needs a time longer than 0")
        self._previous = PreviousRow()

    def _prepared(self, rows: Rows) -> Rows:
        rows = rows.present(self.metric)
        if len(rows) == 0:
            return rows
        value = rows.values[self.metric]
        groups = Grouping.of(rows)
        before, when = (groups.unsorted(column) for column in self._previous.of(groups, value, rows.end))
        elapsed = (rows.end - when).astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # a jump beyond all numbers is infinite
            change = value - before
            rate = np.where(elapsed > 0, change / (elapsed / int(self.per)), np.nan)
        return rows.with_values(rate=rate, change=change)
