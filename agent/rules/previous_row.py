"""The row before each row in its series, also across batches."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from agent.core.grouping import Grouping
from agent.core.series import Field, SeriesState, Stateful
from sensors.batch import Floats, Ints


class PreviousRow(Stateful):
    """Last value and time of each series."""

    remembers: ClassVar = {"": "_last"}

    def __init__(self) -> None:
        self._last = SeriesState(value=Field(np.float64, np.nan), time=Field(np.int64))

    def of(self, groups: Grouping, value: Floats, time: Ints) -> tuple[Floats, Ints]:
        """Value and time of the row before, at each position; NaN and 0 where there is none.

        Args:
            groups: the rows by series.
            value: `(n,)` by row, none missing.
            time: `(n,)` by row, ns.
        """
        if len(groups) == 0:
            return np.zeros(0), np.zeros(0, np.int64)
        self._last.grow(int(groups.key[-1]) + 1)
        last_value, last_time = self._last["value"], self._last["time"]
        value, time, owner, end = groups.sorted(value), groups.sorted(time), groups.owner, groups.end
        before, when = np.empty(len(value)), np.empty(len(time), np.int64)
        before[1:], when[1:] = value[:-1], time[:-1]
        before[groups.begin], when[groups.begin] = last_value[owner], last_time[owner]
        last_value[owner], last_time[owner] = value[end], time[end]
        return before, when
