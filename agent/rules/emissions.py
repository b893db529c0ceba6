"""Numbers the raw events of each series, so that their ids stay apart and gaps can be seen."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from agent.rows import Rows, State
from sensors.batch import Ints


@dataclass(slots=True)
class Emissions:
    """How many raw events each series has had."""

    _count: Ints = field(default_factory=lambda: np.zeros(0, np.int64))

    def numbered(self, rows: Rows) -> Rows:
        """The rows with a column `emission`: the number of each within its series, from 1."""
        if len(rows) == 0:
            return replace(rows, values={**rows.values, "emission": np.zeros(0)})
        top = int(rows.key.max()) + 1
        if top > len(self._count):
            self._count = np.concatenate(
                [self._count, np.zeros(max(top, 2 * len(self._count)) - len(self._count), np.int64)]
            )
        order = np.argsort(rows.key.astype(np.int16) if top < 2**15 else rows.key, kind="stable")
        key = rows.key[order]
        begin = np.flatnonzero(np.append(True, key[1:] != key[:-1]))
        length = np.diff(np.append(begin, len(key)))
        number = np.empty(len(key))
        number[order] = np.arange(len(key)) - np.repeat(begin, length) + self._count[key] + 1
        self._count[key[begin]] += length
        return replace(rows, values={**rows.values, "emission": number})

    def state(self) -> State:
        return {"count": self._count.copy()}

    def restore(self, state: State) -> None:
        self._count = np.array(state["count"], np.int64)

    def forget(self, keys: Ints) -> None:
        self._count[keys[keys < len(self._count)]] = 0
