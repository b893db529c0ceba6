"""Ways to look at one metric, each a number that is larger the stranger it looks; the parts of `auto`.

Some look at each row, some at each cell of four rows (`cells`); all see only what came before and the row or cell
they judge. None of them is in known units: `records` puts them on one scale.
"""

from __future__ import annotations

import numpy as np

from sensors.batch import Floats, Ints

FAST = ("outside", "rare", "deviation")
"""Judged every row: outside the range so far; far from every value seen; far from the long mean."""

SLOW = ("near_8", "near_24", "near_64", "period", "drift", "burst", "restless", "calm", "distribution")
"""Judged every cell: windows of 8, 24 and 64 rows unlike those at the same phase of earlier periods; far from the
usual value at that phase; the mean of 32 rows far from the long mean; more restless than usual over 8 and over 32
rows; calmer than usual over 8; the last 128 rows distributed unlike the history."""

VIEWS = FAST + SLOW

MOST = 20.0
"""Spreads beyond which a deviation is as strange as can be."""

BINS = 16
"""Bins of equal count in which distributions are compared."""

RECENT = 32
"""Cells that count as "now" for a distribution."""

LATE = 16
"""Cells after which a cell becomes part of what is usual, so that an event does not hide itself."""


def over(top: Floats, bottom: Floats) -> Floats:
    """`top / bottom` of numbers that are not negative, at most 20; 0 where both are 0."""
    beyond = top >= MOST * bottom
    return np.where(top == 0.0, 0.0, np.where(beyond, MOST, top / np.where(beyond, 1.0, bottom)))


def outside(low: Floats, high: Floats, x: Floats) -> tuple[Floats, Floats]:
    """How far a value lies outside the range before it, over that range; and the range, both `(k, length)`.

    Args:
        low: `(k,)` smallest value so far, changed in place; inf if there is none.
        high: `(k,)` largest value so far, changed in place; -inf if there is none.
        x: `(k, length)`; cells that do not count repeat one that does.
    """
    lows = np.minimum.accumulate(np.concatenate([low[:, None], x], axis=1), axis=1)
    highs = np.maximum.accumulate(np.concatenate([high[:, None], x], axis=1), axis=1)
    low[:], high[:] = lows[:, -1], highs[:, -1]
    new = lows[:, :-1] > highs[:, :-1]
    extent = np.where(new, 0.0, highs[:, :-1] - np.where(new, 0.0, lows[:, :-1]))
    beyond = np.maximum(np.maximum(lows[:, :-1] - x, x - highs[:, :-1]), 0.0)
    return np.where(new, 0.0, over(beyond, extent)), extent


def rarity(ordered: Floats, x: Floats, extent: Floats) -> Floats:
    """Distance of a value from the fourth nearest value of a sample of the history, over the range so far.

    Args:
        ordered: `(k, size)` the sample in ascending order, inf behind it; `size` is a power of 2.
        x: `(k, length)`
        extent: `(k, length)` range so far.
    """
    k, size = ordered.shape
    flat, base = ordered.reshape(-1), (np.arange(k) * size)[:, None]
    place, step = np.zeros(x.shape, np.int64), size // 2
    while step:  # the number of smaller values, bit by bit
        place += np.where(flat.take(base + place + (step - 1)) < x, step, 0)
        step //= 2
    around = place[:, :, None] + np.arange(-4, 4)
    near = flat.take(base[:, :, None] + np.clip(around, 0, size - 1)).astype(np.float64)
    near[(around < 0) | (around >= size)] = np.inf
    away = np.abs(x[:, :, None] - near)
    fourth = np.maximum(away[:, :, :5], away[:, :, 3:]).min(axis=2)
    return np.where(
        np.isinf(fourth) | (fourth <= 1e-5 * extent), 0.0, over(np.where(np.isinf(fourth), 0.0, fourth), extent)
    )


def divergence(counts: Floats, usual: Floats) -> Floats:
    """Kullback-Leibler divergence of the last 32 cells from the history, in bins of equal count, nats, `(k,)`.

    Args:
        counts: `(k, 16)` cells in each bin.
        usual: `(k, 16)` logarithm of the share of the history in each bin.
    """
    share = counts / RECENT
    terms = share * (np.log(np.where(share > 0.0, share, 1.0)) - usual)
    return np.maximum(np.cumsum(terms, axis=1)[:, -1] + 0.0, 0.0)


def quantile_bins(ordered: Floats) -> tuple[Floats, Floats]:
    """Edges of bins of equal count and the logarithm of the share in each.

    Args:
        ordered: `(k, size)` the history in ascending order, NaN behind it.

    Returns:
        `(k, 15)` and `(k, 16)`; each share counts half a value more than there is.
    """
    size = (~np.isnan(ordered)).sum(axis=1)
    edges = np.take_along_axis(ordered, np.arange(1, BINS) * size[:, None] // BINS, axis=1)
    upto = np.stack([(ordered <= edges[:, i, None]).sum(axis=1) for i in range(BINS - 1)], axis=1)
    counts = np.diff(upto, axis=1, prepend=0, append=size[:, None]) + 0.5
    return edges, np.log(counts / counts.sum(axis=1, keepdims=True))


def binned(values: Floats, edges: Floats) -> Ints:
    """Bin of each value `(k, ...)`, of edges `(k, 15)`: how many edges lie below it."""
    shape = (len(edges),) + (1,) * (values.ndim - 1) + (BINS - 1,)
    bins: Ints = (values[..., None] > edges.reshape(shape)).sum(axis=-1)
    return bins
