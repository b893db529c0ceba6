"""What all streaming detectors share: state by series, rows in, one score a row out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import ClassVar

import numpy as np

from agent.core.explanations import Finding
from agent.core.operator import Operator
from agent.core.rows import Rows
from agent.core.series import Arrays, Field, SeriesState
from agent.detectors.base.scan import laid, places
from agent.detectors.base.series_blocks import CELLS, Grid, Round, rounds
from sensors.batch import Codes, Floats, Ints, Text

LARGEST = 1e100
"""Values beyond it are not measurements; their squares would overflow."""

SMALLEST = 1e-100
"""Values nearer to 0 count as 0; their squares, and those of their differences, would come near underflow."""

CAP = 1e6
"""Largest score: a finite stand-in for "never seen anything like it"."""

REASONS = ("missing", "not a measurement", "too few rows", "no spread")
"""Why a score is NaN (text column `reason`): no value; infinite or huge; still learning; a constant series."""
MISSING, ABSURD, FEW, FLAT = range(4)

COUNT = "count"
"""State array of every detector: rows of the series learnt so far."""


def ratio(top: Floats, bottom: Floats, cap: float = CAP) -> Floats:
    """`top / bottom` of numbers that are not negative, at most `cap`; NaN where both are 0."""
    quotient = top / bottom
    return np.minimum(quotient, cap, out=quotient)


_NOTHING = np.broadcast_to(np.nan, 1 << 40)


def _nothing(n: int) -> Floats:
    """A column without values that takes no memory."""
    nothing: Floats = _NOTHING[:n]
    return nothing


def where_loud(
    score: Floats, limit: float, **columns: Callable[[], Floats]
) -> Floats | tuple[Floats, dict[str, Floats]]:
    """What a kernel returns: the scores, and columns that are worked out only if a score reaches the limit."""
    loud = score >= limit
    if not loud.any():
        return score
    return score, {name: np.where(loud, column(), np.nan) for name, column in columns.items()}


def _codes(column: Floats | None, n: int) -> Codes:
    """A column of numbers of words; -1 where there is none."""
    codes = np.full(n, -1.0) if column is None else np.where(np.isnan(column), -1.0, column)
    return codes.astype(np.int32)


def _measured(x: Floats, size: Floats) -> Floats:
    """Values, of which those nearer to 0 than `SMALLEST` are 0."""
    small = size < SMALLEST
    return np.where(small, 0.0, x) if np.count_nonzero(small) else x


class _Found:
    """What is known of each row of a call; `x` and `time` are those of the input."""

    def __init__(self, x: Floats, time: Ints) -> None:
        self.x, self.time = x, time
        self.score = np.full(len(x), np.nan)
        self.early = np.zeros(len(x), np.bool_)
        self.more: dict[str, Floats] = {}

    def column(self, name: str) -> Floats:
        """A further column, NaN where nothing is said."""
        if name not in self.more:
            self.more[name] = np.full(len(self.x), np.nan)
        return self.more[name]


@dataclass
class Streaming(Operator):
    """A detector that scores each value of one metric before it learns from it, series by series.

    A detector gives the shapes of its state and a kernel over a matrix of values; this class does the rest.
    Output: for each row of a known series one row with `score`, the metric itself, the text `reason` where the
        score is NaN, and columns of the kernel such as `usual`, some only where the score reaches the usual limit.

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
    explains: ClassVar[Mapping[str, Finding]] = MappingProxyType({"score": Finding()})
    texts: ClassVar[tuple[str, ...]] = ("reason",)

    cells: ClassVar[int] = CELLS
    """Most cells of a matrix; fewer where the kernel needs much memory a cell."""
    words: ClassVar[Mapping[str, tuple[str, ...]]] = MappingProxyType({})
    """Further columns that are texts: name -> the words its numbers stand for."""
    figures: ClassVar[tuple[str, ...]] = ()
    """Further columns that are numbers."""
    loud: ClassVar[tuple[str, ...]] = ()
    """Further columns with a value only where the score reaches the usual limit, for the sentence of an alert; a kernel
    need not give them where it does nowhere (`where_loud`)."""
    silent: ClassVar[int] = FLAT
    """Why the kernel gives NaN once it has seen enough rows."""

    def __init_subclass__(cls) -> None:
        cls.texts = ("reason", *cls.words)

    def __post_init__(self) -> None:
        self._check()
        self._table = SeriesState(**{COUNT: Field(np.int64)} | self._shapes())

    @property
    def span(self) -> int:
        """The kernel never gets cells on both sides of a multiple of so many rows of a series; 0 = no matter."""
        return 0

    @property
    def longest(self) -> int:
        """Most columns of a matrix; 0 = no matter."""
        return 0

    @property
    def needs(self) -> int:
        """Rows a series must have shown before one is scored."""
        return 2

    def _check(self) -> None:
        """Raise ValueError where the configuration makes no sense."""

    @abstractmethod
    def _shapes(self) -> dict[str, Field]:
        """State arrays of a series."""

    @abstractmethod
    def _scores(
        self, state: Arrays, x: Floats, take: Ints, time: Ints
    ) -> Floats | tuple[Floats, dict[str, Floats]]:
        """Score a matrix of values and learn from it.

        Args:
            state: array name -> `(k, ...)`, to be changed in place.
            x: `(k, length)` finite values, time along the last axis.
            take: `(k,)` cells of each line that are rows; those behind repeat the last and must not be learnt.
                `state["count"]` rows were learnt before; adding `take` to it is done for the kernel.
            time: `(k, length)` ends of the rows, ns.

        Returns:
            `(k, length)` scores, larger is stranger, NaN where it cannot say; further columns if it likes.
        """

    def outputs(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.metric, "score", *self.figures, *self.loud, *self.texts)))

    def fit(self, rows: Rows) -> None:
        """Learn from rows of normal operation ahead, as if they had come live; nothing is told of them."""
        self.process(rows)

    def process(self, rows: Rows) -> Rows:
        """One score for each row of a known series, in the order of the rows."""
        column = rows.values.get(self.metric)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
            grid = Grid.of(rows)
            size = None if grid is None or column is None else np.abs(column)
            if grid is not None and column is not None and size is not None and size.max() <= LARGEST:
                return self._regular(rows, grid, column, size)
            return self._irregular(rows, column)

    def _regular(self, rows: Rows, grid: Grid, column: Floats, size: Floats) -> Rows:
        """Rows that are a grid, each with a value of this size."""
        self._table.grow(int(grid.keys[-1]) + 1)
        found = _Found(grid.ordered(_measured(column, size)), grid.ordered(rows.end))
        x, time, score = (grid.square(item) for item in (found.x, found.time, found.score))
        for part in grid.slabs(self._table[COUNT], self.span, self.longest, self.cells):
            if isinstance(part, Round):
                self._round(part, found)
                continue
            here = (part.lines, part.columns)
            keys = grid.keys[part.lines]
            state, view = self._table.at(keys)
            block = laid(x[here])
            take = np.full(len(keys), block.shape[1])
            result = self._scores(state, block, take, time[here])
            scores, columns = result if isinstance(result, tuple) else (result, {})
            if int(state[COUNT].min()) < self.needs:
                early = places(state[COUNT], block.shape[1]) < self.needs
                scores = np.where(early, np.nan, scores)
                grid.square(found.early)[here] = early
            score[here] = scores
            for name, values in columns.items():
                grid.square(found.column(name))[here] = values
            state[COUNT] += take
            if not view:
                self._table.put(keys, state)
        silent = np.isnan(found.score)
        reason = np.full(len(silent), -1, np.int32)
        if silent.any():
            reason[silent] = np.where(found.early[silent], FEW, self.silent)
        more = {name: grid.unordered(values) for name, values in found.more.items()}
        return self._told(rows, column, grid.unordered(found.score), more, grid.unordered(reason))

    def _irregular(self, rows: Rows, column: Floats | None) -> Rows:
        """Any rows."""
        if len(rows) and int(rows.key.min()) < 0:
            rows = rows.take(rows.key >= 0)
            column = rows.values.get(self.metric)
        key = rows.key
        if len(key):
            self._table.grow(int(key.max()) + 1)
        x = np.full(len(key), np.nan) if column is None else column
        size = np.abs(x)
        found = _Found(_measured(x, size), rows.end)
        usable = np.where(size <= LARGEST, key, -1)
        for block in rounds(usable, self._table[COUNT], self.span, self.cells, self.longest):
            self._round(block, found)
        why = np.where(found.early, FEW, self.silent)
        why = np.where(usable >= 0, why, np.where(np.isnan(x), MISSING, ABSURD))
        reason = np.where(np.isnan(found.score), why, -1).astype(np.int32)
        return self._told(rows, x, found.score, found.more, reason)

    def _round(self, block: Round, found: _Found) -> None:
        state, view = self._table.at(block.keys)
        number = places(state[COUNT], block.index.shape[1])
        result = self._scores(state, laid(found.x[block.index]), block.take, found.time[block.index])
        scores, columns = result if isinstance(result, tuple) else (result, {})
        line, cell, position = block.rows()
        state[COUNT] += block.take
        early = (number < self.needs)[line, cell]
        found.early[position] = early
        found.score[position] = np.where(early, np.nan, scores[line, cell])
        for name, column in columns.items():
            found.column(name)[position] = column[line, cell]
        if not view:
            self._table.put(block.keys, state)

    def _told(self, rows: Rows, x: Floats, score: Floats, more: Mapping[str, Floats], reason: Codes) -> Rows:
        columns = {name: more[name] if name in more else _nothing(len(x)) for name in self.loud}
        columns |= {name: values for name, values in more.items() if name not in self.words}
        words = {name: Text(words, _codes(more.get(name), len(x))) for name, words in self.words.items()}
        return Rows(
            key=rows.key,
            start=rows.start,
            end=rows.end,
            at=rows.at,
            values={self.metric: x, "score": np.minimum(score, CAP, out=score), **columns},
            now=rows.now,
            texts={"reason": Text(REASONS, reason), **words},
        )
