"""A condition that held in so many of the last rows of a series."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

import numpy as np

from agent.core.grouping import Bools, Grouping
from agent.core.rows import Rows
from agent.core.series import Field, SeriesState
from agent.expressions import Expression
from agent.rules.threshold import Threshold
from sensors.batch import Ints


@dataclass
class Count(Threshold):
    """Raises when `when` held in at least `least` of the last `of` rows; resolves when it held in fewer.

    Rows for which it is unknown are passed over. `clear`, if given, may name `held`, the number of those rows:
    `held = 0`. Everything else is as in `Threshold`.

    Attributes:
        least: of so many rows it must be true.
        of: rows looked back on, at most 1000.
    """

    _: KW_ONLY
    least: int = 3
    of: int = 5

    type = "count"
    adds = ("held",)
    remembers: ClassVar = {**Threshold.remembers, "": "_past"}

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.of <= 1000:
            raise ValueError(f"least, of: {self.least} of {self.of} rows cannot be; 1 <= least <= of <= 1000")
        super().__post_init__()
        self._held = Expression.parse(f"held >= {self.least}")
        self._past = SeriesState(past=Field(np.bool_, False, (self.of - 1,)))  # of the last rows, the youngest last

    @property
    def raise_limit(self) -> str:
        """The condition as written."""
        return f"({self.when.text}) in {self.least} of {self.of}"

    @property
    def clear_limit(self) -> str:
        """The condition that ends it."""
        return self.clear.text if self.clear is not None else f"held < {self.least}"

    @property
    def limit(self) -> str:
        """For people."""
        return f"{super().limit or self.when.text} in {self.least} of {self.of}"

    def _prepared(self, rows: Rows) -> Rows:
        truth = self.when.evaluate(rows)
        unknown = np.isnan(truth)
        if unknown.any():
            rows, truth = rows.take(~unknown), truth[~unknown]
        held = np.zeros(len(rows))
        if len(rows):
            groups = Grouping.of(rows)
            held = groups.unsorted(self._counted(groups, groups.sorted(truth) != 0).astype(np.float64))
        return rows.with_values(held=held)

    def _counted(self, groups: Grouping, held: Bools) -> Ints:
        """How many of the last `of` rows of its series held, at each position."""
        past = self.of - 1
        self._past.grow(int(groups.key[-1]) + 1)
        kept = self._past["past"]
        begin, keys = groups.begin, groups.owner
        # each series' past stands before its rows, so that sums of `of` never reach into another series
        place = np.arange(len(groups)) + groups.spread(np.arange(1, len(keys) + 1) * past)
        line = np.zeros(len(groups) + len(keys) * past, np.int64)
        line[place] = held
        line[(begin + np.arange(len(keys)) * past)[:, None] + np.arange(past)] = kept[keys]
        total = np.append(0, np.cumsum(line))
        ends = place[groups.end] + 1
        kept[keys] = line[(ends - past)[:, None] + np.arange(past)] > 0
        counted: Ints = total[place + 1] - total[place - past]
        return counted

    def _direction(self, rows: Rows) -> tuple[Ints, Bools]:
        holds = self._held.holds(rows)
        clears = ~holds if self.clear is None else self.clear.holds(rows)
        return np.where(holds, 1, np.where(clears, -1, 0)), np.ones(len(rows), np.bool_)
