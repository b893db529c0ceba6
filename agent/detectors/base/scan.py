"""Running sums and minima along the time axis of a matrix `(k, length)`, in a fixed order.

`np.cumsum` adds one number after the other, 3 ns each, whatever a processor could do at once. Where there are many
series it is faster to add whole columns: the same additions in the same order, so the same bits. Such a matrix is
kept with time as its slow axis (Fortran order), so that a column lies in one piece; `column_major` decides.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sensors.batch import Floats, Ints

_MANY = 128
"""From so many series on, columns are added as a whole."""

_FEW = 6
"""Columns up to which they always are."""


def column_major(k: int, length: int) -> bool:
    """Whether a matrix of this shape is best kept with its columns in one piece."""
    return length == 1 or k >= _MANY or (length <= _FEW and k > length)


def to_layout(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The same matrix in the memory order that suits its shape; a copy only where it must be."""
    return np.asfortranarray(x) if column_major(*x.shape) else np.ascontiguousarray(x)


def row_numbers(begin: Ints, length: int) -> Ints:
    """`begin + 0 .. length - 1` for each series, `(k, length)`, laid out as `to_layout`."""
    along = np.arange(length)
    return (along[:, None] + begin).T if column_major(len(begin), length) else begin[:, None] + along


def gather(table: npt.NDArray[Any], cells: Ints) -> npt.NDArray[Any]:
    """`table[cells]` for a matrix of places, in the memory order of `cells`."""
    return table.take(cells.T).T if cells.flags.f_contiguous else table.take(cells)


def cumsum(first: npt.NDArray[Any], x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """`(k, length + 1)`: `first`, then after each cell of `x` what has been added up."""
    k, length = x.shape
    if column_major(k, length):
        total = np.empty((length + 1, k), x.dtype)
        total[0] = first
        for i, column in enumerate(x.T):
            np.add(total[i], column, out=total[i + 1])
        return total.T
    steps = np.empty((k, length + 1), x.dtype)
    steps[:, 0] = first
    steps[:, 1:] = x
    return np.cumsum(steps, axis=1)


def cummin(first: npt.NDArray[Any], x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """`(k, length + 1)`: `first`, then the least of it and the cells so far."""
    return _extremes(np.minimum, first, x)


def cummax(first: npt.NDArray[Any], x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """`(k, length + 1)`: `first`, then the greatest of it and the cells so far."""
    return _extremes(np.maximum, first, x)


def _extremes(best: np.ufunc, first: npt.NDArray[Any], x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    k, length = x.shape
    if column_major(k, length):
        found = np.empty((length + 1, k), x.dtype)
        found[0] = first
        for i, column in enumerate(x.T):
            best(found[i], column, out=found[i + 1])
        return found.T
    cells = np.empty((k, length + 1), x.dtype)
    cells[:, 0] = first
    cells[:, 1:] = x
    result: npt.NDArray[Any] = best.accumulate(cells, axis=1)
    return result


def last(x: npt.NDArray[Any], valid_length: Ints) -> npt.NDArray[Any]:
    """Of each line of `x` `(k, length + 1)` what stands after `valid_length` cells, `(k,)`."""
    length = x.shape[1] - 1
    if length == 1 or (valid_length == length).all():
        return x[:, length]
    return x[np.arange(len(x)), valid_length]


def with_history(ring: Floats, x: Floats, valid_length: Ints) -> Floats:
    """The last rows of each series before `x`, then `x`: `(k, memory + length)`; `ring` then holds the last rows.

    Args:
        ring: `(k, memory)` the last rows of each series, oldest first, changed in place; NaN where there were
            fewer.
        x: `(k, length)` new rows.
        valid_length: `(k,)` cells of each line that count.
    """
    (k, length), memory = x.shape, ring.shape[1]
    whole = np.empty((memory + length, k)).T if column_major(k, length) else np.empty((k, memory + length))
    whole[:, :memory] = ring
    whole[:, memory:] = x
    if (valid_length == length).all():
        ring[:] = whole[:, length:]
    else:
        ring[:] = np.take_along_axis(whole, valid_length[:, None] + np.arange(memory), axis=1)
    return whole
