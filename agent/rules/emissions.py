"""Numbers the raw events of each series, so that their ids stay apart and gaps can be seen."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np

from agent.core.series import Field, SeriesState, Stateful
from agent.rows import Rows
from agent.rules.grouped import Grouped


class Emissions(Stateful):
    """How many raw events each series has had."""

    remembers: ClassVar = {"": "_state"}

    def __init__(self) -> None:
        self._state = SeriesState(count=Field(np.int64))

    def numbered(self, rows: Rows) -> Rows:
        """The rows with a column `emission`: the number of each within its series, from 1."""
        if len(rows) == 0:
            return replace(rows, values={**rows.values, "emission": np.zeros(0)})
        self._state.grow(int(rows.key.max()) + 1)
        count = self._state["count"]
        if len(rows) == 1:
            count[rows.key] += 1
            return replace(rows, values={**rows.values, "emission": count[rows.key].astype(np.float64)})
        spots = Grouped.of(rows.key)
        begin = np.flatnonzero(spots.first)
        length = np.diff(np.append(begin, len(spots)))
        number = np.empty(len(spots))
        number[spots.order] = np.arange(len(spots)) - np.repeat(begin, length) + count[spots.key] + 1
        count[spots.key[begin]] += length
        return replace(rows, values={**rows.values, "emission": number})
