"""Windows aligned to the epoch: tumbling, hopping and cumulating."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from agent.expressions import Expression
from agent.rows import Rows, State
from agent.windows import aggregates as spelling
from agent.windows.calls import Windows, block_length
from agent.windows.horizon import Closing, Horizon
from agent.windows.pane_windows import Counts, PaneWindows
from agent.windows.panes import Hops, PaneRing, Steps, pane_length
from agent.windows.partials import Layout
from agent.windows.results import results
from agent.windows.table import Told
from sensors.batch import Ints
from sensors.units import MILLISECOND, Duration

_ZERO = Duration(0)
_MILLISECOND = Duration(MILLISECOND)


@dataclass(kw_only=True)
class Aligned:
    """What all aligned windows share.

    Attributes:
        metric: the column that `count`, `missing` and aggregates without a column of their own are about.
        aggregates: names, such as `mean`, `p95` or `max(pressure)`, or a table of names and calls.
        emit: `current` tells every window that a reading changes, at once; `final` tells a window when it closes.
        grace: how late a reading may be.
        closing: what closes a window: the time of its series, of all series, or a watermark as in Flink.
        idle: after so long a silence time goes on with the host's clock, so that the last windows close.
        offset: of window starts from the epoch.
        where: readings for which this does not hold are left out; they still move a common horizon.
        on: name of the window, detector or source it reads; empty for all readings.
        by: what makes a series.
        resolution: of time stamps; a watermark closes a window at its end less this.
        tell_late: keep the windows refused to late readings of the last call in `late`, for a side stream.
    """

    metric: str = ""
    aggregates: list[str] | dict[str, str] = field(default_factory=lambda: ["mean"])
    emit: Literal["current", "final"] = "final"
    grace: Duration = _ZERO
    closing: Closing = "key"
    idle: Duration | None = None
    offset: Duration = _ZERO
    where: Expression | None = None
    on: str = ""
    by: tuple[str, ...] = ("machine",)
    resolution: Duration = _MILLISECOND
    tell_late: bool = False

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
        wanted = spelling.parse(self.aggregates, self.metric)
        for item in wanted:
            if item.function in spelling.SAMPLED:
                raise ValueError(f"{item.function} is not available in this kind of window yet")
        self.layout = layout = Layout(wanted, self.metric)
        self.horizon = Horizon(self.closing, self.grace, self.resolution, self.idle)
        self.panes = PaneWindows(
            geometry=shape,
            layout=layout,
            horizon=self.horizon,
            ring=PaneRing(-(-(size + self.grace) // pane) + 2, layout.neutral),
            pane=pane,
            shift=int(self.offset) % (step if geometry is Hops else size),
            current=self.emit == "current",
            where=self.where,
            resolution=self.resolution,
            tell_late=self.tell_late,
        )
        self.windows = Windows(self.panes, block_length(shape.wide, self.emit == "current"))

        # --- the operator -----------------------------------------------------------------------------------------

        self._no_values = {name: np.zeros(0) for name in layout.names}

    def outputs(self) -> tuple[str, ...]:
        """Columns of its results."""
        return self.layout.names

    def inputs(self) -> tuple[str, ...]:
        """Columns it needs."""
        return self.layout.columns

    def process(self, rows: Rows) -> Rows:
        """Windows that the rows changed (`current`) or closed (`final`), in order."""
        self.panes.late.clear()
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return self._rows(self.windows.process(rows), rows)

    def finish(self, now: int) -> Rows:
        """End of input: every window that is open closes, as if time had come to an end."""
        empty = np.zeros(0, np.int64)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return self._rows(self.windows.finish(), Rows(empty, empty, empty, empty, {}, now))

    def _rows(self, told: Told, rows: Rows) -> Rows:
        if len(told.key) == 0:
            return Rows(told.key, told.key, told.key, told.key, self._no_values, rows.now)
        return self.panes.rows(told, rows, results(self.layout, told.partial, self.panes.pane))

    @property
    def bytes(self) -> int:
        """Memory of one series."""
        return self.panes.ring.bytes + 24

    @property
    def counts(self) -> Counts:
        """What happened to readings."""
        return self.panes.counts

    @property
    def late(self) -> list[Rows]:
        """Windows refused to late readings of the last call, if `tell_late`."""
        return self.panes.late

    def state(self) -> State:
        return {
            "panes": self.panes.state(),
            "horizon": self.horizon.state(),
            "overflows": self.layout.overflows,
        }

    def restore(self, state: State) -> None:
        self.horizon.restore(state["horizon"])
        self.panes.restore(state["panes"])
        self.layout.overflows = int(state["overflows"])

    def forget(self, keys: Ints) -> None:
        self.panes.ring.forget(keys)
        self.horizon.forget(keys)


@dataclass(kw_only=True)
class Tumbling(Aligned):
    """Windows of `size` one after the other, `[start, start + size)`. See `Aligned`."""

    size: Duration

    def __post_init__(self) -> None:
        self._prepare(self.size, self.size, Hops)


@dataclass(kw_only=True)
class Hopping(Aligned):
    """Windows of `size` that start each `step`, which need not divide it. See `Aligned`."""

    size: Duration
    step: Duration

    def __post_init__(self) -> None:
        self._prepare(self.size, self.step, Hops)


@dataclass(kw_only=True)
class Cumulate(Aligned):
    """Windows of `size` one after the other, each told again every `step` as it fills (Flink's CUMULATE)."""

    size: Duration
    step: Duration

    def __post_init__(self) -> None:
        if self.step > 0 and self.size % self.step:
            raise ValueError(f"size {self.size} must be a multiple of step {self.step}")
        self._prepare(self.size, self.step, Steps)
