"""The last rows of each series in a circular store, and what was at the same phase of earlier periods."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sensors.batch import Floats, Ints

Store = npt.NDArray[np.float32]

DAY = 86_400 * 10**9
"""The period of most that people and machines do, ns."""


def write(store: Store, count: Ints, x: Floats, valid_length: Ints) -> None:
    """Put `valid_length` cells of each line of `x` behind the `count` rows already there."""
    line, column = np.nonzero(np.arange(x.shape[1]) < valid_length[:, None])
    x = stored(x)
    store[line, (count[line] + column) % store.shape[1]] = x[line, column]


def stored(x: Floats) -> Floats:
    """Values as the store keeps them: 24 bits, and within what such numbers can hold."""
    return np.clip(x, -1e30, 1e30).astype(np.float32).astype(np.float64)


def read(store: Store, number: Ints) -> Floats:
    """Rows by their number, `(k, ...)` like `number`; NaN below 0. The caller keeps within the store."""
    flat = number.reshape(len(number), -1)
    values = np.take_along_axis(store, flat % store.shape[1], axis=1).astype(np.float64)
    values[flat < 0] = np.nan
    return values.reshape(number.shape)


def trailing(x: Floats, width: int) -> Floats:
    """Sums over the last `width` cells of the last axis, shorter by `width - 1`; `width` is a power of 2.

    Added by doubling, so that each sum is the same however the stream is cut, and no rounding piles up.
    """
    step = 1
    while step < width:
        x = x[..., step:] + x[..., :-step]
        step *= 2
    return x


def rows_a_period(interval: Ints, memory: int, periods: int, period: int = DAY) -> Ints:
    """Rows in one period, `(k,)`; where two periods do not fit the memory, an even share of the memory.

    Args:
        interval: `(k,)` median time between rows, ns.
        memory: rows kept.
        periods: how many periods are looked back.
        period: ns.
    """
    rows = np.rint(period / np.maximum(interval, 1)).astype(np.int64)
    fits = (interval > 0) & (rows >= 8) & (2 * rows <= memory)
    return np.where(fits, rows, memory // periods)


@dataclass(slots=True)
class Lags:
    """Rows to compare with: the same phase of each of the last periods, and some rows around it.

    Attributes:
        lag: `(k, periods, 2 * around + 1)` rows back, ascending along the last axis.
        allowed: same shape; whether the lag is within the tolerance of the period (its 48th part, at least 1 row)
            and within the memory.
    """

    lag: Ints
    allowed: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, rows: Ints, periods: int, around: int, memory: int) -> Lags:
        """Lags for series whose period has `rows` `(k,)` rows and that remember `memory` rows."""
        offset = np.arange(-around, around + 1)
        lag = rows[:, None, None] * np.arange(1, periods + 1)[:, None] + offset
        near = np.abs(offset) <= np.maximum(rows // 48, 1)[:, None]
        return cls(lag, near[:, None, :] & (lag >= 1) & (lag <= memory))


def phase_median(store: Store, number: Ints, lags: Lags) -> Floats:
    """Median of the rows at the same phase of earlier periods, `(k, length)`; NaN where there is none yet.

    Args:
        store: `(k, memory)` rows.
        number: `(k, length)` numbers of the rows in question, of each line one after the other.
        lags: where to look; those around a period ascend by 1.
    """
    (k, length), (_, periods, width) = number.shape, lags.lag.shape
    start = number[:, :1] - lags.lag[:, :, -1]
    cell = start[:, :, None] + np.arange(length + width - 1)  # of each period one stretch of rows
    place = cell % store.shape[1] + np.arange(0, store.size, store.shape[1])[:, None, None]
    past = store.reshape(-1).take(place)
    whole = int(start.min()) >= 0 and bool(lags.allowed.all())
    if int(start.min()) < 0:
        past[cell < 0] = np.nan
    line, period, row = past.strides
    around = np.ndarray((k, length, periods, width), past.dtype, past, 0, (line, row, period, row))
    if not lags.allowed.all():
        around = np.where(lags.allowed[:, None, :, ::-1], around, np.float32(np.nan))
    ordered = np.sort(around.reshape(k, length, -1), axis=2)
    size = ordered.shape[2]
    if whole:
        both = ordered[:, :, [(size - 1) // 2, size // 2]].astype(np.float64)
        return 0.5 * (both[:, :, 0] + both[:, :, 1])
    known = np.count_nonzero(~np.isnan(ordered), axis=2)
    low, high = np.maximum((known - 1) // 2, 0), np.minimum(known // 2, size - 1)
    both = np.take_along_axis(ordered, np.stack([low, high], axis=2), axis=2).astype(np.float64)
    middle: Floats = 0.5 * (both[:, :, 0] + both[:, :, 1])
    return middle
