"""Ten ways to look at one metric, each a number that is larger the stranger a row looks; the parts of `auto`.

All take matrices `(k, length)`, time along the last axis, and see only rows up to the one they judge. None of them
is in known units: `records` puts them on one scale.
"""

from __future__ import annotations

import numpy as np

from agent.detectors.decay import Decay
from agent.detectors.history import read, trailing
from agent.detectors.streaming import COUNT, Arrays, Shape
from sensors.batch import Floats, Ints

VIEWS = (
    "outside",
    "rare",
    "near_8",
    "near_24",
    "near_64",
    "period",
    "deviation",
    "drift",
    "restless",
    "distribution",
)
"""Outside the range so far; far from every value seen; windows of 8, 24 and 64 rows unlike those at the same phase
of earlier periods; far from the usual value at that phase; far from the long mean, now and on average; restless (or
much restless than usual); distributed unlike the history."""

MOST = 20.0
"""Spreads beyond which a deviation is as strange as can be."""

BINS = 16
"""Bins of equal count in which distributions are compared."""

LAST = 64
"""Rows that count as "now" for a distribution; the long mean knows only rows before them."""


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


def rarity(sample: Floats, x: Floats, extent: Floats) -> Floats:
    """Distance of a value from the fourth nearest value of a sample of the history, over the range so far.

    Args:
        sample: `(k, size)` in the unit of `x`; NaN where there is less history.
        x: `(k, length)`
        extent: `(k, length)` range so far.
    """
    gap = np.abs(x[:, :, None] - sample[:, None, :])
    gap[np.isnan(gap)] = np.inf
    nearest = np.partition(gap, 3, axis=2)[:, :, 3]
    nearest[nearest <= 1e-5 * extent] = 0.0  # what the store rounds away
    return np.where(np.isinf(nearest), 0.0, over(np.where(np.isinf(nearest), 0.0, nearest), extent))


def long_run_shapes() -> dict[str, Shape]:
    """State of `long_run`."""
    names = ("long_mean", "long_square", "long_weight", "long_steps", "long_step_weight")
    return dict.fromkeys(names, ((), np.float64, 0.0))


def long_run(state: Arrays, decay: Decay, recent: Floats, take: Ints) -> tuple[Floats, Floats, Floats]:
    """Deviation of a row and of the mean of 32 rows, and the last 32 steps, against the rows 64 and more before.

    Args:
        state: of the series, with its store and count.
        decay: how the long run forgets.
        recent: `(k, 63 + length)` the rows behind the 63 before them; NaN before the first row of the series.
        take: `(k,)` cells that count.

    Returns:
        three times `(k, length)`, in spreads of the long run; 0 while there is no long run.
    """
    count = state[COUNT]
    length = recent.shape[1] - LAST + 1
    place = decay.at(count, take, length)
    old = read(state["store"], (count - LAST - 1)[:, None] + np.arange(length + 1))

    def mean(name: str, weight: Floats, values: Floats) -> Floats:
        total = decay.run(state[name], place, values, take)[:, 1:]
        return total / np.where(weight > 0.0, weight, 1.0)

    there = ~np.isnan(old[:, 1:])
    weight = decay.run(state["long_weight"], place, there.astype(np.float64), take)[:, 1:]
    level = mean("long_mean", weight, np.where(there, old[:, 1:], 0.0))
    away = np.where(there, old[:, 1:] - level, 0.0)
    spread = np.sqrt(mean("long_square", weight, away * away))
    stepped = there & ~np.isnan(old[:, :-1])
    step = np.where(stepped, old[:, 1:] - old[:, :-1], 0.0)
    step_weight = decay.run(state["long_step_weight"], place, stepped.astype(np.float64), take)[:, 1:]
    usual = np.sqrt(mean("long_steps", step_weight, step * step))

    now = np.where(np.isnan(recent), 0.0, recent)
    moves = np.diff(now, axis=1)
    lively = np.sqrt(trailing(moves * moves, 32)[:, -length:] / 32.0)
    averaged = trailing(now, 32)[:, -length:] / 32.0
    known, known_steps = weight > 0.0, step_weight > 0.0
    return (
        np.where(known, over(np.abs(now[:, -length:] - level), spread), 0.0),
        np.where(known, over(np.abs(averaged - level), spread), 0.0),
        np.where(known_steps, over(lively, usual), 0.0),
    )


def distribution(recent: Floats, edges: Floats, usual: Floats) -> Floats:
    """Kullback-Leibler divergence of the last 64 rows from the history, in bins of equal count, nats.

    Args:
        recent: `(k, 63 + length)`; NaN before the first row of the series.
        edges: `(k, 15)` quantiles of the history.
        usual: `(k, 16)` share of the history in each bin; NaN while there is none.

    Returns:
        `(k, length)`; NaN while there is no history.
    """
    k, total = recent.shape
    code = (recent[:, :, None] > edges[:, None, :]).sum(axis=2)
    one = (code[:, None, :] == np.arange(BINS)[:, None]) & ~np.isnan(recent)[:, None, :]
    share = trailing(one.astype(np.float64), LAST) / LAST
    terms = share * np.log(np.where(share > 0.0, share, 1.0) / usual[:, :, None])
    sum_: Floats = np.zeros((k, total - LAST + 1))
    for number in range(BINS):
        sum_ = sum_ + terms[:, number]
    return np.maximum(sum_, 0.0)


def quantile_bins(sample: Floats) -> tuple[Floats, Floats]:
    """Edges `(k, 15)` of bins of equal count and the share of the sample `(k, size)` in each, `(k, 16)`."""
    ordered = np.sort(sample, axis=1)
    size = (~np.isnan(ordered)).sum(axis=1)
    edges = np.take_along_axis(ordered, np.arange(1, BINS) * size[:, None] // BINS, axis=1)
    code = (sample[:, :, None] > edges[:, None, :]).sum(axis=2)
    counts = ((code[:, :, None] == np.arange(BINS)) & ~np.isnan(sample)[:, :, None]).sum(axis=1) + 0.5
    return edges, counts / counts.sum(axis=1, keepdims=True)
