"""Rolling divergence of a window's histogram from a reference, per series: Kullback-Leibler, Jensen-Shannon or PSI.

The edges are those of the reference and stay fixed, with a bin on either side for what lies beyond; both histograms
are smoothed with a prior of `prior` readings in each bin (1/2: Jeffreys), so the divergence is finite and the same
drift scores the same whatever the window's own range. The formulas are in `agent.detectors.histograms.divergence`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, cast

import numpy as np

from agent.core.explanations import Explanation
from agent.core.grouping import Grouping
from agent.core.operator import Operator
from agent.core.rows import Rows
from agent.core.series import Field, SeriesState, State, Stateful
from agent.detectors.histograms.bin_shift import BinEvidence
from agent.detectors.histograms.divergence import Direction, Divergence, measure, smoothed
from agent.detectors.histograms.reference import Edges, Reference, quantile_edges, widened
from agent.detectors.histograms.training_buffer import TrainingBuffer
from agent.expressions import Expression
from agent.windows.assigners import HoppingAssigner, pane_length
from agent.windows.block_driver import BlockDriver, block_length
from agent.windows.closed_windows import ClosedWindows
from agent.windows.histogram import Histograms
from agent.windows.lateness import Lateness
from agent.windows.pane_operator import PaneOperator
from agent.windows.panes import PaneRing
from agent.windows.uneven_histogram import UnevenHistograms
from agent.windows.watermark import Closing, Watermark
from sensors.batch import Floats, Ints, Text
from sensors.units import MILLISECOND, Duration

REASONS = ("no reading", "still learning")
"""Why a score is NaN: nothing in the window but what is missing or was learnt from; part of it was learnt from."""
_ZERO = Duration(0)
_MILLISECOND = Duration(MILLISECOND)


@dataclass(kw_only=True)
class Kl(Operator):
    """Score of each window of `size`, one every `step`: its divergence from the reference.

    Results: `score`, `count`, `missing` and `outside`, the share of readings beyond the edges; `reason` where the
    score is NaN; the evidence of an alert names the bins that moved most. Scale and offset of the metric do not
    matter if the reference has them, too; a change of either is what it finds.

    Attributes:
        metric: column.
        size: of a window.
        step: from the start of one window to that of the next.
        bins: bins between the edges.
        divergence: `kl` (Kullback-Leibler, nats), `js` (Jensen-Shannon, nats, at most 0.69) or `psi` (population
            stability index).
        edges: of a learnt reference: `equal` widths, or `quantile`, equal shares of the reference in each bin: fine
            where readings are many.
        prior: readings added to every bin of both histograms.
        direction: of `kl`: `reference` sums p ln(p/q) (what is missing counts most), `window` q ln(q/p) (what is
            new does).
        reference: one for all series; without it each series learns its own.
        learn: from the first readings of a series, for so long and at least `bins` of them, the reference is learnt
            if none is given. A window that holds some of them is not scored.
        learn_most: most readings that a series learns from.
        grace: how late a reading may be.
        closing: what closes a window: the time of its series, of all series, or a watermark as in Flink.
        idle: after so long a silence time goes on with the host's clock, so that the last windows close.
        where: readings for which this does not hold are left out; they still move a common watermark.
        on: name of the window, detector or source it reads; empty for all readings.
        by: what makes a series.
        resolution: of time stamps; a watermark closes a window at its end less this.
    """

    metric: str
    size: Duration
    step: Duration
    bins: int = 50
    divergence: Divergence = "kl"
    edges: Edges = "equal"
    prior: float = 0.5
    direction: Direction = "reference"
    reference: Reference | None = None
    learn: Duration = field(default_factory=lambda: Duration("60s"))
    learn_most: int = 10_000
    grace: Duration = _ZERO
    closing: Closing = "key"
    idle: Duration | None = None
    where: Expression | None = None
    on: str = ""
    by: tuple[str, ...] = ("machine",)
    resolution: Duration = _MILLISECOND

    state_version: ClassVar[int] = 2
    explains: ClassVar = {
        "score": Explanation("is distributed unlike before", "is distributed as usual again"),
        "outside": Explanation("lies outside its usual range", "is in its usual range again", share=True),
    }
    texts: ClassVar = ("reason",)
    remembers: ClassVar = {"horizon": "watermark", "panes": "panes", "lessons": "_training", "": "_reference"}

    def __post_init__(self) -> None:
        if self.where is not None:
            self.where.condition()
        if self.size <= 0 or self.step <= 0 or self.step > self.size:
            raise ValueError(f"step {self.step} must be longer than zero and at most size {self.size}")
        if self.bins < 2 or self.prior <= 0:
            raise ValueError("bins must be 2 or more and prior above 0")
        if self.reference is not None and len(self.reference.counts) != self.bins + 2:
            raise ValueError(
                f"the reference has {len(self.reference.counts) - 2} bins between its edges, not {self.bins}"
            )
        pane = pane_length(self.size, self.step)
        shape = HoppingAssigner(self.size // pane, self.step // pane)
        given = self.reference is not None and len(self.reference.edges) > 0
        kind = UnevenHistograms if given or (self.edges == "quantile" and self.reference is None) else Histograms
        self.histograms = kind(self.metric, self.bins)
        self._distance = measure(self.divergence, self.direction)
        self.watermark = Watermark(self.closing, self.grace, self.resolution, self.idle)
        slots = -(-(self.size + self.grace) // pane) + 2
        self.panes = PaneOperator(
            assigner=shape,
            layout=self.histograms,
            watermark=self.watermark,
            ring=PaneRing(slots, self.histograms.neutral, np.int32),
            pane=pane,
            shift=0,
            current=False,
            where=self.where,
            resolution=self.resolution,
            lateness=Lateness(),
        )
        self.driver = BlockDriver(self.panes, block_length(shape.width, False))
        self._learnt = SeriesState(shares=Field(np.float64, np.nan, (self.bins + 2,)))
        self._reference: tuple[Stateful, ...] = (self.histograms, self._learnt) if self.reference is None else ()
        self._training = TrainingBuffer(self.learn, self.learn_most, min(self.bins, self.learn_most))
        self._given: Floats | None = None  # shares of the reference that is for all series
        if self.reference is not None:
            self._set_edges(1, np.array([self.reference.edges or (self.reference.low, self.reference.high)]), None)
            self._given = smoothed(np.array(self.reference.counts)[:, None], self.prior)
        self._no_values = {name: np.zeros(0) for name in self.outputs() if name not in self.texts}

    def outputs(self) -> tuple[str, ...]:
        return ("score", "count", "missing", "outside", "reason")

    def process(self, rows: Rows) -> Rows:
        """Scores of the windows that closed."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            if self.reference is None and len(rows):
                rows = self._learning(rows)
            return self._scored(self.driver.process(rows), rows)

    def finish(self, now: int) -> Rows:
        """End of input: every window that is open closes."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            empty = np.zeros(0, np.int64)
            return self._scored(self.driver.finish(), Rows(empty, empty, empty, empty, {}, now))

    def _scored(self, emitted: ClosedWindows, rows: Rows) -> Rows:
        if len(emitted.key) == 0:
            none = Rows(emitted.key, emitted.key, emitted.key, emitted.key, self._no_values, rows.now)
            return replace(none, texts={"reason": Text(REASONS, np.zeros(0, np.int32))}, lists={"evidence": []})
        counts = emitted.partial[1:]
        n = emitted.partial[1:].sum(axis=0)  # whole numbers: any order will do
        share = self._shares(emitted.key)
        score = np.where(n > 0, self._distance(share, smoothed(counts, self.prior)), np.nan)
        values = {
            "score": score,
            "count": n,
            "missing": emitted.partial[0] - n,
            "outside": (counts[0] + counts[-1]) / np.where(n > 0, n, np.nan),
        }
        found = self.panes.rows(emitted, rows, values)
        reason = np.where(n > 0, -1, 0)
        if self.reference is None:
            partly = (n > 0) & (found.start < self._training.trained_at[emitted.key])
            score[partly], reason[partly] = np.nan, 1
        evidence = BinEvidence(share, counts, self._edges(emitted.key), self.prior, score)
        return replace(
            found,
            texts={"reason": Text(REASONS, reason.astype(np.int32))},
            lists={"evidence": cast("list[Any]", evidence)},
        )

    def _edges(self, key: Ints) -> Floats:
        """Edges for the evidence of these series: the lowest and highest, or all; one row if all share them."""
        row = np.zeros(1, np.int64) if self.histograms.is_shared else key
        if isinstance(self.histograms, UnevenHistograms):
            return self.histograms.inner[row]
        return np.stack([self.histograms.low[row], self.histograms.high[row]], axis=1)

    def _shares(self, key: Ints) -> Floats:
        """Smoothed reference of each of these series, `(b, m)`."""
        if self._given is not None:
            return self._given
        return np.ascontiguousarray(self._learnt["shares"].take(key, axis=0).T)  # a sum's order follows the layout

    # --- learning ---------------------------------------------------------------------------------------------

    def _learning(self, rows: Rows) -> Rows:
        """Learn from the first readings of each series; they are not scored and lose their series here."""
        if self._training.trained(rows.key):
            return rows
        values = rows.values.get(self.metric)
        value = np.full(len(rows), np.nan) if values is None else values
        if self.where is not None:
            value = np.where(self.where.holds(rows), value, np.nan)
        taken, ended = self._training.collect(rows.key, rows.end, value)
        if len(ended):
            self._learn_references(*self._training.pop(ended))
        for part in self._reference:
            part.grow(int(rows.key.max()) + 1)
        if not taken.any():
            return rows
        # What was learnt from is not scored; what has no value, or an absurd one, is missing.
        columns = {**rows.values, self.metric: np.where(taken < 0, np.nan, value)}
        return replace(rows, key=np.where(taken > 0, -1, rows.key), values=columns)

    def _learn_references(self, key: Ints, value: Floats) -> None:
        """Make the references of series from their readings, both ordered by series."""
        series = Grouping(key)
        owner, first, number = series.owner, series.begin, series.length
        if isinstance(self.histograms, UnevenHistograms):
            edges = quantile_edges(value[np.lexsort((value, key))], first, number, self.bins)
        else:
            edges = np.stack(widened(np.minimum.reduceat(value, first), np.maximum.reduceat(value, first)), axis=1)
        self._set_edges(int(owner[-1]) + 1, edges, owner)
        cell = self.histograms.bin(key, value) * len(owner) + np.repeat(np.arange(len(owner)), number)
        counts = np.bincount(cell, minlength=(self.bins + 2) * len(owner)).reshape(self.bins + 2, -1)
        self._learnt.grow(int(owner[-1]) + 1)
        self._learnt["shares"][owner] = smoothed(counts.astype(np.float64), self.prior).T

    def _set_edges(self, series: int, edges: Floats, keys: Ints | None) -> None:
        if isinstance(self.histograms, UnevenHistograms):
            self.histograms.uneven(series, edges, keys)
        else:
            self.histograms.edges(series, edges[:, 0], edges[:, -1], keys)

    # --- the operator -----------------------------------------------------------------------------------------

    def restore(self, state: State) -> None:
        super().restore(_upgrade(state))

    def on_clock_step(self, to: int) -> None:
        keys = self.watermark.on_clock_step(to, self.panes.ring.series)
        self.touch(keys)
        self.panes.ring.evict(keys)
        self.watermark.evict(keys)

    def stats(self) -> dict[str, int]:
        return self.panes.lateness.stats()


def _upgrade(state: State) -> State:
    """A state whose learnt shares still have the bin as first axis."""
    return state if "share" not in state else state | {"shares": np.asarray(state["share"]).T}
