"""Windows aligned to the epoch: tumbling, hopping and cumulating."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from agent.core.rows import Rows, no_rows
from agent.windows.aggregates import parse
from agent.windows.base import Window
from agent.windows.block_driver import Windows, block_length
from agent.windows.block_view import event_time
from agent.windows.closed_windows import Told
from agent.windows.lateness import Lateness
from agent.windows.pane_operator import PaneWindows
from agent.windows.panes import Hops, PaneRing, Steps, pane_length
from agent.windows.results import results
from agent.windows.sampled_aggregates import Asked, Samples, with_columns
from agent.windows.watermark import Closing, Horizon
from sensors.units import MILLISECOND, Duration

_EVER = 1 << 62
_ZERO = Duration(0)
_MILLISECOND = Duration(MILLISECOND)


@dataclass(kw_only=True)
class Aligned(Window):
    """What all aligned windows share.

    Attributes:
        emit: `current` tells every window that a reading changes, at once; `final` tells a window when it closes.
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

    def _prepare(self, size: int, step: int, geometry: type[Hops] | type[Steps]) -> None:
        """Make the state; called by `__post_init__` of each kind."""
        if size <= 0 or step <= 0:
            raise ValueError("size and step must be longer than zero")
        if step > size:
            raise ValueError(f"step {Duration(step)} is longer than size {Duration(size)}; readings would be lost")
        pane = pane_length(size, step)
        if pane < 1000:
            raise ValueError(f"size {Duration(size)} and step {Duration(step)} have no common part of 1us or more")
        shape = geometry(size // pane, step // pane)
        horizon = Horizon(self.closing, self.grace, self.resolution, self.idle)
        self._begin(parse(self.aggregates, self.metric), self.most, horizon, Lateness(self.emit_late))
        self.panes = PaneWindows(
            geometry=shape,
            layout=self.layout,
            horizon=self.horizon,
            ring=PaneRing(-(-(size + self.grace) // pane) + 2, self.layout.neutral),
            pane=pane,
            shift=int(self.offset) % (step if geometry is Hops else size),
            current=self.emit == "current",
            where=self.where,
            resolution=self.resolution,
            lateness=self.lateness,
        )
        self.windows = Windows(self.panes, block_length(shape.wide, self.emit == "current"))
        self._no_values = {name: np.zeros(0) for name in self.layout.names}

    def process(self, rows: Rows) -> Rows:
        """Windows that the rows changed (`current`) or closed (`final`), in order."""
        self.late.clear()
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            if self.samples is None:
                return self._rows(self.windows.process(rows), rows)
            return self._sampled(self.samples, rows)

    def finish(self, now: int) -> Rows:
        """End of input: every window that is open closes, as if time had come to an end."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            found = self._rows(self.windows.finish(), no_rows(now))
            if self.samples is None:
                return found
            return with_columns(
                found, *self.samples.of(Asked(found.key, found.start, found.end, np.full(len(found), _EVER)))
            )

    def _sampled(self, samples: Samples, rows: Rows) -> Rows:
        """Windows whose readings are asked for too."""
        arrived = self.panes.arrived
        owner = rows.key[:0]
        if len(rows):
            keep = rows.key >= 0
            if self.where is not None:
                keep &= self.where.holds(rows)
            time = event_time(rows, slice(0, len(rows)), self.resolution)
            owner = samples.add(rows, time, keep, arrived)
        told = self.windows.process(rows)
        found = self._rows(told, rows)
        arrival = arrived + np.maximum(told.position, -1)
        found = with_columns(found, *samples.of(Asked(found.key, found.start, found.end, arrival)))
        if len(owner):
            at = self.horizon.at[owner] if self.horizon.each else self.horizon.at.repeat(len(owner))
            panes = self.panes
            samples.drop(owner, panes.geometry.first(panes.closed(at) + 1) * panes.pane + panes.shift)
        return found

    def _rows(self, told: Told, rows: Rows) -> Rows:
        if len(told.key) == 0:
            return Rows(told.key, told.key, told.key, told.key, self._no_values, rows.now)
        return self.panes.rows(told, rows, results(self.layout, told.partial, self.panes.pane))


@dataclass(kw_only=True)
class Tumbling(Aligned):
    """Windows of `size` one after the other, `[start, start + size)`.

    Attributes:
        size: of a window.
    """

    size: Duration

    def __post_init__(self) -> None:
        self._prepare(self.size, self.size, Hops)


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
        self._prepare(self.size, self.step, Hops)


@dataclass(kw_only=True)
class Cumulate(Aligned):
    """Windows of `size` one after the other, each told again every `step` as it fills (Flink's CUMULATE).

    Attributes:
        size: of a window.
        step: from one telling to the next; the size is a multiple of it.
    """

    size: Duration
    step: Duration

    def __post_init__(self) -> None:
        if self.step > 0 and self.size % self.step:
            raise ValueError(f"size {self.size} must be a multiple of step {self.step}")
        self._prepare(self.size, self.step, Steps)
