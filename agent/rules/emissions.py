"""Numbers the raw events of each series, so that their ids stay apart and gaps can be seen."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from agent.rows import Rows, State
from agent.rules.grouped import Grouped, grown
from sensors.batch import Ints


@dataclass(slots=True)
class Emissions:
    """How many raw events each series has had."""

    _count: Ints = field(default_factory=lambda: np.zeros(0, np.int64))

    def numbered(self, rows: Rows) -> Rows:
        """The rows with a column `emission`: the number of each within its series, from 1."""
        if len(rows) == 0:
            return replace(rows, values={**rows.values, "emission": np.zeros(0)})
        self._count = grown(self._count, int(rows.key.max()) + 1, 0)
        if len(rows) == 1:
            self._count[rows.key] += 1
            return replace(rows, values={**rows.values, "emission": self._count[rows.key].astype(np.float64)})
        spots = Grouped.of(rows.key)
        begin = np.flatnonzero(spots.first)
        length = np.diff(np.append(begin, len(spots)))
        number = np.empty(len(spots))
        number[spots.order] = np.arange(len(spots)) - np.repeat(begin, length) + self._count[spots.key] + 1
        self._count[spots.key[begin]] += length
        return replace(rows, values={**rows.values, "emission": number})

    def snapshot(self) -> State:
        return {"count": self._count.copy()}

    def restore(self, state: State) -> None:
        self._count = np.array(state["count"], np.int64)

    def evict(self, keys: Ints) -> None:
        self._count[keys[keys < len(self._count)]] = 0
