"""The subspace in which several sensors usually move: features, principal components, T2 and Q.

Everything is added in a fixed order, feature by feature, so that a row gives the same bits whatever is computed
beside it. Arrays have the feature first: `(features, k, length)`, k series, time along the last axis.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from agent.core.series import Arrays
from sensors.batch import Floats

FAR = 1e9
"""A value further from the middle than so many spreads is taken as being there."""

FLOOR = 0.05
"""Added to the deviation before the logarithm, in spreads: below it, quiet is quiet."""

DEVIATION = 0.2
"""Weight of a deviation beside a mean: 400 rows know less of it."""

BLOCKS = 40
"""Into so many blocks the training is cut to see whether a sensor wanders."""

STEADY = 0.4
"""Von Neumann's ratio of the means of these blocks from which on a sensor counts in full; 1 = no memory."""

WILD = 100.0
"""Readings of the training that are further away than so many times the range of the others are no readings."""

RIDGE = 0.1
"""Smallest variance of a component, of a total of 1 a feature: what is smaller is noise of the estimate."""


def standard(x: Floats, middle: Floats, spread: Floats) -> Floats:
    """Readings in spreads of the training, at most `FAR` from the middle."""
    with np.errstate(over="ignore", invalid="ignore"):
        result: Floats = np.clip((x - middle) / spread, -FAR, FAR)
    return result


def means_and_deviations(u: Floats, rows: int) -> Floats:
    """Mean and log deviation of the last `rows` readings.

    Args:
        u: `(sensors, k, length + rows - 1)` standardised readings.
        rows: of the moving window.

    Returns:
        `(2 * sensors, k, length)`: all means, then all deviations.
    """
    length = u.shape[2] - rows + 1
    squares = u * u
    total, square = u[:, :, :length].copy(), squares[:, :, :length].copy()
    for i in range(1, rows):
        total += u[:, :, i : i + length]
        square += squares[:, :, i : i + length]
    total /= rows
    square /= rows
    square -= total * total
    np.log(np.sqrt(np.maximum(square, 0.0, out=square), out=square) + FLOOR, out=square)
    return np.concatenate([total, square])


def components(d: Floats, axes: Floats) -> Floats:
    """Distances along the axes of the subspace, `(m, k, length)`.

    Args:
        d: `(features, k, length)` distances from the mean.
        axes: `(k, features, m)` axes of the subspace; those behind a series' own are 0.
    """
    axis = axes.transpose(1, 2, 0)[:, :, :, None]
    result: Floats = axis[0] * d[0]
    for i in range(1, len(d)):
        result += axis[i] * d[i]
    return result


def forms(d: Floats, s: Floats, e: Floats, r: Floats, weight: Floats, whole: Floats) -> tuple[Floats, Floats]:
    """T2 and Q, as products of two distances `d` and `e` with components `s` and `r`; `(k, length)` each.

    Args:
        d: `(features, k, length)`.
        s: `(m, k, length)`.
        e: as `d`; `d` itself for the forms of it.
        r: as `s`.
        weight: `(k, m)` of a component in T2.
        whole: `(k,)` of Q.
    """
    along = s[0] * r[0]
    t2, spe = along * weight[:, 0, None], d[0] * e[0]
    for i in range(1, len(d)):
        spe += d[i] * e[i]
    for i in range(1, len(s)):
        part = s[i] * r[i]
        along += part
        t2 += part * weight[:, i, None]
    return t2, (spe - along) * whole[:, None]


def middle_and_spread(training: Floats) -> tuple[Floats, Floats, Floats, npt.NDArray[np.bool_]]:
    """Of readings `(rows, sensors)` without gaps: them without wild rows, their middle and spread, and who moved.

    A reading beyond the range of 96 % of the rows by more than `WILD` times that range is moved to its edge: a few wild
    readings must not make the spread so wide that nothing is strange any more. Steps and bursts are kept: what was
    seen is usual.
    """
    low, high = np.quantile(training, [0.02, 0.98], axis=0)
    reach = np.where(high > low, WILD * (high - low), np.inf)
    tame = np.where((training < low - reach) | (training > high + reach), np.clip(training, low, high), training)
    largest = np.maximum(np.abs(tame).max(axis=0), 1e-307)
    share = tame / largest  # so that nothing under- or overflows
    middle, spread = share.mean(axis=0), share.std(axis=0)
    moved = spread > 1e-12 * np.abs(middle)
    spread = np.where(moved, spread, np.maximum(np.abs(middle) * 1e-9, 1e-307))
    return tame, middle * largest, np.maximum(spread * largest, 1e-307), moved


