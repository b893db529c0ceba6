"""A condition on each row: raised when it holds for long enough, resolved when it is clear for long enough."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import ClassVar, Literal

import numpy as np

from agent.alerts.alert import Severity
from agent.core.rows import Rows
from agent.expressions import Expression
from agent.expressions.rounding import round_half_even
from agent.expressions.syntax import Comparison, Negative, Number
from agent.rules import Rule, Verdict
from agent.rules.lifecycle import Lifecycle
from agent.rules.sequence_numbers import SequenceNumbers
from sensors.batch import Ints
from sensors.units import Duration

NEVER = Duration(0)
TEN_MINUTES = Duration("10m")
ORDER: tuple[Severity, ...] = ("info", "warning", "critical", "fatal")


@dataclass
class Threshold(Rule):
    """Raises while `when` holds, until `clear` does.

    A row for which neither is known (a value is missing) changes nothing. Between `when` and `clear` the series
    stays as it is: that is the hysteresis.

    Attributes:
        when: condition over the columns of its rows; of a rule `on` a detector with a usual limit it may be left out.
        clear: condition that ends it; left out: as soon as `when` is false.
        on: window or detector whose rows it judges; empty = readings.
        by: columns of the grouping.
        metric: column whose value an alert carries; left out: the first number that `when` names.
        signal: measured quantity; left out: that of the window.
        unit: of the signal, for people.
        severity: of what it raises.
        levels: higher severities and their conditions, `{ critical = "mean >= 95" }`: an incident that reaches one
            escalates. They count only while `when` holds.
        for_: how long the condition must hold before it raises, in event time.
        hold: how long it must be clear before it resolves.
        cooldown: how long after a resolve the next raise waits.
        every: how often a firing incident is sent again, by the clock; 0 = never.
        no_data: silence, by the clock, after which a firing incident becomes `no_data`; 0 = never.
        flap_changes: so many raises within `flap_within` make it `flapping`: it then resolves only after
            `flap_within` without a crossing; 0 = never.
        digits: decimals to which the value is rounded, as Python's `round`; left out: as it is.
        payload: of raw events: `event`, a whole CloudEvent, or `value`, the bare number, as the tutorial of Quix
            Streams publishes it.
        mode: `incident`, or `raw`: each row for which `when` holds is an event of its own, without a life.
    """

    when: Expression
    clear: Expression | None = None
    _: KW_ONLY
    on: str = ""
    by: tuple[str, ...] = ("machine",)
    metric: str = ""
    signal: str = ""
    unit: str = ""
    severity: Severity = "warning"
    levels: Mapping[Severity, Expression] = field(default_factory=dict)
    for_: Duration = NEVER
    hold: Duration = NEVER
    cooldown: Duration = NEVER
    every: Duration = NEVER
    no_data: Duration = NEVER
    flap_changes: int = 0
    flap_within: Duration = TEN_MINUTES
    digits: int | None = None
    payload: Literal["event", "value"] = "event"
    mode: Literal["incident", "raw"] = "incident"

    type = "threshold"
    carries_metric = True
    adds: ClassVar[tuple[str, ...]] = ()
    """Columns that it adds to its rows itself."""
    remembers: ClassVar = {"life": "life", "emissions": "_sequence"}

    def __post_init__(self) -> None:
        self.when.condition()
        for expression in (self.clear, *self.levels.values()):
            if expression is not None:
                expression.condition()
        self.metric = self.metric or next(iter(self.when.numbers), "")
        above = sorted(self.levels, key=ORDER.index)
        if above and ORDER.index(above[0]) <= ORDER.index(self.severity):
            raise ValueError(f"levels: {above[0]} is not above the severity {self.severity}")
        if self.flap_changes < 0 or self.flap_changes > 100:
            raise ValueError(f"flap_changes: {self.flap_changes} is not a number from 0 to 100")
        self._levels = [self.levels[name] for name in above]
        self.life: Lifecycle = Lifecycle(
            self.for_, self.hold, self.cooldown, self.every, self.no_data, self.flap_changes, self.flap_within,
            (self.severity, *above),
        )  # fmt: skip
        self._sequence = SequenceNumbers()

    @property
    def raise_limit(self) -> str:
        """The condition as written."""
        return self.when.text

    @property
    def clear_limit(self) -> str:
        """The condition that ends it, as written."""
        return self.clear.text if self.clear is not None else f"not ({self.when.text})"

    @property
    def limit(self) -> str:
        """`>= 90` where the condition compares with a number."""
        return short(self.when)

    def inputs(self) -> tuple[str, ...]:
        """Columns it needs."""
        expressions = (self.when, self.clear, *self._levels)
        return tuple(
            {name: None for e in expressions if e is not None for name in e.columns if name not in self.adds}
            | ({self.metric: None} if self.metric else {})
        )

    def process(self, rows: Rows) -> Verdict:
        if len(rows) == 0:
            return Verdict(self.life.tick(rows.now)) if self.mode == "incident" else Verdict()
        if rows.key.min() < 0:
            rows = rows.take(rows.key >= 0)
        rows = self._prepared(rows)
        direction, known = self._direction(rows)
        if self.mode == "raw":
            return Verdict(raw=self._sequence.numbered(self._rounded(rows.take(known & (direction > 0)))))
        if not known.all():
            rows, direction = rows.take(known), direction[known]
        rows = self._rounded(rows)
        value = rows.values.get(self.metric)
        level = self._level(rows) if self._levels else None
        return Verdict(
            self.life.process(rows, direction, np.full(len(rows), np.nan) if value is None else value, level)
        )

    def _rounded(self, rows: Rows) -> Rows:
        """The rows with the value rounded, where that is wanted."""
        if self.digits is None or self.metric not in rows.values:
            return rows
        return rows.with_values(**{self.metric: round_half_even(rows.values[self.metric], self.digits)})

    def _prepared(self, rows: Rows) -> Rows:
        """The rows with what this kind of rule adds to them."""
        return rows

    def _direction(self, rows: Rows) -> tuple[Ints, np.typing.NDArray[np.bool_]]:
        """Direction of each row, up (1), down (-1) or neither (0), and whether it is known."""
        up = self.when.evaluate(rows)
        known = up == up
        if self.clear is None:
            return np.where(up != 0, 1, -1), known
        down = self.clear.evaluate(rows)
        down_known = down == down
        return np.where((up != 0) & known, 1, np.where((down != 0) & down_known, -1, 0)), known | down_known

    def _level(self, rows: Rows) -> Ints:
        """Index of the highest severity whose condition holds."""
        level = np.zeros(len(rows), np.int64)
        for index, condition in enumerate(self._levels, 1):
            level[condition.holds(rows)] = index
        return level


def short(when: Expression) -> str:
    """`>= 90` for a comparison with a number, else empty."""
    node = when.node
    if not isinstance(node, Comparison):
        return ""
    match node.right:
        case Number(value=value):
            return f"{node.sign} {value:g}"
        case Negative(operand=Number(value=value)):
            return f"{node.sign} {-value:g}"
    return ""
