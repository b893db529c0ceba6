"""What the rows behind an incident said beside their value, for transitions that the clock or a command makes."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt

from agent.core.rows import Rows
from agent.core.series import Field, SeriesState, State, Stateful
from sensors.batch import Ints

Words = dict[str, Any]
"""Fields of a `Transition`: `count`, `missing`, `score`, `evidence`, `columns`."""


def words_of(rows: Rows, row: int) -> Words:
    """What a row says: figures of its window or score, its texts, what a detector adds in the list `evidence`."""
    count, missing = _number(rows, "count", row), _number(rows, "missing", row)
    return {
        "count": None if count is None else int(count),
        "missing": None if missing is None else int(missing),
        "score": _number(rows, "score", row),
        "evidence": _evidence(rows, row),
        "columns": _columns(rows, row) if "score" in rows.values else {},
    }


_NOTHING, _WORDS = -1, 0  # where what a series said is: nowhere, in `_of`; else the number of a page
_FEW = 8  # rows whose words are made at once
_PAGE = 64  # what a page costs beside its rows, in rows


class Said(Stateful):
    """By series, what the row said that raised its incident, or the last one of a run that may raise by the clock.

    Of many rows at once only their table (a page) and their places in it are kept: most runs end without an alert, so
    their words are made when somebody asks. Pages are bounded: the oldest are made words when they get too many.

    A leaf: only words are saved.
    """

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._of: dict[int, Words] = {}
        self._pages: dict[int, Rows] = {}
        self._place = SeriesState(page=Field(np.int64, _NOTHING), row=Field(np.int64))
        self._last = 0
        self._weight = 0

    @property
    def series(self) -> int:
        return self._place.series

    @property
    def bytes_a_series(self) -> int:
        return self._place.bytes_a_series

    def grow(self, size: int) -> None:
        self._place.grow(size)

    def keep(self, key: int, words: Words) -> None:
        """Remember it until the incident is over."""
        self._place.grow(key + 1)
        self._of[key] = words
        self._place.arrays["page"][key] = _WORDS

    def keep_rows(self, rows: Rows, keys: Ints, row: Ints) -> None:
        """Remember what these rows of a table say.

        Args:
            rows: the table.
            keys: `(k,)` series, each once.
            row: `(k,)` the row of each.
        """
        if len(keys) <= _FEW:
            for key, at in zip(keys.tolist(), row.tolist(), strict=True):
                self.keep(key, words_of(rows, at))
            return
        self.grow(int(keys.max()) + 1)
        self._last += 1
        self._pages[self._last] = rows
        self._place["page"][keys], self._place["row"][keys] = self._last, row
        self._weight += len(rows) + _PAGE
        if self._weight > 8 * (self.series + 1024):
            self._tidy()

    def of(self, key: int) -> Words:
        """Nothing if it is not known."""
        page = int(self._place["page"][key]) if key < self.series else _NOTHING
        if page <= _WORDS:
            return self._of[key] if page == _WORDS else {}
        return words_of(self._pages[page], int(self._place["row"][key]))

    def evidence(self, key: int) -> Words:
        """Of it only what the incident is about; figures of a row long past would mislead."""
        words = self.of(key)
        return {"evidence": words["evidence"]} if words else {}

    def drop_unless(self, open_: npt.NDArray[np.bool_]) -> None:
        """Forget the series of which nothing is open."""
        known = self._place["page"][: len(open_)] != _NOTHING
        for key in np.flatnonzero(known & ~open_[: len(known)]).tolist():
            self.drop(key)

    def drop(self, key: int) -> None:
        """The incident is over."""
        self._of.pop(key, None)
        if key < self.series:
            self._place.arrays["page"][key] = _NOTHING

    def evict(self, keys: Ints) -> None:
        for key in keys.tolist():
            self._of.pop(key, None)
        self._place.evict(keys)

    def snapshot(self) -> State:
        return self.extract(np.arange(self.series))

    def extract(self, keys: Ints) -> State:
        known = np.flatnonzero(keys < self.series)
        known = known[self._place["page"][keys[known]] != _NOTHING]
        return {str(place): dict(self.of(int(keys[place]))) for place in known.tolist()}

    def restore(self, state: State) -> None:
        self._clear()
        self.merge(np.arange(1 + max(map(int, state), default=-1)), state)

    def merge(self, keys: Ints, state: State) -> None:
        for place, words in state.items():
            self.keep(int(keys[int(place)]), dict(words))

    def _tidy(self) -> None:
        """Drop the pages no series is on any more, then the oldest until half of what is allowed is left."""
        used = set(np.unique(self._place["page"]).tolist())
        self._pages = {number: rows for number, rows in self._pages.items() if number in used}
        self._weight = sum(len(rows) + _PAGE for rows in self._pages.values())
        for number in list(self._pages):
            if self._weight <= 4 * (self.series + 1024):
                break
            for key in np.flatnonzero(self._place["page"] == number).tolist():
                self.keep(key, self.of(key))
            self._weight -= len(self._pages.pop(number)) + _PAGE


def _evidence(rows: Rows, row: int) -> dict[str, Any]:
    said: dict[str, Any] = {
        name: text.words[text.codes[row]] for name, text in rows.texts.items() if text.codes[row] >= 0
    }
    more = rows.lists.get("evidence")
    return said | _plain(more[row]) if more is not None and more[row] else said


def _columns(rows: Rows, row: int) -> dict[str, float]:
    """The finite numbers of a detector's row."""
    numbers = {name: float(column[row]) for name, column in rows.values.items()}
    return {name: number for name, number in numbers.items() if isfinite(number)}


def _plain(value: Any) -> Any:
    """Of dicts, lists, numbers and texts only, for checkpoints and JSON."""
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value


def _number(rows: Rows, name: str, row: int) -> float | None:
    column = rows.values.get(name)
    return None if column is None or column[row] != column[row] else float(column[row])
