"""The base of windows and detectors: every hook the engine calls, each with a default."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

from agent.core.explanations import Explanation
from agent.core.rows import Rows, no_rows
from agent.core.series import Stateful
from agent.core.series_counter import SeriesCounter


class EnginePart(Stateful, ABC):
    """What the engine feeds with rows: windows, detectors and rules.

    Dataclass fields are configuration; state starts in `__post_init__`, is declared by `remembers` and `shared` (see
    `agent.core.series`), and grows when a key beyond its length appears. `process` is pure but for its own state: no
    I/O, no clock, no randomness, and however the stream is cut, the same comes out.

    Attributes:
        on: name of the step or source whose rows it reads; empty = all readings.
        by: columns of the grouping: what makes a series.
        metric: the measured quantity, or the column of it, that it is about; empty where there is none.
    """

    on: str  # annotations only: a value here would become the default of the subclass' field
    by: tuple[str, ...]
    metric: str

    def on_clock_step(self, to: int) -> None:
        """The host's clock was set back to `to`, ns: nothing seen lies after it, and new readings are not late."""

    def inputs(self) -> tuple[str, ...]:
        """Columns it needs."""
        return (self.metric,) if self.metric else ()

    def stats(self) -> dict[str, int]:
        """What it has counted since it was made, such as `{"late": 3}`, for health, metrics and the live view."""
        return {}

    def stats_by_series(self) -> dict[str, SeriesCounter]:
        """Those of `stats` that are counted by series."""
        return {}


class Operator(EnginePart):
    """A step of the engine: rows in, rows out, state inside. Windows and detectors are operators."""

    kind: ClassVar[str] = "detector"
    """Of which table of the configuration it is: `window` or `detector`; as `stats` of the engine call it."""

    default_limit: ClassVar[float | None] = None
    """Of a detector: the score from which a rule without `when` raises; None = there is no usual one."""

    explains: ClassVar[Mapping[str, Explanation]] = MappingProxyType({})
    """What a large value of a column means, in words that complete a sentence about the metric."""

    texts: ClassVar[tuple[str, ...]] = ()
    """Those of `outputs` that are texts."""

    @abstractmethod
    def process(self, rows: Rows) -> Rows:
        """The results that `rows` complete, ordered by `at`; `rows.now` moves the clock even if there are no rows."""

    def finish(self, now: int) -> Rows:
        """The input has ended: what is open closes."""
        return no_rows(now)

    def outputs(self) -> tuple[str, ...] | None:
        """Columns of its results; None = that depends on its input."""
        return None

    def watched(self) -> tuple[str, ...]:
        """Columns of measured quantities that it judges; an alert names them."""
        return (self.metric,) if self.metric else ()
