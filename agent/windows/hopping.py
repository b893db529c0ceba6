"""Windows aligned to the epoch: tumbling, hopping and cumulating."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from agent.core.rows import Rows, no_rows
from agent.windows.aggregates import parse
from agent.windows.assigners import CumulatingAssigner, HoppingAssigner, pane_length
from agent.windows.base import Window
from agent.windows.block_driver import BlockDriver, block_length
from agent.windows.block_view import event_time
from agent.windows.closed_windows import ClosedWindows
from agent.windows.lateness import Lateness
from agent.windows.pane_operator import PaneOperator
from agent.windows.panes import PaneRing
from agent.windows.results import results
from agent.windows.sampled_aggregates import SampledAggregates, WindowQuery, with_columns
from agent.windows.watermark import Closing, Watermark
from sensors.units import MILLISECOND, Duration

_EVER = 1 << 62
_ZERO = Duration(0)
_MILLISECOND = Duration(MILLISECOND)


@dataclass(kw_only=True)
class Aligned(Window):
    """What all aligned windows share.

    Attributes:
        emit: `current`: every window that a reading changes, at once; `final`: a window when it closes.
        grace: how late a reading may be.
        closing: what closes a window: the time of its series, of all series, or a watermark as in Flink.
        idle: after so long a silence time goes on with the host's clock, so that the last windows close.
        offset: of window starts from the epoch.
        resolution: of time stamps; a watermark closes a window at its end less this.
        emit_late: keep the windows refused to late readings of the last call in `late`, for a side stream.
        most: readings kept of a series where an aggregate needs them (median, quantiles, distinct, collect).
    """

    remembers: ClassVar = {**Window.remembers, "panes": "panes"}

    emit: Literal["current", "final"] = "final"
    grace: Duration = _ZERO
    closing: Closing = "key"
    idle: Duration | None = None
    offset: Duration = _ZERO
    resolution: Duration = _MILLISECOND
    emit_late: bool = False
    most: int = 100_000

    def _prepare(self, size: int, step: int, assigner: type[HoppingAssigner] | type[CumulatingAssigner]) -> None:
        """Make the state; called by `__post_init__` of each kind."""
        if size <= 0 or step <= 0:
            raise ValueError("size and step must be longer than zero")
        if step > size:
            raise ValueError(f"step {Duration(step)} is longer than size {Duration(size)}; readings would be lost")
        pane = pane_length(size, step)
        if pane < 1000:
            raise ValueError(f"size {Duration(size)} and step {Duration(step)} have no common part of 1us or more")
        shape = assigner(size // pane, step // pane)
        watermark = Watermark(self.closing, self.grace, self.resolution, self.idle)
        self._begin(parse(self.aggregates, self.metric), self.most, watermark, Lateness(self.emit_late))
        self.panes = PaneOperator(
            assigner=shape,
            layout=self.layout,
            watermark=self.watermark,
            ring=PaneRing(-(-(size + self.grace) // pane) + 2, self.layout.neutral),
            pane=pane,
            shift=int(self.offset) % (step if assigner is HoppingAssigner else size),
            current=self.emit == "current",
            where=self.where,
            resolution=self.resolution,
            lateness=self.lateness,
        )
        self.driver = BlockDriver(self.panes, block_length(shape.width, self.emit == "current"))
        self._no_values = {name: np.zeros(0) for name in self.layout.names}

    def process(self, rows: Rows) -> Rows:
        """Windows that the rows changed (`current`) or closed (`final`), in order."""
        self.late.clear()
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            if self.samples is None:
                return self._rows(self.driver.process(rows), rows)
            return self._sampled(self.samples, rows)

    def finish(self, now: int) -> Rows:
        """End of input: every window that is open closes, as if time had come to an end."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            found = self._rows(self.driver.finish(), no_rows(now))
            if self.samples is None:
                return found
            return with_columns(
                found, *self.samples.of(WindowQuery(found.key, found.start, found.end, np.full(len(found), _EVER)))
            )

    def _sampled(self, samples: SampledAggregates, rows: Rows) -> Rows:
        """Windows of which some aggregates need the readings themselves."""
        arrived = self.panes.arrived
        owner = rows.key[:0]
        if len(rows):
            keep = rows.key >= 0
            if self.where is not None:
                keep &= self.where.holds(rows)
            time = event_time(rows, slice(0, len(rows)), self.resolution)
            owner = samples.add(rows, time, keep, arrived)
        emitted = self.driver.process(rows)
        found = self._rows(emitted, rows)
        arrival = arrived + np.maximum(emitted.position, -1)
        found = with_columns(found, *samples.of(WindowQuery(found.key, found.start, found.end, arrival)))
        if len(owner):
            at = self.watermark.at[owner] if self.watermark.per_series else self.watermark.at.repeat(len(owner))
            panes = self.panes
            samples.drop(owner, panes.assigner.first(panes.closed(at) + 1) * panes.pane + panes.shift)
        return found

    def _rows(self, emitted: ClosedWindows, rows: Rows) -> Rows:
        if len(emitted.key) == 0:
            return Rows(emitted.key, emitted.key, emitted.key, emitted.key, self._no_values, rows.now)
        return self.panes.rows(emitted, rows, results(self.layout, emitted.partial, self.panes.pane))


@dataclass(kw_only=True)
class Tumbling(Aligned):
    """Windows of `size` one after the other, `[start, start + size)`.

    Attributes:
        size: of a window.
    """

    size: Duration

    def __post_init__(self) -> None:
        self._prepare(self.size, self.size, HoppingAssigner)


@dataclass(kw_only=True)
class Hopping(Aligned):
    """Windows of `size` that start each `step`, which need not divide it.

    Attributes:
        size: of a window.
        step: from the start of one window to that of the next.
    """

    size: Duration
    step: Duration

    def __post_init__(self) -> None:
        self._prepare(self.size, self.step, HoppingAssigner)


@dataclass(kw_only=True)
class Cumulate(Aligned):
    """Windows of `size` one after the other, each emitted again every `step` as it fills (Flink's CUMULATE).

    Attributes:
        size: of a window.
        step: from one result to the next; the size is a multiple of it.
    """

    size: Duration
    step: Duration

    def __post_init__(self) -> None:
        if self.step > 0 and self.size % self.step:
            raise ValueError(f"size {self.size} must be a multiple of step {self.step}")
        self._prepare(self.size, self.step, CumulatingAssigner)
