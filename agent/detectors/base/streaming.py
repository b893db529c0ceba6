"""What all streaming detectors share: state by series, rows in, one score a row out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import ClassVar

import numpy as np

from agent.core.explanations import Explanation
from agent.core.grouping import Grouping
from agent.core.operator import Operator
from agent.core.rows import Rows
from agent.core.series import Arrays, Field, SeriesState
from agent.detectors.base.scan import row_numbers, to_layout
from agent.detectors.base.series_blocks import MAX_CELLS, Block, RowGrid, series_blocks
from sensors.batch import Codes, Floats, Ints, Text

LARGEST = 1e100
"""Values beyond it are not measurements; their squares would overflow."""

SMALLEST = 1e-100
"""Values nearer to 0 count as 0; their squares, and those of their differences, would come near underflow."""

CAP = 1e6
"""Largest score: a finite stand-in for "never seen anything like it"."""

REASONS = ("missing", "not a measurement", "too few rows", "no spread")
"""Why a score is NaN (text column `reason`): no value; infinite or huge; still learning; a constant series."""
MISSING, NOT_MEASURED, TOO_FEW_ROWS, NO_SPREAD = range(4)

COUNT = "count"
"""State array of every detector: rows of the series learnt so far."""


def ratio(top: Floats, bottom: Floats, cap: float = CAP) -> Floats:
    """`top / bottom` of numbers that are not negative, at most `cap`; NaN where both are 0."""
    quotient = top / bottom
    return np.minimum(quotient, cap, out=quotient)


_NO_VALUES = np.broadcast_to(np.nan, 1 << 40)


def _empty_column(n: int) -> Floats:
    """A column without values that takes no memory."""
    nothing: Floats = _NO_VALUES[:n]
    return nothing


def where_alarm(
    score: Floats, limit: float, **columns: Callable[[], Floats]
) -> Floats | tuple[Floats, dict[str, Floats]]:
    """What a kernel returns: the scores, and columns that are worked out only if a score reaches the limit."""
    alarm = score >= limit
    if not alarm.any():
        return score
    return score, {name: np.where(alarm, column(), np.nan) for name, column in columns.items()}


def _codes(column: Floats | None, n: int) -> Codes:
    """A column of numbers of words; -1 where there is none."""
    codes = np.full(n, -1.0) if column is None else np.where(np.isnan(column), -1.0, column)
    return codes.astype(np.int32)


def _flush_tiny(x: Floats, size: Floats) -> Floats:
    """Values, of which those nearer to 0 than `SMALLEST` are 0."""
    small = size < SMALLEST
    return np.where(small, 0.0, x) if np.count_nonzero(small) else x


class _Results:
    """What is known of each row of a call; `x` and `time` are those of the input."""

    def __init__(self, x: Floats, time: Ints) -> None:
        self.x, self.time = x, time
        self.score = np.full(len(x), np.nan)
        self.warming_up = np.zeros(len(x), np.bool_)
        self.columns: dict[str, Floats] = {}

    def column(self, name: str) -> Floats:
        """A further column, NaN where the kernel gives nothing."""
        if name not in self.columns:
            self.columns[name] = np.full(len(self.x), np.nan)
        return self.columns[name]


@dataclass
class StreamingDetector(Operator):
    """A detector that scores each value of one metric before it learns from it, series by series.

    A detector gives the shapes of its state and a kernel over a matrix of values; this class does the rest.
    Output: for each row of a known series one row with `score`, the metric itself, the text `reason` where the
        score is NaN, and columns of the kernel such as `usual`, some only where the score reaches the default limit.

    Attributes:
        metric: column it watches.
        on: name of the window whose results it watches; empty = the readings.
        by: grouping columns of a series.
    """

    metric: str
    on: str = ""
    by: tuple[str, ...] = ("machine",)
    _table: SeriesState = field(init=False, repr=False, compare=False)

    remembers: ClassVar = {"": "_table"}
    explains: ClassVar[Mapping[str, Explanation]] = MappingProxyType({"score": Explanation()})
    texts: ClassVar[tuple[str, ...]] = ("reason",)

    max_cells: ClassVar[int] = MAX_CELLS
    """Most cells of a matrix; fewer where the kernel needs much memory a cell."""
    text_columns: ClassVar[Mapping[str, tuple[str, ...]]] = MappingProxyType({})
    """Further columns that are texts: name -> the words its numbers stand for."""
    numeric_columns: ClassVar[tuple[str, ...]] = ()
    """Further columns that are numbers."""
    alarm_columns: ClassVar[tuple[str, ...]] = ()
    """Further columns with a value only where the score reaches the default limit, for the sentence of an alert; a
    kernel need not give them where it does so nowhere (`where_alarm`)."""
    nan_reason: ClassVar[int] = NO_SPREAD
    """Why the kernel gives NaN once it has seen enough rows."""

    def __init_subclass__(cls) -> None:
        cls.texts = ("reason", *cls.text_columns)

    def __post_init__(self) -> None:
        self.validate()
        self._table = SeriesState(**{COUNT: Field(np.int64)} | self.state_fields())

    @property
    def block_boundary(self) -> int:
        """The kernel never gets cells on both sides of a multiple of so many rows of a series; 0 = no matter."""
        return 0

    @property
    def max_block(self) -> int:
        """Most columns of a matrix; 0 = no matter."""
        return 0

    @property
    def min_rows(self) -> int:
        """Rows a series must have shown before one is scored."""
        return 2

    def validate(self) -> None:
        """Raise ValueError where the configuration makes no sense."""

    @abstractmethod
    def state_fields(self) -> dict[str, Field]:
        """State arrays of a series."""

    @abstractmethod
    def score(
        self, state: Arrays, x: Floats, valid_length: Ints, time: Ints
    ) -> Floats | tuple[Floats, dict[str, Floats]]:
        """Score a matrix of values and learn from it.

        Args:
            state: array name -> `(k, ...)`, to be changed in place.
            x: `(k, length)` finite values, time along the last axis.
            valid_length: `(k,)` cells of each line that are rows; those behind repeat the last and must not be learnt.
                `state["count"]` rows were learnt before; adding `valid_length` to it is done for the kernel.
            time: `(k, length)` ends of the rows, ns.

        Returns:
            `(k, length)` scores, larger is stranger, NaN where there is none; further columns, if any.
        """

    def outputs(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.metric, "score", *self.numeric_columns, *self.alarm_columns, *self.texts)))

    def fit(self, rows: Rows) -> None:
        """Learn from rows of normal operation ahead, as if they had come live; no result is emitted."""
        self.process(rows)

    def process(self, rows: Rows) -> Rows:
        """One score for each row of a known series, in the order of the rows."""
        column = rows.values.get(self.metric)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
            grid = RowGrid.of(rows)
            size = None if grid is None or column is None else np.abs(column)
            if grid is not None and column is not None and size is not None and size.max() <= LARGEST:
                return self._process_grid(rows, grid, column, size)
            return self._process_rows(rows, column)

    def _process_grid(self, rows: Rows, grid: RowGrid, column: Floats, size: Floats) -> Rows:
        """Rows that are a grid, each with a value of this size."""
        self._table.grow(int(grid.keys[-1]) + 1)
        found = _Results(grid.ordered(_flush_tiny(column, size)), grid.ordered(rows.end))
        x, time, score = (grid.matrix(item) for item in (found.x, found.time, found.score))
        for part in grid.blocks(self._table[COUNT], self.block_boundary, self.max_block, self.max_cells):
            if isinstance(part, Block):
                self._process_block(part, found)
                continue
            here = (part.lines, part.columns)
            keys = grid.keys[part.lines]
            state, view = self._table.at(keys)
            block = to_layout(x[here])
            valid_length = np.full(len(keys), block.shape[1])
            result = self.score(state, block, valid_length, time[here])
            scores, columns = result if isinstance(result, tuple) else (result, {})
            if int(state[COUNT].min()) < self.min_rows:
                warming_up = row_numbers(state[COUNT], block.shape[1]) < self.min_rows
                scores = np.where(warming_up, np.nan, scores)
                grid.matrix(found.warming_up)[here] = warming_up
            score[here] = scores
            for name, values in columns.items():
                grid.matrix(found.column(name))[here] = values
            state[COUNT] += valid_length
            if not view:
                self._table.put(keys, state)
        unscored = np.isnan(found.score)
        reason = np.full(len(unscored), -1, np.int32)
        if unscored.any():
            reason[unscored] = np.where(found.warming_up[unscored], TOO_FEW_ROWS, self.nan_reason)
        more = {name: grid.unordered(values) for name, values in found.columns.items()}
        return self._output(rows, column, grid.unordered(found.score), more, grid.unordered(reason))

    def _process_rows(self, rows: Rows, column: Floats | None) -> Rows:
        """Any rows."""
        if len(rows) and int(rows.key.min()) < 0:
            rows = rows.take(rows.key >= 0)
            column = rows.values.get(self.metric)
        key = rows.key
        if len(key):
            self._table.grow(int(key.max()) + 1)
        x = np.full(len(key), np.nan) if column is None else column
        size = np.abs(x)
        found = _Results(_flush_tiny(x, size), rows.end)
        measured = size <= LARGEST
        grouping = Grouping.of(rows) if measured.all() else Grouping(np.where(measured, key, -1))
        for block in series_blocks(
            grouping, self._table[COUNT], self.block_boundary, self.max_cells, self.max_block
        ):
            self._process_block(block, found)
        why = np.where(found.warming_up, TOO_FEW_ROWS, self.nan_reason)
        why = np.where(measured, why, np.where(np.isnan(x), MISSING, NOT_MEASURED))
        reason = np.where(np.isnan(found.score), why, -1).astype(np.int32)
        return self._output(rows, x, found.score, found.columns, reason)

    def _process_block(self, block: Block, found: _Results) -> None:
        state, view = self._table.at(block.keys)
        number = row_numbers(state[COUNT], block.index.shape[1])
        result = self.score(state, to_layout(found.x[block.index]), block.valid_length, found.time[block.index])
        scores, columns = result if isinstance(result, tuple) else (result, {})
        line, cell, position = block.rows()
        state[COUNT] += block.valid_length
        warming_up = (number < self.min_rows)[line, cell]
        found.warming_up[position] = warming_up
        found.score[position] = np.where(warming_up, np.nan, scores[line, cell])
        for name, column in columns.items():
            found.column(name)[position] = column[line, cell]
        if not view:
            self._table.put(block.keys, state)

    def _output(self, rows: Rows, x: Floats, score: Floats, more: Mapping[str, Floats], reason: Codes) -> Rows:
        columns = {name: more[name] if name in more else _empty_column(len(x)) for name in self.alarm_columns}
        columns |= {name: values for name, values in more.items() if name not in self.text_columns}
        words = {name: Text(words, _codes(more.get(name), len(x))) for name, words in self.text_columns.items()}
        return Rows(
            key=rows.key,
            start=rows.start,
            end=rows.end,
            at=rows.at,
            values={self.metric: x, "score": np.minimum(score, CAP, out=score), **columns},
            now=rows.now,
            texts={"reason": Text(REASONS, reason), **words},
        )
