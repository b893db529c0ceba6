"""What is normal, as a histogram: its edges, and how they follow from readings."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from agent.windows.histogram import Histograms
from agent.windows.uneven_histogram import UnevenHistograms
from sensors.batch import Floats, Ints

Edges = Literal["equal", "quantile"]
NARROWEST = 1e-290
"""Readings no further apart are equal: bins so narrow have no finite number to the unit."""


@dataclass(frozen=True)
class Reference:
    """What is normal: counts in bins from `low` to `high`, with one bin below and one above them.

    Attributes:
        low: lowest edge, in units of the metric; `high` the highest; the bins between are equal.
        counts: below, the bins in ascending order, above.
        edges: instead of `low` and `high`: all edges, ascending.
    """

    low: float = math.nan
    high: float = math.nan
    counts: tuple[float, ...] = ()
    edges: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.edges:
            if not all(a < b for a, b in zip(self.edges, self.edges[1:], strict=False)) or not math.isnan(self.low):
                raise ValueError("edges must ascend, and low and high are theirs")
            if len(self.edges) + 1 != len(self.counts):
                raise ValueError(
                    f"{len(self.edges)} edges have {len(self.edges) + 1} counts, with those beyond them"
                )
        elif not self.low < self.high:
            raise ValueError(f"low {self.low} must be less than high {self.high}")
        if len(self.counts) < 3 or not all(0 <= count < math.inf for count in self.counts):
            raise ValueError(
                "counts need one bin below, at least one between and one above the edges, none negative"
            )


def fit(values: Floats, bins: int = 50, edges: Edges = "equal") -> Reference:
    """The reference that these readings make: edges from their least to their greatest, 1 to either side if equal.

    Args:
        values: readings; what is not finite is left out.
        bins: between the edges; of equal readings fewer quantiles differ, so there may be fewer bins.
        edges: how they lie, see `agent.detectors.histograms.kl.Kl`.

    Raises:
        ValueError: if none of them is finite.
    """
    values = values[np.isfinite(values)]
    if len(values) == 0:
        raise ValueError("there is no reading to learn from")
    none = np.zeros(len(values), np.int64)
    if edges == "quantile":
        inner = np.unique(quantile_edges(np.sort(values), np.zeros(1, np.int64), np.array([len(values)]), bins))
        uneven = UnevenHistograms("", len(inner) - 1)
        uneven.uneven(1, inner[None, :])
        counts = np.bincount(uneven.bin(none, values), minlength=len(inner) + 1)
        return Reference(counts=tuple(counts.astype(float).tolist()), edges=tuple(inner.tolist()))
    low, high = widened(values.min(keepdims=True), values.max(keepdims=True))
    histograms = Histograms("", bins)
    histograms.edges(1, low, high)
    with np.errstate(over="ignore"):
        counts = np.bincount(histograms.bin(none, values), minlength=bins + 2)
    return Reference(float(low[0]), float(high[0]), tuple(counts.astype(float).tolist()))


def widened(low: Floats, high: Floats) -> tuple[Floats, Floats]:
    """Edges around readings; one unit wide if they are all equal, as `np.histogram` has it, or as good as equal."""
    with np.errstate(over="ignore"):
        equal = ~(high - low > np.maximum(np.maximum(np.abs(low), np.abs(high)) * 1e-12, NARROWEST))
    return np.where(equal, low - 0.5, low), np.where(equal, high + 0.5, high)


def quantile_edges(ordered: Floats, first: Ints, number: Ints, bins: int) -> Floats:
    """Edges `(k, bins + 1)` that split the readings of each series into equal shares, as `np.quantile` has it.

    Args:
        ordered: `(n,)` readings by series, ascending within each.
        first: `(k,)` where each series begins.
        number: `(k,)` its readings, at least 1.
        bins: between the edges.
    """
    place = (number[:, None] - 1) * np.arange(bins + 1) / bins
    below = np.minimum(place.astype(np.int64), number[:, None] - 1)
    above = np.minimum(below + 1, number[:, None] - 1)
    share = place - below
    a, b = ordered[first[:, None] + below], ordered[first[:, None] + above]
    with np.errstate(over="ignore", invalid="ignore"):  # readings further apart than the greatest number
        edges: Floats = np.clip(a + np.where(share > 0, share * (b - a), 0.0), a, b)
    low, high = widened(edges[:, 0], edges[:, -1])
    flat = low < edges[:, 0]
    edges[flat] = np.linspace(low[flat], high[flat], bins + 1, axis=1)
    return edges
