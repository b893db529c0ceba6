"""Lets rows through: each row for which the condition holds is an event of its own, without a life."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from agent.alerts.alert import Severity
from agent.core.rows import Rows
from agent.expressions import Expression
from agent.rules import Rule, Verdict
from agent.rules.sequence_numbers import SequenceNumbers
from agent.rules.threshold import short


@dataclass
class Filter(Rule):
    """WHERE and HAVING of SQL: rows for which `where` is true; unknown is not true.

    Attributes:
        where: condition over the columns of its rows.
        on: window or detector whose rows it sees; empty = readings.
        by: columns of the grouping.
        metric: column whose value the event carries; left out: the first number that `where` names.
        signal: measured quantity; left out: that of the window.
    """

    where: Expression
    on: str = ""
    by: tuple[str, ...] = ("machine",)
    metric: str = ""
    signal: str = ""
    unit: str = ""
    severity: Severity = "info"

    type = "filter"
    remembers: ClassVar = {"emissions": "_sequence"}

    def __post_init__(self) -> None:
        self.where.condition()
        self.metric = self.metric or next(iter(self.where.numbers), "")
        self._sequence = SequenceNumbers()

    @property
    def raise_limit(self) -> str:
        """The condition as written."""
        return self.where.text

    @property
    def limit(self) -> str:
        """`> 90` where the condition compares with a number."""
        return short(self.where)

    def inputs(self) -> tuple[str, ...]:
        """Columns it needs."""
        return self.where.columns

    def process(self, rows: Rows) -> Verdict:
        if len(rows) == 0:
            return Verdict()
        return Verdict(raw=self._sequence.numbered(rows.take(self.where.holds(rows) & (rows.key >= 0))))
