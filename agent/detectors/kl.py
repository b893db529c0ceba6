"""Rolling Kullback-Leibler divergence of a window's histogram from a reference, per series.

The edges are those of the reference and stay fixed, with a bin on either side for what lies beyond; both histograms
are smoothed with a prior of `prior` readings in each bin (1/2: Jeffreys), so the divergence is finite and the same
drift scores the same whatever the window's own range. Natural logarithm: nats.

Kullback and Leibler (1951), "On information and sufficiency".
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

import numpy as np

from agent.detectors.lessons import Lessons
from agent.detectors.moved import Evidence
from agent.expressions import Expression
from agent.rows import Rows, State
from agent.windows.calls import Windows, block_length
from agent.windows.histogram import Histograms
from agent.windows.horizon import Closing, Horizon
from agent.windows.lateness import Lateness
from agent.windows.pane_windows import PaneWindows
from agent.windows.panes import Hops, PaneRing, pane_length
from agent.windows.table import Told
from sensors.batch import Floats, Ints
from sensors.units import MILLISECOND, Duration

Direction = Literal["reference", "window"]
_ZERO = Duration(0)
_MILLISECOND = Duration(MILLISECOND)


@dataclass(frozen=True)
class Reference:
    """What is normal: counts in equal bins from `low` to `high`, with one bin below and one above them.

    Attributes:
        low: lowest edge, in units of the metric; `high` the highest.
        counts: below, the bins in ascending order, above.
    """

    low: float
    high: float
    counts: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"low {self.low} must be less than high {self.high}")
        if len(self.counts) < 3 or min(self.counts) < 0:
            raise ValueError(
                "counts need one bin below, at least one between and one above the edges, none negative"
            )


def fit(values: Floats, bins: int = 50) -> Reference:
    """The reference that these readings make: edges from their least to their greatest, 1 to either side if equal.

    Raises:
        ValueError: if none of them is finite.
    """
    values = values[np.isfinite(values)]
    if len(values) == 0:
        raise ValueError("there is no reading to learn from")
    low, high = _range(values.min(keepdims=True), values.max(keepdims=True))
    histograms = Histograms("", bins)
    histograms.edges(1, low, high)
    counts = np.bincount(histograms.bin(np.zeros(len(values), np.int64), values), minlength=bins + 2)
    return Reference(float(low[0]), float(high[0]), tuple(counts.astype(float).tolist()))


def divergence(share: Floats, window: Floats, prior: float, direction: Direction = "reference") -> Floats:
    """KL divergence of smoothed histograms, nats.

    Args:
        share: `(b, m)` smoothed reference p, each column adding up to 1.
        window: `(b, m)` counts.
        prior: readings added to every bin.
        direction: `reference`: sum p ln(p / q); `window`: sum q ln(q / p).

    Returns:
        `(m,)`; NaN where the window is empty.
    """
    n = _sum(window)
    q = (window + prior) / (n + prior * len(window))
    terms = share * np.log(share / q) if direction == "reference" else q * np.log(q / share)
    return np.where(n > 0, np.maximum(_sum(terms), 0.0), np.nan)


def _sum(terms: Floats) -> Floats:
    """Sum over bins in their order; `np.sum` would group them by the number of windows."""
    total: Floats = np.cumsum(terms, axis=0)[-1]
    return total


@dataclass(kw_only=True)
class Kl:
    """Score of each window of `size`, one every `step`: its divergence from the reference.

    Results: `score`, `count`, `missing` and `outside`, the share of readings beyond the edges; the evidence of an
        alert
    tells the bins that moved most.

    Attributes:
        metric: column.
        size: of a window.
        step: from the start of one window to that of the next.
        bins: equal bins between the edges.
        prior: readings added to every bin of both histograms.
        direction: whose expectation it is, see `divergence`.
        reference: one for all series; without it each series learns its own.
        learn: from the first readings of a series, for so long, the reference is learnt if none is given.
        learn_most: most readings that a series learns from.
        grace: how late a reading may be.
        closing: what closes a window: the time of its series, of all series, or a watermark as in Flink.
        idle: after so long a silence time goes on with the host's clock, so that the last windows close.
        where: readings for which this does not hold are left out; they still move a common horizon.
        on: name of the window, detector or source it reads; empty for all readings.
        by: what makes a series.
        resolution: of time stamps; a watermark closes a window at its end less this.
    """

    metric: str
    size: Duration
    step: Duration
    bins: int = 50
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
        shape = Hops(self.size // pane, self.step // pane)
        self.histograms = Histograms(self.metric, self.bins)
        self.horizon = Horizon(self.closing, self.grace, self.resolution, self.idle)
        slots = -(-(self.size + self.grace) // pane) + 2
        self.windows = Windows(
            PaneWindows(
                geometry=shape,
                layout=self.histograms,
                horizon=self.horizon,
                ring=PaneRing(slots, self.histograms.neutral, np.int32),
                pane=pane,
                shift=0,
                current=False,
                where=self.where,
                resolution=self.resolution,
                lateness=Lateness(),
            ),
            block_length(shape.wide, False),
        )
        self._share: Floats = np.zeros((self.bins + 2, 0))
        self._lessons = Lessons(self.learn, self.learn_most)
        if self.reference is not None:
            self._set(None, np.array([self.reference.low]), np.array([self.reference.high]),
                      np.array(self.reference.counts)[:, None])  # fmt: skip
        self._no_values = {name: np.zeros(0) for name in self.outputs()}

    def outputs(self) -> tuple[str, ...]:
        """Columns of its results."""
        return ("score", "count", "missing", "outside")

    def inputs(self) -> tuple[str, ...]:
        """Columns it needs."""
        return (self.metric,)

    @property
    def bytes(self) -> int:
        """Memory of one series that has learnt."""
        return self.windows.panes.ring.bytes + 24 + 24 + 16 + 8 * (self.bins + 2)

    def process(self, rows: Rows) -> Rows:
        """Scores of the windows that closed."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            if self.reference is None and len(rows):
                rows = self._learning(rows)
            return self._scored(self.windows.process(rows), rows)

    def finish(self, now: int) -> Rows:
        """End of input: every window that is open closes."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            empty = np.zeros(0, np.int64)
            return self._scored(self.windows.finish(), Rows(empty, empty, empty, empty, {}, now))

    def _scored(self, told: Told, rows: Rows) -> Rows:
        if len(told.key) == 0:
            none = Rows(told.key, told.key, told.key, told.key, self._no_values, rows.now)
            return replace(none, lists={"evidence": []})
        counts = told.partial[1:]
        n = told.partial[1:].sum(axis=0)  # whole numbers: any order will do
        share = self._shares(told.key)
        score = divergence(share, counts, self.prior, self.direction)
        values = {
            "score": score,
            "count": n,
            "missing": told.partial[0] - n,
            "outside": (counts[0] + counts[-1]) / np.where(n > 0, n, np.nan),
        }
        found = self.windows.panes.rows(told, rows, values)
        at = np.zeros(1, np.int64) if self.histograms.shared else told.key
        evidence = Evidence(share, counts, self.histograms.low[at], self.histograms.high[at], self.prior)
        return replace(found, lists={"evidence": cast("list[Any]", evidence)})

    def _shares(self, key: Ints) -> Floats:
        """Smoothed reference of each of these series, `(b, m)`."""
        return self._share if self.histograms.shared else self._share.take(key, axis=1)

    # --- learning ---------------------------------------------------------------------------------------------

    def _learning(self, rows: Rows) -> Rows:
        """Learn from the first readings of each series; they are not scored and lose their series here."""
        if self._lessons.over(rows.key):
            return rows
        values = rows.values.get(self.metric)
        value = np.full(len(rows), np.nan) if values is None else values
        if self.where is not None:
            value = np.where(self.where.holds(rows), value, np.nan)
        taken, ended = self._lessons.learn(rows.key, rows.end, value)
        if len(ended):
            self._conclude(*self._lessons.take(ended))
        return rows if taken is None else replace(rows, key=np.where(taken, -1, rows.key))

    def _conclude(self, key: Ints, value: Floats) -> None:
        """Make the references of series from their readings, both ordered by series."""
        first = np.flatnonzero(np.append(True, key[1:] != key[:-1]))
        owner = key[first]
        low, high = _range(np.minimum.reduceat(value, first), np.maximum.reduceat(value, first))
        self.histograms.edges(int(owner[-1]) + 1, low, high, owner)
        number = np.repeat(np.arange(len(owner)), np.diff(first, append=len(key)))
        cell = self.histograms.bin(key, value) * len(owner) + number
        counts = np.bincount(cell, minlength=(self.bins + 2) * len(owner)).reshape(self.bins + 2, -1)
        self._set(owner, low, high, counts.astype(np.float64))

    def _set(self, keys: Ints | None, low: Floats, high: Floats, counts: Floats) -> None:
        share = (counts + self.prior) / (counts.sum(axis=0) + self.prior * len(counts))
        if keys is None:
            self.histograms.edges(1, low, high)
            self._share = share
            return
        self.histograms.edges(int(keys[-1]) + 1, low, high, keys)
        if len(self.histograms.low) > self._share.shape[1]:
            more = len(self.histograms.low) - self._share.shape[1]
            self._share = np.concatenate((self._share, np.full((self.bins + 2, more), np.nan)), axis=1)
        self._share[:, keys] = share

    # --- the operator -----------------------------------------------------------------------------------------

    def state(self) -> State:
        state: State = {
            "panes": self.windows.panes.state(),
            "horizon": self.horizon.state(),
            "lessons": self._lessons.state(),
        }
        if not self.histograms.shared:
            state |= {
                "low": self.histograms.low.copy(),
                "high": self.histograms.high.copy(),
                "share": self._share.copy(),
            }
        return state

    def restore(self, state: State) -> None:
        self.horizon.restore(state["horizon"])
        self.windows.panes.restore(state["panes"])
        self._lessons.restore(state["lessons"])
        if not self.histograms.shared:
            self.histograms.low = np.array(state["low"], np.float64)
            self.histograms.high = np.array(state["high"], np.float64)
            with np.errstate(divide="ignore"):
                self.histograms.scale = self.bins / (self.histograms.high - self.histograms.low)
            self._share = np.array(state["share"], np.float64)

    def set_back(self, to: int) -> None:
        """As of aligned windows; what was learnt stays."""
        keys = self.horizon.set_back(to, len(self.windows.panes.ring.newest))
        self.windows.panes.ring.forget(keys)
        self.horizon.forget(keys)

    def forget(self, keys: Ints) -> None:
        self.windows.panes.ring.forget(keys)
        self.horizon.forget(keys)
        self._lessons.forget(keys)


def _range(low: Floats, high: Floats) -> tuple[Floats, Floats]:
    """Edges around readings; one unit wide if they are all equal, as `np.histogram` has it."""
    equal = ~(high - low > np.maximum(np.abs(low), np.abs(high)) * 1e-12)
    return np.where(equal, low - 0.5, low), np.where(equal, high + 0.5, high)
