"""Evaluates a tree over the columns of `Rows`, a few NumPy calls a node.

Missing is NaN and makes unknown: every comparison with it is unknown, `unknown and false` is false, `unknown or
true` is true, else unknown stays (SQL's three-valued logic). Division and remainder by zero, the square root of a
negative number and the logarithm of what is not positive are unknown too; nothing raises at run time.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from agent.core.rows import Rows
from agent.expressions.kinds import decimals
from agent.expressions.rounding import round_half_even
from agent.expressions.syntax import (
    Arithmetic,
    Call,
    Column,
    Comparison,
    IsNull,
    Logic,
    Membership,
    Negative,
    Node,
    Not,
    Number,
    String,
    Truth,
)
from sensors.batch import Floats, Text

_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_SIGNED = (Negative, Arithmetic, Call)  # nodes whose zero may have a sign
_MIRROR = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}


def evaluate(node: Node, rows: Rows) -> Floats:
    """Numbers, or 1 / 0 / NaN for true / false / unknown, `(n,)`; perhaps a column itself, so nobody changes it."""
    with np.errstate(all="ignore"):
        result = _value(node, rows)
    if isinstance(node, _SIGNED):  # which zero `min(a, b)` gives depends on the processor
        result = result + 0.0
    if result.ndim == 0:
        return np.full(len(rows), float(result))
    return result


def _value(node: Node, rows: Rows) -> Floats:
    match node:
        case Number(value=value):
            return np.asarray(value, dtype=np.float64)
        case Truth(value=truth):
            return np.asarray(float(truth), dtype=np.float64)
        case Column(name=name):
            column = rows.values.get(name)
            return np.full(len(rows), np.nan) if column is None else column
        case Negative(operand=operand):
            return np.asarray(-_value(operand, rows))
        case Arithmetic(sign=sign, left=left, right=right):
            return _arithmetic(sign, _value(left, rows), _value(right, rows))
        case Comparison():
            return _comparison(node, rows)
        case Logic(word=word, operands=operands):
            result = _truth(operands[0], rows)
            for operand in operands[1:]:
                result = _join(word, result, _truth(operand, rows))
            return result
        case Not(operand=operand):
            return np.asarray(1.0 - _truth(operand, rows))
        case Membership(operand=operand, choices=choices):
            return _membership(operand, choices, rows)
        case IsNull(operand=operand):
            return _is_null(operand, rows)
        case Call(name=name, arguments=arguments):
            return _call(name, arguments, rows)
    raise AssertionError(node)


def _truth(node: Node, rows: Rows) -> Floats:
    """A condition; a column of numbers is true where it is not 0."""
    value = _value(node, rows)
    if isinstance(node, Column):
        return np.where(np.isnan(value), value, value != 0)
    return value


def _arithmetic(sign: str, left: Floats, right: Floats) -> Floats:
    match sign:
        case "+":
            return np.asarray(left + right)
        case "-":
            return np.asarray(left - right)
        case "*":
            return np.asarray(left * right)
        case "/":
            return np.where(right == 0, np.nan, left / right)
    return np.fmod(left, right)  # the sign of the left side, as in SQL; NaN for a remainder by zero


def _comparison(node: Comparison, rows: Rows) -> Floats:
    left_text, right_text = _text(node.left, rows), _text(node.right, rows)
    compare, mirrored = _COMPARE[node.sign], _COMPARE[_MIRROR[node.sign]]
    if isinstance(node.right, String):
        other = node.right.value
        return _of_words(left_text, lambda word: bool(compare(word, other)), rows)
    if isinstance(node.left, String):
        other = node.left.value
        return _of_words(right_text, lambda word: bool(mirrored(word, other)), rows)
    if left_text is not None and right_text is not None:
        pairs = zip(left_text.tolist(), right_text.tolist(), strict=True)
        return np.array([np.nan if a is None or b is None else bool(compare(a, b)) for a, b in pairs], dtype=float)
    left, right = _value(node.left, rows), _value(node.right, rows)
    missing = left != left if isinstance(node.right, Number) else np.isnan(left) | np.isnan(right)
    return np.where(missing, np.nan, compare(left, right))


def _text(node: Node, rows: Rows) -> Text | None:
    return rows.texts.get(node.name) if isinstance(node, Column) else None


def _of_words(text: Text | None, test: Callable[[str], bool], rows: Rows) -> Floats:
    """The test of each row's word, made once a distinct word; NaN where the text is missing."""
    if text is None:
        return np.full(len(rows), np.nan)
    if len(text.words) > len(text.codes):  # a source's dictionary may be long; only the words that occur count
        codes = text.codes.tolist()
        truth = {code: float(test(text.words[code])) if code >= 0 else np.nan for code in set(codes)}
        return np.array([truth[code] for code in codes], dtype=np.float64)
    table = np.array([*(test(word) for word in text.words), np.nan], dtype=np.float64)
    return table[text.codes]


def _membership(operand: Node, choices: tuple[Number | String, ...], rows: Rows) -> Floats:
    if isinstance(choices[0], String):
        words = {choice.value for choice in choices if isinstance(choice, String)}
        return _of_words(_text(operand, rows), lambda word: word in words, rows)
    value = _value(operand, rows)
    numbers = np.array([choice.value for choice in choices if isinstance(choice, Number)])
    return np.where(np.isnan(value), np.nan, np.isin(value, numbers))


def _is_null(operand: Node, rows: Rows) -> Floats:
    text = _text(operand, rows)
    if text is not None:
        return (text.codes < 0).astype(np.float64)
    return np.isnan(_value(operand, rows)).astype(np.float64)


def _join(word: str, left: Floats, right: Floats) -> Floats:
    unknown = np.isnan(left) | np.isnan(right)
    if word == "and":
        settled, value = (left == 0) | (right == 0), 0.0
    else:
        settled, value = (left == 1) | (right == 1), 1.0
    return np.where(settled, value, np.where(unknown, np.nan, 1.0 - value))


def _call(name: str, arguments: tuple[Node, ...], rows: Rows) -> Floats:
    values = [_value(argument, rows) for argument in arguments[: 1 if name == "round" else None]]
    first = values[0]
    match name:
        case "abs":
            return np.abs(first)
        case "sqrt":
            return np.sqrt(first)
        case "log":
            return np.where(first > 0, np.log(first), np.nan)
        case "round":
            digits = decimals(arguments[1]) if len(arguments) == 2 else 0
            return round_half_even(np.atleast_1d(first), digits or 0).reshape(first.shape)
        case "min":
            return functools.reduce(np.minimum, values)
        case "max":
            return functools.reduce(np.maximum, values)
    for other in values[1:]:  # coalesce
        first = np.where(np.isnan(first), other, first)
    return first
