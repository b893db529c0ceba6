"""The row before each row in its series, also across batches."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from agent.core.series import Field, SeriesState, Stateful
from agent.rules.grouped import Grouped
from sensors.batch import Floats, Ints


class Previous(Stateful):
    """Last value and time of each series."""

    remembers: ClassVar = {"": "_last"}

    def __init__(self) -> None:
        self._last = SeriesState(value=Field(np.float64, np.nan), time=Field(np.int64))

    def of(self, spots: Grouped, value: Floats, time: Ints) -> tuple[Floats, Ints]:
        """Value and time of the row before, at each spot; NaN and 0 where there is none.

        Args:
            spots: the rows by series.
            value: `(n,)` by row, none missing.
            time: `(n,)` by row, ns.
        """
        if len(spots) == 0:
            return np.zeros(0), np.zeros(0, np.int64)
        self._last.grow(int(spots.key[-1]) + 1)
        last_value, last_time = self._last["value"], self._last["time"]
        value, time = value[spots.order], time[spots.order]
        before = np.where(spots.first, last_value[spots.key], np.append(np.nan, value[:-1]))
        when = np.where(spots.first, last_time[spots.key], np.append(0, time[:-1]))
        keys = spots.key[spots.last]
        last_value[keys], last_time[keys] = value[spots.last], time[spots.last]
        return before, when
