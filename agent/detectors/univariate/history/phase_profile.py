"""A long memory of a series in little space: means of four rows each, and what was at the same phase before.

Rows of one cell are seldom all that differs between two days, so shapes are compared by cells: a sixteenth of the
work of comparing rows, and less noise. A cell is whole after every fourth row of its series; nothing here looks at
rows of a cell that is not.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sensors.batch import Floats, Ints

CELL = 4
"""Rows of a cell."""

PERIODS, AROUND = 14, 1
"""Earlier periods compared with, and cells on either side of the same phase."""

Cells = npt.NDArray[np.float32]


def cells_at(memory: Cells, line: Ints, number: Ints) -> Floats:
    """Cells by their number.

    Args:
        memory: `(series, size)`, cell `c` at place `c` modulo `size`; contiguous.
        line: `(k,)` which series.
        number: `(k, ...)` numbers of cells; the caller keeps within the memory.

    Returns:
        `(k, ...)`; NaN where the number is below 0.
    """
    size = memory.shape[1]
    base = (line * size).reshape(-1, *(1,) * (number.ndim - 1))
    values: Floats = memory.reshape(-1).take(number % size + base).astype(np.float64)
    values[number < 0] = np.nan
    return values


def lags_of(period: Floats, memory: int) -> Ints:
    """Cells back to the same phase of each of the last 14 periods, and one cell around it.

    Args:
        period: `(k,)` cells, not always a whole number.
        memory: cells kept.

    Returns:
        `(k, 42)`, 0 where the lag is not within the memory.
    """
    same = np.rint(period[:, None] * np.arange(1, PERIODS + 1)).astype(np.int64)
    lag = (same[:, :, None] + np.arange(-AROUND, AROUND + 1)).reshape(len(period), -1)
    return np.where((lag >= 1) & (lag <= memory), lag, 0)


def squares(memory: Cells, line: Ints, number: Ints, lags: Ints) -> tuple[Floats, Floats]:
    """Cells at each lag before some cell, and squared differences from it (0 where there is none), both `(k, 42)`.

    Args:
        memory: see `cells_at`.
        line: see `cells_at`.
        number: `(k,)` the cell in question.
        lags: `(k, 42)`
    """
    there = lags > 0
    past = cells_at(memory, line, np.where(there, number[:, None] - lags, -1))
    away = cells_at(memory, line, number[:, None]) - past
    away[np.isnan(away)] = 0.0
    return past, away * away


def shape_sums(memory: Cells, line: Ints, number: Ints, lags: Ints, windows: tuple[int, ...]) -> Floats:
    """Squared distance of the windows that end with a cell from those at each lag, from scratch.

    Args:
        memory: see `cells_at`.
        line: see `cells_at`.
        number: `(k,)` the last cell of the windows.
        lags: `(k, 42)`
        windows: lengths in cells, ascending.

    Returns:
        `(k, windows, 42)`
    """
    sums, total, begin = [], np.zeros(lags.shape), 0
    for window in windows:
        for back in range(begin, window):
            total = total + squares(memory, line, number - back, lags)[1]
        sums.append(total)
        begin = window
    return np.stack(sums, axis=1)


def slide(
    memory: Cells, line: Ints, number: Ints, lags: Ints, sums: Floats, windows: tuple[int, ...]
) -> tuple[Floats, Floats]:
    """Distance of the windows that end with a cell from their nearest neighbours among the lags; and the usual cell.

    The left matrix profile (Yeh et al. 2016), restricted to some lags, by adding the newest cell and taking away the
    oldest. What rounding adds is bounded by computing `sums` anew now and then (`shape_sums`); distances that small
    are 0. A lag of less than half a window overlaps too much and is left out.

    Args:
        memory: see `cells_at`.
        line: see `cells_at`.
        number: `(k,)` the cell, which the memory has.
        lags: `(k, 42)`
        sums: `(k, windows, 42)` of the cell before, changed in place.
        windows: lengths in cells, ascending.

    Returns:
        root mean square distances `(k, windows)`, 0 where there is no complete neighbour; and the distance of the
        cell from the median of the cells at the lags `(k,)`, 0 where there are none.
    """
    past, newest = squares(memory, line, number, lags)
    reach = number[:, None] - lags  # the first neighbour ends here
    noise = 1e-11 * np.square(1.0 + np.abs(cells_at(memory, line, number[:, None])))
    nearest = np.empty((len(number), len(windows)))
    for i, window in enumerate(windows):
        sums[:, i] += newest - squares(memory, line, number - window, lags)[1]
        usable = (lags >= max(window // 2, 1)) & (reach >= window - 1)
        square = np.where(usable, sums[:, i], np.inf).min(axis=1)
        square = np.where(np.isinf(square) | (square <= noise[:, 0]), 0.0, square)
        nearest[:, i] = np.sqrt(square / window)
    ordered = np.sort(past, axis=1)  # NaN last
    known = (~np.isnan(past)).sum(axis=1)
    low, high = np.maximum((known - 1) // 2, 0), np.minimum(known // 2, past.shape[1] - 1)
    each = np.arange(len(number))
    usual = 0.5 * (ordered[each, low] + ordered[each, high])
    here = cells_at(memory, line, number[:, None])[:, 0]
    return nearest, np.where(known > 0, np.abs(here - usual), 0.0)
