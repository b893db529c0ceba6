"""Conditions and measures over the rows mapped to the steps so far, compiled to plain Python functions.

A step's name means the metric of the last row mapped to it, `step.column` another column of that row, and a column
without a step that of the row being judged. `first(x, n)` and `last(x, n)` reach n rows further, `count`, `sum`, `avg`,
`min`, `max` and `list` go over all rows mapped to the step, or over the whole match where no step is named.

Missing is None; it makes unknown, as in `agent.expressions.vectors`.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from agent.expressions.kinds import Checker, decimals
from agent.expressions.syntax import (
    Arithmetic,
    Call,
    Column,
    Comparison,
    ExpressionError,
    IsNull,
    Kind,
    Logic,
    Membership,
    Negative,
    Node,
    Not,
    Number,
    String,
    Truth,
    rebuilt,
)

Value = Any  # float, str, bool, list, or None = unknown
ROWS = ("first", "last", "count", "sum", "avg", "mean", "min", "max", "list")
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


@dataclass(slots=True)
class MappedRows:
    """The rows mapped to each step: positions `begin` to `end` in `columns`. The slot after the last step is the match.

    Attributes:
        columns: name -> values of the rows of a series, NaN or None where missing.
    """

    columns: dict[str, list[Value]]
    begin: list[int]
    end: list[int]


Function = Callable[[MappedRows], Value]


def over_rows(node: Call) -> bool:
    """Whether the call is about rows mapped to a step, not about numbers."""
    return node.name in ROWS and (len(node.arguments) < 2 or node.name in ("first", "last"))


@dataclass(slots=True)
class Compiler:
    """Compiles the expressions of one pattern.

    Attributes:
        names: of the steps.
        metric: column that a bare step name stands for.
        kinds: columns needed -> number or text, as found so far.
    """

    names: tuple[str, ...]
    metric: str
    kinds: dict[str, Kind | None] = field(default_factory=dict)

    def condition(self, node: Node, own: int, text: str) -> Function:
        """A condition of step `own`.

        Raises:
            ExpressionError: what is wrong, at its character.
        """
        self._check(node, own, text, "condition")
        return self.function(node)

    def measure(self, node: Node, text: str) -> tuple[Function, str]:
        """What an event carries of a match: a number, a text or a list; and the column that it may be a value of."""
        own, name = len(self.names) - 1, ""
        if isinstance(node, Column) or (isinstance(node, Call) and node.name in ("list", "first", "last")):
            name = self.reference(node.name)[1] if isinstance(node, Column) else self._reference(node, text, own)
            self.kinds.setdefault(name, None)  # numbers or texts, as the rows have them
        else:
            self._check(node, own, text, None)
        return self.function(node), name

    def reference(self, name: str) -> tuple[int, str]:
        """The step (or the slot of the match) and the column that a name means."""
        head, _, rest = name.partition(".")
        if head in self.names:
            return self.names.index(head), rest or self.metric
        return len(self.names), name

    def _check(self, node: Node, own: int, text: str, wanted: Kind | None) -> None:
        """Check kinds, with what a call over rows gives taken for its column."""
        checker = Checker(text, dict(self.kinds))
        checker.kind(self._plain(node, text, own), wanted)
        self.kinds.update({name: kind for name, kind in checker.columns.items() if not name.startswith("\0")})

    def _plain(self, node: Node, text: str, own: int) -> Node:
        if isinstance(node, Column):
            step, name = self.reference(node.name)
            self._earlier(step, own, text, node.position)
            return Column(node.position, name)
        if not (isinstance(node, Call) and over_rows(node)):
            return rebuilt(node, lambda part: self._plain(part, text, own))
        if node.name == "list":
            raise ExpressionError("a list can only be a measure by itself", text, node.position)
        column = Column(node.position, self._reference(node, text, own))
        if len(node.arguments) == 2:
            reach = node.arguments[1]
            if not (isinstance(reach, Number) and reach.value in range(10_000)):
                raise ExpressionError(f"{node.name} reaches a whole number of rows", text, reach.position)
        if node.name == "count":
            if not node.star:
                self.kinds.setdefault(column.name, None)
            return Number(node.position, 0)
        return column if node.name in ("first", "last") else Negative(node.position, column)

    def _earlier(self, step: int, own: int, text: str, position: int) -> None:
        if own < step < len(self.names):
            raise ExpressionError(
                f"{self.names[step]!r} comes after {self.names[own]!r}; a condition sees earlier steps only",
                text,
                position,
            )

    def _reference(self, node: Call, text: str, own: int) -> str:
        """The column a call over rows is about; `count(*)` is about none."""
        if node.star and node.name == "count":
            return "\0rows"
        if not node.arguments or not isinstance(node.arguments[0], Column):
            example = f"{node.name}({self.names[0]})"
            raise ExpressionError(f"{node.name} is about a step or a column, as in {example}", text, node.position)
        step, column = self.reference(node.arguments[0].name)
        self._earlier(step, own, text, node.arguments[0].position)
        return column

    def function(self, node: Node) -> Function:
        """The function of a node that was checked."""
        match node:
            case Number(value=number):
                return lambda m: number
            case String(value=string):
                return lambda m: string
            case Truth(value=truth):
                return lambda m: truth
            case Column(name=name):
                return self._row(name, 0, first=False)
            case Negative(operand=operand):
                part = self.function(operand)
                return lambda m: None if (x := part(m)) is None else -x
            case Arithmetic(sign=sign, left=left, right=right):
                return _arithmetic(sign, self.function(left), self.function(right))
            case Comparison(sign=sign, left=left, right=right):
                return _comparison(_COMPARE[sign], self.function(left), self.function(right))
            case Logic(word=word, operands=operands):
                return _logic(word == "or", [self._truth(part) for part in operands])
            case Not(operand=operand):
                part = self._truth(operand)
                return lambda m: None if (x := part(m)) is None else not x
            case Membership(operand=operand, choices=choices):
                part, values = self.function(operand), frozenset(choice.value for choice in choices)
                return lambda m: None if (x := part(m)) is None else x in values
            case IsNull(operand=operand):
                part = self.function(operand)
                return lambda m: part(m) is None
            case Call():
                return self._call(node)
        raise AssertionError(node)

    def _truth(self, node: Node) -> Function:
        function = self.function(node)
        if isinstance(node, Column):
            return lambda m: None if (x := function(m)) is None else x != 0
        return function

    def _row(self, name: str, reach: int, first: bool) -> Function:
        step, column = self.reference(name)

        def last_row(m: MappedRows) -> Value:
            at = m.end[step] - 1 - reach
            if at < m.begin[step]:
                return None
            x = m.columns[column][at]
            return x if x == x else None

        def first_row(m: MappedRows) -> Value:
            at = m.begin[step] + reach
            if at >= m.end[step]:
                return None
            x = m.columns[column][at]
            return x if x == x else None

        return first_row if first else last_row

    def _call(self, node: Call) -> Function:
        name = node.name
        if over_rows(node):
            return self._over(node)
        parts = [self.function(argument) for argument in node.arguments]
        match name:
            case "round":
                digits = (decimals(node.arguments[1]) or 0) if len(parts) == 2 else 0
                return _strict(lambda x: float(round(x, digits)) if math.isfinite(x) else x, parts[:1])
            case "abs":
                return _strict(abs, parts)
            case "sqrt":
                return _strict(lambda x: math.sqrt(x) if x >= 0 else None, parts)
            case "log":
                return _strict(lambda x: math.log(x) if x > 0 else None, parts)
            case "min":
                return _strict(min, parts)
            case "max":
                return _strict(max, parts)
        return lambda m: next((x for part in parts if (x := part(m)) is not None), None)  # coalesce

    def _over(self, node: Call) -> Function:
        if node.star:
            return lambda m: float(m.end[-1] - m.begin[-1])
        argument = node.arguments[0]
        name = argument.name if isinstance(argument, Column) else ""
        if node.name in ("first", "last"):
            reach = node.arguments[1] if len(node.arguments) == 2 else None
            return self._row(name, int(reach.value) if isinstance(reach, Number) else 0, node.name == "first")
        step, column = self.reference(name)

        def rows(m: MappedRows) -> list[Value]:
            return [x for x in m.columns[column][m.begin[step] : m.end[step]] if x is not None and x == x]

        match node.name:
            case "count":
                return lambda m: float(len(rows(m)))
            case "sum":
                return lambda m: math.fsum(x) if (x := rows(m)) else None
            case "avg" | "mean":
                return lambda m: math.fsum(x) / len(x) if (x := rows(m)) else None
            case "min":
                return lambda m: min(x) if (x := rows(m)) else None
            case "max":
                return lambda m: max(x) if (x := rows(m)) else None
        return rows


def _strict(function: Callable[..., Value], parts: Sequence[Function]) -> Function:
    """The function of the values, None if one is."""

    def call(m: MappedRows) -> Value:
        values = [part(m) for part in parts]
        return None if None in values else function(*values)

    return call


def _arithmetic(sign: str, left: Function, right: Function) -> Function:
    def divided(a: float, b: float) -> float | None:
        return a / b if b else None

    def remainder(a: float, b: float) -> float | None:
        return math.fmod(a, b) if b and math.isfinite(a) else None

    functions: dict[str, Callable[[Any, Any], Value]] = {
        "+": operator.add,
        "-": operator.sub,
        "*": operator.mul,
        "/": divided,
        "%": remainder,
    }
    function = functions[sign]

    def compute(m: MappedRows) -> Value:
        a, b = left(m), right(m)
        if a is None or b is None:
            return None
        x = function(a, b)
        return x if x == x else None

    return compute


def _comparison(compare: Callable[[Any, Any], bool], left: Function, right: Function) -> Function:
    def compute(m: MappedRows) -> Value:
        a, b = left(m), right(m)
        return None if a is None or b is None else compare(a, b)

    return compute


def _logic(decisive: bool, parts: Sequence[Function]) -> Function:
    """`or` is settled by a true part, `and` by a false one; else unknown if a part is."""

    def compute(m: MappedRows) -> Value:
        unknown = False
        for part in parts:
            x = part(m)
            if x is None:
                unknown = True
            elif x == decisive:
                return decisive
        return None if unknown else not decisive

    return compute
