"""Aggregates that need the readings of a window themselves: median, quantiles, distinct count, collect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple

import numpy as np

from agent.core.grouping import Grouping
from agent.core.rows import Rows
from agent.core.series import State, Stateful
from agent.windows import sorted_block as block
from agent.windows.aggregates import Aggregate
from agent.windows.search import first_at_least, spread
from agent.windows.series_buffer import SeriesBuffer
from sensors.batch import Floats, Ints

_PAIRS = 1 << 20


class WindowQuery(NamedTuple):
    """Windows `[start, end)` of series, as they were when `arrival` readings had come."""

    key: Ints
    start: Ints
    end: Ints
    arrival: Ints


def _union(mine: Sequence[str], theirs: Sequence[str]) -> tuple[str, ...]:
    """Mine, then those of theirs that are new."""
    return tuple(dict.fromkeys((*mine, *theirs)))


class SampledAggregates(Stateful):
    """The readings of open windows. Columns may be numbers or texts; only `distinct` and `collect` take texts.

    Args:
        aggregates: those that need the readings.
        most: readings kept of a series; the oldest beyond it are dropped and counted.
    """

    remembers: ClassVar = {"journal": "buffer"}
    shared: ClassVar = {"words": ("_words", _union), "texts": ("_texts", lambda a, b: sorted({*a, *b}))}

    def __init__(self, aggregates: Sequence[Aggregate], most: int) -> None:
        self.aggregates = tuple(aggregates)
        self.columns = tuple(dict.fromkeys(item.column for item in aggregates))
        fields: dict[str, Any] = {"time": np.int64, "arrival": np.int64}
        self.buffer = SeriesBuffer(fields | {f"x{i}": np.float64 for i in range(len(self.columns))}, most)
        self.numbers = tuple(item.name for item in aggregates if item.function != "collect")
        self.lists = tuple(item.name for item in aggregates if item.function == "collect")
        self._codes: dict[str, int] = {}  # word -> the number it is kept as, from 0
        self._texts: tuple[str, ...] = ()  # columns of texts

    def add(self, rows: Rows, time: Ints, keep: Any, arrived: int) -> Ints:
        """Take readings in; the series concerned.

        Args:
            rows: of the call.
            time: `(n,)` event time of each.
            keep: `(n,)` bool, those that take part.
            arrived: readings that came before.
        """
        chosen = np.flatnonzero(keep)
        series = Grouping(rows.key[chosen])
        key, owner, chosen = series.key, series.owner, series.sorted(chosen)
        if len(key) == 0:
            return key
        self.buffer.grow(int(key[-1]) + 1)
        kept_key, kept = self.buffer.read(owner)
        new: dict[str, Any] = {"time": time[chosen], "arrival": arrived + chosen}
        for i, name in enumerate(self.columns):
            new[f"x{i}"] = self._column(rows, name)[chosen]
        columns = {name: np.concatenate((kept[name], new[name])) for name in kept}
        every = np.concatenate((kept_key, key))
        order = np.lexsort((columns["arrival"], columns["time"], every))
        number = np.bincount(np.searchsorted(owner, every), minlength=len(owner))
        self.buffer.write(owner, number, {name: column[order] for name, column in columns.items()})
        return owner

    def _column(self, rows: Rows, name: str) -> Floats:
        text = rows.texts.get(name)
        if text is None:
            return block.column(rows.values, name, slice(None), len(rows))
        self._texts = tuple(sorted({*self._texts, name}))
        return self._coded(text.words)[text.codes]

    def _coded(self, words: Sequence[str]) -> Floats:
        """Number of each word, of a new one the next, then that of none."""
        return np.array([*(self._codes.setdefault(word, len(self._codes)) for word in words), np.nan])

    @property
    def _words(self) -> tuple[str, ...]:
        return tuple(self._codes)

    @_words.setter
    def _words(self, words: tuple[str, ...]) -> None:
        self._codes = {str(word): i for i, word in enumerate(words)}

    def drop(self, owner: Ints, since: Ints) -> None:
        """Forget readings of these series before `since` of each."""
        key, columns = self.buffer.read(owner)
        number = np.searchsorted(owner, key)
        keep = np.flatnonzero(columns["time"] >= since[number])
        if len(keep) < len(key):
            columns = {name: column[keep] for name, column in columns.items()}
            self.buffer.write(owner, np.bincount(number[keep], minlength=len(owner)), columns)

    def of(self, query: WindowQuery) -> tuple[dict[str, Floats], dict[str, list[Any]]]:
        """The aggregates of windows: numbers and lists."""
        m = len(query.key)
        values = {name: np.full(m, np.nan) for name in self.numbers}
        lists: dict[str, list[Any]] = {name: [()] * m for name in self.lists}
        if m == 0:
            return values, lists
        keys = np.unique(query.key)
        self.buffer.grow(int(keys[-1]) + 1)
        key, columns = self.buffer.read(keys)
        begin, end = np.searchsorted(key, query.key), np.searchsorted(key, query.key, side="right")
        first = first_at_least(columns["time"], begin, end, query.start)
        length = first_at_least(columns["time"], first, end, query.end) - first
        cuts = np.flatnonzero(np.diff(np.cumsum(length) // _PAIRS, prepend=0))
        for part in np.split(np.arange(m), cuts):
            window, row = spread(first[part], length[part])
            come = columns["arrival"][row] <= query.arrival[part][window]
            self._part(values, lists, columns, part, window[come], row[come])
        return values, lists

    def _part(
        self,
        values: dict[str, Floats],
        lists: dict[str, list[Any]],
        columns: dict[str, Any],
        part: Ints,
        window: Ints,
        row: Ints,
    ) -> None:
        """Fill in some windows: `row` are their readings, `window` the place in `part` of each."""
        words = self._words if self.lists and self._texts else ()
        for i, name in enumerate(self.columns):
            value = columns[f"x{i}"][row]
            valid = np.isfinite(value)
            value, owner, arrival = value[valid], window[valid], columns["arrival"][row][valid]
            number = np.bincount(owner, minlength=len(part))
            order = np.lexsort((value, owner))
            ascending = value[order]
            first = np.cumsum(number) - number
            for item in self.aggregates:
                if item.column != name:
                    continue
                if item.function == "collect":
                    by_arrival = value[np.lexsort((arrival, owner))].tolist()
                    texts = name in self._texts
                    for place, start, count in zip(part.tolist(), first.tolist(), number.tolist(), strict=True):
                        found = by_arrival[start : start + count]
                        lists[item.name][place] = tuple(words[int(x)] for x in found) if texts else tuple(found)
                elif item.function == "distinct":
                    new = np.ones(len(ascending), np.bool_)
                    new[1:] = (ascending[1:] != ascending[:-1]) | (owner[order][1:] != owner[order][:-1])
                    values[item.name][part] = np.bincount(owner[order][new], minlength=len(part))
                else:
                    share = 0.5 if item.function == "median" else item.share
                    values[item.name][part] = quantile(ascending, first, number, share)

    def merge(self, keys: Ints, state: State) -> None:
        """As of all that remembers; their words have other numbers here."""
        code = self._coded(state["words"])
        columns = dict(state["journal"]["columns"])
        for i, name in enumerate(self.columns):
            if name in state["texts"]:
                theirs = columns[f"x{i}"]
                columns[f"x{i}"] = code[np.where(np.isnan(theirs), -1, theirs).astype(np.int64)]
        super().merge(keys, state | {"journal": state["journal"] | {"columns": columns}})


def with_columns(rows: Rows, values: dict[str, Floats], lists: dict[str, list[Any]]) -> Rows:
    """The rows with more columns."""
    return replace(rows, values={**rows.values, **values}, lists={**rows.lists, **lists})


def quantile(ascending: Floats, first: Ints, number: Ints, share: float) -> Floats:
    """Quantile of stretches of numbers, linear between the two nearest (as `np.quantile`, SQL's PERCENTILE_CONT).

    Args:
        ascending: numbers, ascending within each stretch.
        first: `(m,)` first of each stretch.
        number: `(m,)` how many; NaN comes of none.
        share: 0 to 1.
    """
    place = share * np.maximum(number - 1, 0)
    below = np.floor(place).astype(np.int64)
    above = np.minimum(below + 1, np.maximum(number - 1, 0))
    if len(ascending) == 0:
        return np.full(len(first), np.nan)
    last = len(ascending) - 1
    low = ascending[np.minimum(first + below, last)]
    high = ascending[np.minimum(first + above, last)]
    part = place - below
    with np.errstate(over="ignore", invalid="ignore"):
        gap = high - low
        mixed = np.where(part < 0.5, low + gap * part, high - gap * (1 - part))
    if np.isinf(gap).any():  # further apart than the greatest number
        mixed = np.where(np.isinf(gap), low * (1 - part) + high * part, mixed)
    return np.where(number > 0, mixed, np.nan)
