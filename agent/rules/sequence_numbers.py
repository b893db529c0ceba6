"""Numbers the raw events of each series, so that their ids stay apart and gaps can be seen."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from agent.core.grouping import Grouping
from agent.core.rows import Rows
from agent.core.series import Field, SeriesState, Stateful


class SequenceNumbers(Stateful):
    """How many raw events each series has had."""

    remembers: ClassVar = {"": "_state"}

    def __init__(self) -> None:
        self._state = SeriesState(count=Field(np.int64))

    def numbered(self, rows: Rows) -> Rows:
        """The rows with a column `emission`: the number of each within its series, from 1."""
        if len(rows) == 0:
            return rows.with_values(emission=np.zeros(0))
        self._state.grow(int(rows.key.max()) + 1)
        count = self._state["count"]
        if len(rows) == 1:
            count[rows.key] += 1
            return rows.with_values(emission=count[rows.key].astype(np.float64))
        groups = Grouping.of(rows)
        number = groups.unsorted(groups.number + count[groups.key] + 1.0)
        count[groups.owner] += groups.length
        return rows.with_values(emission=number)
