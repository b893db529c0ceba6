"""Aggregates over all readings of a series so far: GROUP BY without a window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from agent.core.operator import Operator
from agent.core.rows import Rows
from agent.core.series import State
from agent.core.series_records import SeriesRecords
from agent.expressions import Expression
from agent.windows import aggregates as spelling
from agent.windows.hopping import Tumbling
from sensors.units import Duration

_FOR_EVER = Duration("36500d")


@dataclass(kw_only=True)
class Running(Operator):
    """Emits after each reading the aggregates of its series so far; the time is that of the reading.

    Nothing is ever late here. State stays until the series is forgotten (`agent.idle`, `agent.series`), so choose a
    grouping that comes to an end, or bound it there.

    Attributes:
        metric: the column that aggregates without a column of their own are about.
        aggregates: as in the other windows; `collect` gives the values in order of arrival.
        most: collected values kept of a series; further ones are left out of the list.
        where: readings for which this does not hold are left out.
        on: name of the window, detector or source it reads; empty for all readings.
        by: what makes a series.
    """

    kind = "window"
    remembers: ClassVar = {"window": "_window", "collected": "_collected"}
    shared: ClassVar = {"dropped": ("_dropped", max)}

    metric: str = ""
    aggregates: list[str] | dict[str, str] = field(default_factory=lambda: ["count"])
    most: int = 1000
    where: Expression | None = None
    on: str = ""
    by: tuple[str, ...] = ("machine",)

    def __post_init__(self) -> None:
        if self.where is not None:
            self.where.condition()
        if self.most < 1:
            raise ValueError("most: a list holds at least one value")
        wanted = spelling.parse(self.aggregates, self.metric)
        self._lists = {item.name: item.column for item in wanted if item.function == "collect"}
        calls = (
            self.aggregates
            if isinstance(self.aggregates, dict)
            else dict(zip((i.name for i in wanted), self.aggregates, strict=True))
        )
        numbers = {name: call for name, call in calls.items() if name not in self._lists}
        self._window = Tumbling(
            size=_FOR_EVER, metric=self.metric, aggregates=numbers or {"count": "count(*)"}, emit="current"
        )
        self._collected = {name: SeriesRecords() for name in self._lists}
        self._dropped = 0

    def inputs(self) -> tuple[str, ...]:
        """Columns it needs."""
        wanted = spelling.parse(self.aggregates, self.metric)
        needed = {item.column: None for item in wanted if item.column}
        return tuple(needed | ({} if self.where is None else dict.fromkeys(self.where.columns)))

    def outputs(self) -> tuple[str, ...]:
        """Columns of its rows."""
        return (*self._window.outputs(), *self._lists)

    def stats(self) -> dict[str, int]:
        """Values left out of lists or dropped, and results whose sum was beyond all numbers; nothing is late."""
        found = self._window.stats()
        return {"dropped": found["dropped"] + self._dropped, "overflows": found["overflows"]}

    def process(self, rows: Rows) -> Rows:
        usable = rows.key >= 0
        if self.where is not None and len(rows):
            usable = usable & self.where.holds(rows)
        chosen = rows if usable.all() else rows.take(usable)
        emitted = self._window.process(replace(chosen, at=np.arange(len(chosen))))
        lists: dict[str, Any] = {name: self._prefixes(name, chosen) for name in self._lists}
        found = replace(
            emitted, start=chosen.start[emitted.at], end=chosen.end[emitted.at], at=chosen.at[emitted.at]
        )
        if not lists:
            return found
        every = len(found) == len(chosen)
        return replace(
            found, lists={k: v if every else [v[i] for i in emitted.at.tolist()] for k, v in lists.items()}
        )

    def _prefixes(self, name: str, rows: Rows) -> Prefixes:
        """Append the values of the rows to the lists of their series."""
        column = self._lists[name]
        text = rows.texts.get(column)
        numbers = rows.values.get(column)
        values: list[Any] = text.tolist() if text is not None else [] if numbers is None else numbers.tolist()
        lists, most = self._collected[name].of, self.most
        of: list[list[Any]] = []
        length: list[int] = []
        for key, value in zip(rows.key.tolist(), values, strict=False):
            mine = lists.get(key)
            if mine is None:
                mine = lists[key] = []
            if value is not None and value == value:
                if len(mine) < most:
                    mine.append(value)
                else:
                    self._dropped += 1
            of.append(mine)
            length.append(len(mine))
        return Prefixes(of, length)

    def restore(self, state: State) -> None:
        super().restore(_upgraded(state))


def _upgraded(state: State) -> State:
    """A state with lists as pairs and without a counter, as one of today."""
    collected = {
        name: dict(lists) if isinstance(lists, list) else lists for name, lists in state["collected"].items()
    }
    return {"dropped": 0} | state | {"collected": collected}


class Prefixes(list[Any]):
    """A column of tuples, each the beginning of a list that only grows; a tuple is made when it is looked at."""

    def __init__(self, of: Sequence[list[Any]], length: Sequence[int]) -> None:
        super().__init__()
        self._of, self._length = of, length

    def __len__(self) -> int:
        return len(self._length)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return tuple(self._of[index][: self._length[index]])

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))
