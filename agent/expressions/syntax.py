"""What an expression is made of, and how an error in it is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

Kind = Literal["number", "text", "condition"]
"""What an expression gives: a number, a string, or true / false / unknown."""


class ExpressionError(ValueError):
    """An expression that cannot be used. Shows the text with a caret under the place that is wrong.

    Attributes:
        reason: what is wrong, and the remedy where there is one.
        text: the whole expression.
        position: offset of the first character that is wrong, counted from 0.
    """

    def __init__(self, reason: str, text: str, position: int) -> None:
        self.reason, self.text, self.position = reason, text, position
        shown = "".join(" " if sign.isspace() else sign for sign in text)
        super().__init__(f"{reason} (at character {position + 1})\n    {shown}\n    {' ' * position}^")


@dataclass(frozen=True, slots=True)
class Node:
    """A part of an expression; `position` is the offset of its first character in the text."""

    position: int


@dataclass(frozen=True, slots=True)
class Number(Node):
    """A number, a percentage (as a fraction) or a duration (in seconds)."""

    value: float


@dataclass(frozen=True, slots=True)
class String(Node):
    """A string between quotes."""

    value: str


@dataclass(frozen=True, slots=True)
class Truth(Node):
    """`true` or `false`."""

    value: bool


@dataclass(frozen=True, slots=True)
class Column(Node):
    """A column of the rows, perhaps with dots in its name."""

    name: str


@dataclass(frozen=True, slots=True)
class Negative(Node):
    """Minus a number."""

    operand: Node


@dataclass(frozen=True, slots=True)
class Arithmetic(Node):
    """`left sign right`, where sign is one of `+ - * / %`."""

    sign: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Comparison(Node):
    """`left sign right`, where sign is one of `< <= > >= == !=`."""

    sign: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Logic(Node):
    """Conditions joined by `and` or by `or`."""

    word: Literal["and", "or"]
    operands: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Not(Node):
    """The opposite of a condition; unknown stays unknown."""

    operand: Node


@dataclass(frozen=True, slots=True)
class Membership(Node):
    """`operand in (choice, ...)`; the choices are literals."""

    operand: Node
    choices: tuple[Number | String, ...]


@dataclass(frozen=True, slots=True)
class IsNull(Node):
    """`operand is null`: true where it is missing, never unknown."""

    operand: Node


@dataclass(frozen=True, slots=True)
class Call(Node):
    """A function with its arguments; `count(*)` has no arguments and `star`."""

    name: str
    arguments: tuple[Node, ...]
    star: bool = False


def children(node: Node) -> tuple[Node, ...]:
    """The parts of a node."""
    match node:
        case Negative(operand=operand) | Not(operand=operand) | IsNull(operand=operand):
            return (operand,)
        case Membership(operand=operand, choices=choices):
            return (operand, *choices)
        case Arithmetic(left=left, right=right) | Comparison(left=left, right=right):
            return (left, right)
        case Logic(operands=operands):
            return operands
        case Call(arguments=arguments):
            return arguments
    return ()


def walk(node: Node) -> Iterator[Node]:
    """The node and all below it."""
    yield node
    for child in children(node):
        yield from walk(child)


def rebuilt(node: Node, change: Callable[[Node], Node]) -> Node:
    """The node with `change` made to each of its parts, not to itself."""
    match node:
        case Negative() | Not() | IsNull() | Membership():
            return replace(node, operand=change(node.operand))
        case Arithmetic() | Comparison():
            return replace(node, left=change(node.left), right=change(node.right))
        case Logic():
            return replace(node, operands=tuple(change(part) for part in node.operands))
        case Call():
            return replace(node, arguments=tuple(change(part) for part in node.arguments))
    return node
