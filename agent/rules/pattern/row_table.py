"""The rows a pattern still needs, in columns: by series, and within a series by event time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from agent.core.rows import Rows
from agent.core.series import State, entries
from agent.expressions.syntax import Kind
from sensors.batch import Ints, Text

TIMES = ("time", "start", "end")
"""Columns every row has: its event time, and start and end of its window, ns."""


@dataclass(slots=True)
class RowTable:
    """Rows of many series.

    Attributes:
        key: `(n,)` series; `number` counts the rows of a series from 0.
        start, end: `(n,)` ns; `at` position in the batch of what released the row, -1 = before it.
        columns: name -> `(n,)` float64, or strings (object, None = missing).
    """

    key: Ints
    number: Ints
    start: Ints
    end: Ints
    at: Ints
    columns: dict[str, npt.NDArray[Any]]

    def __len__(self) -> int:
        return len(self.key)

    @classmethod
    def of(cls, rows: Rows, kinds: Mapping[str, Kind | None]) -> RowTable:
        """The columns of `rows` that the pattern needs; what they lack is missing."""
        columns: dict[str, npt.NDArray[Any]] = {}
        for name, kind in kinds.items():
            if kind == "text" or (kind is None and name in rows.texts):
                text = rows.texts.get(name)
                words = np.array([*(text.words if text is not None else ()), None], dtype=object)
                columns[name] = words[text.codes] if text is not None else np.full(len(rows), None, dtype=object)
            elif name in rows.values:
                columns[name] = rows.values[name]
            elif name in TIMES:
                columns[name] = (rows.start if name == "start" else rows.end).astype(np.float64)
            else:
                columns[name] = np.full(len(rows), np.nan)
        return cls(rows.key, np.zeros(len(rows), np.int64), rows.start, rows.end, rows.at, columns)

    def take(self, index: npt.NDArray[Any]) -> RowTable:
        """The rows at the positions or where the mask is true."""
        columns = {name: column[index] for name, column in self.columns.items()}
        return RowTable(
            self.key[index], self.number[index], self.start[index], self.end[index], self.at[index], columns
        )

    def then(self, other: RowTable) -> RowTable:
        """These rows, then the others."""
        if len(self) == 0:
            return other
        if len(other) == 0:
            return self
        columns = {name: np.concatenate([column, other.columns[name]]) for name, column in self.columns.items()}
        mine = (self.key, self.number, self.start, self.end, self.at)
        others = (other.key, other.number, other.start, other.end, other.at)
        key, number, start, end, at = (np.concatenate(pair) for pair in zip(mine, others, strict=True))
        return RowTable(key, number, start, end, at, columns)

    def shifted(self, start: Ints, wanted: Sequence[tuple[int, str]]) -> Rows:
        """Rows whose columns `<place>.<column>` hold the value `place` rows behind each start."""
        values, texts = {}, {}
        for place, name in wanted:
            column = self.columns.get(name)
            if column is None:
                continue
            column = column[start + place]
            if column.dtype == object:
                texts[f"{place}.{name}"] = encoded(column)
            else:
                values[f"{place}.{name}"] = column
        return Rows(start, start, start, start, values, 0, texts)

    def snapshot(self) -> State:
        return {
            "key": self.key.copy(),
            "number": self.number.copy(),
            "start": self.start.copy(),
            "end": self.end.copy(),
            "columns": {
                name: column.tolist() if column.dtype == object else column.copy()
                for name, column in self.columns.items()
            },
        }

    @classmethod
    def restored(cls, names: Iterable[str], state: State) -> RowTable:
        """The rows from a state, with these columns."""
        key, number, start, end = (np.array(state[name], np.int64) for name in ("key", "number", "start", "end"))
        columns = {
            name: np.array([*column, None], dtype=object)[:-1] if isinstance(column, list) else np.array(column)
            for name, column in ((name, entries(state["columns"])[name]) for name in names)
        }
        if any(len(column) != len(key) for column in (number, start, end, *columns.values())):
            raise ValueError("the rows of a pattern have columns of different lengths")
        return cls(key, number, start, end, np.full(len(key), -1), columns)


def encoded(strings: npt.NDArray[Any]) -> Text:
    """Strings with None for missing, as a `Text`."""
    words: dict[str, int] = {}
    codes = [-1 if word is None else words.setdefault(word, len(words)) for word in strings.tolist()]
    return Text(tuple(words), np.array(codes, np.int32))
