"""What all windows have in common: the columns they need and give, late readings, counters, a clock set back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from agent.core.operator import Operator
from agent.core.rows import Rows
from agent.core.series import State, Stateful
from agent.core.series_counter import SeriesCounter
from agent.expressions import Expression
from agent.windows.aggregates import SAMPLED, Aggregate
from agent.windows.lateness import Lateness
from agent.windows.partials import PartialLayout
from agent.windows.sampled_aggregates import SampledAggregates
from agent.windows.watermark import Watermark


@dataclass(kw_only=True)
class Window(Operator):
    """A window operator; a subclass calls `_begin` in its `__post_init__`.

    Attributes:
        metric: the column that `count`, `missing` and aggregates without a column of their own are about.
        aggregates: names, such as `mean` or `max(pressure)`, or a table of names and calls.
        where: readings for which this does not hold are left out; they still move a common watermark.
        on: name of the window, detector or source it reads; empty for all readings.
        by: what makes a series.
    """

    kind = "window"
    remembers: ClassVar[Mapping[str, str]] = {"": "_flat", "horizon": "watermark", "samples": "samples"}

    metric: str = ""
    aggregates: list[str] | dict[str, str] = field(default_factory=lambda: ["mean"])
    where: Expression | None = None
    on: str = ""
    by: tuple[str, ...] = ("machine",)

    def _begin(
        self, wanted: Sequence[Aggregate], most: int, watermark: Watermark, lateness: Lateness, *flat: Stateful
    ) -> None:
        """Make the state.

        Args:
            wanted: aggregates.
            most: readings kept of a series where an aggregate needs them.
            watermark: of the window.
            lateness: of the window.
            flat: what else is remembered beside the counters, under its own names.
        """
        if self.where is not None:
            self.where.condition()
        sampled = [item for item in wanted if item.function in SAMPLED]
        self.samples = SampledAggregates(sampled, most) if sampled else None
        self.layout = PartialLayout([item for item in wanted if item not in sampled], self.metric)
        self.watermark, self.lateness = watermark, lateness
        self._flat = (self.layout, *flat)

    def outputs(self) -> tuple[str, ...]:
        """Columns of its results."""
        more = () if self.samples is None else (*self.samples.numbers, *self.samples.lists)
        return tuple(dict.fromkeys((*self.layout.names, *more)))

    def inputs(self) -> tuple[str, ...]:
        """Columns it needs."""
        more = () if self.samples is None else self.samples.columns
        return tuple(dict.fromkeys((*self.layout.columns, *more)))

    @property
    def late(self) -> list[Rows]:
        """Windows refused to late readings of the last call, if `emit_late`."""
        return self.lateness.rows

    @property
    def dropped(self) -> int:
        """What was dropped because a series may keep no more, `most`."""
        return 0 if self.samples is None else self.samples.buffer.dropped

    def stats(self) -> dict[str, int]:
        """Late readings, what was dropped, and windows whose sum was beyond all numbers."""
        return {**self.lateness.stats(), "dropped": self.dropped, "overflows": self.layout.overflows}

    def stats_by_series(self) -> dict[str, SeriesCounter]:
        """Whose readings were late."""
        return self.lateness.by_series

    def on_clock_step(self, to: int) -> None:
        """The clock was set back to `to`: series whose windows lie after it start anew, else all would be late."""
        keys = self.watermark.on_clock_step(to, self.series)
        self.touch(keys)
        self.evict(keys)

    def restore(self, state: State) -> None:
        super().restore(state)
        self.grow(self.series)  # what is kept of a few series only was saved without the others
