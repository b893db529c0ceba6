"""Patterns over consecutive rows of a series: MATCH_RECOGNIZE as a person would write it.

    steps = ["start", "up: > start", "down: (up - down) / up > 30 %"]

Each step takes one row, or by its quantifier `* + ? {n} {n,} {n,m} {,m}` several, greedy unless followed by `?`; rows of
a match follow each other without a gap. Every match is an event of its own. The semantics are those of Flink 2.3 SQL,
but for: `after_match` left out means past the last row (Flink: to the next row); division by zero is unknown, not
infinite; a text is no number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from agent.alerts.alert import Severity
from agent.core.rows import Rows
from agent.core.series_counter import SeriesCounter
from agent.expressions import Expression
from agent.expressions.parser import parse
from agent.expressions.syntax import ExpressionError, Truth
from agent.rules import Rule, Verdict
from agent.rules.pattern.mapped_rows import Compiler, Function, MappedRows
from agent.rules.pattern.matcher import Matcher, Thread
from agent.rules.pattern.prefix import Prefix, own_row
from agent.rules.pattern.reorder import END, ReorderBuffer
from agent.rules.pattern.row_table import TIMES, RowTable, encoded
from agent.rules.pattern.search import Match, Search, Skip
from agent.rules.pattern.steps import PatternStep, parse_steps
from agent.rules.sequence_numbers import SequenceNumbers
from sensors.batch import Floats, Ints, Text
from sensors.units import Duration

NEVER = Duration(0)
_AFTER = re.compile(r"(?:skip\s+)?(?:(past last|to next)(?:\s+row)?|to (first|last)\s+(\w+))", re.IGNORECASE)


@dataclass
class Pattern(Rule):
    """Emits each match of the steps as an event with the measures.

    Attributes:
        steps: names, quantifiers and conditions, see `agent.rules.pattern.steps` and `.mapped`.
        on: window or detector whose rows it reads; empty = readings.
        by: columns of the grouping.
        metric: column that a step's bare name stands for.
        where: rows for which this does not hold are left out; they still move time.
        within: from the first row of a match to its last less than this; 0 = no limit.
        most_rows: most rows of a match; 0 = no limit. A quantifier without bound needs this or `within`.
        after_match: where the next match may start: `past last row`, `to next row`, `to first X`, `to last X`.
        delay: rows are judged in order of their time; this is how late a row may be, for all series together. Left
            out: in order of arrival, as the rows of a window come.
        idle: with a `delay`: where nothing comes for so long, what waits is judged by the host's clock; 0 = never.
        measures: name -> what an event carries of a match, `first(down)`, `count(down)`, `list(mean)`; left out: the
            metric of the last row of each step.
    """

    steps: list[str]
    metric: str
    _: KW_ONLY
    on: str = ""
    by: tuple[str, ...] = ("machine",)
    where: Expression | None = None
    within: Duration = NEVER
    most_rows: int = 0
    after_match: str = "past last row"
    delay: Duration | None = None
    idle: Duration = NEVER
    measures: Mapping[str, str] = field(default_factory=dict)
    signal: str = ""
    unit: str = ""
    severity: Severity = "warning"

    type = "pattern"
    remembers: ClassVar = {"search": "_search", "release": "_reorder", "emissions": "_sequence"}

    def __post_init__(self) -> None:
        steps = parse_steps(self.steps)
        if self.where is not None:
            self.where.condition()
        if any(step.most is None for step in steps) and not self.within and not self.most_rows:
            raise ValueError("steps: a quantifier has no bound; set within or most_rows, so that memory is bounded")
        if self.most_rows and self.most_rows < sum(step.least for step in steps):
            raise ValueError(f"most_rows: the steps need more than {self.most_rows} rows")
        self._compiler = Compiler(tuple(step.name for step in steps), self.metric)
        conditions: list[Function | None] = []
        for own, step in enumerate(steps):
            if isinstance(step.condition, Truth) and step.condition.value:
                conditions.append(None)
                continue
            try:
                conditions.append(self._compiler.condition(step.condition, own, step.text))
            except ExpressionError as error:
                raise ValueError(f"step {step.name!r}: {error}") from error
        self._measures = {name: self._measure(name, text) for name, text in self._measured(steps).items()}
        columns = tuple(self._compiler.kinds)
        self._search = Search(
            Matcher(steps, conditions),
            Prefix.of(steps, self._compiler),
            [
                None if isinstance(s.condition, Truth) else own_row(s.condition, k, self._compiler)
                for k, s in enumerate(steps)
            ],
            _skip(self.after_match, steps),
            int(self.within),
            self.most_rows,
            columns,
        )
        self._reorder = None if self.delay is None else ReorderBuffer(int(self.delay), int(self.idle), columns)
        self._sequence = SequenceNumbers()

    @staticmethod
    def _names(steps: tuple[PatternStep, ...]) -> dict[str, str]:
        return {step.name: step.name for step in steps}

    def _measured(self, steps: tuple[PatternStep, ...]) -> Mapping[str, str]:
        return self.measures or self._names(steps)

    def _measure(self, name: str, text: str) -> tuple[Function, str]:
        try:
            return self._compiler.measure(parse(text), text)
        except ExpressionError as error:
            raise ValueError(f"measures.{name}: {error}") from error

    @property
    def raise_limit(self) -> str:
        """The steps as written."""
        return ", ".join(self.steps)

    @property
    def limit(self) -> str:
        """For people."""
        return "matches " + " ".join(text.split(":")[0].strip() for text in self.steps)

    @property
    def late(self) -> int:
        """Rows dropped because they came too late."""
        return 0 if self._reorder is None else self._reorder.late

    def stats(self) -> dict[str, int]:
        """Rows dropped because they came too late, and starts given up because they could go on in too many ways."""
        return {"late": self.late, "overflowed": self._search.matcher.overflows}

    def stats_by_series(self) -> dict[str, SeriesCounter]:
        """Whose rows came too late."""
        return {} if self._reorder is None else {"late": self._reorder.late_by_series}

    def inputs(self) -> tuple[str, ...]:
        """Columns it needs."""
        needed = {name: None for name in self._compiler.kinds if name not in TIMES}
        return tuple(needed | ({} if self.where is None else dict.fromkeys(self.where.columns)))

    def process(self, rows: Rows) -> Verdict:
        found = self._by_clock(rows.now)
        if len(rows) == 0:
            return Verdict() if found is None else Verdict(raw=found)
        usable = rows.key >= 0
        if self.where is not None:
            usable = usable & self.where.holds(rows)
        positions = np.flatnonzero(usable)
        table = RowTable.of(rows if len(positions) == len(rows) else rows.take(positions), self._compiler.kinds)
        watermark = None
        if self._reorder is not None:
            table, after = self._reorder.pass_on(rows, table, positions)
            watermark = (after, rows.at)
        verdict = self._verdict(table, watermark, rows.now)
        if found is None:
            return verdict
        return Verdict(
            raw=found if verdict.raw is None else _alike(found, verdict.raw).then(_alike(verdict.raw, found))
        )

    def _by_clock(self, now: int) -> Rows | None:
        """Matches that come out because nothing has come for so long."""
        table = None if self._reorder is None else self._reorder.clock(now)
        if table is None or self._reorder is None:
            return None
        watermark = np.array([self._reorder.highest - self._reorder.delay])
        return self._verdict(table, (watermark, np.array([-1])), now).raw

    def finish(self, now: int) -> Verdict:
        """End of input: what waits for the watermark is judged, as if time had come to an end."""
        if self._reorder is None:
            return Verdict()
        table = self._reorder.drain()
        if table is None:
            nothing = np.zeros(0, np.int64)
            table = RowTable.of(Rows(nothing, nothing, nothing, nothing, {}, now), self._compiler.kinds)
        return self._verdict(table, (np.array([END]), np.array([-1])), now)

    def _verdict(self, table: RowTable, watermark: tuple[Ints, Ints] | None, now: int) -> Verdict:
        table, matches, mapped = self._search.advance(table, watermark)
        if not matches:
            return Verdict()
        return Verdict(raw=self._sequence.numbered(self._rows(table, matches, mapped, now)))

    def _rows(self, table: RowTable, matches: list[Match], mapped: MappedRows, now: int) -> Rows:
        """One row a match, with the measures."""
        columns: dict[str, list[Any]] = {name: [] for name in self._measures}
        for match in matches:
            self._search.matcher.place(mapped, match.thread, match.start, match.stop)
            for name, (measure, _) in self._measures.items():
                columns[name].append(measure(mapped))
        values: dict[str, Floats] = {}
        texts: dict[str, Text] = {}
        lists: dict[str, list[Any]] = {}
        for name, column in columns.items():
            origin = table.columns.get(self._measures[name][1])
            missing = all(value is None for value in column)  # then it is what it would be with a value
            if any(isinstance(value, str) for value in column) or (
                missing and origin is not None and origin.dtype == object
            ):
                strings: npt.NDArray[Any] = np.array([*column, None], dtype=object)[:-1]
                texts[name] = encoded(strings)
            elif any(isinstance(value, list) for value in column):
                lists[name] = [tuple(value) for value in column]
            else:
                values[name] = np.array([np.nan if value is None else value for value in column], dtype=np.float64)
        first = np.array([match.start for match in matches])
        last = np.array([match.stop for match in matches])
        metric = table.columns.get(self.metric)
        if metric is not None and metric.dtype != object and self.metric not in self._measures:
            values[self.metric] = metric[last]  # the value of the event
        at = np.array([match.at for match in matches])
        return Rows(table.key[first], table.start[first], table.end[last], at, values, now, texts, lists)

    def on_clock_step(self, to: int) -> None:
        """The clock was set back to `to`."""
        if self._reorder is not None:
            self._reorder.on_clock_step(to)


def _alike(rows: Rows, other: Rows) -> Rows:
    """The rows with a measure that is missing in all of them as text where the other rows have it as text."""
    absent = {name: Text((), np.full(len(rows), -1, np.int32)) for name in other.texts if name not in rows.texts}
    values = {name: column for name, column in rows.values.items() if name not in absent}
    return replace(rows, values=values, texts={**rows.texts, **absent})


def _skip(text: str, steps: tuple[PatternStep, ...]) -> Skip:
    """Where the next match may start.

    Raises:
        ValueError: an unknown way, an unknown step, or one that would start the same match again.
    """
    ways = '"past last row", "to next row", "to first X" or "to last X"'
    match = _AFTER.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"after_match: {text!r} is not {ways}")
    if match[1] is not None:
        past = match[1].lower() == "past last"
        return lambda thread, last: last + 1 if past else thread[0] + 1
    names = [step.name for step in steps]
    if match[3] not in names:
        raise ValueError(f"after_match: there is no step {match[3]!r}; the steps are {', '.join(names)}")
    index, first = names.index(match[3]), match[2].lower() == "first"
    step = steps[index]
    if step.least == 0:
        raise ValueError(f"after_match: step {step.name!r} may have no row; choose one that always has")
    if all(before.least == 0 for before in steps[:index]) and (first or step.least == 1):
        raise ValueError(f"after_match: {text!r} would start the same match again; choose a later step")

    def row(thread: Thread, last: int) -> int:
        if first:
            return thread[index]
        return thread[index + 1] - 1 if index + 1 < len(thread) else last

    return row
