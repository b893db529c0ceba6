"""HAVING over a result that changes: which rows pass now, as an update stream."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from agent.alerts.alert import Severity
from agent.core.grouping import Grouping
from agent.core.rows import Rows
from agent.core.series import State, entries
from agent.expressions import Expression
from agent.rules import Rule, Verdict
from agent.rules.sequence_numbers import SequenceNumbers
from agent.rules.series_rows import SeriesRows
from agent.rules.threshold import short
from sensors.batch import Ints, Text


@dataclass
class Having(Rule):
    """Takes back the row of a series that passed before, and emits the new one if it passes.

    As Flink does it for a running aggregate: each raw row has a column `retract`, 1 for a row that does not hold any
    more (-U) and 0 for one that holds now (+U, to be taken as insert or update). A row that is the same as the one
    before it emits nothing.

    Attributes:
        when: condition over the columns of its rows; unknown is not true.
        on: window or detector whose rows it sees; empty = readings.
        by: columns of the grouping.
        columns: of an event; these and the columns of `when` are compared. Empty = all.
        metric: column whose value the event carries; left out: the first number that `when` names.
    """

    when: Expression
    _: KW_ONLY
    on: str = ""
    by: tuple[str, ...] = ("machine",)
    columns: list[str] = field(default_factory=list)
    metric: str = ""
    signal: str = ""
    unit: str = ""
    severity: Severity = "info"

    type = "having"
    remembers: ClassVar = {"last": "_last", "emissions": "_sequence"}

    def __post_init__(self) -> None:
        self.when.condition()
        self.metric = self.metric or next(iter(self.when.numbers), "")
        self._sequence = SequenceNumbers()
        self._last: SeriesRows[Rows] = SeriesRows(_saved, _loaded)  # the last row of each series

    @property
    def raise_limit(self) -> str:
        """The condition as written."""
        return self.when.text

    @property
    def limit(self) -> str:
        """`> 3` where the condition compares with a number."""
        return short(self.when)

    def inputs(self) -> tuple[str, ...]:
        """Columns it needs."""
        return tuple(dict.fromkeys((*self.when.columns, *self.columns)))

    def process(self, rows: Rows) -> Verdict:
        if len(rows) and rows.key.min() < 0:
            rows = rows.take(rows.key >= 0)
        if len(rows) == 0:
            return Verdict()
        groups = Grouping.of(rows)
        last, place = self._last.rows, np.full(max(self._last.series, int(groups.key[-1]) + 1), -1)
        if last is not None:
            place[last.key] = np.arange(len(last))
        known = place[groups.owner]
        old = None if last is None else last.take(known[known >= 0])
        table = rows if old is None or len(old) == 0 else old.then(rows)
        shift = len(table) - len(rows)
        row_before = np.append(-1, groups.order[:-1] + shift)  # place in the table, -1 = none
        carried = np.full(len(known), -1)
        carried[known >= 0] = np.arange(shift)
        row_before[groups.begin] = carried
        before = groups.unsorted(row_before)
        here = np.arange(len(rows)) + shift
        passes = self.when.holds(table)
        changed = (before < 0) | ~self._same(table, here, before)
        back = changed & (before >= 0) & passes[before]
        emitted = changed & passes[here]
        picked = np.stack([np.where(back, before, -1), np.where(emitted, here, -1)], axis=1).ravel()
        owner = np.repeat(np.arange(len(rows)), 2)
        retract = np.tile([1.0, 0.0], len(rows))
        chosen = picked >= 0
        out = replace(self._carried(table.take(picked[chosen])), at=rows.at[owner[chosen]])
        out = replace(out, values={**out.values, "retract": retract[chosen]})
        newest = rows.take(np.sort(groups.order[groups.end]))
        if last is not None:
            others = np.ones(len(last), np.bool_)
            others[known[known >= 0]] = False
            newest = last.take(others).then(newest)
        self._last.rows = newest
        return Verdict(raw=self._sequence.numbered(out))

    def _carried(self, rows: Rows, more: tuple[str, ...] = ()) -> Rows:
        if not self.columns:
            return rows
        wanted = {*self.columns, *more}
        return replace(
            rows,
            values={name: column for name, column in rows.values.items() if name in wanted},
            texts={name: column for name, column in rows.texts.items() if name in wanted},
            lists={name: column for name, column in rows.lists.items() if name in wanted},
        )

    def _same(self, table: Rows, here: Ints, before: Ints) -> npt.NDArray[np.bool_]:
        """Whether the carried columns of the two places are equal; missing equals missing."""
        carried = self._carried(table, self.when.columns)
        same = np.ones(len(here), np.bool_)
        for column in carried.values.values():
            a, b = column[here], column[before]
            same &= (a == b) | (np.isnan(a) & np.isnan(b))
        for text in carried.texts.values():
            same &= text.codes[here] == text.codes[before]
        for values in carried.lists.values():
            for i in np.flatnonzero(same).tolist():
                same[i] = values[int(here[i])] == values[int(before[i])]
        return same


def _saved(last: Rows) -> State:
    return {
        "key": last.key.copy(),
        "start": last.start.copy(),
        "end": last.end.copy(),
        "values": {name: column.copy() for name, column in last.values.items()},
        "texts": {name: text.tolist() for name, text in last.texts.items()},
        "lists": {name: list(map(_listed, column)) for name, column in last.lists.items()},
    }


def _loaded(state: State) -> Rows:
    key, start, end = (np.array(state[name], np.int64) for name in ("key", "start", "end"))
    values, texts, lists = (entries(state[name]) for name in ("values", "texts", "lists"))
    columns = [start, end, *values.values(), *texts.values(), *lists.values()]
    if any(len(column) != len(key) for column in columns):
        raise ValueError("the last rows have columns of different lengths")
    return Rows(
        key, start, end, np.full(len(key), -1),
        {name: np.array(column, np.float64) for name, column in values.items()}, 0,
        {name: _text(words) for name, words in texts.items()},
        {name: list(map(_tupled, column)) for name, column in lists.items()},
    )  # fmt: skip


def _text(strings: list[str | None]) -> Text:
    words: dict[str, int] = {}
    codes = [-1 if word is None else words.setdefault(word, len(words)) for word in strings]
    return Text(tuple(words), np.array(codes, np.int32))


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _tupled(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
