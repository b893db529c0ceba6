"""What rows behind an incident carry beside their value, for transitions that the clock or a command makes."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt

from agent.core.rows import Rows
from agent.core.series import Field, SeriesState, State, Stateful, entries
from agent.core.series_records import records_at
from sensors.batch import Ints

Evidence = dict[str, Any]
"""Fields of a `Transition`: `count`, `missing`, `score`, `evidence`, `columns`."""


def evidence_of(rows: Rows, row: int) -> Evidence:
    """What a row carries: figures of its window or score, its texts, what a detector adds in the list `evidence`."""
    count, missing = _number(rows, "count", row), _number(rows, "missing", row)
    return {
        "count": None if count is None else int(count),
        "missing": None if missing is None else int(missing),
        "score": _number(rows, "score", row),
        "evidence": _evidence(rows, row),
        "columns": _columns(rows, row) if "score" in rows.values else {},
    }


_FIELDS = frozenset(("count", "missing", "score", "evidence", "columns"))
_NOTHING, _READ = -1, 0  # where the evidence of a series is: nowhere, in `_read`; else the number of a table
_FEW = 8  # rows whose evidence is read at once
_TABLE = 64  # what a table costs beside its rows, in rows


class RowEvidence(Stateful):
    """By series, evidence of the row that raised its incident, or of the last one of a run that may raise by the clock.

    Of many rows at once only their table and their places in it are kept: most runs end without an alert, so their
    evidence is read when it is needed. The tables are bounded: where they get too many the oldest are read and dropped.

    A leaf: only evidence that was read is saved.
    """

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._read: dict[int, Evidence] = {}
        self._tables: dict[int, Rows] = {}
        self._place = SeriesState(table=Field(np.int64, _NOTHING), row=Field(np.int64))
        self._newest = 0
        self._rows_held = 0

    @property
    def series(self) -> int:
        return self._place.series

    @property
    def bytes_a_series(self) -> int:
        return self._place.bytes_a_series

    def grow(self, size: int) -> None:
        self._place.grow(size)

    def keep(self, key: int, evidence: Evidence) -> None:
        """Remember it until the incident is over."""
        self._place.grow(key + 1)
        self._read[key] = evidence
        self._place.arrays["table"][key] = _READ

    def keep_rows(self, rows: Rows, keys: Ints, row: Ints) -> None:
        """Remember the evidence of these rows.

        Args:
            rows: the table.
            keys: `(k,)` series, each once.
            row: `(k,)` the row of each.
        """
        if len(keys) <= _FEW:
            for key, at in zip(keys.tolist(), row.tolist(), strict=True):
                self.keep(key, evidence_of(rows, at))
            return
        self.grow(int(keys.max()) + 1)
        self._newest += 1
        self._tables[self._newest] = rows
        self._place["table"][keys], self._place["row"][keys] = self._newest, row
        self._rows_held += len(rows) + _TABLE
        if self._rows_held > 8 * (self.series + 1024):
            self._compact()

    def of(self, key: int) -> Evidence:
        """Nothing if it is not known."""
        table = int(self._place["table"][key]) if key < self.series else _NOTHING
        if table <= _READ:
            return self._read[key] if table == _READ else {}
        return evidence_of(self._tables[table], int(self._place["row"][key]))

    def evidence(self, key: int) -> Evidence:
        """Of it only what the incident is about; figures of a row long past would mislead."""
        found = self.of(key)
        return {"evidence": found["evidence"]} if "evidence" in found else {}

    def drop_unless(self, open_: npt.NDArray[np.bool_]) -> None:
        """Forget the series of which nothing is open."""
        known = self._place["table"][: len(open_)] != _NOTHING
        for key in np.flatnonzero(known & ~open_[: len(known)]).tolist():
            self.drop(key)

    def drop(self, key: int) -> None:
        """The incident is over."""
        self._read.pop(key, None)
        if key < self.series:
            self._place.arrays["table"][key] = _NOTHING

    def evict(self, keys: Ints) -> None:
        for key in keys.tolist():
            self._read.pop(key, None)
        self._place.evict(keys)

    def snapshot(self) -> State:
        return self.extract(np.arange(self.series))

    def extract(self, keys: Ints) -> State:
        known = np.flatnonzero(keys < self.series)
        known = known[self._place["table"][keys[known]] != _NOTHING]
        return {str(place): dict(self.of(int(keys[place]))) for place in known.tolist()}

    def restore(self, state: State) -> None:
        self._clear()
        self.merge(np.arange(1 + max(map(int, entries(state)), default=-1)), state)

    def merge(self, keys: Ints, state: State) -> None:
        for key, saved in records_at(keys, state):
            self.keep(key, loaded(saved))

    def _compact(self) -> None:
        """Drop the pages no series is on any more, then the oldest until half of what is allowed is left."""
        used = set(np.unique(self._place["table"]).tolist())
        self._tables = {number: rows for number, rows in self._tables.items() if number in used}
        self._rows_held = sum(len(rows) + _TABLE for rows in self._tables.values())
        for number in list(self._tables):
            if self._rows_held <= 4 * (self.series + 1024):
                break
            for key in np.flatnonzero(self._place["table"] == number).tolist():
                self.keep(key, self.of(key))
            self._rows_held -= len(self._tables.pop(number)) + _TABLE


def loaded(saved: Any) -> Evidence:
    """Evidence as it was saved.

    Raises:
        TypeError, ValueError: it is none.
    """
    given = dict(saved)
    if not given.keys() <= _FIELDS or not all(
        isinstance(given.get(n, {}), Mapping) for n in ("evidence", "columns")
    ):
        raise ValueError(f"no evidence of a row: {saved!r}"[:200])
    return given


def _evidence(rows: Rows, row: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        name: text.words[text.codes[row]] for name, text in rows.texts.items() if text.codes[row] >= 0
    }
    more = rows.lists.get("evidence")
    return found | _plain(more[row]) if more is not None and more[row] else found


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
