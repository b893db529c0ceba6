"""The small safe language of conditions: parsed once, checked, evaluated over whole columns.

    round(mean, 2) >= 90 and status in ('RUN', 'IDLE')
    (peak - mean) / mean > 30 %          a percentage is a fraction: 0.3
    age > 90s and reading is not null    a duration is a number of seconds

Columns are written plainly, dots included (`motor.temp`); any other name between backquotes. Strings stand
between single or double quotes. Operators, from weak to strong: `or`; `and`; `not`; comparisons (`<`, `<=`, `>`,
`>=`, `=` or `==`, `!=` or `<>`, `in (...)`, `between a and b`, `is null`); `+ -`; `* / %`. Functions: `abs`,
`round(x, decimals)` as Python rounds, `min`, `max` (of two or more), `sqrt`, `log` (natural), `coalesce`. Missing
values make a condition unknown, see `agent.expressions.vectors`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from agent.core.rows import Rows
from agent.expressions.kinds import Checker
from agent.expressions.parser import parse
from agent.expressions.syntax import Column, ExpressionError, Kind, Node, Not, walk
from agent.expressions.vectors import evaluate
from sensors.batch import Floats

__all__ = ["Expression", "ExpressionError"]


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression that has been parsed and checked.

    Attributes:
        text: as it was written.
        kind: `"condition"` or `"number"`.
        kinds: columns it needs -> what they must be; None if either will do.
    """

    text: str
    kind: Kind
    kinds: Mapping[str, Kind | None] = field(repr=False)
    node: Node = field(repr=False)

    @classmethod
    def parse(cls, text: str, subject: str = "") -> Self:
        """Parse and check.

        Args:
            text: what a person wrote.
            subject: column that `> 90`, without a left side, is about.

        Raises:
            ExpressionError: naming the character at which it goes wrong.
        """
        node = parse(text, subject)
        checker = Checker(text)
        kind = checker.kind(node)
        if kind == "text":
            raise ExpressionError("this gives a text; a condition or a number is needed", text, node.position)
        return cls(text, kind, checker.columns, node)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns it needs, in order of appearance."""
        return tuple(self.kinds)

    @property
    def numbers(self) -> tuple[str, ...]:
        """Names of the columns it needs that are numbers."""
        return tuple(name for name, kind in self.kinds.items() if kind == "number")

    def condition(self) -> Self:
        """Itself, if it is a condition; a bare column is one (true where not 0).

        Raises:
            ExpressionError: if it is a number.
        """
        if self.kind != "condition" and not isinstance(self.node, Column):
            raise ExpressionError(
                "this is a number, not a condition; compare it with something", self.text, self.node.position
            )
        return self

    def check(self, known: Iterable[str]) -> None:
        """Check that all columns are among the known ones.

        Raises:
            ExpressionError: at the first unknown column, with the nearest known name.
        """
        names = list(known)
        for node in walk(self.node):
            if isinstance(node, Column) and node.name not in names:
                near = difflib.get_close_matches(node.name, names, 1)
                hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(names) or 'none'}"
                raise ExpressionError(f"unknown column {node.name!r}{hint}", self.text, node.position)

    def negated(self) -> Expression:
        """The opposite condition; unknown stays unknown."""
        return Expression(f"not ({self.text})", "condition", self.kinds, Not(0, self.condition().node))

    def evaluate(self, rows: Rows) -> Floats:
        """Its value for each row, `(n,)`: numbers, or 1 / 0 / NaN for true / false / unknown.

        The result may be a column of the rows itself: do not change it.
        """
        return evaluate(self.node, rows)

    def holds(self, rows: Rows) -> Any:
        """Where the condition is true (not false, not unknown), `(n,)` bool."""
        value = evaluate(self.node, rows)
        return (value != 0) & (value == value)

    def __str__(self) -> str:
        return self.text

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """How pydantic checks a field of this type: text, parsed and checked."""
        from pydantic_core import core_schema  # only configuration needs pydantic

        def check(value: object) -> Expression:
            if isinstance(value, Expression):
                return value
            if not isinstance(value, str):
                raise ValueError(f"{value!r} is not an expression; write it as text, as in 'mean >= 90'")
            return cls.parse(value)

        return core_schema.no_info_plain_validator_function(check)
