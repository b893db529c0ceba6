"""Rows of many series as matrices: one row a series, time along the last axis.

A streaming detector is a recursion over time, so it must see the rows of one series in order; the rows of different
series have nothing to do with each other. `rounds` sorts rows by series and hands them out as matrices of at most
`CELLS` cells, so that a thousand series with one row each, one series with a thousand rows and all between cost a
few NumPy calls a matrix. A matrix of one column is the classic round: at most one row a series.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from agent.core.rows import Rows
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


@dataclass(frozen=True, slots=True)
class Slab:
    """Some rows of a grid: the same number of rows of each of some series.

    Attributes:
        lines: which lines of the grid.
        columns: which of its columns.
    """

    lines: slice | Ints
    columns: slice


@dataclass(frozen=True, slots=True)
class Grid:
    """Rows that are a regular grid, as N machines make that are read in turn: no row need be looked for.

    Attributes:
        keys: `(k,)` series, ascending.
        length: rows of each.
        place: `(k,)` where each series stands among the rows of an instant, if not in the order of `keys`.
        turned: whether the rows come instant by instant, not series by series.
    """

    keys: Ints
    length: int
    place: Ints | None
    turned: bool

    @classmethod
    def of(cls, rows: Rows) -> Grid | None:
        """The grid that these rows are, if they are one; looked for once."""
        if "grid" not in rows.memo:
            rows.memo["grid"] = cls._find(rows.key)
        found: Grid | None = rows.memo["grid"]
        return found

    @classmethod
    def _find(cls, key: Ints) -> Grid | None:
        n = len(key)
        if n <= 1:
            return cls(key, 1, None, True) if n and key[0] >= 0 else None
        mine = key == key[0]
        length = int(np.count_nonzero(mine))
        if n % length:
            return None
        turned = length == 1 or not bool(mine[1])
        square = key.reshape(length, -1) if turned else key.reshape(-1, length).T
        keys, place = square[0], None
        if length > 1 and not (square[1:] == keys).all():
            return None
        if not (keys[1:] > keys[:-1]).all():
            if not turned:
                return None
            place = np.argsort(keys)
            keys = keys[place]
            if not (keys[1:] > keys[:-1]).all():
                return None
        return cls(keys, length, place, turned) if keys[0] >= 0 else None

    def ordered(self, column: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """A column of the rows with the series of each instant in the order of `keys`; a view where it can be."""
        if self.place is None:
            return column
        return column.reshape(self.length, -1).take(self.place, axis=1).reshape(-1)

    def unordered(self, column: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Back to the order of the rows."""
        if self.place is None:
            return column
        back = np.empty_like(column)
        back.reshape(self.length, -1)[:, self.place] = column.reshape(self.length, -1)
        return back

    def square(self, column: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """An ordered column as `(k, length)`, time along the last axis; always a view."""
        return column.reshape(self.length, -1).T if self.turned else column.reshape(-1, self.length)

    def slabs(self, learnt: Ints, span: int, longest: int, cells: int) -> Iterator[Slab | Round]:
        """Cut the grid into matrices, those of one series in the order of its rows; arguments as of `rounds`.

        Yields:
            slabs, and rounds of the ordered rows for those series that must be cut at another place than the rest.
        """
        k = len(self.keys)
        for begin in range(0, k, cells):
            lines = slice(begin, min(begin + cells, k))
            most = max(1, cells // (lines.stop - begin))
            most = min(most, longest) if longest else most
            column = 0
            while column < self.length:
                columns = slice(column, min(column + most, self.length))
                if not span:
                    yield Slab(lines, columns)
                else:
                    columns = yield from self._cut(lines, columns, learnt, span, cells)
                column = columns.stop

    def _cut(
        self, lines: slice, columns: slice, learnt: Ints, span: int, cells: int
    ) -> Generator[Slab | Round, None, slice]:
        """The same where no line may cross a multiple of `span`; returns the columns that it did."""
        room = span - learnt[self.keys[lines]] % span
        least, length = int(room.min()), columns.stop - columns.start
        if (room == least).all():
            columns = slice(columns.start, columns.start + min(least, length))
            yield Slab(lines, columns)
            return columns
        across = room < length
        some = lines.start + np.flatnonzero(across)
        if 2 * len(some) > len(room):
            some = np.arange(lines.start, lines.stop)
        elif len(some):
            yield Slab(lines.start + np.flatnonzero(~across), columns)
        else:
            yield Slab(lines, columns)
            return columns
        row = self.square(np.arange(len(self.keys) * self.length))[some, columns]
        begin, count = np.arange(len(some)) * length, np.full(len(some), length)
        yield from _lines(row.reshape(-1), self.keys[some], begin, count, learnt, span, 0, cells)
        return columns


def rounds(key: Ints, learnt: Ints, span: int = 0, cells: int = CELLS, longest: int = 0) -> Iterator[Round]:
    """Cut rows into matrices, each series' rows in order; how they are cut must not matter to the recursion.

    Args:
        key: `(n,)` series of each row; rows with a negative key are left out.
        learnt: rows of each series that came before, indexed by key.
        cells: most cells of a matrix.
        span: if not 0, no line crosses a multiple of `span` rows, counted from the first of its series.
        longest: if not 0, most columns of a matrix.

    Yields:
        Rounds, of which one series' come in order of its rows.
    """
    order = np.argsort(key, kind="stable")
    order = order[np.searchsorted(key[order], 0) :]
    every, first, counts = np.unique(key[order], return_index=True, return_counts=True)
    for some in range(0, len(every), cells):
        part = slice(some, some + cells)
        yield from _lines(order, every[part], first[part], counts[part], learnt, span, longest, cells)


def _lines(
    order: Ints, keys: Ints, begin: Ints, count: Ints, learnt: Ints, span: int, longest: int, cells: int
) -> Iterator[Round]:
    """The rounds of some series: `count` rows of each from place `begin` of `order`."""
    number = learnt[keys]
    while len(keys):
        length = min(int(count.max()), max(1, cells // len(keys)), longest or cells)
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
