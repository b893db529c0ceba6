"""What the rows behind an incident said beside their value, for transitions that the clock or a command makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt

from agent.rows import Rows, State

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


@dataclass(slots=True)
class Said:
    """By series, what the row said that raised its incident, or the last one of a run that may raise by the clock."""

    _of: dict[int, Words] = field(default_factory=dict)

    def keep(self, key: int, words: Words) -> None:
        """Remember it until the incident is over."""
        self._of[key] = words

    def of(self, key: int) -> Words:
        """Nothing if it is not known."""
        return self._of.get(key, {})

    def evidence(self, key: int) -> Words:
        """Of it only what the incident is about; figures of a row long past would mislead."""
        return {"evidence": self._of[key]["evidence"]} if self._of.get(key) else {}

    def drop_unless(self, open_: npt.NDArray[np.bool_]) -> None:
        """Forget the series of which nothing is open."""
        for key in [key for key in self._of if not open_[key]]:
            del self._of[key]

    def forget(self, key: int) -> None:
        """The incident is over, or the series is forgotten."""
        self._of.pop(key, None)

    def state(self) -> State:
        return {str(key): dict(words) for key, words in self._of.items()}

    def restore(self, state: State) -> None:
        self._of = {int(key): dict(words) for key, words in state.items()}


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
    """Of dicts, lists, numbers and texts only, for check-points and JSON."""
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value


def _number(rows: Rows, name: str, row: int) -> float | None:
    column = rows.values.get(name)
    return None if column is None or column[row] != column[row] else float(column[row])
