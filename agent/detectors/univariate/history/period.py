"""Which period do the last rows of a series have? Found by autocorrelation, for many series at once.

The autocorrelation of a periodic series has peaks at its period and at the multiples of it. A slow drift also
correlates with itself, but without a valley before the peak, and a chance likeness is not there twice. So a period
is the shortest lag whose peak is high, stands well above the valley before it, and returns at twice the lag; and is
nearly as high as the highest.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sensors.batch import Floats, Ints

POINTS = 1024
"""Rows looked at with full resolution; a longer memory is averaged to as many points besides."""

SHORTEST = 4
"""Rows of the shortest period; what repeats faster looks like noise to a sampling."""

HEIGHT = 0.3
"""Least correlation at a period, and least difference to the valley before it."""

NEARLY = 0.85
"""The shortest period is taken whose correlation is at least this share of the highest."""

NEAR = 4
"""Rows around twice a lag within which the next multiple of the period is sought."""

CUT = 5.0
"""Values further than this from the median, in median distances from it, count as that far."""


def find_periods(memory: npt.NDArray[np.floating]) -> Ints:
    """Rows in one period of each series, `(k,)`; 0 where none is found.

    Scale and offset do not matter. At least three periods must lie in the last 1,024 rows or in the whole memory. The
    cost is that of a few transforms of 2,048 points a series, however long the memory is.

    Args:
        memory: `(k, m)` rows in order of time, the newest last; NaN where there is none.
    """
    m = memory.shape[1]
    x = _levelled(memory[:, -min(m, POINTS) :])
    found = _shortest_peak(autocorrelation(x), x.shape[1] // 3)
    step = m // POINTS
    if step < 2:
        return found
    long = np.flatnonzero(found == 0)
    whole = memory[long, m - step * POINTS :]
    parts = whole.reshape(len(long), POINTS, step).astype(np.float64)
    size = (~np.isnan(parts)).sum(axis=2)
    coarse = np.where(size > 0, np.where(np.isnan(parts), 0.0, parts).sum(axis=2) / np.maximum(size, 1), np.nan)
    rough = _shortest_peak(autocorrelation(_levelled(coarse)), POINTS // 3)
    some = np.flatnonzero(rough)
    if len(some):
        found[long[some]] = _refined(_levelled(whole[some]), rough[some] * step, np.full(len(some), step))
    return found


def autocorrelation(x: Floats) -> Floats:
    """Correlation of each series with itself by lag, `(k, n)`, over the pairs of rows that are both known.

    Args:
        x: `(k, n)`, of mean 0; NaN counts as unknown.

    Returns:
        mean product over the pairs of a lag over the mean square; 0 where a lag has fewer than a fourth of the rows
        as pairs, or all is 0.
    """
    n = x.shape[1]
    known = ~np.isnan(x)
    products = _self_product(np.where(known, x, 0.0))[:, :n]
    pairs = n - np.arange(n)[None, :] if known.all() else np.rint(_self_product(known.astype(np.float64))[:, :n])
    enough = (pairs >= 0.25 * n) & (products[:, :1] > 0.0)
    mean = np.where(enough, products / np.maximum(pairs, 1.0), 0.0)
    return mean / np.where(mean[:, :1] > 0.0, mean[:, :1], 1.0)


def _self_product(x: Floats) -> Floats:
    """Sum of `x[t] x[t + lag]` by lag."""
    size = 1 << (2 * x.shape[1] - 1).bit_length()
    spectrum = np.fft.rfft(x, size, axis=1)
    product: Floats = np.fft.irfft(spectrum.real**2 + spectrum.imag**2, size, axis=1)
    return product


def _levelled(memory: npt.NDArray[np.floating]) -> Floats:
    """Rows less their median, in median distances from it, cut at 5; NaN stays, and a constant series is all 0."""
    x = memory.astype(np.float64)
    known = ~np.isnan(x)
    size = np.maximum(known.sum(axis=1, keepdims=True), 1)
    x -= np.take_along_axis(np.sort(x, axis=1), size // 2, axis=1) if x.shape[1] else 0.0
    away = np.where(known, np.abs(x), 0.0)
    usual = np.take_along_axis(np.sort(np.abs(x), axis=1), size // 2, axis=1) if x.shape[1] else 0.0
    spread = np.where(usual > 0.0, usual, away.sum(axis=1, keepdims=True) / size)  # most of it may be constant
    x = np.clip(x / np.where(spread > 0.0, spread, 1.0), -CUT, CUT)
    level: Floats = np.where(known, x, 0.0).sum(axis=1, keepdims=True) / size
    return x - level


def _shortest_peak(r: Floats, longest: int) -> Ints:
    """The period that an autocorrelation `(k, n)` shows, at most `longest`; 0 where it shows none."""
    k = len(r)
    if longest < SHORTEST + 1:
        return np.zeros(k, np.int64)
    lag = np.arange(SHORTEST, longest + 1)
    here = r[:, lag]
    valley = np.minimum.accumulate(r[:, : longest + 1], axis=1)[:, lag]
    again = np.maximum(np.maximum(r[:, 2 * lag - 1], r[:, 2 * lag]), r[:, np.minimum(2 * lag + 1, r.shape[1] - 1)])
    peak = (here >= r[:, lag - 1]) & (here >= r[:, lag + 1])
    good = peak & (here >= HEIGHT) & (here - valley >= HEIGHT) & (again >= 0.5 * here)
    heights = np.where(good, here, 0.0)
    chosen = heights >= np.maximum(NEARLY * heights.max(axis=1, keepdims=True), HEIGHT)
    first = lag[chosen.argmax(axis=1)][:, None]
    top = np.where((lag >= first) & (lag <= first + first // 3), heights, 0.0)  # not a ripple on its shoulder
    return np.where(chosen.any(axis=1), lag[top.argmax(axis=1)], 0)


def _refined(x: Floats, rough: Ints, step: Ints) -> Ints:
    """The lag within `step`, `(k,)`, of `rough` that correlates best; `x` `(k, m)`."""
    known = ~np.isnan(x)
    filled = np.where(known, x, 0.0)
    m = x.shape[1]
    best, at = np.full(len(x), -np.inf), rough.copy()
    reach = int(step.max())
    for shift in range(-reach, reach + 1):
        lag = rough + shift
        later = np.arange(m) + lag[:, None]
        inside = later < m
        later = np.minimum(later, m - 1)
        both = inside & known & np.take_along_axis(known, later, axis=1)
        products = np.where(both, filled * np.take_along_axis(filled, later, axis=1), 0.0).sum(axis=1)
        mean = products / np.maximum(both.sum(axis=1), 1)
        better = (mean > best) & (abs(shift) <= step)
        best, at = np.where(better, mean, best), np.where(better, lag, at)
    return at


def sharpened(memory: npt.NDArray[np.floating], period: Ints) -> Floats:
    """Periods known to the row, as finely as their multiples show: `(k,)` rows, not whole ones; 0 stays 0.

    The lag is doubled and sought within `NEAR` rows again, as long as half the memory has pairs of it; never beyond
    half a period, where the next multiple begins: so the lag grows each time, and the search ends.

    Args:
        memory: see `find_periods`.
        period: `(k,)` rows.
    """
    fine = period.astype(np.float64)
    x = _levelled(memory)
    lag, times = period.copy(), 1
    while True:
        some = np.flatnonzero((lag > 0) & (4 * lag <= x.shape[1]))
        if not len(some):
            return fine
        times *= 2
        lag[some] = _refined(x[some], 2 * lag[some], np.minimum(NEAR, period[some] // 2))
        fine[some] = lag[some] / times
        lag[4 * lag > x.shape[1]] = 0
