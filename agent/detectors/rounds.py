"""Rows of many series as matrices: one row a series, time along the last axis.

A streaming detector is a recursion over time, so it must see the rows of one series in order; the rows of different
series have nothing to do with each other. `rounds` sorts rows by series and hands them out as matrices of at most
`CELLS` cells, so that a thousand series with one row each, one series with a thousand rows and all between cost a
few NumPy calls a matrix. A matrix of one column is the classic round: at most one row a series.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sensors.batch import Ints

CELLS = 1 << 16
"""Most cells of a matrix: what a processor cache holds of a few such matrices."""


@dataclass(frozen=True, slots=True)
class Round:
    """Some rows of some series, as a matrix `(k, length)`.

    Attributes:
        keys: `(k,)` series, ascending.
        index: `(k, length)` position of each cell's row in the table; a series with fewer rows repeats its last.
        take: `(k,)` how many cells of each line are rows; at least 1.
    """

    keys: Ints
    index: Ints
    take: Ints

    @property
    def full(self) -> bool:
        """Whether every cell is a row."""
        return bool((self.take == self.index.shape[1]).all())

    def rows(self) -> tuple[Ints, Ints, Ints]:
        """Of each cell that is a row: its line, its column, its position in the table; each `(m,)`."""
        line, column = np.nonzero(np.arange(self.index.shape[1]) < self.take[:, None])
        return line, column, self.index[line, column]


def rounds(key: Ints, learnt: Ints, span: int = 0, cells: int = CELLS) -> Iterator[Round]:
    """Cut rows into matrices, each series' rows in order; how they are cut must not matter to the recursion.

    Args:
        key: `(n,)` series of each row; rows with a negative key are left out.
        learnt: rows of each series that came before, indexed by key.
        cells: most cells of a matrix.
        span: if not 0, no line crosses a multiple of `span` rows, counted from the first of its series.

    Yields:
        Rounds, of which one series' come in order of its rows.
    """
    order = np.argsort(key, kind="stable")
    order = order[np.searchsorted(key[order], 0) :]
    every, first, counts = np.unique(key[order], return_index=True, return_counts=True)
    for some in range(0, len(every), cells):
        part = slice(some, some + cells)
        yield from _lines(order, every[part], first[part], counts[part], learnt, span, cells)


def _lines(
    order: Ints, keys: Ints, begin: Ints, count: Ints, learnt: Ints, span: int, cells: int
) -> Iterator[Round]:
    """The rounds of some series: `count` rows of each from place `begin` of `order`."""
    number = learnt[keys]
    while len(keys):
        length = min(int(count.max()), max(1, cells // len(keys)))
        if count.sum() < len(keys) * length // 2:  # a few long series among many short: do not pad the short ones
            length = min(length, 2 * int(-(-count.sum() // len(keys))))
        take = np.minimum(count, length)
        if span:
            take = np.minimum(take, span - number % span)
            length = int(take.max())
        column = np.minimum(np.arange(length), take[:, None] - 1)
        yield Round(keys, order[begin[:, None] + column], take)
        left = count > take
        keys, begin, number, count = (array[left] for array in (keys, begin + take, number + take, count - take))
