"""The one table inside the engine: readings, window results and scores are all `Rows`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from sensors.batch import Floats, Ints, Text

_ABOUT_KEY = ("series", "grid")  # what is in a memo about the series of the rows alone


_LONG = 4096


@dataclass(frozen=True, slots=True)
class Rows:
    """A columnar table, one row a reading, a window result or a score, in order of emission.

    Nobody changes its arrays. NaN means missing. A zero has no sign (`unsigned_zeros`).

    Attributes:
        key: `(n,)` row of the key table: the series the row belongs to.
        start: `(n,)` ns; of a window its start (inclusive), of a reading its time.
        end: `(n,)` ns; of a window its end (exclusive unless the window defines it otherwise), of a reading its time.
        at: `(n,)` position in the batch of the reading that caused the row; -1 where the clock did, before any
            reading of the batch. Ascending.
        values: column name -> `(n,)` numbers.
        texts: column name -> strings.
        lists: column name -> one tuple a row (`collect`, evidence of a detector); rarely used.
        now: host time of the batch, ns.
        memo: what operators have worked out about these rows, such as their order by series, for the next operator.
    """

    key: Ints
    start: Ints
    end: Ints
    at: Ints
    values: Mapping[str, Floats]
    now: int
    texts: Mapping[str, Text] = field(default_factory=dict)
    lists: Mapping[str, list[Any]] = field(default_factory=dict)
    memo: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.key)

    def take(self, index: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> Rows:
        """The rows at `index` (positions or a mask), in that order."""
        chosen = np.flatnonzero(index) if index.dtype == np.bool_ else index
        return Rows(
            key=self.key.take(chosen),
            start=self.start.take(chosen),
            end=self.end.take(chosen),
            at=self.at.take(chosen),
            values={name: column.take(chosen) for name, column in self.values.items()},
            now=self.now,
            texts={name: Text(text.words, text.codes.take(chosen)) for name, text in self.texts.items()},
            lists={name: [column[i] for i in chosen.tolist()] for name, column in self.lists.items()},
        )

    def present(self, column: str) -> Rows:
        """The rows that have a value in this column of numbers."""
        values = self.values.get(column)
        if values is None:
            return self.take(np.zeros(0, np.int64))
        missing = np.isnan(values)
        return self.take(~missing) if missing.any() else self

    def with_values(self, **columns: Floats) -> Rows:
        """The same rows with columns of numbers more, or in place of those of the same name."""
        rows = replace(self, values={**self.values, **columns})
        rows.memo.update((name, self.memo[name]) for name in _ABOUT_KEY if name in self.memo)
        return rows

    def then(self, more: Rows) -> Rows:
        """These rows, then more; a column that only one of them has is missing in the rows of the other."""
        if len(more) == 0 or len(self) == 0:
            return self if len(more) == 0 else more
        return Rows(
            key=np.concatenate([self.key, more.key]),
            start=np.concatenate([self.start, more.start]),
            end=np.concatenate([self.end, more.end]),
            at=np.concatenate([self.at, more.at]),
            values={
                name: np.concatenate([r._numbers(name) for r in (self, more)])
                for name in {**self.values, **more.values}
            },
            now=more.now,
            texts={name: _joined(self._words(name), more._words(name)) for name in {**self.texts, **more.texts}},
            lists={
                name: [*self.lists.get(name, [None] * len(self)), *more.lists.get(name, [None] * len(more))]
                for name in {**self.lists, **more.lists}
            },
        )

    def _numbers(self, name: str) -> Floats:
        return self.values[name] if name in self.values else np.full(len(self), np.nan)

    def _words(self, name: str) -> Text:
        return self.texts[name] if name in self.texts else Text((), np.full(len(self), -1, np.int32))


def unsigned_zeros(values: Mapping[str, Floats]) -> dict[str, Floats]:
    """The columns with 0.0 for -0.0, contiguous: new arrays, or the same where there is nothing to do.

    The two zeros are equal, so which of them `np.minimum`, `np.sort` or a median gives depends on the order of the
    values and on the processor's instructions. Contiguous, since `np.log` and its like round otherwise where NumPy
    steps backwards through memory.
    """
    return {name: column if _fit(column) else column + 0.0 for name, column in values.items()}


def _fit(column: Floats) -> bool:
    """A long column is scanned for zeros before it is copied, a short one is not."""
    return len(column) >= _LONG and column.flags.c_contiguous and not (column == 0.0).any()


def no_rows(now: int) -> Rows:
    """A table without rows: time has passed."""
    none = np.zeros(0, np.int64)
    return Rows(none, none, none, none, {}, now)


def _joined(first: Text, more: Text) -> Text:
    words = tuple(dict.fromkeys((*first.words, *more.words)))
    places = np.array([words.index(word) for word in more.words] + [-1], np.int32)
    if first.words != words[: len(first.words)]:
        raise AssertionError("a text column has a word twice")
    return Text(words, np.concatenate([first.codes, places[more.codes]]))
