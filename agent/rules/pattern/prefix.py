"""The beginning of a pattern, judged for all rows at once: Python then sees only rows where a match can start.

The leading steps that take exactly one row, and the first row of the step after them, lie at fixed places behind the
start. Their conditions are ordinary expressions over shifted columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agent.expressions.syntax import Arithmetic, Call, Column, IsNull, Node, Number, Truth, rebuilt, walk
from agent.expressions.vectors import evaluate
from agent.rules.pattern.mapped_rows import Compiler, over_rows
from agent.rules.pattern.row_table import RowTable
from agent.rules.pattern.steps import PatternStep
from sensors.batch import Floats, Ints

_ABSENT = "-"  # no column has this name: always missing


class _NotFixedError(Exception):
    """The condition is not about rows at fixed places."""


@dataclass(frozen=True, slots=True)
class Prefix:
    """Conditions of the leading steps; condition j is about the row j places behind the start.

    Attributes:
        conditions: over columns named `<place>.<column>`; None = always true.
    """

    conditions: tuple[Node | None, ...]

    @classmethod
    def of(cls, steps: Sequence[PatternStep], compiler: Compiler) -> Prefix:
        """As many leading steps as lie at fixed places."""
        conditions: list[Node | None] = []
        for place, step in enumerate(steps):
            if step.least == 0:
                break
            try:
                node = None if isinstance(step.condition, Truth) else _fixed(step.condition, place, compiler)
            except _NotFixedError:
                break
            conditions.append(node)
            if (step.least, step.most) != (1, 1):
                break
        return cls(tuple(conditions))

    def __len__(self) -> int:
        return len(self.conditions)

    def starts(self, table: RowTable) -> Ints:
        """Positions, ascending, where the leading steps fit; none where too few rows have come yet."""
        reach = max(len(self.conditions), 1) - 1
        n = len(table)
        if n <= reach:
            return np.zeros(0, np.int64)
        found = np.flatnonzero(table.key[: n - reach] == table.key[reach:])
        for condition in self.conditions:
            if condition is not None and len(found):
                found = found[_evaluated(condition, table, found) == 1]
        return found


def own_row(node: Node, own: int, compiler: Compiler) -> Node | None:
    """The condition over columns `0.<column>`, if it is about the judged row alone; else None."""
    for part in walk(node):
        if isinstance(part, Call) and over_rows(part):
            return None
        if isinstance(part, Column) and compiler.reference(part.name)[0] not in (own, len(compiler.names)):
            return None

    def moved(part: Node) -> Node:
        if isinstance(part, Column):
            return Column(part.position, f"0.{compiler.reference(part.name)[1]}")
        return rebuilt(part, moved)

    return moved(node)


def on_rows(condition: Node, table: RowTable) -> Floats:
    """An `own_row` condition for every row, 1 / 0 / NaN."""
    return _evaluated(condition, table, np.arange(len(table)))


def _evaluated(condition: Node, table: RowTable, start: Ints) -> Floats:
    wanted = {
        (int(place), name)
        for part in walk(condition)
        if isinstance(part, Column) and part.name != _ABSENT
        for place, _, name in [part.name.partition(".")]
    }
    return evaluate(condition, table.shifted(start, sorted(wanted)))


def _fixed(node: Node, place: int, compiler: Compiler) -> Node:
    """The condition of the step at `place`, where each step so far has one row and it is judged for its first.

    Raises:
        _NotFixedError: if it cannot be said that way.
    """
    match_slot = len(compiler.names)
    if isinstance(node, Column):
        step, column = compiler.reference(node.name)
        return Column(node.position, f"{place if step == match_slot else step}.{column}")
    if not (isinstance(node, Call) and over_rows(node)):
        return rebuilt(node, lambda part: _fixed(part, place, compiler))
    if node.star:
        return Number(node.position, place + 1)
    argument = node.arguments[0]
    step, column = compiler.reference(argument.name if isinstance(argument, Column) else "")
    reach = node.arguments[1].value if len(node.arguments) == 2 and isinstance(node.arguments[1], Number) else 0
    if node.name in ("first", "last"):
        low, high = (0, place) if step == match_slot else (step, step)
        row = low + reach if node.name == "first" else high - reach
        return Column(node.position, f"{int(row)}.{column}" if low <= row <= high else _ABSENT)
    if step == match_slot and place > 0:
        raise _NotFixedError
    one = Column(node.position, f"{place if step == match_slot else step}.{column}")
    if node.name == "count":
        return Arithmetic(node.position, "-", Number(node.position, 1), IsNull(node.position, one))
    return one
