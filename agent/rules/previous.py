"""The row before each row in its series, also across batches."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from agent.rows import State
from agent.rules.grouped import Grouped, grown
from sensors.batch import Floats, Ints


@dataclass(slots=True)
class Previous:
    """Last value and time of each series."""

    _value: Floats = field(default_factory=lambda: np.zeros(0))
    _time: Ints = field(default_factory=lambda: np.zeros(0, np.int64))

    def of(self, spots: Grouped, value: Floats, time: Ints) -> tuple[Floats, Ints]:
        """Value and time of the row before, at each spot; NaN and 0 where there is none.

        Args:
            spots: the rows by series.
            value: `(n,)` by row, none missing.
            time: `(n,)` by row, ns.
        """
        if len(spots) == 0:
            return np.zeros(0), np.zeros(0, np.int64)
        size = int(spots.key[-1]) + 1
        self._value, self._time = grown(self._value, size, np.nan), grown(self._time, size, 0)
        value, time = value[spots.order], time[spots.order]
        before = np.where(spots.first, self._value[spots.key], np.append(np.nan, value[:-1]))
        when = np.where(spots.first, self._time[spots.key], np.append(0, time[:-1]))
        keys = spots.key[spots.last]
        self._value[keys], self._time[keys] = value[spots.last], time[spots.last]
        return before, when

    def snapshot(self) -> State:
        return {"value": self._value.copy(), "time": self._time.copy()}

    def restore(self, state: State) -> None:
        self._value, self._time = np.array(state["value"], np.float64), np.array(state["time"], np.int64)

    def evict(self, keys: Ints) -> None:
        self._value[keys[keys < len(self._value)]] = np.nan
