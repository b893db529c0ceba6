"""Checks that numbers meet numbers and strings meet strings, and finds out what each column must be."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field

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
)

FUNCTIONS = {
    "abs": (1, 1),
    "round": (1, 2),
    "min": (2, 20),
    "max": (2, 20),
    "sqrt": (1, 1),
    "log": (1, 1),
    "coalesce": (2, 20),
}
"""Functions of numbers: the fewest and the most arguments."""


@dataclass(slots=True)
class Checker:
    """Walks a tree once.

    Attributes:
        columns: name of each column -> what it must be; a column of which only `is null` is used is `None`.
    """

    text: str
    columns: dict[str, Kind | None] = field(default_factory=dict)

    def kind(self, node: Node, wanted: Kind | None = None) -> Kind:
        """What the node gives.

        Raises:
            ExpressionError: if that is not `wanted`, or a part is wrong.
        """
        given = self._kind(node, wanted)
        if wanted is not None and given != wanted:
            hint = "; compare it with something" if wanted == "condition" else ""
            raise ExpressionError(f"expected a {wanted}, this is a {given}{hint}", self.text, node.position)
        return given

    def _kind(self, node: Node, wanted: Kind | None) -> Kind:
        match node:
            case Number():
                return "number"
            case String():
                return "text"
            case Truth():
                return "condition"
            case Column():
                return self._column(node, wanted)
            case Negative(operand=operand):
                return self.kind(operand, "number")
            case Arithmetic(left=left, right=right):
                self.kind(left, "number")
                return self.kind(right, "number")
            case Comparison():
                return self._comparison(node)
            case Logic(operands=operands):
                for operand in operands:
                    self.kind(operand, "condition")
                return "condition"
            case Not(operand=operand):
                return self.kind(operand, "condition")
            case Membership(operand=operand, choices=choices):
                self.kind(operand, "text" if isinstance(choices[0], String) else "number")
                return "condition"
            case IsNull(operand=operand):
                if isinstance(operand, Column):
                    self.columns.setdefault(operand.name, None)
                else:
                    self.kind(operand, "number")
                return "condition"
            case Call():
                return self._call(node)
        raise AssertionError(node)

    def _column(self, node: Column, wanted: Kind | None) -> Kind:
        needed: Kind = "text" if wanted == "text" else "number"
        known = self.columns.get(node.name)
        if known is not None and wanted is not None and known != needed:
            raise ExpressionError(
                f"{node.name!r} is used as {known} before and as {needed} here", self.text, node.position
            )
        if known is None:
            self.columns[node.name] = needed
        if wanted == "condition":
            return "condition"  # a number is true where it is not 0
        return self.columns[node.name] or needed

    def _comparison(self, node: Comparison) -> Kind:
        first, second = node.left, node.right
        if isinstance(first, Column) and not isinstance(second, Column):
            first, second = second, first  # the other side gives the kind of the column
        given = self.kind(first)
        if given == "condition":
            raise ExpressionError(
                "a condition cannot be compared; use 'and', 'or', 'not'", self.text, first.position
            )
        self.kind(second, given)
        return "condition"

    def _call(self, node: Call) -> Kind:
        if node.name not in FUNCTIONS:
            near = difflib.get_close_matches(node.name, FUNCTIONS, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(FUNCTIONS)}"
            raise ExpressionError(f"unknown function {node.name!r}{hint}", self.text, node.position)
        low, high = FUNCTIONS[node.name]
        if node.star or not low <= len(node.arguments) <= high:
            number = f"{low}" if low == high else f"{low} to {high}"
            raise ExpressionError(
                f"{node.name} takes {number} argument{'s' if high > 1 else ''}", self.text, node.position
            )
        for argument in node.arguments:
            self.kind(argument, "number")
        if node.name == "round" and len(node.arguments) == 2 and decimals(node.arguments[1]) is None:
            raise ExpressionError(
                "round takes a whole number of decimals from -15 to 15", self.text, node.arguments[1].position
            )
        return "number"


def decimals(node: Node) -> int | None:
    """The second argument of `round` as an int, None if it is no whole number from -15 to 15."""
    value = node.value if isinstance(node, Number) else None
    if isinstance(node, Negative) and isinstance(node.operand, Number):
        value = -node.operand.value
    return int(value) if value is not None and value == int(value) and abs(value) <= 15 else None
