"""Windows of a number of readings, in order of arrival: tumbling, hopping and sliding (a step of 1).

They are aligned windows over the number of the reading in its series instead of its time, so they share the panes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from agent.core.grouping import Grouping
from agent.core.rows import Rows
from agent.core.series import Field, SeriesState
from agent.windows.aggregates import Aggregate, parse
from agent.windows.assigners import HoppingAssigner, pane_length
from agent.windows.base import Window
from agent.windows.block_driver import BlockDriver, block_length
from agent.windows.closed_windows import ClosedWindows
from agent.windows.lateness import Lateness
from agent.windows.pane_operator import PaneOperator
from agent.windows.panes import PaneRing
from agent.windows.results import results
from agent.windows.sampled_aggregates import SampledAggregates, WindowQuery, with_columns
from agent.windows.watermark import Watermark
from sensors.batch import Floats

_BY_TIME = ("earliest", "latest", "rate")
_TIME = "\0time"  # no column of a source is called so


@dataclass(kw_only=True)
class CountWindow(Window):
    """Windows of `count` readings of a series, one each `step` readings (default: `count`, tumbling; 1: sliding).

    The start and end of a result are the lowest and highest time inside, both inclusive. A reading without a value
    counts. Nothing is late, and nothing is closed by the clock.

    Attributes:
        count: readings in a window.
        step: readings from the start of one window to that of the next; 0 = `count`.
        most: readings kept of a series where an aggregate needs them (median, quantiles, distinct, collect).
        emit: `current`: every open window at every reading, oldest first; `final`: a window when it is full.
    """

    remembers: ClassVar = {**Window.remembers, "panes": "panes"}

    count: int
    step: int = 0
    emit: Literal["current", "final"] = "final"
    most: int = 100_000

    def __post_init__(self) -> None:
        step = self.step or self.count
        if self.count < 2:
            raise ValueError(f"count is {self.count}; a window has 2 readings or more")
        if not 1 <= step <= self.count:
            raise ValueError(f"step {step} must lie between 1 and count {self.count}")
        wanted = parse(self.aggregates, self.metric)
        for item in wanted:
            if item.function in _BY_TIME:
                raise ValueError(f"{item.function} is not available in a window by count")
        bounds = (Aggregate("\0start", "min", _TIME), Aggregate("\0end", "max", _TIME))
        pane = pane_length(self.count, step)
        watermark = Watermark("key", -1, 0, None)  # full with its last reading, not with the one after
        self._readings = SeriesState(number=Field(np.int64))
        self._begin((*wanted, *bounds), self.most, watermark, Lateness(), self._readings)
        shape = HoppingAssigner(self.count // pane, step // pane)
        self.panes = PaneOperator(
            assigner=shape,
            layout=self.layout,
            watermark=watermark,
            ring=PaneRing(shape.width + 2, self.layout.neutral),
            pane=pane,
            shift=0,
            current=self.emit == "current",
            where=None,
            resolution=0,
            lateness=self.lateness,
        )
        self.driver = BlockDriver(self.panes, block_length(shape.width, True))

    def inputs(self) -> tuple[str, ...]:
        """Columns it needs."""
        return tuple(name for name in super().inputs() if name != _TIME)

    def process(self, rows: Rows) -> Rows:
        """Windows that the rows changed (`current`) or filled (`final`), in order."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            keep = rows.key >= 0
            if self.where is not None and len(rows):
                keep &= self.where.holds(rows)
            if not keep.all():
                rows = rows.take(keep)
            numbered = self._numbered(rows)
            if self.samples is None:
                return self._rows(self.driver.process(numbered), rows)
            return self._sampled(self.samples, numbered, rows)

    def _sampled(self, samples: SampledAggregates, numbered: Rows, rows: Rows) -> Rows:
        """Windows of which some aggregates need the readings themselves."""
        panes, arrived = self.panes, self.panes.arrived
        owner = samples.add(numbered, numbered.end, numbered.key >= 0, arrived)
        emitted = self.driver.process(numbered)
        first, end = (edge(emitted.window) * panes.pane for edge in (panes.assigner.first, panes.assigner.end))
        found = with_columns(
            self._rows(emitted, rows), *samples.of(WindowQuery(emitted.key, first, end, arrived + emitted.position))
        )
        if len(owner):
            samples.drop(owner, panes.assigner.first(panes.closed(panes.watermark.at[owner]) + 1) * panes.pane)
        return found

    def _numbered(self, rows: Rows) -> Rows:
        """The rows with their number in the series for a time, and their time for a column."""
        self._readings.grow(int(rows.key.max(initial=-1)) + 1)
        series = Grouping.of(rows)
        number = self._readings["number"][rows.key] + series.unsorted(series.number)
        self._readings["number"][series.owner] += series.length
        # A time is 0 or more and below 2**62: its bits are a number too, and both are ordered alike.
        bits: Floats = np.ascontiguousarray(rows.end).view(np.float64)
        return Rows(rows.key, number, number, rows.at, {**rows.values, _TIME: bits}, rows.now)

    def _rows(self, emitted: ClosedWindows, rows: Rows) -> Rows:
        values = results(self.layout, emitted.partial, self.panes.pane)
        start = np.ascontiguousarray(values.pop("\0start")).view(np.int64)
        end = np.ascontiguousarray(values.pop("\0end")).view(np.int64)
        return Rows(emitted.key, start, end, rows.at[emitted.position], values, rows.now)

    def on_clock_step(self, to: int) -> None:
        """The clock is nothing to it."""
