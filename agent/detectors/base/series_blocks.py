"""Rows of many series as matrices: one row a series, time along the last axis.

A streaming detector is a recursion over time, so it must see the rows of one series in order; the rows of different
series have nothing to do with each other. `series_blocks` hands them out as matrices of at most `MAX_CELLS` cells, so
that a thousand series with one row each, one series with a thousand rows and all between cost a few NumPy calls a
matrix.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from agent.core.grouping import Grouping
from agent.core.rows import Rows
from sensors.batch import Ints

MAX_CELLS = 1 << 16
"""Most cells of a matrix: what a processor cache holds of a few such matrices."""


@dataclass(frozen=True, slots=True)
class Block:
    """Some rows of some series, as a matrix `(k, length)`.

    Attributes:
        keys: `(k,)` series, ascending.
        index: `(k, length)` position of each cell's row in the table; a series with fewer rows repeats its last.
        valid_length: `(k,)` how many cells of each line are rows; at least 1.
    """

    keys: Ints
    index: Ints
    valid_length: Ints

    def rows(self) -> tuple[Ints, Ints, Ints]:
        """Of each cell that is a row: its line, its column, its position in the table; each `(m,)`."""
        line, column = np.nonzero(np.arange(self.index.shape[1]) < self.valid_length[:, None])
        return line, column, self.index[line, column]


@dataclass(frozen=True, slots=True)
class GridBlock:
    """Some rows of a grid: the same number of rows of each of some series.

    Attributes:
        lines: which lines of the grid.
        columns: which of its columns.
    """

    lines: slice | Ints
    columns: slice


@dataclass(frozen=True, slots=True)
class RowGrid:
    """Rows that are a regular grid, as N machines make that are read in turn: no row need be looked for.

    Attributes:
        keys: `(k,)` series, ascending.
        length: rows of each.
        order: `(k,)` where each series stands among the rows of an instant, if not in the order of `keys`.
        time_major: whether the rows come instant by instant, not series by series.
    """

    keys: Ints
    length: int
    order: Ints | None
    time_major: bool

    @classmethod
    def of(cls, rows: Rows) -> RowGrid | None:
        """The grid that these rows are, if they are one; looked for once."""
        if "grid" not in rows.memo:
            rows.memo["grid"] = cls._find(rows.key)
        found: RowGrid | None = rows.memo["grid"]
        return found

    @classmethod
    def _find(cls, key: Ints) -> RowGrid | None:
        n = len(key)
        if n <= 1:
            return cls(key, 1, None, True) if n and key[0] >= 0 else None
        mine = key == key[0]
        length = int(np.count_nonzero(mine))
        if n % length:
            return None
        time_major = length == 1 or not bool(mine[1])
        matrix = key.reshape(length, -1) if time_major else key.reshape(-1, length).T
        keys, order = matrix[0], None
        if length > 1 and not (matrix[1:] == keys).all():
            return None
        if not (keys[1:] > keys[:-1]).all():
            if not time_major:
                return None
            order = np.argsort(keys)
            keys = keys[order]
            if not (keys[1:] > keys[:-1]).all():
                return None
        return cls(keys, length, order, time_major) if keys[0] >= 0 else None

    def ordered(self, column: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """A column of the rows with the series of each instant in the order of `keys`; a view where it can be."""
        if self.order is None:
            return column
        return column.reshape(self.length, -1).take(self.order, axis=1).reshape(-1)

    def unordered(self, column: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Back to the order of the rows."""
        if self.order is None:
            return column
        back = np.empty_like(column)
        back.reshape(self.length, -1)[:, self.order] = column.reshape(self.length, -1)
        return back

    def matrix(self, column: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """An ordered column as `(k, length)`, time along the last axis; always a view."""
        return column.reshape(self.length, -1).T if self.time_major else column.reshape(-1, self.length)

    def blocks(
        self, learnt: Ints, block_boundary: int, max_block: int, max_cells: int
    ) -> Iterator[GridBlock | Block]:
        """Cut the grid into matrices, those of one series in the order of its rows; arguments as of `series_blocks`.

        Yields:
            grid blocks, and blocks of the ordered rows for those series that must be cut at another place than the rest.
        """
        k = len(self.keys)
        for begin in range(0, k, max_cells):
            lines = slice(begin, min(begin + max_cells, k))
            most = max(1, max_cells // (lines.stop - begin))
            most = min(most, max_block) if max_block else most
            column = 0
            while column < self.length:
                columns = slice(column, min(column + most, self.length))
                if not block_boundary:
                    yield GridBlock(lines, columns)
                else:
                    columns = yield from self._bounded(lines, columns, learnt, block_boundary, max_cells)
                column = columns.stop

    def _bounded(
        self, lines: slice, columns: slice, learnt: Ints, block_boundary: int, max_cells: int
    ) -> Generator[GridBlock | Block, None, slice]:
        """The same where no line may cross a multiple of `block_boundary`; returns the columns that it did."""
        room = block_boundary - learnt[self.keys[lines]] % block_boundary
        least, length = int(room.min()), columns.stop - columns.start
        if (room == least).all():
            columns = slice(columns.start, columns.start + min(least, length))
            yield GridBlock(lines, columns)
            return columns
        across = room < length
        some = lines.start + np.flatnonzero(across)
        if 2 * len(some) > len(room):
            some = np.arange(lines.start, lines.stop)
        elif len(some):
            yield GridBlock(lines.start + np.flatnonzero(~across), columns)
        else:
            yield GridBlock(lines, columns)
            return columns
        row = self.matrix(np.arange(len(self.keys) * self.length))[some, columns]
        begin, count = np.arange(len(some)) * length, np.full(len(some), length)
        yield from _blocks_of(row.reshape(-1), self.keys[some], begin, count, learnt, block_boundary, 0, max_cells)
        return columns


def series_blocks(
    rows: Grouping, learnt: Ints, block_boundary: int = 0, max_cells: int = MAX_CELLS, max_block: int = 0
) -> Iterator[Block]:
    """Cut rows into matrices, each series' rows in order; how they are cut must not matter to the recursion.

    Args:
        rows: by series; those with a negative key are left out.
        learnt: rows of each series that came before, indexed by key.
        max_cells: most cells of a matrix.
        block_boundary: if not 0, no line crosses a multiple of so many rows, counted from the first of its series.
        max_block: if not 0, most columns of a matrix.

    Yields:
        Blocks, of which one series' come in order of its rows.
    """
    owner, begin, count, order = rows.owner, rows.begin, rows.length, rows.order
    for some in range(int(np.searchsorted(owner, 0)), len(owner), max_cells):
        part = slice(some, some + max_cells)
        yield from _blocks_of(
            order, owner[part], begin[part], count[part], learnt, block_boundary, max_block, max_cells
        )


def _blocks_of(
    order: Ints,
    keys: Ints,
    begin: Ints,
    count: Ints,
    learnt: Ints,
    block_boundary: int,
    max_block: int,
    max_cells: int,
) -> Iterator[Block]:
    """The blocks of some series: `count` rows of each from place `begin` of `order`."""
    row_number = learnt[keys]
    while len(keys):
        length = min(int(count.max()), max(1, max_cells // len(keys)), max_block or max_cells)
        if count.sum() < len(keys) * length // 2:  # a few long series among many short: do not pad the short ones
            length = min(length, 2 * int(-(-count.sum() // len(keys))))
        valid_length = np.minimum(count, length)
        if block_boundary:
            valid_length = np.minimum(valid_length, block_boundary - row_number % block_boundary)
            length = int(valid_length.max())
        column = np.minimum(np.arange(length), valid_length[:, None] - 1)
        yield Block(keys, order[begin[:, None] + column], valid_length)
        left = count > valid_length
        keys, begin, row_number, count = (
            array[left] for array in (keys, begin + valid_length, row_number + valid_length, count - valid_length)
        )