def weights(u: Floats) -> Floats:
    """How much the mean of each sensor counts, 0 to 1: little where it wandered so that its range is not known.

    The training is cut into `BLOCKS` blocks. Von Neumann's ratio (1941), the mean squared difference of successive
    means over twice their variance, is 1 without memory and near 0 for a drift of which the training saw one turn.

    Args:
        u: `(rows, sensors)` standardised readings of the training.
    """
    size = max(2, len(u) // BLOCKS)
    some = u[len(u) % size :].reshape(-1, size, u.shape[1]).mean(axis=1)
    variance = some.var(axis=0)
    step = 0.5 * (np.diff(some, axis=0) ** 2).mean(axis=0)
    ratio = np.where(variance > 0.0, step / np.where(variance > 0.0, variance, 1.0), 1.0)
    result: Floats = np.minimum(1.0, ratio / STEADY)
    return result


def learn(training: Floats, rows: int, variance: float) -> tuple[Arrays, Floats]:
    """The model of one series.

    Args:
        training: `(n, sensors)` readings; NaN = missing.
        rows: of the moving window.
        variance: share of the variance that the subspace explains.

    Returns:
        Arrays of the model (with limits 1) and the features of the training `(features, 1, n - rows + 1)`, weighted.
    """
    absent = np.isnan(training).all(axis=0)
    tame, middle, spread, moved = middle_and_spread(filled(training))
    u = standard(tame, middle, spread)
    features = means_and_deviations(u.T[:, None, :], rows)
    centre, scale = features[:, 0].mean(axis=1), features[:, 0].std(axis=1)
    scale = np.where(np.append(moved, moved) & (scale > 1e-9), scale, 1.0)
    weight = np.append(np.where(moved, weights(u), 1.0), np.full(len(moved), DEVIATION)) / scale
    out = absent | ~moved
    weight[np.append(out, out)] = 0.0
    features = (features - centre[:, None, None]) * weight[:, None, None]
    variances, vectors = np.linalg.eigh(np.cov(features[:, 0]))
    variances, vectors = np.maximum(variances[::-1], 0.0), vectors[:, ::-1]
    total = variances.sum()
    kept = int(np.searchsorted(np.cumsum(variances), variance * total)) + 1 if total > 0.0 else 1
    axes, strength = np.zeros_like(vectors), np.zeros(len(variances))
    axes[:, :kept] = vectors[:, :kept]
    strength[:kept] = 1.0 / np.maximum(variances[:kept], RIDGE)
    model: Arrays = {
        "middle": middle, "spread": spread, "centre": centre, "weight": weight, "axes": axes,
        "strength": strength, "whole": np.array(1.0), "flat": np.array(not moved.any()),
    }  # fmt: skip
    return model, features


def filled(x: Floats) -> Floats:
    """Readings `(n, sensors)` where a missing one is the last before it, or else the first; 0 where there is none."""
    row = np.where(np.isnan(x), -1, np.arange(len(x))[:, None])
    first = np.where(row < 0, len(x), row).min(axis=0)
    row = np.maximum(np.maximum.accumulate(row, axis=0), np.where(first < len(x), first, 0))
    return np.nan_to_num(np.take_along_axis(x, row, axis=0), nan=0.0)


def contributions(d: Floats, s: Floats, axes: Floats, weight: Floats, whole: Floats) -> Floats:
    """How much of T2 + Q each sensor explains, `(k, sensors)`.

    Reconstruction-based (Alcala and Qin 2009): by how much the sum of both falls when this sensor's mean or deviation is
    put where the others have it. Unlike the plain shares it does not smear over the sensors that move together.

    Args:
        d: `(features, k)` distances.
        s: `(m, k)` their components.
        axes: `(k, features, m)`.
        weight: `(k, m)` of a component in T2.
        whole: `(k,)` of Q.
    """
    gradient, curvature = whole * d, np.repeat(whole[None], len(d), axis=0)
    for i in range(axes.shape[2]):
        axis, excess = axes[:, :, i].T, weight[:, i] - whole
        gradient = gradient + axis * (excess * s[i])
        curvature = curvature + axis**2 * excess
    fall = (gradient**2 / np.maximum(curvature, 1e-307)).T
    sensors = len(d) // 2
    result: Floats = np.maximum(fall[:, :sensors], fall[:, sensors:])
    return result
